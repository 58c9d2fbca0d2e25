/**
 * The run record: one per run, kept by the store beside the thread that it runs on.
 *
 * `RunSpec` never changes after admission. `RunState` changes only by compare-and-set on `revision` (coordinators) or
 * under the thread's fence (the worker that holds the claim): PROTOCOL.md P11.
 */
import type { ErrorValue } from "../errors.ts";

/**
 * queued → running → one of the terminal ones; running → queued by a hand-off.
 * `interrupted` is terminal for the run: the answer comes with a new run on the thread.
 */
export type RunStatus = "queued" | "running" | "succeeded" | "interrupted" | "failed" | "cancelled" | "dead";

export const terminalStatuses: ReadonlySet<RunStatus> = new Set([
  "succeeded",
  "interrupted",
  "failed",
  "cancelled",
  "dead",
]);

/**
 * Which regions may compute a run and hold its data. Fail closed: an empty list allows nothing,
 * and a worker or store without a region is outside of every rule.
 */
export interface ResidencyRule {
  readonly regions: readonly string[];
}

export interface TraceContext {
  /** W3C `traceparent`. */
  readonly traceparent: string;
  readonly tracestate?: string;
  readonly baggage?: string;
}

/** What a run is for: new input, answers to interrupts, or an edit of the state from outside. */
export type RunKind = "input" | "resume" | "update";

export interface RunSpec {
  readonly runId: string;
  readonly threadId: string;
  readonly kind: RunKind;
  readonly graph: { readonly name: string; readonly version: string };
  /** The input, encoded by the state codec (`checkpoint/codec.ts`). */
  readonly input: Uint8Array;
  /** Hex SHA-256 over graph name, thread, kind and input: decides whether a repeated `runId` is the same run. */
  readonly inputHash: string;
  /** The checkpoint to start from instead of the thread's head (a fork). */
  readonly fromCheckpointId?: string;
  readonly residency?: ResidencyRule;
  /** Who asked: a tenant, a user, a service. Never a secret. */
  readonly caller?: string;
  readonly correlationId: string;
  readonly trace?: TraceContext;
  /** Supersteps this run may take. */
  readonly maxSteps: number;
  /** Attempts that may lose their worker without progress before the run is dead (P14). */
  readonly maxAttempts: number;
  /** Milliseconds from admission within which the run must have ended; none = no deadline. */
  readonly deadlineMs?: number;
  /** What the caller set for this run alone, encoded by the state codec: context, durability, budget, stream options. */
  readonly settings?: Uint8Array;
  /** Wall-clock time of admission: for people, and for the run's own deadline. */
  readonly createdAtMs: number;
}

/** Why an attempt ended without ending the run. `lost`, `silent` and `recovered` may be the run's own doing (P14). */
export type HandoffReason = "lost" | "silent" | "drained" | "refused" | "fenced" | "recovered" | "broken";

export interface AttemptRecord {
  readonly attempt: number;
  readonly worker: string;
  readonly reason: HandoffReason;
  readonly atMs: number;
}

/** How many past attempts a record keeps; older ones are dropped. */
export const historyMax = 32;

export interface RunOutcome {
  /** The root checkpoint that holds the result; null where the run never committed one. */
  readonly checkpointId: string | null;
  readonly error?: ErrorValue;
}

export interface RunState {
  readonly status: RunStatus;
  /** Grows by one at every change, whoever makes it. */
  readonly revision: number;
  /** The attempt that may claim the thread now; the first is 1. */
  readonly attempt: number;
  /** Consecutive attempts that claimed, lost their worker and left no new commit. */
  readonly poison: number;
  /** Incarnation id of the worker that holds or last held the claim; null before the first claim. */
  readonly owner: string | null;
  /** Incarnation id of the coordinator that places and follows the run; null where nobody does. */
  readonly coordinator: string | null;
  /** Grows while the claim's holder lives (P4). */
  readonly lease: number;
  /** The thread's commit number when this attempt claimed it; null before the first claim. */
  readonly claimSeq: number | null;
  /**
   * The root checkpoint that the run builds on, set once at its first claim: `undefined` before, null for a thread
   * without checkpoints (P8).
   */
  readonly base: string | null | undefined;
  readonly cancelRequested: boolean;
  readonly outcome: RunOutcome | null;
  readonly history: readonly AttemptRecord[];
}

/** A record as read. */
export interface RunRecord {
  readonly spec: RunSpec;
  readonly state: RunState;
  /** Order of admission on its thread, from 1, given by the store. */
  readonly ticket: number;
  /** True where this is its thread's active run; a queued one behind it is not. */
  readonly active: boolean;
  /** The thread's commit number when the record was read: tells progress since `claimSeq`. */
  readonly headSeq: number;
}

export function isTerminal(status: RunStatus): boolean {
  return terminalStatuses.has(status);
}
