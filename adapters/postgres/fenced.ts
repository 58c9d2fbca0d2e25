/**
 * The statements that decide who writes. Each locks the heads of its threads before it decides (P17), and is one round
 * trip and one transaction (P19).
 *
 * What that takes under READ COMMITTED: a statement sees the rows that were committed when it began, but a head that it
 * had to wait for as its last owner left it. So everything is decided on what the lock returned, never on a plain read;
 * a run's row is read again under a lock of its own; and where rows that came meanwhile would matter (a successor that
 * waits) the statement changes nothing and says `again`. Sub-statements that write do not see each other: what follows a
 * write reads its RETURNING.
 */

/** What `toRecord` reads of a record: the run's columns of `r`, the spec's of the named alias. */
export function recordColumns(spec: string): string {
  return `${spec}.spec, ${spec}.input, r.status, r.revision, r.attempt, r.poison, r.owner, r.coordinator, r.lease,
      r.claim_seq, r.base_set, r.base, r.cancel_requested, r.outcome, r.history, r.ticket`;
}

/** The statuses that are not terminal. */
export const live = `('queued', 'running')`;

type Columns = readonly (readonly [name: string, type: "text" | "bigint" | "bytea"])[];

const fenceColumns: Columns = [
  ["thread_id", "text"],
  ["my_epoch", "bigint"],
  ["my_nonce", "text"],
];

const inForce = `h.epoch = e.my_epoch AND h.nonce = e.my_nonce AND h.nonce <> ''`;

const commitColumns: Columns = [
  ...fenceColumns,
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
];

const endColumns: Columns = [
  ["ends", "text"],
  ["end_status", "text"],
  ["outcome", "bytea"],
];

/** What a batch of commits holds, so that a statement has no parts that would find nothing to do. */
export interface CommitShape {
  readonly writes: boolean;
  readonly ends: boolean;
}

/**
 * Answers: ordinal and verdict of each entry whose thread is there. `done`: it is this very commit that the head is at,
 * so an earlier try came through (P7). Of a refused entry no row is written: all rows come from what `moved` returned.
 */
export function commit(schema: string, unfenced: boolean, { writes, ends }: CommitShape): string {
  const columns = ends ? [...commitColumns, ...endColumns] : commitColumns;
  const fenced = unfenced
    ? ""
    : `WHEN NOT (${inForce}) THEN 'fenced'
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

/** Answers: ordinals of the entries whose fence is in force. */
export function putWrites(schema: string, unfenced: boolean): string {
  return `WITH held AS MATERIALIZED (
      SELECT e.n, e.thread_id FROM ${lockedEntries(schema, fenceColumns)} ${unfenced ? "" : `WHERE ${inForce}`}
    ), kept AS (${keepWrites(schema, fenceColumns.length + 1, "held")})
    SELECT n FROM held`;
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

/** Answers: ordinal and cancelRequested of the entries whose fence is in force. */
export function renew(schema: string): string {
  return `WITH held AS MATERIALIZED (
      SELECT e.n, e.my_run FROM ${lockedEntries(schema, [...fenceColumns, ["my_run", "text"]])}
      WHERE ${inForce} AND h.active_run = e.my_run
    ), counted AS (
      UPDATE ${schema}.runs r SET lease = r.lease + 1 FROM held m WHERE r.run_id = m.my_run
      RETURNING r.run_id, r.cancel_requested
    )
    SELECT m.n, c.cancel_requested FROM held m JOIN counted c ON c.run_id = m.my_run`;
}

const claimColumns: Columns = [
  ["thread_id", "text"],
  ["my_run", "text"],
  ["my_attempt", "bigint"],
  ["my_nonce", "text"],
  ["proposed", "bigint"],
  ["my_owner", "text"],
];

/**
 * Answers for each entry whose thread is there: the record and its place (none where refused), ordinal, verdict (`take`,
 * `same`, or why not), epoch, the rest of the head, the record's status and attempt.
 */
export function claim(schema: string): string {
  return `WITH judged AS MATERIALIZED (
      SELECT e.*, h.epoch, h.commit_id, h.seq, h.checkpoint_id, h.run_id, r.status, r.attempt, CASE
        WHEN r.run_id IS NULL OR h.active_run IS DISTINCT FROM r.run_id THEN 'inactive'
        WHEN r.status NOT IN ${live} THEN 'ended'
        WHEN r.attempt <> e.my_attempt THEN 'attempt'
        WHEN h.nonce = e.my_nonce THEN 'same'
        ELSE 'take' END AS verdict
      FROM ${lockedEntries(schema, claimColumns)} LEFT JOIN LATERAL (
        SELECT t.run_id, t.status, t.attempt FROM ${schema}.runs t
        WHERE t.run_id = e.my_run AND t.thread_id = h.thread_id FOR UPDATE) r ON true
    ), taken AS (
      UPDATE ${schema}.threads h SET epoch = greatest(h.epoch + 1, j.proposed), nonce = j.my_nonce
      FROM judged j WHERE j.verdict = 'take' AND h.thread_id = j.thread_id
      RETURNING j.n, h.epoch
    ), begun AS (
      UPDATE ${schema}.runs r SET ${begin("status", "'running'")}, ${begin("revision", "r.revision + 1")},
        ${begin("owner", "j.my_owner")}, ${begin("lease", "r.lease + 1")}, ${begin("claim_seq", "j.seq")},
        base = CASE WHEN r.base_set THEN r.base ELSE coalesce(s.from_checkpoint_id, j.checkpoint_id) END, base_set = true
      FROM judged j JOIN ${schema}.specs s ON s.run_id = j.my_run
      WHERE j.verdict IN ('take', 'same') AND r.run_id = j.my_run
      RETURNING j.n, r.*, s.spec, s.input
    )
    SELECT ${recordColumns("r")}, true, j.seq, j.n, j.verdict, coalesce(t.epoch, j.epoch), j.commit_id,
      j.checkpoint_id, j.run_id, j.status, j.attempt
    FROM judged j LEFT JOIN begun r ON r.n = j.n LEFT JOIN taken t ON t.n = j.n`;
}

/** A claim that is only repeated finds its record unchanged. */
function begin(column: string, value: string): string {
  return `${column} = CASE WHEN j.verdict = 'take' THEN ${value} ELSE r.${column} END`;
}

/** The waiting run with the lowest ticket. All of them came after the active one, whose ticket never changes. */
export function successorOf(schema: string, head: string, condition: string): string {
  return `SELECT r.run_id FROM ${schema}.runs r WHERE ${condition} AND ${head}.waiting > 0
        AND r.thread_id = ${head}.thread_id AND r.status IN ${live}
        AND r.ticket > (SELECT a.ticket FROM ${schema}.runs a WHERE a.run_id = ${head}.active_run)
        ORDER BY r.ticket LIMIT 1 FOR UPDATE OF r`;
}

/**
 * Entries `e` (one array a column, from the first parameter on, and the ordinal `n`) with their heads `h`, which are
 * locked one after the other in the order of their ids, so that no two batches wait for each other (P18). A plain join
 * would be planned as a walk over all threads where the plan was made while there were few.
 */
function lockedEntries(schema: string, columns: Columns): string {
  return `(${entries(columns)}) e
      CROSS JOIN LATERAL (SELECT t.* FROM ${schema}.threads t WHERE t.thread_id = e.thread_id FOR UPDATE) h`;
}

export function entries(columns: Columns): string {
  const arrays = columns.map(([, type], index) => `$${index + 1}::${type}[]`).join(", ");
  const names = columns.map(([name]) => name).join(", ");
  return `SELECT * FROM unnest(${arrays}) WITH ORDINALITY AS u (${names}, n) ORDER BY u.thread_id COLLATE "C"`;
}
