/** Collects nodes and edges and compiles them to a plan. The runnable `StateGraph` is in `local/`. */
import { invalid } from "../errors.ts";
import type { ChannelSpec, StateOf, UpdateFor } from "./channels.ts";
import type { Command } from "./command.ts";
import { compilePlan } from "./compile.ts";
import type { NodeContext } from "./context.ts";
import { type BranchDraft, type CompileOptions, graphError, type NodeDraft } from "./draft.ts";
import { END, type NodeFunction, type PathFunction, type Plan, START, type Target } from "./plan.ts";

export interface NodeOptions {
  /** Nodes that this one may name in `Command.goto`: for the check that every node can be reached, and for drawings. */
  ends?: readonly string[];
  /** Channels this node writes: lets two writers of one last-value channel in one superstep be found at compile time. */
  writes?: readonly string[];
}

export type NodeReturn<S extends ChannelSpec> =
  | UpdateFor<S>
  | Command<UpdateFor<S>>
  | readonly (UpdateFor<S> | Command<UpdateFor<S>>)[]
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

export class GraphBuilder<S extends ChannelSpec> {
  readonly #spec: S;
  readonly #nodes: NodeDraft[] = [];
  readonly #edges: { readonly from: readonly string[]; readonly to: string }[] = [];
  readonly #branches: BranchDraft[] = [];

  constructor(spec: S) {
    if (typeof spec !== "object" || spec === null) throw invalid("state", "must be an object of channels");
    this.#spec = spec;
  }

  /** Throws `InvalidGraph` for a name that is taken or reserved. */
  addNode<Input = StateOf<S>>(name: string, run: Node<S, Input>, options: NodeOptions = {}): this {
    if (typeof name !== "string" || name === "") throw graphError(String(name), "a node needs a name");
    if (name === START || name === END) throw graphError(name, "this name is reserved");
    if (/[\n|#:]/.test(name)) throw graphError(name, "a name may not contain a line break or any of | # :");
    if (this.#nodes.some((node) => node.name === name)) throw graphError(name, "a node of this name is there already");
    if (typeof run !== "function") throw graphError(name, "a node must be a function");
    for (const field of ["ends", "writes"] as const) {
      if (options[field] !== undefined && !Array.isArray(options[field]))
        throw graphError(name, `${field} must be a list`);
    }
    this.#nodes.push({ name, run: run as NodeFunction, ends: options.ends ?? [], writes: options.writes ?? [] });
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
  ): this {
    if (typeof path !== "function") throw graphError(from, "a conditional edge needs a function");
    if (targets !== undefined && (typeof targets !== "object" || targets === null)) {
      throw graphError(from, "targets must be a list or a map of node names");
    }
    const map = Array.isArray(targets) ? byName(targets) : (targets as Readonly<Record<string, string>> | undefined);
    this.#branches.push({ from, path: path as PathFunction, ...(map ? { targets: map } : {}) });
    return this;
  }

  setEntryPoint(node: string): this {
    return this.addEdge(START, node);
  }

  setFinishPoint(node: string): this {
    return this.addEdge(node, END);
  }

  /** Throws `InvalidGraph`, naming the node, for a structure that cannot run. */
  plan(options: CompileOptions = {}): Plan {
    return compilePlan({ spec: this.#spec, nodes: this.#nodes, edges: this.#edges, branches: this.#branches }, options);
  }
}

function byName(names: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(names.map((name) => [name, name]));
}
