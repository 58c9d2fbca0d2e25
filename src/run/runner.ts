/** What takes a run to its end: this process by itself, or a coordinator with its workers. The same face for both. */
import type { RunControl } from "./control.ts";
import type { EventKind, RunEvent } from "./events.ts";
import type { GraphRef, RunContext, RunEnd } from "./link.ts";
import type { RunKind } from "./record.ts";

export interface RunRequest {
  /** Chosen by the caller to make a repeated call the same run; minted where it is absent. */
  readonly runId?: string;
  readonly threadId: string;
  readonly graph: GraphRef;
  readonly kind: RunKind;
  /** Encoded by the state codec. */
  readonly input: Uint8Array;
  readonly fromCheckpointId?: string;
  readonly context?: Partial<RunContext>;
  readonly maxSteps: number;
  readonly maxAttempts?: number;
  /** When the thread has a run that is not finished: an error, or wait for its turn (the default). */
  readonly whenBusy?: "reject" | "enqueue";
  /** Milliseconds within which the run must have ended. */
  readonly deadlineMs?: number;
  /** `RunSettings`, encoded by the state codec. */
  readonly settings?: Uint8Array;
  /** Kinds of events to deliver. */
  readonly events: readonly EventKind[];
}

export interface RunHandle {
  readonly runId: string;
  /** In order; bounded: a reader who does not keep up slows the run's events down. Ends with the run. */
  readonly events: AsyncIterable<RunEvent>;
  /** Resolves with a terminal end; rejects where the run cannot be followed any more. */
  readonly end: Promise<RunEnd>;
}

export interface Runner {
  /**
   * Resolves once the run is accepted: its record is durable. `signal` cancels the run; `control` stops it at a boundary,
   * in this process alone.
   */
  start(request: RunRequest, signal?: AbortSignal, control?: RunControl): Promise<RunHandle>;
}
