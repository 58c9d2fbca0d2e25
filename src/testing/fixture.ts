/** What the cases build with: runs, claims and commits that are right unless a case says otherwise. */
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import type {
  Claim,
  ClaimRequest,
  Commit,
  Fence,
  NewCheckpoint,
  RunFinish,
  Saver,
  StoredCheckpoint,
  TaskWrites,
  ThreadHead,
} from "../checkpoint/saver.ts";
import { systemPorts } from "../ports.ts";
import type { RunRecord, RunSpec, RunState } from "../run/record.ts";
import type { Admission } from "../run/store.ts";
import { handOff } from "../run/transitions.ts";
import { check, done } from "./assert.ts";

export const pageMax = 1000;

export function freshId(prefix: string): string {
  return `${prefix}-${systemPorts.ids.next()}`;
}

/** A short text as stored bytes. */
export function bytes(text: string): Uint8Array {
  return encodeValue(text);
}

export function text(stored: Uint8Array | undefined): unknown {
  return stored && decodeValue(stored);
}

export function newSpec(given: Partial<RunSpec> = {}): RunSpec {
  const runId = given.runId ?? freshId("run");
  return {
    threadId: freshId("thread"),
    kind: "input",
    graph: { name: "chat", version: "v1" },
    input: bytes("hello"),
    inputHash: `hash of ${runId}`,
    correlationId: "correlation-1",
    maxSteps: 25,
    maxAttempts: 3,
    createdAtMs: 1_700_000_000_000,
    ...given,
    runId,
  };
}

export async function admitted(
  saver: Saver,
  given: Partial<RunSpec> = {},
  whenBusy: Admission["whenBusy"] = "enqueue",
): Promise<RunRecord> {
  const { record } = await saver.admit({ spec: newSpec(given), coordinator: null, whenBusy });
  return record;
}

export function claimRequest(record: RunRecord, given: Partial<ClaimRequest> = {}): ClaimRequest {
  const { threadId, runId } = record.spec;
  return {
    threadId,
    runId,
    attempt: record.state.attempt,
    owner: freshId("worker"),
    nonce: freshId("nonce"),
    ...given,
  };
}

/** A claim in a worker's hands: the fence, and the head that its next commit builds on. */
export interface Holding {
  readonly threadId: string;
  readonly runId: string;
  readonly fence: Fence;
  head: ThreadHead;
  /** Which commit wrote each root channel last. */
  versions: Readonly<Record<string, number>>;
}

export function holdingOf(claim: Claim, versions: Readonly<Record<string, number>> = {}): Holding {
  const { fence, head, record } = claim;
  return { threadId: fence.threadId, runId: record.spec.runId, fence, head, versions };
}

/** Admits a run, unless there is one, and claims its thread. */
export async function held(saver: Saver, given: Partial<RunSpec> = {}): Promise<Holding> {
  return holdingOf(await saver.claim(claimRequest(await admitted(saver, given))));
}

/** Gives the run to its next attempt, as a coordinator that takes its worker for lost. */
export async function handedOff(saver: Saver, runId: string): Promise<RunRecord> {
  return saver.updateRun(runId, handOff(await stored(saver, runId), "coordinator-2", "lost", 0));
}

/** The next attempt's claim on the thread of `old`, which fences `old` out. */
export async function takenOver(saver: Saver, old: Holding): Promise<Holding> {
  const record = await handedOff(saver, old.runId);
  return holdingOf(await saver.claim(claimRequest(record)), old.versions);
}

export async function stored(saver: Saver, runId: string): Promise<RunRecord> {
  const record = await saver.getRun(runId);
  check(record !== undefined, `run ${runId} to be in the store`);
  return record;
}

export interface StepOptions {
  readonly ns?: string;
  readonly checkpointId?: string;
  readonly parentId?: string | null;
  /** Channels that this superstep writes. Default: one, named `count`, whose value is the commit's number. */
  readonly values?: Readonly<Record<string, Uint8Array>>;
  readonly writes?: readonly TaskWrites[];
  readonly finish?: RunFinish;
}

/** The next superstep's commit. Changes nothing by itself: see `advance`. */
export function nextCommit(holding: Holding, options: StepOptions = {}): Commit {
  const { fence, head } = holding;
  const seq = head.seq + 1;
  const commit = { fence, expectedHead: head.commitId, commitId: freshId("commit"), seq };
  return {
    ...commit,
    checkpoint: newCheckpoint(holding, seq, options),
    ...(options.writes && { writes: options.writes }),
    ...(options.finish && { finish: options.finish }),
  };
}

function newCheckpoint(holding: Holding, seq: number, options: StepOptions): NewCheckpoint {
  const { ns = "", values = { count: bytes(`value ${seq}`) } } = options;
  const written = Object.entries(values).map(([channel]): [string, number] => [channel, seq]);
  const parentId = ns === "" ? holding.head.checkpointId : null;
  return {
    ns,
    checkpointId: options.checkpointId ?? `${holding.runId}/${ns}/${seq}`,
    parentId: options.parentId === undefined ? parentId : options.parentId,
    runId: holding.runId,
    step: seq,
    // Object.fromEntries makes an own property of every name, `__proto__` included; assignment would not.
    versions: Object.fromEntries([...(ns === "" ? Object.entries(holding.versions) : []), ...written]),
    values,
    body: bytes(`body ${seq}`),
  };
}

/** Takes note that the commit went through. */
export function advance(holding: Holding, { commitId, seq, checkpoint }: Commit): void {
  const root = checkpoint?.ns === "" ? checkpoint : undefined;
  holding.head = {
    commitId,
    seq,
    checkpointId: root ? root.checkpointId : holding.head.checkpointId,
    runId: root ? root.runId : holding.head.runId,
  };
  if (root) holding.versions = root.versions;
}

export async function committed(saver: Saver, holding: Holding, options: StepOptions = {}): Promise<Commit> {
  const commit = nextCommit(holding, options);
  done(await saver.commit([commit]));
  advance(holding, commit);
  return commit;
}

/** Ends the run well with a last superstep; the next queued run of the thread may be claimed afterwards. */
export async function finished(saver: Saver, holding: Holding): Promise<Commit> {
  return committed(saver, holding, { finish: finishOf(holding) });
}

export function finishOf(holding: Holding, status: RunFinish["status"] = "succeeded"): RunFinish {
  return { runId: holding.runId, status, outcome: { checkpointId: `${holding.runId}//${holding.head.seq + 1}` } };
}

export function endState(record: RunRecord, status: "cancelled" | "failed" | "dead"): RunState {
  const outcome = { checkpointId: null, error: { code: "Cancelled", message: "stopped" } as const };
  return { ...record.state, status, revision: record.state.revision + 1, outcome };
}

export function taskWrites(holding: Holding, taskId: string, given: Partial<TaskWrites> = {}): TaskWrites {
  const checkpointId = holding.head.checkpointId ?? "";
  return { ns: "", checkpointId, taskId, path: taskId, kind: "done", data: bytes(`writes of ${taskId}`), ...given };
}

/** All that the port shows of a thread and some runs: two dumps around a refused write must be equal. */
export interface Dump {
  readonly head: ThreadHead | undefined;
  readonly checkpoints: readonly StoredCheckpoint[];
  readonly runs: readonly (RunRecord | undefined)[];
}

export async function dump(
  saver: Saver,
  threadId: string,
  runIds: readonly string[],
  namespaces: readonly string[] = [""],
): Promise<Dump> {
  const head = await saver.head(threadId);
  const checkpoints: StoredCheckpoint[] = [];
  for (const ns of namespaces) checkpoints.push(...(await saver.list({ threadId, ns, limit: pageMax })));
  const runs: (RunRecord | undefined)[] = [];
  for (const runId of runIds) runs.push(await saver.getRun(runId));
  return { head, checkpoints, runs };
}
