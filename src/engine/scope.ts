/** What all graphs of one attempt share: the root graph and those that run inside its nodes. */
import type { SubgraphState } from "../graph/context.ts";
import type { Plan } from "../graph/plan.ts";
import type { Ports } from "../ports.ts";
import type { RunControl } from "../run/control.ts";
import type { EventKind, RunEvent } from "../run/events.ts";
import type { TraceContext } from "../run/record.ts";
import type { RunSettings } from "../run/settings.ts";
import type { Spans } from "../telemetry/spans.ts";
import type { Journal } from "./journal.ts";
import type { Stop } from "./stop.ts";

export interface RunScope {
  readonly runId: string;
  readonly threadId: string;
  readonly correlationId: string;
  readonly attempt: number;
  readonly epoch: number;
  readonly maxSteps: number;
  readonly ports: Ports;
  readonly stop: Stop;
  readonly journal: Journal;
  /** Answers to interrupts by id, of this run and of earlier ones. */
  readonly answers: ReadonlyMap<string, unknown>;
  /** Undefined where a task may start now; else rejects where the claim is over (P5). */
  readonly check: () => Promise<void> | undefined;
  /** True when the run should stop at the next superstep boundary for another worker to go on. */
  readonly draining: () => boolean;
  /** Of whoever started the run in this process. */
  readonly control: RunControl | undefined;
  /** Resolves once followers have room again. */
  readonly flow: () => Promise<void> | undefined;
  readonly wants: (kind: EventKind) => boolean;
  readonly emit: (event: RunEvent) => void;
  readonly config: Readonly<Record<string, unknown>>;
  readonly settings: RunSettings;
  readonly deadlineMs: number | undefined;
  readonly spans: Spans;
  readonly trace: TraceContext | undefined;
  readonly nest: (call: NestedCall) => Promise<unknown>;
  /** Of a graph inside a task: what its nodes say of being at work is that task's sign of life as well. */
  readonly around?: Signs;
}

/** Of life, for idle timeouts. */
export interface Signs {
  /** Said by a node itself. */
  heartbeat(): void;
  /** Seen in what it does. */
  progress(): void;
  /** One of its questions was answered. */
  answered(): void;
}

/** A graph called by a task of another. */
export interface NestedCall {
  readonly scope: RunScope;
  readonly plan: Plan;
  readonly state: SubgraphState;
  readonly input: unknown;
  /** The checkpoint namespace of this call. */
  readonly ns: string;
  /** Id of the calling task. */
  readonly caller: string;
  /** True where nothing can have been stored of this call before. */
  readonly fresh: boolean;
  readonly trace: TraceContext | undefined;
}

/** Where a task runs: its graph, and the checkpoint that its superstep builds on. */
export interface Place {
  readonly plan: Plan;
  readonly ns: string;
  readonly checkpointId: string;
  /** Of the superstep. */
  readonly step: number;
  /** True where this attempt made the checkpoint: nothing can have been stored beside it before. */
  readonly fresh: boolean;
}

/** Names one call of a graph by a task: the parent's namespace, then node, checkpoint and position. */
export function nestedNs(place: Place, node: string, index: number | undefined, call: string): string {
  const checkpoint = place.checkpointId.replaceAll("%", "%25").replaceAll("|", "%7C");
  const single = index === undefined ? "" : `#${index}`;
  const own = `${node}:${checkpoint}${single}/${call}`;
  return place.ns === "" ? own : `${place.ns}|${own}`;
}

/** Names the one line of checkpoints that all calls of a node's graph share. */
export function threadNs(place: Place, node: string, call: string): string {
  const own = `${node}:/${call}`;
  return place.ns === "" ? own : `${place.ns}|${own}`;
}
