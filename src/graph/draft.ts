/** A graph as it is being built: names only, nothing checked yet. */
import { AgentmaticError } from "../errors.ts";
import type { BreakerPolicy } from "../policy/breaker.ts";
import type { Cache, CachePolicy } from "../policy/cache.ts";
import type { RetryPolicy } from "../policy/retry.ts";
import type { TimeoutPolicy } from "../policy/timeout.ts";
import type { ChannelSpec } from "./channels.ts";
import type { Part } from "./init.ts";
import type { Branch, ErrorHandler, Migrate, NodeFunction, Predicate, Subgraph } from "./plan.ts";
import type { StandardSchema } from "./schema.ts";

export interface CompileOptions {
  /** Names the graph for workers, records and spans. */
  name?: string;
  /** A hash of the plan unless given; application and worker must agree on it. */
  version?: string;
  /** Counted into the hash: what changes the graph's meaning and not its structure. */
  versionSalt?: string;
  /** Names of nodes, or "*" for all. */
  interruptBefore?: readonly string[] | "*";
  interruptAfter?: readonly string[] | "*";
  /** Stops the graph before a superstep where it answers true. */
  interruptBeforeWhen?: Predicate;
  interruptAfterWhen?: Predicate;
  /** Supersteps a run may take. */
  maxSteps?: number;
  /** Tasks of one superstep that run at the same time. */
  maxConcurrency?: number;
  /** Tasks of one superstep. */
  fanOutMax?: number;
  /** Brings a thread that another version of the graph left to this one. */
  migrate?: Migrate;
  /** Keeps the results of nodes with a cache policy. */
  cache?: Cache;
}

export interface PolicyDraft {
  readonly retry?: readonly RetryPolicy[];
  readonly timeout?: TimeoutPolicy;
  /** False where the graph's default is not wanted. */
  readonly cache?: CachePolicy | false;
  readonly breaker?: BreakerPolicy;
  readonly onError?: ErrorHandler;
}

export interface NodeDraft extends PolicyDraft {
  readonly name: string;
  readonly run: NodeFunction;
  readonly ends: readonly string[];
  readonly writes: readonly string[];
  readonly defer: boolean;
  readonly input?: Part;
  readonly subgraph?: Subgraph;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface BranchDraft extends Branch {
  readonly from: string;
}

export interface EdgeDraft {
  /** Several: a join. */
  readonly from: readonly string[];
  readonly to: string;
}

export interface Draft {
  readonly spec: ChannelSpec;
  readonly nodes: readonly NodeDraft[];
  readonly edges: readonly EdgeDraft[];
  readonly branches: readonly BranchDraft[];
  readonly defaults: PolicyDraft;
  readonly input?: Part;
  readonly output?: Part;
  readonly contextSchema?: StandardSchema;
}

export function graphError(node: string, problem: string, graph?: string): AgentmaticError {
  const text = `node "${node}": ${problem}`;
  if (graph === undefined) return new AgentmaticError("InvalidGraph", text, { details: { node } });
  return new AgentmaticError("InvalidGraph", `graph "${graph}", ${text}`, { details: { graph, node } });
}
