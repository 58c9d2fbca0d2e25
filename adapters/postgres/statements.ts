/** Every statement of the store, over the tables of migrations.ts. */
import { type CommitShape, claim, commit, putWrites, renew } from "./fenced.ts";
import { type RecordStatements, recordStatements } from "./records.ts";

export interface Statements extends RecordStatements {
  readonly identity: string;
  readonly claim: string;
  readonly renew: string;
  readonly putWrites: string;
  commit(shape: CommitShape): string;
  readonly head: string;
  readonly getCurrent: string;
  readonly getNamed: string;
  readonly getLatest: string;
  readonly list: string;
  readonly namespaces: string;
  readonly deleteThread: string;
}

/** `unfenced`: the test hook that takes commits and task writes whatever their fence. */
export function statements(name: string, unfenced: boolean): Statements {
  const schema = `"${name}"`;
  return {
    identity: `SELECT format, store_id, zone, region, current_setting('synchronous_commit') FROM ${schema}.meta`,
    ...recordStatements(schema),
    claim: claim(schema),
    renew: renew(schema),
    putWrites: putWrites(schema, unfenced),
    commit: (shape) => commit(schema, unfenced, shape),
    head: `SELECT commit_id, seq, checkpoint_id, run_id FROM ${schema}.threads WHERE thread_id = $1 AND seq > 0`,
    ...checkpointStatements(schema),
    deleteThread: deleteThread(schema),
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
    namespaces: `SELECT DISTINCT k.ns FROM ${schema}.checkpoints k WHERE k.thread_id = $1 AND k.seq > $2::bigint
      ORDER BY k.ns LIMIT $3::bigint`,
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
