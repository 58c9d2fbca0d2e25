/** A node as it is given to the builder, and checked there. */
import { AgentmaticError, invalid } from "../errors.ts";
import { type BreakerPolicy, checkBreaker } from "../policy/breaker.ts";
import { type CachePolicy, checkCache } from "../policy/cache.ts";
import type { NodeErrorInfo } from "../policy/error-handler.ts";
import { checkRetry, type RetryPolicy } from "../policy/retry.ts";
import { readTimeout, type TimeoutPolicy } from "../policy/timeout.ts";
import type { ChannelSpec, StateOf, UpdateFor } from "./channels.ts";
import type { Nestable } from "./context.ts";
import { graphError, type NodeDraft, type PolicyDraft } from "./draft.ts";
import type { ContextWith, NodeCall, NodeResult, PathCall, Settings } from "./function.ts";
import { type PartInit, partOf } from "./init.ts";
import { END, type ErrorHandler, type NodeFunction, type Plan, START } from "./plan.ts";

export type NodeReturn<S extends ChannelSpec> = NodeResult<UpdateFor<S>>;

export type Node<S extends ChannelSpec, Input = StateOf<S>, Context = Settings> = NodeCall<
  Input,
  UpdateFor<S>,
  Context
>;

export type Path<S extends ChannelSpec, Context = Settings> = PathCall<StateOf<S>, Context>;

/** What all nodes of a graph have that say nothing of their own. */
export interface NodeDefaults<S extends ChannelSpec = ChannelSpec, Context = Settings> {
  retryPolicy?: RetryPolicy | readonly RetryPolicy[];
  /** Milliseconds for one try, or more finely. */
  timeout?: number | TimeoutPolicy;
  /** Keeps results by what the node is given; `true` for ever. */
  cachePolicy?: CachePolicy | boolean;
  /** Called after the last try failed; what it returns stands in for the node, whose own edges are not followed. */
  errorHandler?: (
    state: StateOf<S>,
    failure: NodeErrorInfo,
    context: ContextWith<Context>,
  ) => NodeReturn<S> | Promise<NodeReturn<S>>;
}

export interface NodeOptions<S extends ChannelSpec = ChannelSpec, Context = Settings> extends NodeDefaults<S, Context> {
  /** Nodes that this one may name in `Command.goto`: for the check that every node can be reached, and for drawings. */
  ends?: readonly string[];
  /** Channels this node writes: lets two writers of one last-value channel in one superstep be found at compile time. */
  writes?: readonly string[];
  /**
   * What the node is given, where not the whole state: names of channels, or what describes some. Channels that the
   * state does not have become part of it, for such nodes only. A schema checks what the node is given, too.
   */
  input?: PartInit;
  /** Runs once nothing else is due. */
  defer?: boolean;
  /** The graph that the function calls, one at most: for looking into its state, for drawings and for the version. */
  subgraphs?: readonly Nestable[];
  circuitBreaker?: BreakerPolicy;
  /** For people and drawings. */
  metadata?: Readonly<Record<string, unknown>>;
}

/** Throws `InvalidGraph`, naming the node and the field. */
export function draftNode(name: unknown, run: unknown, options: NodeOptions): NodeDraft {
  if (typeof name !== "string" || name === "") throw graphError(String(name), "a node needs a name");
  if (name === START || name === END) throw graphError(name, "this name is reserved");
  if (/[\n|#:]/.test(name)) throw graphError(name, "a name may not contain a line break or any of | # :");
  if (typeof options !== "object" || options === null) throw graphError(name, "its options must be an object");
  const subgraph = isNestable(run) ? { plan: run.plan as Plan, state: run.subgraphState } : undefined;
  if (!subgraph && typeof run !== "function") {
    const hint =
      typeof (run as { compile?: unknown } | null)?.compile === "function" ? "; compile() this one first" : "";
    throw graphError(name, `a node must be a function or a compiled graph${hint}`);
  }
  const { ends = [], writes = [], input, defer = false, metadata } = options;
  for (const [field, list] of Object.entries({ ends, writes })) {
    if (!Array.isArray(list) || !list.every((one) => typeof one === "string"))
      throw graphError(name, `${field} must be a list of names`);
  }
  if (typeof defer !== "boolean") throw graphError(name, "defer must be true or false");
  if (metadata !== undefined && (typeof metadata !== "object" || metadata === null))
    throw graphError(name, "metadata must be an object");
  return {
    name,
    run: subgraph ? notCalled : (run as NodeFunction),
    ends: [...ends],
    writes: [...writes],
    defer,
    ...(input === undefined ? {} : { input: of(name, () => partOf("input", input)) }),
    ...policiesOf(name, options),
    ...(subgraph ? { subgraph } : calledBy(name, options.subgraphs)),
    ...(metadata ? { metadata } : {}),
  };
}

/** Throws `InvalidGraph`, naming the node and the field. */
export function policiesOf(name: string, options: NodeOptions): PolicyDraft {
  const { retryPolicy, timeout, cachePolicy, circuitBreaker, errorHandler } = options;
  return of(name, () => {
    const retry = retryPolicy === undefined ? undefined : Array.isArray(retryPolicy) ? [...retryPolicy] : [retryPolicy];
    for (const policy of retry ?? []) checkRetry("retryPolicy", policy);
    if (cachePolicy !== undefined && typeof cachePolicy !== "boolean") checkCache("cachePolicy", cachePolicy);
    if (circuitBreaker !== undefined) checkBreaker("circuitBreaker", circuitBreaker);
    if (errorHandler !== undefined && typeof errorHandler !== "function")
      throw invalid("errorHandler", "must be a function");
    return {
      ...(retry ? { retry } : {}),
      ...(timeout === undefined ? {} : { timeout: readTimeout("timeout", timeout) }),
      ...(cachePolicy === undefined ? {} : { cache: cachePolicy === true ? {} : cachePolicy }),
      ...(circuitBreaker ? { breaker: circuitBreaker } : {}),
      ...(errorHandler ? { onError: errorHandler as ErrorHandler } : {}),
    };
  });
}

/** What is wrong with an option is told as the node's. */
function of<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    throw graphError(name, AgentmaticError.from(thrown).message);
  }
}

function calledBy(name: string, graphs: unknown): Pick<NodeDraft, "subgraph"> {
  if (graphs === undefined) return {};
  if (!Array.isArray(graphs) || !graphs.every(isNestable)) throw graphError(name, "subgraphs must be a list of graphs");
  const [first, ...others] = graphs;
  // Calls are told apart by their order, which says nothing of which graph it was.
  if (others.length > 0) throw graphError(name, "subgraphs may have one graph: give others a node of their own");
  return first ? { subgraph: { plan: first.plan as Plan, state: first.subgraphState, called: true } } : {};
}

function isNestable(value: unknown): value is Nestable {
  if (typeof value !== "object" || value === null || !("plan" in value) || !("subgraphState" in value)) return false;
  const { plan } = value as { plan: Partial<Plan> | null };
  return typeof plan === "object" && plan?.nodes instanceof Map && plan.channels instanceof Map;
}

function notCalled(): never {
  throw new AgentmaticError("Internal", "a graph as a node is run by the engine");
}
