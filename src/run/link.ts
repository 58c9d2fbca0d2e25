/**
 * What a coordinator and a worker say to each other, as plain values. `rpc` carries them over the wire; inside one
 * process a worker can be dialled directly. Inputs and state are not among them, but for the events that a follower
 * asks for and the result: the rest lies in the shared store.
 */
import type { ErrorValue } from "../errors.ts";
import type { EventKind, RunEvent } from "./events.ts";
import type { ResidencyRule, RunKind, RunStatus, TraceContext } from "./record.ts";

export interface GraphRef {
  readonly name: string;
  readonly version: string;
}

export interface StoreRef {
  readonly id: string;
  readonly kind: string;
  readonly zone: string;
  readonly region: string;
  /** False where the store lives in the worker's own memory. */
  readonly shared: boolean;
}

export interface WorkerInfo {
  /** Random, made at the process's start: a restarted worker is another one. */
  readonly workerId: string;
  readonly name: string;
  /** "" is unknown, which lies outside of every residency rule. */
  readonly region: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly graphs: readonly GraphRef[];
  readonly store: StoreRef;
  readonly packageVersion: string;
  readonly heartbeatMs: number;
}

export interface RunContext {
  readonly caller?: string;
  readonly residency?: ResidencyRule;
  readonly trace?: TraceContext;
  readonly correlationId: string;
}

export interface Dispatch {
  readonly type: "dispatch";
  readonly runId: string;
  readonly threadId: string;
  readonly attempt: number;
  readonly graph: GraphRef;
  readonly context: RunContext;
  readonly events: readonly EventKind[];
  /** Only to a worker whose store is its own memory: what the record would say. */
  readonly inline?: InlineRun;
}

export interface InlineRun {
  readonly kind: RunKind;
  /** Encoded by the state codec. */
  readonly input: Uint8Array;
  readonly maxSteps: number;
  readonly settings?: Uint8Array;
  readonly fromCheckpointId?: string;
  readonly deadlineMs?: number;
}

export type ToWorker =
  | {
      readonly type: "hello";
      readonly coordinatorId: string;
      readonly store: StoreRef;
      readonly graphs: readonly GraphRef[];
      readonly packageVersion: string;
    }
  | Dispatch
  | { readonly type: "cancel"; readonly runId: string }
  | {
      readonly type: "attach";
      readonly runId: string;
      readonly attempt: number;
      readonly events: readonly EventKind[];
    }
  /** Readers have no room for the run's events, or have room again: it waits at its next superstep. */
  | { readonly type: "flow"; readonly runId: string; readonly open: boolean }
  | Heartbeat;

export interface Heartbeat {
  readonly type: "heartbeat";
  readonly count: number;
  readonly active: number;
  readonly loopDelayMs: number;
}

/** How an attempt ended, as its worker saw it. */
export interface RunEnd {
  readonly type: "end";
  readonly runId: string;
  readonly attempt: number;
  readonly epoch: number;
  /** Terminal, or `queued` where the attempt ended and the run did not: `error` says why. */
  readonly status: RunStatus;
  readonly checkpointId: string | null;
  readonly error?: ErrorValue;
  /** The final state, a value of the state codec. */
  readonly values?: Uint8Array;
  /** Open interrupts (`{ id, value }[]`), a value of the state codec. */
  readonly interrupts?: Uint8Array;
}

export type ToCoordinator =
  | { readonly type: "welcome"; readonly worker: WorkerInfo }
  /** The coordinator may have `free` dispatches under way beyond the first `seen` that the worker has received. */
  | { readonly type: "permits"; readonly seen: number; readonly free: number }
  | { readonly type: "accepted"; readonly runId: string; readonly attempt: number }
  /** The run is not taken, its record untouched: place it again. */
  | { readonly type: "refusal"; readonly runId: string; readonly attempt: number; readonly error: ErrorValue }
  | { readonly type: "events"; readonly events: readonly RunEvent[] }
  | RunEnd
  | Heartbeat
  | { readonly type: "draining" };

/** A run that the caller has not admitted: the worker does, as its own coordinator. */
export interface NewRun {
  readonly type: "new";
  /** "" = minted by the worker. */
  readonly runId: string;
  readonly threadId: string;
  readonly graph: string;
  /** JSON values as the client sent them. */
  readonly input?: unknown;
  readonly resume?: unknown;
  readonly context: RunContext;
  /** 0 = the default. */
  readonly maxSteps: number;
  readonly events: readonly EventKind[];
}

export type ExecuteFrame = { readonly type: "events"; readonly events: readonly RunEvent[] } | RunEnd;

/**
 * A worker as its callers see it: the same whether it is in this process or behind a connection.
 * `link` and `execute` end when `signal` aborts; errors are `AgentmaticError`s on both sides.
 */
export interface WorkerEndpoint {
  describe(signal?: AbortSignal): Promise<{ readonly worker: WorkerInfo; readonly draining: boolean }>;
  link(inbound: AsyncIterable<ToWorker>, signal: AbortSignal): AsyncIterable<ToCoordinator>;
  execute(run: NewRun | Dispatch, signal: AbortSignal): AsyncIterable<ExecuteFrame>;
}

/** Reaches workers by address. Composed outside of the core, where the transport is known. */
export interface Dialer {
  dial(address: string): WorkerEndpoint & { close(): Promise<void> };
}
