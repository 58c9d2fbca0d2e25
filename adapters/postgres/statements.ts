/**
 * Every statement of the store. Each is one round trip and one transaction (P19), and one that writes locks the thread's
 * head row before it decides (P17).
 *
 * What that takes under READ COMMITTED: a statement sees the rows that were committed when it began, but the head row
 * that it had to wait for as its last owner left it. So everything is decided on `locked`, never on a plain read of
 * `threads`; a run's row is read again under a lock of its own; and where rows that came meanwhile would matter (a
 * successor that is waiting, a thread to delete) the statement changes nothing and says `again`. Sub-statements that
 * write do not see each other: what follows a write reads its RETURNING.
 */

const recordColumns = `s.spec, s.input, r.status, r.revision, r.attempt, r.poison, r.owner, r.coordinator, r.lease,
  r.claim_seq, r.base_set, r.base, r.cancel_requested, r.outcome, r.history, r.ticket`;

const live = `('queued', 'running')`;

export interface Statements {
  readonly identity: string;
  readonly admit: string;
  readonly getRun: string;
  readonly listRuns: string;
  readonly listThreadRuns: string;
  readonly updateRun: string;
  readonly beat: string;
  readonly members: string;
  readonly removeMember: string;
  readonly claim: string;
  readonly renew: string;
  readonly putWrites: string;
  commit(shape: CommitShape): string;
  readonly head: string;
  readonly getCurrent: string;
  readonly getNamed: string;
  readonly getLatest: string;
  readonly list: string;
  readonly deleteThread: string;
}

/** `unfenced`: the test hook that takes commits and task writes whatever their fence. */
export function statements(name: string, unfenced: boolean): Statements {
  const schema = `"${name}"`;
  return {
    identity: `SELECT format, store_id, zone, region, current_setting('synchronous_commit') FROM ${schema}.meta`,
    ...runStatements(schema),
    ...memberStatements(schema),
    claim: claim(schema),
    renew: renew(schema),
    putWrites: putWrites(schema, unfenced),
    commit: (shape) => commit(schema, unfenced, shape),
    head: `SELECT commit_id, seq, checkpoint_id, run_id FROM ${schema}.threads WHERE thread_id = $1 AND seq > 0`,
    ...checkpointStatements(schema),
    deleteThread: deleteThread(schema),
  };
}

/** What a batch of commits holds, so that a statement has no parts that would find nothing to do. */
export interface CommitShape {
  readonly writes: boolean;
  readonly ends: boolean;
}

/**
 * Answers: ordinal and verdict of each entry whose thread is there. `done`: it is this very commit that the head is at,
 * so an earlier try came through (P7). Of a refused entry no row is written, for all rows come from what `moved` returned.
 */
function commit(schema: string, unfenced: boolean, { writes, ends }: CommitShape): string {
  const columns = entryColumns.filter(([name]) => ends || !endColumns.has(name));
  const fenced = unfenced
    ? ""
    : `WHEN h.epoch <> e.my_epoch OR h.nonce <> e.my_nonce OR h.nonce = '' THEN 'fenced'
        WHEN h.commit_id IS DISTINCT FROM e.expected OR h.seq <> e.my_seq - 1 THEN 'conflict'
        ${ends ? "WHEN e.ends IS NOT NULL AND h.active_run IS DISTINCT FROM e.ends THEN 'ends'" : ""}`;
  return `WITH judged AS MATERIALIZED (
      SELECT e.*, ${ends ? "x.run_id AS next_run, coalesce(e.ends = h.active_run, false) AS ending," : ""} CASE
        WHEN h.commit_id = e.my_commit AND h.epoch = e.my_epoch THEN 'done'
        ${fenced}
        ${ends ? "WHEN e.ends = h.active_run AND h.waiting > 0 AND x.run_id IS NULL THEN 'again'" : ""}
        ELSE 'ok' END AS verdict
      FROM ${lockedEntries(schema, columns)}
      ${ends ? `LEFT JOIN LATERAL (${successorOf(schema, "h", "e.ends = h.active_run")}) x ON true` : ""}
    ), moved AS (
      UPDATE ${schema}.threads h SET commit_id = j.my_commit, seq = j.my_seq,
        ${ends ? releasing : ""}
        checkpoint_id = CASE WHEN j.ns = '' THEN j.checkpoint_id ELSE h.checkpoint_id END,
        run_id = CASE WHEN j.ns = '' THEN j.run_id ELSE h.run_id END
      FROM judged j WHERE j.verdict = 'ok' AND h.thread_id = j.thread_id
      RETURNING j.*
    ), stored AS (
      INSERT INTO ${schema}.checkpoints (thread_id, seq, epoch, ns, checkpoint_id, parent_id, run_id, step, versions,
        sources, changed, body)
      SELECT thread_id, my_seq, my_epoch, ns, checkpoint_id, parent_id, run_id, step, versions, sources::bigint[], changed,
        body
      FROM moved WHERE ns IS NOT NULL ${unfenced ? upsert : ""}
    )${writes ? `, kept AS (${keepWrites(schema, columns.length + 1, "moved")})` : ""}${ends ? `, ${ended(schema)}` : ""}
    SELECT n, 'ok' FROM moved UNION ALL SELECT n, verdict FROM judged WHERE verdict <> 'ok'`;
}

/** Parameters of `commit`, one array each, in this order; then those of the writes. */
const entryColumns: readonly (readonly [name: string, type: string])[] = [
  ["thread_id", "text"],
  ["my_epoch", "bigint"],
  ["my_nonce", "text"],
  ["expected", "text"],
  ["my_commit", "text"],
  ["my_seq", "bigint"],
  ["ns", "text"],
  ["checkpoint_id", "text"],
  ["parent_id", "text"],
  ["run_id", "text"],
  ["step", "bigint"],
  ["versions", "bytea"],
  ["sources", "text"],
  ["changed", "bytea"],
  ["body", "bytea"],
  ["ends", "text"],
  ["end_status", "text"],
  ["outcome", "bytea"],
];

const endColumns: ReadonlySet<string> = new Set(["ends", "end_status", "outcome"]);

const releasing = `nonce = CASE WHEN j.ending THEN '' ELSE h.nonce END,
        active_run = CASE WHEN j.ending THEN j.next_run ELSE h.active_run END,
        waiting = h.waiting - CASE WHEN j.next_run IS NULL THEN 0 ELSE 1 END,`;

const upsert = `ON CONFLICT (thread_id, seq) DO UPDATE SET epoch = excluded.epoch, ns = excluded.ns,
        checkpoint_id = excluded.checkpoint_id, parent_id = excluded.parent_id, run_id = excluded.run_id,
        step = excluded.step, versions = excluded.versions, sources = excluded.sources, changed = excluded.changed,
        body = excluded.body`;

function ended(schema: string): string {
  return `ended AS (
      UPDATE ${schema}.runs r SET status = m.end_status, outcome = m.outcome, revision = r.revision + 1
      FROM moved m WHERE m.ends IS NOT NULL AND r.run_id = m.ends AND r.status IN ${live}
    )`;
}

/**
 * Entries `e` (one array a column, from the first parameter on, and the ordinal `n`) with their heads `h`, which are
 * locked one after the other in the order of their ids, so that no two batches wait for each other (P18). A join would
 * be planned as a walk over all threads where the plan was made while there were few.
 */
function lockedEntries(schema: string, columns: readonly (readonly [name: string, type: string])[]): string {
  const arrays = columns.map(([, type], index) => `$${index + 1}::${type}[]`).join(", ");
  const names = columns.map(([name]) => name).join(", ");
  return `(
        SELECT * FROM unnest(${arrays}) WITH ORDINALITY AS u (${names}, n) ORDER BY u.thread_id COLLATE "C"
      ) e CROSS JOIN LATERAL (SELECT t.* FROM ${schema}.threads t WHERE t.thread_id = e.thread_id FOR UPDATE) h`;
}

/** Seven arrays from parameter `$at` on; `held` has the entries (n, thread_id) that they may be stored for. */
function keepWrites(schema: string, at: number, held: string): string {
  const types = ["int", "text", "text", "text", "text", "text", "bytea"];
  const arrays = types.map((type, index) => `$${at + index}::${type}[]`).join(", ");
  return `INSERT INTO ${schema}.writes (thread_id, ns, checkpoint_id, task_id, kind, path, data)
      SELECT m.thread_id, w.ns, w.checkpoint_id, w.task_id, w.kind, w.path, w.data
      FROM unnest(${arrays}) AS w (n, ns, checkpoint_id, task_id, kind, path, data) JOIN ${held} m ON m.n = w.n
      ON CONFLICT (thread_id, ns, checkpoint_id, task_id, kind) DO UPDATE SET path = excluded.path, data = excluded.data`;
}

/** The waiting run with the lowest ticket. All of them came after the active one, whose ticket never changes. */
function successorOf(schema: string, head: string, condition: string): string {
  return `SELECT r.run_id FROM ${schema}.runs r WHERE ${condition} AND ${head}.waiting > 0
        AND r.thread_id = ${head}.thread_id AND r.status IN ${live}
        AND r.ticket > (SELECT a.ticket FROM ${schema}.runs a WHERE a.run_id = ${head}.active_run)
        ORDER BY r.ticket LIMIT 1 FOR UPDATE OF r`;
}

const fenceColumns: readonly (readonly [name: string, type: string])[] = entryColumns.slice(0, 3);
const inForce = `h.epoch = e.my_epoch AND h.nonce = e.my_nonce AND h.nonce <> ''`;

/** Answers: ordinals of the entries whose fence is in force. */
function putWrites(schema: string, unfenced: boolean): string {
  return `WITH held AS MATERIALIZED (
      SELECT e.n, e.thread_id FROM ${lockedEntries(schema, fenceColumns)} ${unfenced ? "" : `WHERE ${inForce}`}
    ), kept AS (${keepWrites(schema, 4, "held")})
    SELECT n FROM held`;
}

/** Answers: ordinal and cancelRequested of the entries whose fence is in force. */
function renew(schema: string): string {
  return `WITH held AS MATERIALIZED (
      SELECT e.n, e.my_run FROM ${lockedEntries(schema, [...fenceColumns, ["my_run", "text"]])}
      WHERE ${inForce} AND h.active_run = e.my_run
    ), counted AS (
      UPDATE ${schema}.runs r SET lease = r.lease + 1
      FROM (SELECT DISTINCT my_run FROM held) m WHERE r.run_id = m.my_run
      RETURNING r.run_id, r.cancel_requested
    )
    SELECT m.n, c.cancel_requested FROM held m JOIN counted c ON c.run_id = m.my_run`;
}

/** Answers one row: verdict (`take`, `same`, or why not), the record's attempt and status, the head, the record. */
function claim(schema: string): string {
  return `WITH locked AS MATERIALIZED (
      SELECT h.* FROM ${schema}.threads h WHERE h.thread_id = $1 FOR UPDATE
    ), subject AS MATERIALIZED (
      SELECT r.* FROM locked l JOIN ${schema}.runs r ON r.run_id = $2 AND r.thread_id = l.thread_id FOR UPDATE OF r
    ), judged AS MATERIALIZED (
      SELECT l.*, r.attempt, r.status, CASE
        WHEN l.active_run IS DISTINCT FROM r.run_id THEN 'inactive'
        WHEN r.status NOT IN ${live} THEN 'ended'
        WHEN r.attempt <> $3::bigint THEN 'attempt'
        WHEN l.nonce = $4 THEN 'same'
        ELSE 'take' END AS verdict
      FROM locked l JOIN subject r ON true
    ), taken AS (
      UPDATE ${schema}.threads h SET epoch = greatest(h.epoch + 1, $5::bigint), nonce = $4
      FROM judged j WHERE j.verdict = 'take' AND h.thread_id = j.thread_id
      RETURNING h.epoch
    ), begun AS (
      UPDATE ${schema}.runs r SET status = 'running', revision = r.revision + 1, owner = $6, lease = r.lease + 1,
        claim_seq = j.seq, base = CASE WHEN r.base_set THEN r.base ELSE coalesce(s.from_checkpoint_id, j.checkpoint_id) END,
        base_set = true
      FROM judged j JOIN ${schema}.specs s ON s.run_id = $2 WHERE j.verdict = 'take' AND r.run_id = s.run_id
      RETURNING r.*
    ), r AS (
      SELECT * FROM begun UNION ALL SELECT t.* FROM subject t JOIN judged j ON j.verdict <> 'take'
    )
    SELECT ${recordColumns}, true, j.seq, j.verdict, coalesce(t.epoch, j.epoch), j.commit_id, j.checkpoint_id, j.run_id
    FROM judged j JOIN r ON true JOIN ${schema}.specs s ON s.run_id = r.run_id LEFT JOIN taken t ON true`;
}

function runStatements(schema: string) {
  const found = `JOIN ${schema}.specs s ON s.run_id = r.run_id JOIN ${schema}.threads h ON h.thread_id = r.thread_id`;
  const place = `h.active_run IS NOT DISTINCT FROM r.run_id, h.seq`;
  const others = `AND r.run_id > $1 AND ($2::text IS NULL OR r.coordinator = $2)
    AND ($3::text IS NULL OR r.coordinator IS DISTINCT FROM $3)`;
  return {
    getRun: `SELECT ${recordColumns}, ${place} FROM ${schema}.runs r ${found} WHERE r.run_id = $1`,
    // By status one at a time, so that each is a walk along the index, and short whatever the number of ended runs.
    listRuns: `SELECT ${recordColumns}, ${place}
      FROM unnest($4::text[]) AS wanted (status) CROSS JOIN LATERAL (
        SELECT r.* FROM ${schema}.runs r WHERE r.status = wanted.status ${others} ORDER BY r.run_id LIMIT $5::bigint
      ) r ${found} ORDER BY r.run_id LIMIT $5::bigint`,
    listThreadRuns: `SELECT ${recordColumns}, ${place} FROM ${schema}.runs r ${found}
      WHERE r.thread_id = $6 ${others} AND r.status = ANY ($4::text[]) ORDER BY r.run_id LIMIT $5::bigint`,
    admit: admit(schema),
    updateRun: updateRun(schema),
  };
}

/**
 * Answers one row: created, and the record; none where the thread is busy. Two that admit one id at the same time: the
 * later one fails on the key, as a whole, and finds the record when it is issued again.
 */
function admit(schema: string): string {
  return `WITH existing AS MATERIALIZED (
      SELECT r.* FROM ${schema}.runs r WHERE r.run_id = $1
    ), seat AS (
      INSERT INTO ${schema}.threads AS h (thread_id, epoch, nonce, seq, active_run, waiting, tickets)
      SELECT $2, 0, '', 0, $1, 0, 1 WHERE NOT EXISTS (SELECT FROM existing)
      ON CONFLICT (thread_id) DO UPDATE SET tickets = h.tickets + 1, active_run = coalesce(h.active_run, excluded.active_run),
        waiting = h.waiting + CASE WHEN h.active_run IS NULL THEN 0 ELSE 1 END
      WHERE h.active_run IS NULL OR $3::boolean
      RETURNING h.tickets, h.active_run, h.seq
    ), made AS (
      INSERT INTO ${schema}.runs (run_id, thread_id, ticket, status, revision, attempt, poison, owner, coordinator, lease,
        claim_seq, base_set, base, cancel_requested, outcome, history)
      SELECT $1, $2, seat.tickets, $4::text, 1, 1, 0, NULL, $5::text, 0, NULL, false, NULL, false, NULL, $6::text::bytea FROM seat
      RETURNING *
    ), described AS (
      INSERT INTO ${schema}.specs (run_id, from_checkpoint_id, spec, input)
      SELECT $1, $7::text, $8::text::bytea, $9::text::bytea FROM seat RETURNING *
    )
    SELECT ${recordColumns}, seat.active_run = r.run_id, seat.seq, true FROM made r JOIN described s ON true JOIN seat ON true
    UNION ALL
    SELECT ${recordColumns}, h.active_run IS NOT DISTINCT FROM r.run_id, h.seq, false FROM existing r
      JOIN ${schema}.specs s ON s.run_id = r.run_id JOIN ${schema}.threads h ON h.thread_id = r.thread_id`;
}

/** Answers one row: verdict, the revision found, the record as written; none where the run is not in the store. */
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
      SELECT l.thread_id, l.seq, l.active_run = $1 AS active, $2 NOT IN ${live} AS ending, x.run_id AS next_run, CASE
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
    SELECT ${recordColumns}, j.active AND NOT (j.ending AND j.verdict = 'ok'), j.seq, j.verdict
    FROM judged j JOIN r ON true JOIN ${schema}.specs s ON s.run_id = r.run_id`;
}

function memberStatements(schema: string) {
  return {
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

/** Rows of three parts: 0 checkpoints, newest first; 1 other commits that their versions name; 2 writes, in order. */
function checkpointStatements(schema: string) {
  const read = (page: string) => `WITH page AS MATERIALIZED (${page})
    SELECT 0 AS part, p.seq, p.epoch, p.checkpoint_id AS a, p.parent_id AS b, p.run_id AS c, NULL AS d, p.step, p.versions,
      p.changed, p.body FROM page p
    UNION ALL
    SELECT 1, c.seq, NULL, NULL, NULL, NULL, NULL, NULL, NULL, c.changed, NULL FROM ${schema}.checkpoints c
    WHERE c.thread_id = $1 AND c.seq IN (SELECT unnest(p.sources) FROM page p EXCEPT SELECT p.seq FROM page p)
    UNION ALL
    SELECT 2, NULL, NULL, w.checkpoint_id, w.task_id, w.path, w.kind, NULL, NULL, w.data, NULL FROM ${schema}.writes w
    WHERE w.thread_id = $1 AND w.ns = $2 AND w.checkpoint_id IN (SELECT p.checkpoint_id FROM page p)
    ORDER BY part, seq DESC, c, b, d`;
  const rows = `SELECT k.* FROM ${schema}.checkpoints k WHERE k.thread_id = $1 AND k.ns = $2`;
  return {
    getCurrent: read(`SELECT k.* FROM ${schema}.threads h JOIN ${schema}.checkpoints k ON k.thread_id = h.thread_id
      AND k.ns = $2 AND k.checkpoint_id = h.checkpoint_id WHERE h.thread_id = $1 ORDER BY k.seq DESC LIMIT 1`),
    getNamed: read(`${rows} AND k.checkpoint_id = $3 ORDER BY k.seq DESC LIMIT 1`),
    getLatest: read(`${rows} ORDER BY k.seq DESC LIMIT 1`),
    list: read(`${rows} AND ($3::text IS NULL OR k.seq < (SELECT max(b.seq) FROM ${schema}.checkpoints b
      WHERE b.thread_id = $1 AND b.ns = $2 AND b.checkpoint_id = $3)) ORDER BY k.seq DESC LIMIT $4::bigint`),
  };
}

/** Answers one row: verdict and active run; none where there is no such thread. */
function deleteThread(schema: string): string {
  const rows = (table: string, as: string) => `${as} AS (
      DELETE FROM ${schema}.${table} d USING judged j WHERE j.verdict = 'ok' AND d.thread_id = j.thread_id)`;
  return `WITH seen AS MATERIALIZED (
      SELECT h.epoch, h.seq, h.tickets FROM ${schema}.threads h WHERE h.thread_id = $1
    ), locked AS MATERIALIZED (
      SELECT h.* FROM ${schema}.threads h WHERE h.thread_id = $1 FOR UPDATE
    ), judged AS MATERIALIZED (
      -- Each of the three only grows: equal, they say that nothing came between this statement's view and its lock.
      SELECT l.thread_id, l.active_run, CASE
        WHEN l.active_run IS NOT NULL THEN 'busy'
        WHEN (s.epoch, s.seq, s.tickets) IS DISTINCT FROM (l.epoch, l.seq, l.tickets) THEN 'again'
        ELSE 'ok' END AS verdict
      FROM locked l LEFT JOIN seen s ON true
    ), emptied AS (
      UPDATE ${schema}.threads h SET epoch = h.epoch + 1, nonce = '', commit_id = NULL, seq = 0, checkpoint_id = NULL,
        run_id = NULL FROM judged j WHERE j.verdict = 'ok' AND h.thread_id = j.thread_id
    ), ${rows("checkpoints", "less_checkpoints")}, ${rows("writes", "less_writes")}, less_runs AS (
      DELETE FROM ${schema}.runs d USING judged j WHERE j.verdict = 'ok' AND d.thread_id = j.thread_id RETURNING d.run_id
    ), less_specs AS (
      DELETE FROM ${schema}.specs d USING less_runs r WHERE d.run_id = r.run_id)
    SELECT verdict, active_run FROM judged`;
}
