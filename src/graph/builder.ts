/** Collects nodes and edges and compiles them to a plan. The runnable `StateGraph` is in `local/`. */
import { invalid } from "../errors.ts";
import type { ChannelSpec, StateOf } from "./channels.ts";
import { compilePlan } from "./compile.ts";
import type { Nestable } from "./context.ts";
import {
  type BranchDraft,
  type CompileOptions,
  type EdgeDraft,
  graphError,
  type NodeDraft,
  type PolicyDraft,
} from "./draft.ts";
import type { Settings } from "./function.ts";
import { channelSpec, type GraphOptions, partOf, readInit, type SpecOf, type StateInit } from "./init.ts";
import { draftNode, type Node, type NodeDefaults, type NodeOptions, type Path, policiesOf } from "./node.ts";
import { END, type PathFunction, type Plan, START } from "./plan.ts";
import { isStandardSchema } from "./schema.ts";

/** A function, or a compiled graph, whose channels of the same names are shared. */
type Runnable<S extends ChannelSpec, Context> = Node<S, StateOf<S>, Context> | Nestable;
type Entry<S extends ChannelSpec, Context> = readonly [
  name: string,
  run: Runnable<S, Context>,
  options?: NodeOptions<S, Context>,
];
/** Nodes by name, or as a list of names and what they run. */
export type NodeList<S extends ChannelSpec, Context = Settings> =
  | Readonly<Record<string, Runnable<S, Context>>>
  | readonly Entry<S, Context>[];
/** Names of nodes, or keys that a path may answer and the nodes that they stand for. */
export type Targets = readonly string[] | Readonly<Record<string, string>>;

export class GraphBuilder<S extends ChannelSpec, Context = Settings> {
  readonly #spec: S;
  readonly #options: GraphOptions;
  readonly #nodes: Map<string, NodeDraft> = new Map();
  readonly #edges: EdgeDraft[] = [];
  readonly #branches: BranchDraft[] = [];
  #defaults: PolicyDraft = {};

  /** `init` may also be `{ state, input, output, context }`. Throws `InvalidArgument`, naming the field. */
  constructor(init: unknown, options: unknown = {}) {
    const read = readInit(init, options);
    this.#spec = channelSpec("state", read.state) as S;
    this.#options = read.options;
  }

  /**
   * Adds a node, or several. Throws `InvalidGraph` for a name that is taken or reserved, and for options that cannot be.
   */
  addNode<I extends StateInit>(
    name: string,
    run: Node<S, StateOf<SpecOf<I>>, Context> | Nestable,
    options: NodeOptions<S, Context> & { input: I },
  ): this;
  addNode<const K extends readonly (keyof S & string)[]>(
    name: string,
    run: Node<S, Pick<StateOf<S>, K[number]>, Context> | Nestable,
    options: NodeOptions<S, Context> & { input: K },
  ): this;
  addNode<Input = StateOf<S>>(
    name: string,
    run: Node<S, Input, Context> | Nestable,
    options?: NodeOptions<S, Context>,
  ): this;
  addNode(nodes: NodeList<S, Context>): this;
  addNode(first: unknown, run?: unknown, options: unknown = {}): this {
    if (typeof first !== "object" || first === null) this.#add(first, run, options);
    else for (const [name, one, own] of entriesOf("addNode", first)) this.#add(name, one, own);
    return this;
  }

  /** Adds nodes and an edge from each to the next. */
  addSequence(nodes: NodeList<S, Context>): this {
    let before: string | undefined;
    for (const [name, run, options] of entriesOf("addSequence", nodes)) {
      this.#add(name, run, options);
      if (before !== undefined) this.addEdge(before, name);
      before = name;
    }
    return this;
  }

  /** From one node to another; from several: the target runs once all of them have finished. */
  addEdge(from: string | readonly string[], to: string): this {
    if (typeof from !== "string" && !(Array.isArray(from) && from.every((name) => typeof name === "string")))
      throw invalid("from", "must be a node's name or a list of them");
    if (typeof to !== "string") throw invalid("to", "must be a node's name");
    this.#edges.push({ from: typeof from === "string" ? [from] : [...new Set(from)], to });
    return this;
  }

  /**
   * After `from`, `path` decides: a node's name, `END`, a `Send`, several of them, or a key of `targets`. With a list of
   * targets only those may be named; `Send` may name any node.
   */
  addConditionalEdges(from: string, path: Path<S, Context>, targets?: Targets): this;
  addConditionalEdges(edge: {
    readonly source: string;
    readonly path: Path<S, Context>;
    readonly pathMap?: Targets;
  }): this;
  addConditionalEdges(first: unknown, given?: unknown, map?: unknown): this {
    const edge =
      typeof first === "object" && first !== null
        ? (first as { source: unknown; path: unknown; pathMap?: unknown })
        : { source: first, path: given, pathMap: map };
    const { source: from, path, pathMap: targets } = edge;
    if (typeof from !== "string") throw invalid("source", "must be a node's name");
    if (typeof path !== "function") throw graphError(from, "a conditional edge needs a function");
    if (targets !== undefined && !isTargets(targets))
      throw graphError(from, "targets must be a list or a map of node names");
    const names = Array.isArray(targets) ? Object.fromEntries(targets.map((name) => [name, name])) : targets;
    this.#branches.push({ from, path: path as PathFunction, ...(names ? { targets: { ...names } } : {}) });
    return this;
  }

  /** For nodes without a policy of their own, wherever they were added. Called again, it adds to what was said before. */
  setNodeDefaults(defaults: NodeDefaults<S, Context>): this {
    if (typeof defaults !== "object" || defaults === null)
      throw invalid("setNodeDefaults", "takes an object of policies");
    this.#defaults = { ...this.#defaults, ...policiesOf("*", defaults as NodeOptions) };
    return this;
  }

  setEntryPoint(node: string): this {
    return this.addEdge(START, node);
  }

  setConditionalEntryPoint(path: Path<S, Context>, targets?: Targets): this {
    return this.addConditionalEdges(START, path, targets);
  }

  setFinishPoint(node: string): this {
    return this.addEdge(node, END);
  }

  /** Throws `InvalidGraph`, naming the node, for a structure that cannot run; `InvalidArgument` for an option. */
  plan(options: CompileOptions = {}): Plan {
    const { input, output, context } = this.#options;
    const draft = {
      spec: this.#spec,
      nodes: [...this.#nodes.values()],
      edges: this.#edges,
      branches: this.#branches,
      defaults: this.#defaults,
      ...(input === undefined ? {} : { input: partOf("input", input) }),
      ...(output === undefined ? {} : { output: partOf("output", output) }),
      ...(isStandardSchema(context) ? { contextSchema: context } : {}),
    };
    return compilePlan(draft, options);
  }

  #add(name: unknown, run: unknown, options: unknown): void {
    const draft = draftNode(name, run, (options ?? {}) as NodeOptions);
    if (this.#nodes.has(draft.name)) throw graphError(draft.name, "a node of this name is there already");
    this.#nodes.set(draft.name, draft);
  }
}

function entriesOf(place: string, nodes: unknown): readonly (readonly [string, unknown, unknown?])[] {
  if (typeof nodes !== "object" || nodes === null) throw invalid(place, "takes a list of nodes or an object of them");
  const list: readonly unknown[] = Array.isArray(nodes) ? nodes : Object.entries(nodes);
  if (list.length === 0) throw invalid(place, "needs a node at least");
  for (const entry of list) if (!Array.isArray(entry)) throw invalid(place, "takes nodes as [name, function, options]");
  return list as readonly (readonly [string, unknown, unknown?])[];
}

function isTargets(value: unknown): value is Targets {
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).every((name) => typeof name === "string");
}
