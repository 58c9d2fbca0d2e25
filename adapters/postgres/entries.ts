/** Batches of the port turned into the parameters of one statement: a column of every entry is one array. */
import { packChanged } from "../../src/checkpoint/pack.ts";
import { checkPieces, sourcesOf, versionsJson } from "../../src/checkpoint/pieces.ts";
import type {
  ClaimRequest,
  Commit,
  Fence,
  NewCheckpoint,
  RenewRequest,
  TaskWrites,
  TaskWritesRequest,
} from "../../src/checkpoint/saver.ts";
import { specJson } from "../../src/checkpoint/spec-json.ts";
import type { RunSpec, RunState } from "../../src/run/record.ts";
import type { Admission } from "../../src/run/store.ts";
import { initialState } from "../../src/run/transitions.ts";
import type { CommitShape } from "./fenced.ts";
import { byteArray, checkText, intArray, textArray } from "./literals.ts";
import { encodeJson } from "./rows.ts";

/** A commit with its payload encoded, so that a retry costs nothing and its size is known before it is queued. */
export interface CommitEntry {
  readonly commit: Commit;
  readonly versions: Uint8Array | null;
  readonly changed: Uint8Array | null;
  readonly outcome: Uint8Array | null;
  readonly bytes: number;
}

/** Throws `InvalidArgument`, naming the field, for texts that Postgres cannot hold. */
export function commitEntry(commit: Commit): CommitEntry {
  const { checkpoint, finish, writes = [] } = commit;
  checkText("commitId", commit.commitId);
  checkText("fence.nonce", commit.fence.nonce);
  if (checkpoint) checkCheckpoint(checkpoint, commit.seq);
  for (const write of writes) checkWrite(write);
  const versions = checkpoint ? encodeJson(versionsJson(checkpoint)) : null;
  const changed = checkpoint ? packChanged(checkpoint.values, checkpoint.changes) : null;
  const outcome = finish ? encodeJson(finish.outcome) : null;
  const own =
    (versions?.length ?? 0) + (changed?.length ?? 0) + (outcome?.length ?? 0) + (checkpoint?.body.length ?? 0);
  return { commit, versions, changed, outcome, bytes: own + bytesOf(writes) };
}

export function bytesOf(writes: readonly TaskWrites[]): number {
  return writes.reduce((sum, { data }) => sum + data.length, 0);
}

export function checkWrite(write: TaskWrites): void {
  checkText("ns", write.ns);
  checkText("checkpointId", write.checkpointId);
  checkText("taskId", write.taskId);
  checkText("path", write.path);
}

function checkCheckpoint(checkpoint: NewCheckpoint, seq: number): void {
  const { ns, checkpointId, parentId, runId } = checkpoint;
  const wrong = checkPieces(checkpoint, seq);
  if (wrong) throw wrong;
  checkText("ns", ns);
  checkText("checkpointId", checkpointId);
  checkText("parentId", parentId ?? "");
  checkText("runId", runId);
}

/** Which parts of the statement a batch needs. */
export function shapeOf(entries: readonly CommitEntry[]): CommitShape {
  return {
    writes: entries.some(({ commit }) => (commit.writes?.length ?? 0) > 0),
    ends: entries.some(({ commit }) => commit.finish !== undefined),
  };
}

export function commitParameters(entries: readonly CommitEntry[], { writes, ends }: CommitShape): string[] {
  const commits = entries.map(({ commit }) => commit);
  const checkpoints = commits.map(({ checkpoint }) => checkpoint);
  return [
    ...fenceColumns(commits),
    textArray(commits.map(({ expectedHead }) => expectedHead)),
    textArray(commits.map(({ commitId }) => commitId)),
    intArray(commits.map(({ seq }) => seq)),
    textArray(checkpoints.map((checkpoint) => checkpoint?.ns ?? null)),
    textArray(checkpoints.map((checkpoint) => checkpoint?.checkpointId ?? null)),
    textArray(checkpoints.map((checkpoint) => checkpoint?.parentId ?? null)),
    textArray(checkpoints.map((checkpoint) => checkpoint?.runId ?? null)),
    intArray(checkpoints.map((checkpoint) => checkpoint?.step ?? null)),
    byteArray(entries.map(({ versions }) => versions)),
    textArray(commits.map(({ checkpoint, seq }) => (checkpoint ? sources(checkpoint, seq) : null))),
    byteArray(entries.map(({ changed }) => changed)),
    byteArray(checkpoints.map((checkpoint) => checkpoint?.body ?? null)),
    ...(ends ? endColumns(entries) : []),
    ...(writes ? writeColumns(commits.map((commit) => commit.writes ?? [])) : []),
  ];
}

function endColumns(entries: readonly CommitEntry[]): string[] {
  return [
    textArray(entries.map(({ commit }) => commit.finish?.runId ?? null)),
    textArray(entries.map(({ commit }) => commit.finish?.status ?? null)),
    byteArray(entries.map(({ outcome }) => outcome)),
  ];
}

function fenceColumns(entries: readonly { readonly fence: Fence }[]): string[] {
  return [
    textArray(entries.map(({ fence }) => fence.threadId)),
    intArray(entries.map(({ fence }) => fence.epoch)),
    textArray(entries.map(({ fence }) => fence.nonce)),
  ];
}

function sources(checkpoint: NewCheckpoint, own: number): string {
  const others = sourcesOf(checkpoint);
  others.delete(own);
  return intArray([...others]);
}

export function putWritesParameters(entries: readonly TaskWritesRequest[]): string[] {
  return [
    ...fenceColumns(entries),
    ...writeColumns(
      entries.map(({ writes }) => writes),
      entries.map(({ fence }) => fence.threadId),
    ),
  ];
}

export function renewParameters(entries: readonly RenewRequest[]): string[] {
  return [...fenceColumns(entries), textArray(entries.map(({ runId }) => runId))];
}

/**
 * A statement may touch a row once only, so of several writes to one key the last goes. `threads` tells entries apart
 * that share a key; those of one thread in one batch are under one fence, so all of them are taken or none.
 */
function writeColumns(groups: readonly (readonly TaskWrites[])[], threads?: readonly string[]): string[] {
  const last = new Map<string, { ordinal: number; write: TaskWrites }>();
  groups.forEach((writes, index) => {
    const group = threads?.[index] ?? String(index);
    for (const write of writes) {
      const { ns, checkpointId, taskId, kind } = write;
      last.set([group, ns, checkpointId, taskId, kind].join("\0"), { ordinal: index + 1, write });
    }
  });
  const rows = [...last.values()];
  return [
    intArray(rows.map(({ ordinal }) => ordinal)),
    textArray(rows.map(({ write }) => write.ns)),
    textArray(rows.map(({ write }) => write.checkpointId)),
    textArray(rows.map(({ write }) => write.taskId)),
    textArray(rows.map(({ write }) => write.kind)),
    textArray(rows.map(({ write }) => write.path)),
    byteArray(rows.map(({ write }) => write.data)),
  ];
}

export function claimParameters(entries: readonly ClaimRequest[]): string[] {
  return [
    textArray(entries.map(({ threadId }) => threadId)),
    textArray(entries.map(({ runId }) => runId)),
    intArray(entries.map(({ attempt }) => attempt)),
    textArray(entries.map(({ nonce }) => nonce)),
    intArray(entries.map(({ proposedEpoch }) => proposedEpoch ?? null)),
    textArray(entries.map(({ owner }) => owner)),
  ];
}

/** An admission with its texts encoded, so that its size is known before it is queued. */
export interface AdmitEntry {
  readonly spec: RunSpec;
  readonly state: RunState;
  readonly encoded: Uint8Array;
}

/** Throws `InvalidArgument`, naming the field, for texts that Postgres cannot hold. */
export function admitEntry({ spec, coordinator }: Admission): AdmitEntry {
  checkText("coordinator", coordinator ?? "");
  checkText("fromCheckpointId", spec.fromCheckpointId ?? "");
  const rest = specJson(spec);
  return { spec, state: initialState(coordinator), encoded: encodeJson(rest) };
}

export function admitParameters(entries: readonly AdmitEntry[]): string[] {
  return [
    textArray(entries.map(({ spec }) => spec.threadId)),
    textArray(entries.map(({ spec }) => spec.runId)),
    textArray(entries.map(({ state }) => state.status)),
    textArray(entries.map(({ state }) => state.coordinator)),
    byteArray(entries.map(({ state }) => encodeJson(state.history))),
    textArray(entries.map(({ spec }) => spec.fromCheckpointId ?? null)),
    byteArray(entries.map(({ encoded }) => encoded)),
    byteArray(entries.map(({ spec }) => spec.input)),
  ];
}
