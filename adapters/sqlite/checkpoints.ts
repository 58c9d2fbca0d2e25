/**
 * Checkpoints and task writes. A row holds only the channels that its commit changed; a read gathers the others from
 * the rows that `versions` names.
 *
 * Task writes stay as long as their thread: a rollback or a fork goes back to an older checkpoint and must find what
 * was pending there, and they grow only with the work done.
 */
import { type Changed, packChanged, unpackChanged } from "../../src/checkpoint/pack.ts";
import { checkPieces, gathered, readVersions, type Versions, versionsJson } from "../../src/checkpoint/pieces.ts";
import type {
  CheckpointQuery,
  Commit,
  NamespaceQuery,
  StoredCheckpoint,
  TaskWriteKind,
  TaskWrites,
  TaskWritesRequest,
  WriteResult,
} from "../../src/checkpoint/saver.ts";
import { AgentmaticError, invalid } from "../../src/errors.ts";
import type { Session } from "./connection.ts";
import { finish } from "./runs.ts";
import {
  deleteCheckpoints,
  deleteRuns,
  deleteSpecs,
  deleteTaskWrites,
  insertCheckpoint,
  insertTaskWrite,
  leaveTombstone,
  replaceCheckpoint,
  selectBefore,
  selectChanged,
  selectNamed,
  selectNamespaces,
  selectNewest,
  selectTaskWrites,
  setHead,
} from "./statements.ts";
import { checkText } from "./text.ts";
import { fencedOut, findThread, holds, type ThreadRow } from "./threads.ts";

interface CheckpointRow {
  readonly seq: number;
  readonly ns: string;
  readonly checkpoint_id: string;
  readonly parent_id: string | null;
  readonly run_id: string;
  readonly step: number;
  readonly epoch: number;
  readonly versions: string;
  readonly body: Uint8Array;
  readonly changed: Uint8Array;
}

interface WriteRow {
  readonly task_id: string;
  readonly path: string;
  readonly kind: TaskWriteKind;
  readonly data: Uint8Array;
}

/** What a commit has to store, made ready before the transaction: whatever is wrong with it is found there. */
export interface PreparedCommit {
  readonly commit: Commit;
  readonly versions: string;
  readonly changed: Uint8Array;
}

/** Throws `InvalidArgument`, naming the field, for what the store could not give back as it was. */
export function prepareCommit(commit: Commit): PreparedCommit {
  const { checkpoint } = commit;
  checkText("commitId", commit.commitId);
  checkWrites(commit.writes ?? []);
  if (checkpoint) {
    checkText("checkpoint.ns", checkpoint.ns);
    checkText("checkpoint.checkpointId", checkpoint.checkpointId);
    checkText("checkpoint.parentId", checkpoint.parentId ?? "");
    checkText("checkpoint.runId", checkpoint.runId);
    const wrong = checkPieces(checkpoint, commit.seq);
    if (wrong) throw wrong;
  }
  return {
    commit,
    versions: checkpoint ? JSON.stringify(versionsJson(checkpoint)) : "",
    changed: packChanged(checkpoint?.values ?? {}, checkpoint?.changes),
  };
}

const ok: WriteResult = { ok: true };

/** `unfenced` is the test hook that takes every commit and puts it in the place of what is there. */
export function writeCommit(session: Session, prepared: PreparedCommit, unfenced: boolean): WriteResult {
  const { fence, checkpoint, commitId, expectedHead, seq, writes = [], finish: end } = prepared.commit;
  const thread = findThread(session, fence.threadId);
  if (!thread) throw fencedOut(fence);
  // A finishing commit leaves no holder behind, so its repetition is known by the commit id alone: ids are random.
  if (thread.commit_id === commitId && thread.epoch === fence.epoch) return ok;
  if (!unfenced) {
    if (!holds(thread, fence)) throw fencedOut(fence);
    if (thread.commit_id !== expectedHead || thread.seq !== seq - 1) {
      throw new AgentmaticError("Conflict", `thread ${fence.threadId}: the head is another`);
    }
    if (end && end.runId !== thread.active) throw invalid("finish.runId", `${end.runId} does not hold the thread`);
  }
  moveHead(session, thread, prepared.commit);
  if (checkpoint) storeCheckpoint(session, thread, prepared, unfenced);
  for (const write of writes) insertWrite(session, thread, write);
  if (end) finish(session, end);
  return ok;
}

export function putWrites(session: Session, { fence, writes }: TaskWritesRequest, unfenced: boolean): WriteResult {
  const thread = findThread(session, fence.threadId);
  if (!thread || !(unfenced || holds(thread, fence))) throw fencedOut(fence);
  for (const write of writes) insertWrite(session, thread, write);
  return ok;
}

export function getCheckpoint(
  session: Session,
  threadId: string,
  ns: string,
  checkpointId: string | undefined,
): StoredCheckpoint | undefined {
  const thread = findThread(session, threadId);
  if (!thread) return undefined;
  const wanted = checkpointId ?? (ns === "" ? thread.checkpoint_id : undefined);
  if (wanted === null) return undefined;
  const row = wanted === undefined ? newestOf(session, thread, ns) : named(session, thread, ns, wanted);
  return row && stored(session, threadId, thread, row);
}

export function listCheckpoints(
  session: Session,
  { threadId, ns = "", before, limit }: CheckpointQuery,
): StoredCheckpoint[] {
  const thread = findThread(session, threadId);
  if (!thread) return [];
  const from = before === undefined ? undefined : named(session, thread, ns, before);
  if (before !== undefined && !from) return [];
  const rows = session.sql<CheckpointRow>(selectBefore).all(thread.id, ns, from?.seq ?? Number.MAX_SAFE_INTEGER, limit);
  return rows.map((row) => stored(session, threadId, thread, row));
}

/** SQLite orders text by its UTF-8 bytes, which is by code point. */
export function listNamespaces(session: Session, { threadId, afterSeq, limit }: NamespaceQuery): string[] {
  const thread = findThread(session, threadId);
  if (!thread) return [];
  const rows = session.sql<{ ns: string }>(selectNamespaces).all(thread.id, afterSeq, limit);
  return rows.map(({ ns }) => ns);
}

/** Leaves the thread's row as a tombstone with a higher epoch (P2). */
export function deleteThread(session: Session, threadId: string): void {
  const thread = findThread(session, threadId);
  if (!thread) return;
  if (thread.active !== null) {
    throw new AgentmaticError("ThreadBusy", `thread ${threadId} has the active run ${thread.active}`);
  }
  session.sql(deleteSpecs).run(thread.id);
  session.sql(deleteRuns).run(thread.id);
  session.sql(deleteCheckpoints).run(thread.id);
  session.sql(deleteTaskWrites).run(thread.id);
  session.sql(leaveTombstone).run(thread.id);
}

function named(session: Session, thread: ThreadRow, ns: string, checkpointId: string): CheckpointRow | undefined {
  return session.sql<CheckpointRow>(selectNamed).get(thread.id, ns, checkpointId);
}

function newestOf(session: Session, thread: ThreadRow, ns: string): CheckpointRow | undefined {
  return session.sql<CheckpointRow>(selectNewest).get(thread.id, ns);
}

function moveHead(session: Session, thread: ThreadRow, { commitId, seq, checkpoint }: Commit): void {
  const root = checkpoint?.ns === "" ? checkpoint : undefined;
  session
    .sql(setHead)
    .run(commitId, seq, root?.checkpointId ?? thread.checkpoint_id, root?.runId ?? thread.run_id, thread.id);
}

function storeCheckpoint(session: Session, thread: ThreadRow, prepared: PreparedCommit, unfenced: boolean): void {
  const { fence, seq } = prepared.commit;
  const { ns, checkpointId, parentId, runId, step, body } = prepared.commit.checkpoint!;
  session
    .sql(unfenced ? replaceCheckpoint : insertCheckpoint)
    .run(
      thread.id,
      seq,
      ns,
      checkpointId,
      parentId,
      runId,
      step,
      fence.epoch,
      prepared.versions,
      body,
      prepared.changed,
    );
}

function insertWrite(session: Session, thread: ThreadRow, write: TaskWrites): void {
  session
    .sql(insertTaskWrite)
    .run(thread.id, write.ns, write.checkpointId, write.taskId, write.kind, write.path, write.data);
}

function stored(session: Session, threadId: string, thread: ThreadRow, row: CheckpointRow): StoredCheckpoint {
  const versions = readVersions(JSON.parse(row.versions));
  const writes = session.sql<WriteRow>(selectTaskWrites).all(thread.id, row.ns, row.checkpoint_id);
  return {
    checkpoint: {
      threadId,
      ns: row.ns,
      checkpointId: row.checkpoint_id,
      parentId: row.parent_id,
      runId: row.run_id,
      step: row.step,
      seq: row.seq,
      epoch: row.epoch,
      ...versions,
      ...gather(session, threadId, thread, row, versions),
      body: row.body,
    },
    writes: writes.map(({ task_id, path, kind, data }) => ({
      ns: row.ns,
      checkpointId: row.checkpoint_id,
      taskId: task_id,
      path,
      kind,
      data,
    })),
  };
}

function gather(
  session: Session,
  threadId: string,
  thread: ThreadRow,
  row: CheckpointRow,
  versions: Versions,
): ReturnType<typeof gathered> {
  const changedBy = new Map<number, Changed>([[row.seq, unpackChanged(row.changed)]]);
  return gathered(threadId, versions, (seq) => {
    const known = changedBy.get(seq);
    if (known) return known;
    const found = session.sql<{ changed: Uint8Array }>(selectChanged).get(thread.id, seq);
    if (!found) return undefined;
    const changed = unpackChanged(found.changed);
    changedBy.set(seq, changed);
    return changed;
  });
}

/** Throws `InvalidArgument`, naming the field, for what the store could not give back as it was. */
export function checkWrites(writes: readonly TaskWrites[]): void {
  for (const { ns, checkpointId, taskId, path } of writes) {
    checkText("writes.ns", ns);
    checkText("writes.checkpointId", checkpointId);
    checkText("writes.taskId", taskId);
    checkText("writes.path", path);
  }
}
