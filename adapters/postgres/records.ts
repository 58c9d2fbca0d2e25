/** The statements about run records and members. Those that change a record lock its thread's head first (P17). */
import { entries, live, recordColumns, successorOf } from "./fenced.ts";

export interface RecordStatements {
  /** `enqueue`: whether a busy thread takes one more run. */
  admit(enqueue: boolean): string;
  readonly getRun: string;
  readonly listRuns: string;
  readonly listThreadRuns: string;
  readonly updateRun: string;
  readonly beat: string;
  readonly members: string;
  readonly removeMember: string;
}

export function recordStatements(schema: string): RecordStatements {
  // One by one: a plan made while there were few runs would read all specs and all threads instead.
  const found = `CROSS JOIN LATERAL (SELECT * FROM ${schema}.specs WHERE run_id = r.run_id LIMIT 1) s
      CROSS JOIN LATERAL (SELECT * FROM ${schema}.threads WHERE thread_id = r.thread_id LIMIT 1) h`;
  const record = `${recordColumns("s")}, h.active_run IS NOT DISTINCT FROM r.run_id, h.seq`;
  const others = `AND r.run_id > $1 AND ($2::text IS NULL OR r.coordinator = $2)
    AND ($3::text IS NULL OR r.coordinator IS DISTINCT FROM $3)`;
  return {
    admit: (enqueue) => admit(schema, enqueue),
    getRun: `SELECT ${record} FROM ${schema}.runs r ${found} WHERE r.run_id = $1`,
    // By status one at a time, so that each is a walk along the index, and short whatever the number of ended runs.
    listRuns: `SELECT ${record}
      FROM unnest($4::text[]) AS wanted (status) CROSS JOIN LATERAL (
        SELECT r.* FROM ${schema}.runs r WHERE r.status = wanted.status ${others} ORDER BY r.run_id LIMIT $5::bigint
      ) r ${found} ORDER BY r.run_id LIMIT $5::bigint`,
    listThreadRuns: `SELECT ${record} FROM ${schema}.runs r ${found}
      WHERE r.thread_id = $6 ${others} AND r.status = ANY ($4::text[]) ORDER BY r.run_id LIMIT $5::bigint`,
    updateRun: updateRun(schema),
    // Those dropped are locked without waiting: beats of two processes must not wait for each other crosswise.
    beat: `WITH counted AS (
        INSERT INTO ${schema}.members AS m (member_id, beat, turn) VALUES ($1, 1, nextval('${schema}.turns'))
        ON CONFLICT (member_id) DO UPDATE SET beat = m.beat + 1, turn = excluded.turn RETURNING m.beat
      ), dropped AS (
        DELETE FROM ${schema}.members WHERE member_id IN (
          SELECT m.member_id FROM ${schema}.members m WHERE m.member_id <> $1
          ORDER BY m.turn DESC OFFSET $2::bigint - 1 FOR UPDATE SKIP LOCKED)
      )
      SELECT beat FROM counted`,
    members: `SELECT member_id, beat FROM ${schema}.members ORDER BY turn`,
    removeMember: `DELETE FROM ${schema}.members WHERE member_id = $1`,
  };
}

/**
 * Answers: ordinal, ticket, whether it is the active run, and the thread's commit number, of each entry that was
 * admitted. The others have a record already, or met a busy thread. Where a record of the same id is just being written
 * elsewhere the statement fails on the key, as a whole.
 */
function admit(schema: string, enqueue: boolean): string {
  return `WITH entry AS MATERIALIZED (
      SELECT e.* FROM (${entries(admitColumns)}) e LEFT JOIN LATERAL (
        SELECT r.run_id FROM ${schema}.runs r WHERE r.run_id = e.run_id LIMIT 1) x ON true
      WHERE x.run_id IS NULL
    ), seat AS (
      INSERT INTO ${schema}.threads AS h (thread_id, epoch, nonce, seq, active_run, waiting, tickets)
      SELECT e.thread_id, 0, '', 0, e.run_id, 0, 1 FROM entry e ORDER BY e.thread_id COLLATE "C"
      ON CONFLICT (thread_id) DO UPDATE SET tickets = h.tickets + 1, active_run = coalesce(h.active_run, excluded.active_run),
        waiting = h.waiting + CASE WHEN h.active_run IS NULL THEN 0 ELSE 1 END
      ${enqueue ? "" : "WHERE h.active_run IS NULL"}
      RETURNING h.thread_id, h.tickets, h.active_run, h.seq
    ), made AS (
      INSERT INTO ${schema}.runs (run_id, thread_id, ticket, status, revision, attempt, poison, owner, coordinator, lease,
        claim_seq, base_set, base, cancel_requested, outcome, history)
      SELECT e.run_id, e.thread_id, s.tickets, e.status, 1, 1, 0, NULL, e.coordinator, 0, NULL, false, NULL, false, NULL,
        e.history
      FROM seat s JOIN entry e ON e.thread_id = s.thread_id
    ), described AS (
      INSERT INTO ${schema}.specs (run_id, from_checkpoint_id, spec, input)
      SELECT e.run_id, e.from_checkpoint_id, e.spec, e.input FROM seat s JOIN entry e ON e.thread_id = s.thread_id
    )
    SELECT e.n, s.tickets, s.active_run = e.run_id, s.seq FROM seat s JOIN entry e ON e.thread_id = s.thread_id`;
}

const admitColumns: Parameters<typeof entries>[0] = [
  ["thread_id", "text"],
  ["run_id", "text"],
  ["status", "text"],
  ["coordinator", "text"],
  ["history", "bytea"],
  ["from_checkpoint_id", "text"],
  ["spec", "bytea"],
  ["input", "bytea"],
];

/** Answers one row: the record as written or as found, and verdict; none where the run is not in the store. */
function updateRun(schema: string): string {
  return `WITH locked AS MATERIALIZED (
      SELECT h.* FROM ${schema}.threads h
      WHERE h.thread_id = (SELECT r.thread_id FROM ${schema}.runs r WHERE r.run_id = $1) FOR UPDATE
    ), subject AS MATERIALIZED (
      SELECT r.* FROM locked l JOIN ${schema}.runs r ON r.run_id = $1 AND r.thread_id = l.thread_id FOR UPDATE OF r
    ), successor AS MATERIALIZED (
      SELECT x.run_id FROM locked l CROSS JOIN LATERAL (
        ${successorOf(schema, "l", `$2 NOT IN ${live} AND l.active_run = $1`)}) x
    ), judged AS MATERIALIZED (
      SELECT l.thread_id, l.seq, coalesce(l.active_run = $1, false) AS active, $2 NOT IN ${live} AS ending,
        x.run_id AS next_run, CASE
        WHEN r.status NOT IN ${live} OR r.revision <> $3::bigint - 1 THEN 'conflict'
        WHEN $2 NOT IN ${live} AND l.active_run = $1 AND l.waiting > 0 AND x.run_id IS NULL THEN 'again'
        ELSE 'ok' END AS verdict
      FROM locked l JOIN subject r ON true LEFT JOIN successor x ON true
    ), written AS (
      UPDATE ${schema}.runs r SET status = $2, revision = $3::bigint, attempt = $4::bigint, poison = $5::bigint, owner = $6,
        coordinator = $7, claim_seq = $8::bigint, base_set = $9::boolean, base = $10, cancel_requested = $11::boolean,
        outcome = $12::text::bytea, history = $13::text::bytea
      FROM judged j WHERE j.verdict = 'ok' AND r.run_id = $1
      RETURNING r.*
    ), released AS (
      UPDATE ${schema}.threads h SET
        epoch = h.epoch + CASE WHEN j.active THEN 1 ELSE 0 END,
        nonce = CASE WHEN j.active THEN '' ELSE h.nonce END,
        active_run = CASE WHEN j.active THEN j.next_run ELSE h.active_run END,
        waiting = h.waiting - CASE WHEN j.active AND j.next_run IS NULL THEN 0 ELSE 1 END
      FROM judged j WHERE j.verdict = 'ok' AND j.ending AND h.thread_id = j.thread_id
    ), r AS (
      SELECT * FROM written UNION ALL SELECT t.* FROM subject t JOIN judged j ON j.verdict <> 'ok'
    )
    SELECT ${recordColumns("s")}, j.active AND NOT (j.ending AND j.verdict = 'ok'), j.seq, j.verdict
    FROM judged j JOIN r ON true JOIN ${schema}.specs s ON s.run_id = r.run_id`;
}
