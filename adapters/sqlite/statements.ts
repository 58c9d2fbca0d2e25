/** Every statement of the saver but the tables' own (migrations.ts), in the order of a run's way. */

// Threads.

export const selectThread: string = `
  SELECT id, epoch, nonce, commit_id, seq, checkpoint_id, run_id, active, tickets
  FROM agentmatic_threads WHERE thread = ?`;

export const insertThread: string = `
  INSERT INTO agentmatic_threads (thread, epoch, nonce, seq, tickets) VALUES (?, 0, '', 0, 0)`;

export const giveTicket: string = `
  UPDATE agentmatic_threads SET tickets = ?, active = coalesce(active, ?) WHERE id = ?`;

export const raiseEpoch: string = `
  UPDATE agentmatic_threads SET epoch = ?, nonce = ? WHERE id = ?`;

export const setHead: string = `
  UPDATE agentmatic_threads SET commit_id = ?, seq = ?, checkpoint_id = ?, run_id = ? WHERE id = ?`;

/** The next active run is the one with the lowest ticket that has not ended. */
export const releaseThread: string = `
  UPDATE agentmatic_threads SET nonce = '', epoch = epoch + ?, active = (
    SELECT run FROM agentmatic_runs WHERE thread = agentmatic_threads.id AND live = 1 ORDER BY ticket LIMIT 1)
  WHERE id = ? AND active = ?`;

export const leaveTombstone: string = `
  UPDATE agentmatic_threads
  SET epoch = epoch + 1, nonce = '', commit_id = NULL, seq = 0, checkpoint_id = NULL, run_id = NULL
  WHERE id = ?`;

// Runs.

const selectRun = `
  SELECT r.id, r.thread, r.ticket, r.lease, r.state, s.spec, s.input, t.active IS r.run AS active, t.seq
  FROM agentmatic_runs r JOIN agentmatic_specs s ON s.id = r.id JOIN agentmatic_threads t ON t.id = r.thread`;

export const selectRunById: string = `${selectRun} WHERE r.run = ?`;

export interface RunFilters {
  readonly thread: boolean;
  readonly coordinator: boolean;
  readonly notCoordinator: boolean;
  readonly after: boolean;
  /** How many; undefined for any status. */
  readonly statuses: number | undefined;
  /** All of the statuses are of runs that have not ended. */
  readonly live: boolean;
}

/**
 * Parameters in the order of the filters, then the limit. Which runs is decided before their inputs are read: there may
 * be thousands, of many kilobytes each. `r.live = 1`, in these very words, lets SQLite use the small index of live runs,
 * and the `+` keeps it from that one where a thread is named, whose own index is the better one.
 */
export function selectRuns(filters: RunFilters): string {
  const conditions = ["TRUE"];
  if (filters.thread) conditions.push("r.thread = (SELECT id FROM agentmatic_threads WHERE thread = ?)");
  if (filters.coordinator) conditions.push("r.coordinator = ?");
  if (filters.notCoordinator) conditions.push("r.coordinator IS NOT ?");
  if (filters.after) conditions.push("r.run > ?");
  if (filters.statuses !== undefined) {
    const list = Array(filters.statuses).fill("?").join(", ");
    conditions.push(`${filters.thread ? "+" : ""}r.status IN (${list})`);
  }
  if (filters.live) conditions.push("r.live = 1");
  const chosen = `SELECT r.id FROM agentmatic_runs r WHERE ${conditions.join(" AND ")} ORDER BY r.run LIMIT ?`;
  return `${selectRun} WHERE r.id IN (${chosen}) ORDER BY r.run`;
}

export const insertRun: string = `
  INSERT INTO agentmatic_runs (run, thread, ticket, live, status, coordinator, revision, lease, cancel, state)
  VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?)`;

export const insertSpec: string = `
  INSERT INTO agentmatic_specs (id, spec, input) SELECT id, ?, ? FROM agentmatic_runs WHERE run = ?`;

export const updateState: string = `
  UPDATE agentmatic_runs SET status = ?, coordinator = ?, revision = ?, cancel = ?, state = ?, live = ? WHERE id = ?`;

export const selectCancel: string = `
  SELECT id, cancel FROM agentmatic_runs WHERE run = ?`;

export const countUpLease: string = `
  UPDATE agentmatic_runs SET lease = lease + 1 WHERE id = ?`;

export const deleteSpecs: string = `
  DELETE FROM agentmatic_specs WHERE id IN (SELECT id FROM agentmatic_runs WHERE thread = ?)`;

export const deleteRuns: string = `
  DELETE FROM agentmatic_runs WHERE thread = ?`;

// Checkpoints and task writes.

const intoCheckpoints = `
  INTO agentmatic_checkpoints
    (thread, seq, ns, checkpoint_id, parent_id, run_id, step, epoch, versions, body, changed)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

export const insertCheckpoint: string = `INSERT ${intoCheckpoints}`;

/** Only for the test hook: what is there under the number is lost. */
export const replaceCheckpoint: string = `INSERT OR REPLACE ${intoCheckpoints}`;

const selectCheckpoint = `
  SELECT seq, ns, checkpoint_id, parent_id, run_id, step, epoch, versions, body, changed
  FROM agentmatic_checkpoints`;

export const selectNamed: string = `
  ${selectCheckpoint} WHERE thread = ? AND ns = ? AND checkpoint_id = ? ORDER BY seq DESC LIMIT 1`;

export const selectNewest: string = `
  ${selectCheckpoint} WHERE thread = ? AND ns = ? ORDER BY seq DESC LIMIT 1`;

export const selectBefore: string = `
  ${selectCheckpoint} WHERE thread = ? AND ns = ? AND seq < ? ORDER BY seq DESC LIMIT ?`;

export const selectNamespaces: string = `
  SELECT DISTINCT ns FROM agentmatic_checkpoints WHERE thread = ? AND seq > ? ORDER BY ns LIMIT ?`;

export const selectChanged: string = `
  SELECT changed FROM agentmatic_checkpoints WHERE thread = ? AND seq = ?`;

export const deleteCheckpoints: string = `
  DELETE FROM agentmatic_checkpoints WHERE thread = ?`;

export const insertTaskWrite: string = `
  INSERT OR REPLACE INTO agentmatic_writes (thread, ns, checkpoint_id, task_id, kind, path, data)
  VALUES (?, ?, ?, ?, ?, ?, ?)`;

/** Texts compare as their UTF-8 bytes, which is by code point. */
export const selectTaskWrites: string = `
  SELECT task_id, path, kind, data FROM agentmatic_writes
  WHERE thread = ? AND ns = ? AND checkpoint_id = ? ORDER BY path, task_id, kind`;

export const deleteTaskWrites: string = `
  DELETE FROM agentmatic_writes WHERE thread = ?`;

// Members.

export const selectBeat: string = `
  SELECT beat FROM agentmatic_members WHERE member = ?`;

export const insertMember: string = `
  INSERT INTO agentmatic_members (turn, member, beat)
  VALUES ((SELECT coalesce(max(turn), 0) + 1 FROM agentmatic_members), ?, ?)`;

/** The parameter is how many stay. */
export const deleteOldMembers: string = `
  DELETE FROM agentmatic_members
  WHERE turn <= (SELECT turn FROM agentmatic_members ORDER BY turn DESC LIMIT 1 OFFSET ?)`;

export const selectMembers: string = `
  SELECT member, beat FROM agentmatic_members ORDER BY turn`;

export const deleteMember: string = `
  DELETE FROM agentmatic_members WHERE member = ?`;
