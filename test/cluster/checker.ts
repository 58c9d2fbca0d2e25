/**
 * Joins what the nodes saw (witness.ts) with what the store holds, read through the saver's port, and counts what must
 * not be. The state itself names the executions whose writes are in it, so nothing here rests on the store's own keys.
 */
import { decodeValue } from "../../src/checkpoint/codec.ts";
import { decodeChannel } from "../../src/checkpoint/ended.ts";
import type { Saver, StoredCheckpoint } from "../../src/checkpoint/saver.ts";
import { isTerminal, type RunRecord } from "../../src/run/record.ts";
import type { Mark, Start, WitnessLine } from "./witness.ts";

/** A run as the store holds it, with its own checkpoints in the order of their commits. */
export interface StoredRun {
  readonly runId: string;
  /** Undefined where the store has no such run. */
  readonly record: RunRecord | undefined;
  readonly checkpoints: readonly StoredTrail[];
}

export interface StoredTrail {
  readonly checkpointId: string;
  readonly parentId: string | null;
  readonly step: number;
  readonly seq: number;
  readonly epoch: number;
  readonly trail: readonly Mark[];
}

export interface Evidence {
  /** Ids of the runs whose admission was acknowledged. */
  readonly accepted: readonly string[];
  readonly witness: readonly WitnessLine[];
  readonly stored: readonly StoredRun[];
  /** Executions whose writes were found in the store when their process was dead or frozen (`storedTasks`). */
  readonly found?: readonly Mark[];
}

export interface Verdict {
  readonly accepted: number;
  /** Accepted and at an end. */
  readonly finished: number;
  readonly succeeded: number;
  /** Accepted and not at an end, or not in the store. */
  readonly lost: number;
  /** Tasks of which two executions, or one twice, were seen as committed; supersteps that the store has twice. */
  readonly committedTwice: number;
  /** Starts of a task after it had been stored: under a newer epoch than its stored execution's, or again under its own. */
  readonly finishedTasksRerun: number;
  /** Executions seen as committed that are missing in the final state, or in a later checkpoint. */
  readonly vanished: number;
  /** Executions in the final state that no process says it began, or ended. */
  readonly unwitnessed: number;
  /** Starts under an older epoch after one under a newer: a thawed process between check and start (P5). */
  readonly staleStarts: number;
  /** Starts of a task that was in flight at a fault, which is allowed. */
  readonly repeatedInFlight: number;
  /** What is wrong, in words, for a test's message; the first few. */
  readonly complaints: readonly string[];
}

const complaintsMax = 20;

/** The verdict that every test but one must come to. */
export function clean(accepted: number): Omit<Verdict, "staleStarts" | "repeatedInFlight"> {
  const none = { lost: 0, committedTwice: 0, finishedTasksRerun: 0, vanished: 0, unwitnessed: 0, complaints: [] };
  return { accepted, finished: accepted, succeeded: accepted, ...none };
}

export function check({ accepted, witness, stored, found = [] }: Evidence): Verdict {
  const tally = new Tally();
  const ended = new Set(witness.flatMap((line) => (line.at === "end" ? [line.exec] : [])));
  const starts = Map.groupBy(
    witness.filter((line) => line.at === "start"),
    ({ runId }) => runId,
  );
  const byId = new Map(stored.map((run) => [run.runId, run]));
  let finished = 0;
  let succeeded = 0;
  for (const runId of accepted) {
    const status = byId.get(runId)?.record?.state.status;
    if (status !== undefined && isTerminal(status)) finished++;
    else tally.complain(`run ${runId} is lost: ${status ?? "not in the store"}`);
    if (status === "succeeded") succeeded++;
  }
  for (const run of stored) {
    const own = starts.get(run.runId) ?? [];
    checkRun(run, own, ended, tally);
    checkAttempts(run.runId, own, tally);
    checkFound(own, found, tally);
  }
  for (const runId of starts.keys()) if (!byId.has(runId)) tally.complain(`run ${runId} was executed and not stored`);
  const lost = accepted.length - finished;
  return { accepted: accepted.length, finished, succeeded, lost, ...tally.counts, complaints: tally.complaints };
}

class Tally {
  readonly counts = {
    committedTwice: 0,
    finishedTasksRerun: 0,
    vanished: 0,
    unwitnessed: 0,
    staleStarts: 0,
    repeatedInFlight: 0,
  };
  readonly complaints: string[] = [];

  add(what: keyof Tally["counts"], detail?: string): void {
    this.counts[what]++;
    if (detail) this.complain(`${what}: ${detail}`);
  }

  complain(text: string): void {
    if (this.complaints.length < complaintsMax) this.complaints.push(text);
  }
}

function checkRun(run: StoredRun, starts: readonly Start[], ended: ReadonlySet<string>, tally: Tally): void {
  const byExec = new Map(starts.map((start) => [start.exec, start]));
  const newest = run.checkpoints.at(-1);
  const final = newest ? ownOf(run, newest) : [];
  const marks = run.checkpoints.flatMap((checkpoint) => ownOf(run, checkpoint));
  checkCommits(byExec, marks, final, tally);
  checkHistory(run, tally);
  const stored = new Map(final.map(({ taskId, exec }) => [taskId, exec]));
  for (const { exec, taskId } of final) {
    if (!byExec.has(exec) || !ended.has(exec)) tally.add("unwitnessed", `${exec} of task ${taskId}`);
  }
  for (const [taskId, group] of Map.groupBy(starts, (start) => start.taskId)) {
    const winner = byExec.get(stored.get(taskId) ?? "");
    const sorted = [...group].sort((a, b) => a.t - b.t);
    let epoch = 0;
    for (const start of sorted) {
      const text = `task ${taskId} began as ${start.exec} under epoch ${start.epoch}`;
      if (start.epoch < epoch) tally.add("staleStarts");
      epoch = Math.max(epoch, start.epoch);
      if (!winner || start === winner) continue;
      // What is in the state was stored under its own epoch, hence before any newer claim was made.
      if (start.epoch >= winner.epoch)
        tally.add("finishedTasksRerun", `${text}, stored as ${winner.exec} under ${winner.epoch}`);
      else tally.add("repeatedInFlight");
    }
  }
}

/** One claim an attempt: by one process, under one epoch. */
function checkAttempts(runId: string, starts: readonly Start[], tally: Tally): void {
  for (const [attempt, group] of Map.groupBy(starts, (start) => start.attempt)) {
    const owners = new Set(group.map(({ epoch, pid }) => `process ${pid} under epoch ${epoch}`));
    if (owners.size > 1) tally.complain(`run ${runId}, attempt ${attempt}: ${[...owners].join(" and ")}`);
  }
}

/**
 * A task that was stored beside others that were not is not begun again by the next owner. The state tells nothing of
 * that: were it begun again, its second execution would just take the first one's place.
 */
function checkFound(starts: readonly Start[], found: readonly Mark[], tally: Tally): void {
  const execs = new Set(found.map(({ exec }) => exec));
  for (const stored of starts.filter(({ exec }) => execs.has(exec))) {
    for (const { exec, taskId, epoch } of starts) {
      if (taskId !== stored.taskId || epoch <= stored.epoch) continue;
      tally.add("finishedTasksRerun", `task ${taskId} as ${exec} under ${epoch}, found stored as ${stored.exec}`);
    }
  }
}

/** The thread may have had other runs before. */
function ownOf({ runId }: StoredRun, { trail }: StoredTrail): Mark[] {
  return trail.filter(({ taskId }) => taskId.startsWith(`${runId}.`));
}

/** One task, one execution: over all that any node or any checkpoint ever saw as committed. */
function checkCommits(
  byExec: ReadonlyMap<string, Start>,
  marks: readonly Mark[],
  final: readonly Mark[],
  tally: Tally,
): void {
  const committed = new Map<string, Set<string>>();
  const note = (taskId: string, exec: string) => {
    const execs = committed.get(taskId) ?? new Set();
    committed.set(taskId, execs.add(exec));
  };
  for (const { seen } of byExec.values()) {
    for (const exec of seen) {
      const start = byExec.get(exec);
      if (start) note(start.taskId, exec);
    }
  }
  for (const { taskId, exec } of marks) note(taskId, exec);
  for (const [taskId, execs] of committed) {
    if (execs.size > 1) tally.add("committedTwice", `task ${taskId} by ${[...execs].join(" and ")}`);
  }
  const once = new Set<string>();
  for (const { taskId, exec } of final) {
    if (once.has(taskId)) tally.add("committedTwice", `task ${taskId} is in the state twice (${exec})`);
    once.add(taskId);
  }
  const there = new Set(final.map(({ exec }) => exec));
  for (const execs of committed.values()) {
    for (const exec of execs) if (!there.has(exec)) tally.add("vanished", `${exec} was committed and is gone`);
  }
}

/** The stored checkpoints are one chain: each step once, numbers and epochs growing, each trail the start of the next. */
function checkHistory({ runId, checkpoints }: StoredRun, tally: Tally): void {
  checkpoints.forEach((checkpoint, index) => {
    const before = checkpoints[index - 1];
    if (!before) return;
    const place = `run ${runId}, step ${checkpoint.step}`;
    if (checkpoint.step !== before.step + 1 || checkpoint.parentId !== before.checkpointId) {
      tally.add("committedTwice", `${place} follows ${before.step} (${before.checkpointId})`);
    }
    if (checkpoint.seq <= before.seq || checkpoint.epoch < before.epoch) {
      tally.complain(
        `${place}: commit ${checkpoint.seq} of epoch ${checkpoint.epoch} after ${before.seq}, ${before.epoch}`,
      );
    }
    const missing = before.trail.find(({ exec }, at) => checkpoint.trail[at]?.exec !== exec);
    if (missing) tally.add("vanished", `${place}: ${missing.exec} was in the checkpoint before`);
  });
}

const pageMax = 1000;

/** Reads runs and their checkpoints through the saver's port. */
export async function readStored(saver: Saver, runIds: readonly string[]): Promise<StoredRun[]> {
  const runs: StoredRun[] = [];
  for (const runId of runIds) {
    const record = await saver.getRun(runId);
    const all = record ? await readCheckpoints(saver, record.spec.threadId) : [];
    const own = all.filter(({ checkpoint }) => checkpoint.runId === runId).map(trailOf);
    runs.push({ runId, record, checkpoints: own });
  }
  return runs;
}

/** Oldest first. */
async function readCheckpoints(saver: Saver, threadId: string): Promise<StoredCheckpoint[]> {
  const all: StoredCheckpoint[] = [];
  for (let before: string | undefined; ; ) {
    const page = await saver.list({ threadId, limit: pageMax, ...(before === undefined ? {} : { before }) });
    all.push(...page);
    if (page.length < pageMax) return all.reverse();
    before = page.at(-1)!.checkpoint.checkpointId;
  }
}

function trailOf({ checkpoint }: StoredCheckpoint): StoredTrail {
  const { checkpointId, parentId, step, seq, epoch, pieces, values } = checkpoint;
  const trail = values.trail ? (decodeChannel(values.trail, pieces.trail ?? []) as Mark[]) : [];
  return { checkpointId, parentId, step, seq, epoch, trail };
}

/**
 * The executions by `pid`, which is dead or frozen, whose writes the store holds beside the thread's current checkpoint:
 * they were stored before any newer claim.
 */
export async function storedTasks(saver: Saver, threadIds: Iterable<string>, pid: number): Promise<Mark[]> {
  const found: Mark[] = [];
  for (const threadId of threadIds) {
    const current = await saver.get(threadId, "");
    for (const { kind, data } of current?.writes ?? []) {
      if (kind !== "done") continue;
      const [updates] = decodeValue(data) as [[channel: string, value: unknown][]];
      for (const [channel, value] of updates) if (channel === "trail") found.push(...(value as Mark[]));
    }
  }
  return found.filter(({ exec }) => exec.startsWith(`${pid}-`));
}

/** Everything that the store holds of the runs and their threads, as text: equal before and after means untouched. */
export async function dump(saver: Saver, runIds: readonly string[]): Promise<string> {
  const parts: unknown[] = [];
  for (const runId of runIds) {
    const record = await saver.getRun(runId);
    if (!record) continue;
    const { threadId } = record.spec;
    parts.push(record, await saver.head(threadId), await readCheckpoints(saver, threadId));
  }
  return JSON.stringify(parts, (_key, value) =>
    value instanceof Uint8Array ? Buffer.from(value).toString("base64") : (value as unknown),
  );
}
