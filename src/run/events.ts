/**
 * What followers of a run are told. Committed events carry their commit's number and can be rebuilt from the store;
 * provisional ones come before it and are void when their attempt is lost (PROTOCOL.md P16).
 */

/**
 * Committed: `values` (the whole state after a superstep), `updates` (what each node wrote), `checkpoints`.
 * Provisional: `messages` (tokens), `custom` (what a node sent itself), `tasks` (began, ended).
 * `retract`: provisional events of lower epochs are void.
 */
export type EventKind = "values" | "updates" | "messages" | "custom" | "tasks" | "checkpoints" | "retract";

export const eventKinds: readonly EventKind[] = [
  "values",
  "updates",
  "messages",
  "custom",
  "tasks",
  "checkpoints",
  "retract",
];

/** Bytes of one run's, or one link's, events that may wait for a reader; what one costs beside its data is an estimate. */
export const unreadBytesMax: number = 32 * 1024 * 1024;
export const eventOverheadBytes = 200;

export interface RunEvent {
  readonly runId: string;
  readonly kind: EventKind;
  readonly epoch: number;
  readonly attempt: number;
  /** The commit's number on the thread; 0 for provisional events. */
  readonly seq: number;
  readonly ns: string;
  readonly node: string;
  readonly taskId: string;
  /** False for a committed event whose commit may still be lost (durability `async` and `exit`). */
  readonly durable?: false;
  /** A value of the state codec. */
  readonly data: Uint8Array;
}
