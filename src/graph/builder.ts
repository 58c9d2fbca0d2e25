/** Collects nodes and edges and compiles them to a plan. The runnable `StateGraph` is in `local/`. */
import { AgentmaticError, invalid } from "../errors.ts";
import { type BreakerPolicy, checkBreaker } from "../policy/breaker.ts";
import { type CachePolicy, checkCache } from "../policy/cache.ts";
import type { NodeErrorInfo } from "../policy/error-handler.ts";
import { checkRetry, type RetryPolicy } from "../policy/retry.ts";
import { readTimeout, type TimeoutPolicy } from "../policy/timeout.ts";
import type { ChannelSpec, StateOf, UpdateFor } from "./channels.ts";
import type { Command, Send } from "./command.ts";
import { compilePlan } from "./compile.ts";
import type { Nestable, NodeContext } from "./context.ts";
import { type BranchDraft, type CompileOptions, graphError, type NodeDraft, type NodePolicies } from "./draft.ts";
import { END, type ErrorHandler, type NodeFunction, type PathFunction, type Plan, START, type Target } from "./plan.ts";
import { isStandardSchema, type StandardSchema } from "./schema.ts";
import {
  type ChannelsOf,
  channelSpec,
  type Fields,
  isObjectSchema,
  namesOf,
  type StateSchema,
} from "./state-schema.ts";

export interface NodeOptions<S extends ChannelSpec = ChannelSpec> {
  /** Nodes that this one may name in `Command.goto`: for the check that every node can be reached, and for drawings. */
  ends?: readonly string[];
  /** Channels this node writes: lets two writers of one last-value channel in one superstep be found at compile time. */
  writes?: readonly string[];
  /** What the node is given: names of channels, or an object of them; an object schema checks it, too. */
  input?: readonly string[] | ChannelSpec | StandardSchema;
  /** Runs once nothing else is due. */
  defer?: boolean;
  retryPolicy?: RetryPolicy | readonly RetryPolicy[];
  /** Milliseconds for one try, or more finely. */
  timeout?: number | TimeoutPolicy;
  cachePolicy?: CachePolicy;
  circuitBreaker?: BreakerPolicy;
  /** Called after the last try failed; what it returns stands in for the node, whose own edges are not followed. */
  errorHandler?: (
    state: StateOf<S>,
    failure: NodeErrorInfo,
    context: NodeContext,
  ) => NodeReturn<S> | Promise<NodeReturn<S>>;
  /** For people and drawings. */
  metadata?: Readonly<Record<string, unknown>>;
}

export type NodeReturn<S extends ChannelSpec> =
  | UpdateFor<S>
  | Command<UpdateFor<S>>
  | Send
  | readonly (UpdateFor<S> | Command<UpdateFor<S>> | Send)[]
  | null
  | undefined
  // biome-ignore lint/suspicious/noConfusingVoidType: a node function that returns nothing is of type void
  | void;

export type Node<S extends ChannelSpec, Input = StateOf<S>> = (
  state: Input,
  context: NodeContext,
) => NodeReturn<S> | Promise<NodeReturn<S>>;

export type Path<S extends ChannelSpec> = (
  state: StateOf<S>,
  context: NodeContext,
) => Answer | readonly Answer[] | Promise<Answer | readonly Answer[]>;
export type Answer = Target | boolean | number;

/** What describes a state: channels, fields with schemas, or an object schema such as zod's. */
export type StateInit = ChannelSpec | StateSchema<Fields> | StandardSchema;

export type SpecOf<I> =
  I extends StateSchema<infer F>
    ? ChannelsOf<F>
    : I extends { readonly shape: infer F extends Fields }
      ? ChannelsOf<F>
      : I extends ChannelSpec
        ? I
        : ChannelSpec;

/** Parts of the state that callers give and get, and what they give besides. */
export interface GraphOptions {
  /** Channels that an input may have; an object schema checks it, too. */
  input?: readonly string[] | StateInit;
  /** Channels that a result has. */
  output?: readonly string[] | StateInit;
  /** Checks the `context` of a run. */
  context?: StandardSchema;
}

type AnyNode<S extends ChannelSpec> = Node<S> | Nestable;

export class GraphBuilder<S extends ChannelSpec> {
  readonly #spec: S;
  readonly #options: GraphOptions;
  readonly #nodes: Map<string, NodeDraft> = new Map();
  readonly #edges: { readonly from: readonly string[]; readonly to: string }[] = [];
  readonly #branches: BranchDraft[] = [];

  /** `init` may also be `{ state, input, output, context }`. Throws `InvalidArgument`, naming the field. */
  constructor(init: unknown, options: GraphOptions | StandardSchema = {}) {
    const whole = isWhole(init) ? init : undefined;
    this.#spec = channelSpec("state", whole ? whole.state : init) as S;
    const given: GraphOptions = isStandardSchema(options) ? { context: options } : options;
    this.#options = whole ? { ...given, ...whole } : given;
    const { context } = this.#options;
    if (context !== undefined && !isStandardSchema(context)) throw invalid("context", "must be a Standard Schema");
  }

  /** A function, or a compiled graph, whose channels of the same names are shared. Throws `InvalidGraph` for a name that is taken or reserved. */
  addNode<Input = StateOf<S>>(name: string, run: Node<S, Input> | Nestable, options?: NodeOptions<S>): this;
  addNode(
    nodes: Readonly<Record<string, AnyNode<S>>> | readonly (readonly [string, AnyNode<S>, NodeOptions<S>?])[],
  ): this;
  addNode(
    first: string | Readonly<Record<string, AnyNode<S>>> | readonly (readonly [string, AnyNode<S>, NodeOptions<S>?])[],
    run?: unknown,
    options: NodeOptions<S> = {},
  ): this {
    if (typeof first === "string") this.#add(first, run, options);
    else if (Array.isArray(first)) for (const [name, one, own] of first) this.#add(name, one, own ?? {});
    else if (typeof first === "object" && first !== null)
      for (const [name, one] of Object.entries(first)) this.#add(name, one, {});
    else throw graphError(String(first), "a node needs a name");
    return this;
  }

  /** Adds nodes and an edge from each to the next. */
  addSequence(
    nodes: readonly (readonly [string, AnyNode<S>, NodeOptions<S>?])[] | Readonly<Record<string, AnyNode<S>>>,
  ): this {
    const list = Array.isArray(nodes)
      ? (nodes as readonly (readonly [string, AnyNode<S>, NodeOptions<S>?])[])
      : Object.entries(nodes);
    if (list.length === 0) throw invalid("addSequence", "needs a node at least");
    let before: string | undefined;
    for (const [name, run, options] of list as readonly (readonly [string, AnyNode<S>, NodeOptions<S>?])[]) {
      this.#add(name, run, options ?? {});
      if (before !== undefined) this.addEdge(before, name);
      before = name;
    }
    return this;
  }

  /** From one node to another; from several: the target runs once all of them have finished. */
  addEdge(from: string | readonly string[], to: string): this {
    if (typeof from !== "string" && !Array.isArray(from))
      throw invalid("from", "must be a node's name or a list of them");
    this.#edges.push({ from: typeof from === "string" ? [from] : [...from], to });
    return this;
  }

  /**
   * After `from`, `path` decides: a node's name, `END`, a `Send`, several of them, or a key of `targets`.
   * With a list of targets only those may be named.
   */
  addConditionalEdges(
    from: string,
    path: Path<S>,
    targets?: readonly string[] | Readonly<Record<string, string>>,
  ): this;
  addConditionalEdges(edge: {
    readonly source: string;
    readonly path: Path<S>;
    readonly pathMap?: readonly string[] | Readonly<Record<string, string>>;
  }): this;
  addConditionalEdges(first: unknown, given?: unknown, map?: unknown): this {
    const edge =
      typeof first === "object" && first !== null
        ? (first as { source: string; path: unknown; pathMap?: unknown })
        : { source: first as string, path: given, pathMap: map };
    const { source: from, path, pathMap: targets } = edge;
    if (typeof path !== "function") throw graphError(from, "a conditional edge needs a function");
    if (targets !== undefined && (typeof targets !== "object" || targets === null)) {
      throw graphError(from, "targets must be a list or a map of node names");
    }
    const names = Array.isArray(targets) ? byName(targets) : (targets as Readonly<Record<string, string>> | undefined);
    this.#branches.push({ from, path: path as PathFunction, ...(names ? { targets: names } : {}) });
    return this;
  }

  setEntryPoint(node: string): this {
    return this.addEdge(START, node);
  }

  setConditionalEntryPoint(path: Path<S>, targets?: readonly string[] | Readonly<Record<string, string>>): this {
    return this.addConditionalEdges(START, path, targets);
  }

  setFinishPoint(node: string): this {
    return this.addEdge(node, END);
  }

  /** Throws `InvalidGraph`, naming the node, for a structure that cannot run. */
  plan(options: CompileOptions = {}): Plan {
    const { input, output, context } = this.#options;
    const draft = {
      spec: this.#spec,
      nodes: [...this.#nodes.values()],
      edges: this.#edges,
      branches: this.#branches,
      ...(input === undefined ? {} : { input: namesOf("input", input) }),
      ...(isObjectSchema(input) ? { inputSchema: input } : {}),
      ...(output === undefined ? {} : { output: namesOf("output", output) }),
      ...(context === undefined ? {} : { contextSchema: context }),
    };
    return compilePlan(draft, options);
  }

  #add(name: string, run: unknown, options: NodeOptions<S>): void {
    if (typeof name !== "string" || name === "") throw graphError(String(name), "a node needs a name");
    if (name === START || name === END) throw graphError(name, "this name is reserved");
    if (/[\n|#:]/.test(name)) throw graphError(name, "a name may not contain a line break or any of | # :");
    if (this.#nodes.has(name)) throw graphError(name, "a node of this name is there already");
    const subgraph = isNestable(run) ? { plan: run.plan as Plan, state: run.subgraphState } : undefined;
    if (!subgraph && typeof run !== "function") throw graphError(name, "a node must be a function or a compiled graph");
    for (const field of ["ends", "writes"] as const) {
      if (options[field] !== undefined && !Array.isArray(options[field]))
        throw graphError(name, `${field} must be a list`);
    }
    const { ends = [], writes = [], input, defer = false, metadata } = options;
    if (typeof defer !== "boolean") throw graphError(name, "defer must be true or false");
    this.#nodes.set(name, {
      name,
      run: subgraph ? notCalled : (run as NodeFunction),
      ends,
      writes,
      defer,
      ...(input === undefined ? {} : { input: namesOf(`node "${name}": input`, input) }),
      ...(isObjectSchema(input) ? { inputSchema: input } : {}),
      ...policiesOf(name, options as NodeOptions),
      ...(subgraph ? { subgraph } : {}),
      ...(metadata ? { metadata } : {}),
    });
  }
}

/** Throws `InvalidGraph`, naming node and field. */
function policiesOf(name: string, options: NodeOptions): NodePolicies {
  const { retryPolicy, timeout, cachePolicy, circuitBreaker, errorHandler } = options;
  try {
    const retry = retryPolicy === undefined ? undefined : Array.isArray(retryPolicy) ? retryPolicy : [retryPolicy];
    for (const policy of retry ?? []) checkRetry("retryPolicy", policy);
    if (cachePolicy !== undefined) checkCache("cachePolicy", cachePolicy);
    if (circuitBreaker !== undefined) checkBreaker("circuitBreaker", circuitBreaker);
    if (errorHandler !== undefined && typeof errorHandler !== "function")
      throw invalid("errorHandler", "must be a function");
    return {
      ...(retry ? { retry } : {}),
      ...(timeout === undefined ? {} : { timeout: readTimeout("timeout", timeout) }),
      ...(cachePolicy ? { cache: cachePolicy } : {}),
      ...(circuitBreaker ? { breaker: circuitBreaker } : {}),
      ...(errorHandler ? { onError: errorHandler as ErrorHandler } : {}),
    };
  } catch (thrown) {
    throw graphError(name, AgentmaticError.from(thrown).message);
  }
}

function isNestable(value: unknown): value is Nestable {
  return typeof value === "object" && value !== null && "plan" in value && "subgraphState" in value;
}

function notCalled(): never {
  throw new AgentmaticError("Internal", "a graph as a node is run by the engine");
}

function isWhole(init: unknown): init is GraphOptions & { readonly state: StateInit } {
  if (typeof init !== "object" || init === null || !("state" in init) || isStandardSchema(init)) return false;
  const keys = Object.keys(init);
  // An object of channels may have one that is called `state`.
  const { state } = init as { state: unknown };
  const isChannel =
    typeof state === "function"
      ? !isStandardSchema(state)
      : typeof state === "object" && state !== null && "kind" in state && !("fields" in state);
  return !isChannel && keys.every((key) => ["state", "input", "output", "context"].includes(key));
}

function byName(names: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(names.map((name) => [name, name]));
}
