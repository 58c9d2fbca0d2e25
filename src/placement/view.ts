/** What a coordinator knows of the workers when it places a run. Values only: placement is a pure function of them. */
import type { WorkerInfo } from "../run/link.ts";

export interface WorkerView {
  readonly info: WorkerInfo;
  readonly address: string;
  /** Dispatches that the worker has granted and that are not used yet. */
  readonly permits: number;
  /** Runs of this coordinator on the worker. */
  readonly active: number;
  readonly draining: boolean;
  /** False from a missed heartbeat or a broken link until the worker is heard again. */
  readonly healthy: boolean;
}

/** What placing needs to know of a run. */
export interface Placeable {
  readonly runId: string;
  readonly threadId: string;
  readonly graph: { readonly name: string; readonly version: string };
  readonly regions?: readonly string[];
  /** Where the thread's state lives in one worker's memory: that worker's id. */
  readonly pinned?: string;
  /** Workers that refused this attempt: not asked again before the others. */
  readonly avoid?: ReadonlySet<string>;
}
