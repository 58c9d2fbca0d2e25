/** Interrupts and the answers to them, as they lie beside a checkpoint. */
import { decodeValue } from "./codec.ts";
import type { StoredCheckpoint, TaskWrites } from "./saver.ts";

export interface OpenInterrupt {
  readonly id: string;
  readonly value: unknown;
}

/** Stored as kind `interrupt`, in a list: what a task waits for, and the subgraphs that it runs. */
export interface StoredInterrupt extends OpenInterrupt {
  readonly node: string;
}

/** Stored as kind `resume`: the answers a task has been given, by interrupt id; each is given once (P15). */
export interface StoredAnswer {
  readonly id: string;
  readonly value: unknown;
  readonly runId: string;
}

/** The first format had one interrupt and no list. */
export function readInterrupts(write: TaskWrites): readonly StoredInterrupt[] {
  const stored = decodeValue(write.data) as StoredInterrupt | StoredInterrupt[];
  return Array.isArray(stored) ? stored : [stored];
}

export function readAnswers(write: TaskWrites): StoredAnswer[] {
  return decodeValue(write.data) as StoredAnswer[];
}

export function openInterrupts(writes: readonly TaskWrites[]): OpenInterrupt[] {
  return writes
    .filter(({ kind }) => kind === "interrupt")
    .flatMap(readInterrupts)
    .map(({ id, value }) => ({ id, value }));
}

/** The open interrupts of a stored checkpoint: those that no answer was given to yet, of tasks that are not done. */
export function pendingInterrupts(stored: StoredCheckpoint): OpenInterrupt[] {
  const answered = new Set<string>();
  const done = new Set<string>();
  for (const write of stored.writes) {
    if (write.kind === "resume") for (const { id } of readAnswers(write)) answered.add(id);
    if (write.kind === "done") done.add(write.taskId);
  }
  const waiting = stored.writes.filter(({ taskId }) => !done.has(taskId));
  return openInterrupts(waiting).filter(({ id }) => !answered.has(id));
}
