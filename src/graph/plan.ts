/** What a graph compiles to: immutable, and all that the engine knows of it. */
import type { BreakerPolicy } from "../policy/breaker.ts";
import type { Cache, CachePolicy } from "../policy/cache.ts";
import type { NodeErrorInfo } from "../policy/error-handler.ts";
import type { RetryPolicy } from "../policy/retry.ts";
import type { TimeoutPolicy } from "../policy/timeout.ts";
import type { Channel } from "./channels.ts";
import type { Send } from "./command.ts";
import type { NodeContext, SubgraphState } from "./context.ts";
import type { StandardSchema } from "./schema.ts";

export const START = "__start__";
export const END = "__end__";
/** Where a functional graph keeps what its runs save for the next one. */
export const PREVIOUS = "__previous__";
/** The key under which a result carries its open interrupts, and an `updates` event those that just came up. */
export const INTERRUPT = "__interrupt__";

export type NodeFunction = (state: never, context: NodeContext) => unknown;
export type PathFunction = (state: never, context: NodeContext) => unknown;
/** Called after the last retry; what it returns stands in for the node's own return value. */
export type ErrorHandler = (state: never, failure: NodeErrorInfo, context: NodeContext) => unknown;

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
  /** Nodes that its Commands may name. */
  readonly ends: readonly string[];
  /** Waits until nothing else is due. */
  readonly defer: boolean;
  /** The channels that it is given; all of them where absent. */
  readonly input?: readonly string[];
  /** Checks what it is given. */
  readonly inputSchema?: StandardSchema;
  readonly retry?: readonly RetryPolicy[];
  readonly timeout?: TimeoutPolicy;
  readonly cache?: CachePolicy;
  readonly breaker?: BreakerPolicy;
  readonly onError?: ErrorHandler;
  /** For a graph as a node; `run` is then not called. Or the graph that `run` calls. */
  readonly subgraph?: Subgraph;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface Subgraph {
  readonly plan: Plan;
  readonly state: SubgraphState;
  /** True where the node's function calls it: known for looking into it, and run by nobody else. */
  readonly called?: true;
}

/** Runs `target` once all of `sources` have finished since it last ran. */
export interface Join {
  readonly sources: readonly string[];
  readonly target: string;
  /** Names it in checkpoints. */
  readonly key: string;
}

/** What `migrate` is given and gives back: a thread as a graph of another version left it. */
export interface StoredState {
  readonly values: Readonly<Record<string, unknown>>;
  /** Nodes that are due, by name. */
  readonly next: readonly string[];
  /** Single calls that are due, as `Send` made them. This and what follows stays as it is where it is not returned. */
  readonly sends?: readonly { readonly node: string; readonly args: unknown }[];
  /** Joins that are half done, as `"left+right>target"`, with those of their sources that have finished. */
  readonly joins?: Readonly<Record<string, readonly string[]>>;
  /** Nodes that wait until nothing else is due. */
  readonly deferred?: readonly string[];
}

/** Called for every checkpoint of another version that is read, each time: a pure function, without promises. */
export type Migrate = (stored: StoredState, versions: { readonly from: string; readonly to: string }) => StoredState;
export type Predicate = (state: never, next: readonly string[]) => boolean;

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
  /** Asked before a superstep with its state and the nodes that are due. */
  readonly interruptBeforeWhen?: Predicate;
  /** Asked after a superstep with its state and the nodes that ran. */
  readonly interruptAfterWhen?: Predicate;
  readonly maxSteps: number;
  /** Tasks of one superstep that run at the same time; no bound but the fan-out's where absent. */
  readonly maxConcurrency?: number;
  /** Tasks of one superstep. */
  readonly fanOutMax: number;
  /** Channels that an input may have; all where absent. */
  readonly input?: readonly string[];
  /** Channels that a result has; all where absent. */
  readonly output?: readonly string[];
  /** Checks the whole input. */
  readonly inputSchema?: StandardSchema;
  /** Checks the `context` that a caller gives. */
  readonly contextSchema?: StandardSchema;
  readonly migrate?: Migrate;
  /** Keeps the results of nodes with a cache policy; a memory of the process where absent. */
  readonly cache?: Cache;
  /** True where callers hand in one value and get one, of whatever kind: those of the channels START and END. */
  readonly functional?: true;
}

/** Supersteps a run may take where nothing else is said (the same as LangGraph.js). */
export const maxStepsDefault = 25;
/** Tasks of one superstep where nothing else is said: a fan-out beyond it is a mistake more often than a wish. */
export const fanOutMaxDefault = 10_000;

export type Target = string | Send;
