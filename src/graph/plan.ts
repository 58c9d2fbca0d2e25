/** What a graph compiles to: immutable, and all that the engine knows of it. */
import type { Channel } from "./channels.ts";
import type { Send } from "./command.ts";
import type { NodeContext } from "./context.ts";

export const START = "__start__";
export const END = "__end__";

export type NodeFunction = (state: never, context: NodeContext) => unknown;
export type PathFunction = (state: never, context: NodeContext) => unknown;

/** A conditional edge: the function's answer names the targets, through `targets` where there is a map. */
export interface Branch {
  readonly path: PathFunction;
  readonly targets?: Readonly<Record<string, string>>;
}

export interface PlanNode {
  readonly name: string;
  readonly run: NodeFunction;
  readonly edges: readonly string[];
  readonly branches: readonly Branch[];
  /** Indexes into `Plan.joins` of those that wait for this node. */
  readonly joins: readonly number[];
}

/** Runs `target` once all of `sources` have finished since it last ran. */
export interface Join {
  readonly sources: readonly string[];
  readonly target: string;
}

export interface Plan {
  readonly name: string;
  readonly version: string;
  readonly channels: ReadonlyMap<string, Channel<unknown, unknown>>;
  readonly nodes: ReadonlyMap<string, PlanNode>;
  /** What follows the input. */
  readonly entry: Pick<PlanNode, "edges" | "branches" | "joins">;
  readonly joins: readonly Join[];
  readonly interruptBefore: ReadonlySet<string>;
  readonly interruptAfter: ReadonlySet<string>;
  readonly maxSteps: number;
}

/** Supersteps a run may take where nothing else is said (the same as LangGraph.js). */
export const maxStepsDefault = 25;
/** Tasks of one superstep: a fan-out beyond it is a mistake more often than a wish. */
export const fanOutMax = 10_000;

export type Target = string | Send;
