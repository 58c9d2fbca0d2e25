/** Interrupts and the answers to them, as they lie beside a checkpoint. */
import { decodeValue } from "./codec.ts";
import type { StoredCheckpoint, TaskWrites } from "./saver.ts";

export interface OpenInterrupt {
  readonly id: string;
  readonly value: unknown;
}

/** Stored as kind `interrupt`: what a task waits for. */
export interface StoredInterrupt extends OpenInterrupt {
  readonly node: string;
}

/** Stored as kind `resume`: the answers a task has been given, by interrupt id; each is given once (P15). */
export interface StoredAnswer {
  readonly id: string;
  readonly value: unknown;
  readonly runId: string;
}

export function readInterrupt(write: TaskWrites): StoredInterrupt {
  return decodeValue(write.data) as StoredInterrupt;
}

export function readAnswers(write: TaskWrites): StoredAnswer[] {
  return decodeValue(write.data) as StoredAnswer[];
}

export function openInterrupts(writes: readonly TaskWrites[]): OpenInterrupt[] {
  return writes
    .filter(({ kind }) => kind === "interrupt")
    .map(readInterrupt)
    .map(({ id, value }) => ({ id, value }));
}

/** The open interrupts of a stored checkpoint: those that no answer was given to yet. */
export function pendingInterrupts(stored: StoredCheckpoint): OpenInterrupt[] {
  const answered = new Set<string>();
  for (const write of stored.writes) {
    if (write.kind === "resume") for (const { id } of readAnswers(write)) answered.add(id);
  }
  return openInterrupts(stored.writes).filter(({ id }) => !answered.has(id));
}
