// One description built in either library: their builders have the same names.
import type { Case, GraphDescription, NodeDescription } from "./description.ts";

export interface State {
  log: string[];
  sum: number;
  last?: string;
  mark?: string;
  /** Of a single call's item: no channel. */
  nested?: { readonly of: string; readonly at: readonly number[] };
}

/** What both libraries call things; the rest of either is not used. */
export interface Library {
  readonly START: string;
  readonly END: string;
  readonly Send: new (node: string, args: unknown) => unknown;
  readonly Command: new (fields: object) => unknown;
  readonly Overwrite: new (value: unknown) => unknown;
  readonly StateGraph: new (state: unknown) => Compiled;
  /** The state's channels, in the library's own words. */
  state(): unknown;
  ask(question: string, context: unknown): unknown;
  saver(): unknown;
  /** What makes `count` supersteps the limit of a run. */
  limit(count: number, action: string): number;
  /** True for a checkpoint that has no counterpart in the other library: of an input before it is applied. */
  isExtra(source: string): boolean;
  /** What was committed since the last call; only where a test can know that. */
  commits?(saver: unknown): readonly Boundary[];
}

/** A superstep's boundary, in whichever graph. */
export interface Boundary {
  /** The graph's nodes from the root to it. */
  readonly path: readonly number[];
  readonly source: string;
  /** Nodes that ran in the superstep; those of an edit are filled in by who made it. */
  readonly ran: string[];
  readonly due: readonly string[];
  /** Single calls that are due. */
  readonly sends: readonly string[];
  readonly deferred: readonly string[];
  readonly joins: Readonly<Record<string, readonly string[]>>;
  /** Supersteps that the run has taken in this graph. */
  readonly taken: number;
  /** The boundary that it builds on. */
  readonly before: Boundary | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: a graph or its builder, of either library
export type Compiled = any;

export const nameOf = (index: number): string => `n${index}`;

/** By graph: the nodes that were run, with those of graphs inside, since somebody took them out. */
export const executions: WeakMap<object, string[]> = new WeakMap();

export function build(library: Library, { graph, before, after }: Case): Compiled {
  const names = (list: readonly number[]) => list.map(nameOf);
  const ran: string[] = [];
  const compiled = builder(library, graph, "", ran).compile({
    checkpointer: library.saver(),
    ...(before.length > 0 ? { interruptBefore: names(before) } : {}),
    ...(after.length > 0 ? { interruptAfter: names(after) } : {}),
  });
  executions.set(compiled, ran);
  return compiled;
}

function builder(library: Library, description: GraphDescription, prefix: string, ran: string[]): Compiled {
  const { nodes, edges, joins, conditions, sequence } = description;
  const { START, END } = library;
  const graph = new library.StateGraph(library.state());
  nodes.forEach((node, index) => {
    const name = nameOf(index);
    const options = {
      ends: node.goto.map(nameOf),
      ...(node.defer ? { defer: true } : {}),
      ...(node.retries
        ? { retryPolicy: { maxAttempts: 3, initialInterval: 1, jitter: false, retryOn: () => true, logWarning: false } }
        : {}),
      ...(node.handled ? { errorHandler: () => ({ log: [`${prefix}${name} handled`] }) } : {}),
    };
    if (node.inner) graph.addNode(name, builder(library, node.inner, `${prefix}${name}/`, ran).compile(), { ends: [] });
    else graph.addNode(name, behaviour(library, node, `${prefix}${name}`, ran), options);
  });
  const target = (index: number) => (index < 0 ? END : nameOf(index));
  const source = (index: number) => (index < 0 ? START : nameOf(index));
  for (const [from, to] of edges) graph.addEdge(source(from), target(to));
  for (const { from, to } of joins) graph.addEdge(from.map(nameOf), target(to));
  for (const { from, targets, sends } of conditions) {
    const path = (state: State) => {
      if (!sends) return target(targets[state.log.length % targets.length]!);
      // A bound on what a round of single calls may grow to.
      if (state.log.length > 12) return END;
      const real = targets.filter((index) => index >= 0);
      return real.length === 0
        ? END
        : real.map((index, at) => new library.Send(nameOf(index), itemOf(state, source(from), at)));
    };
    graph.addConditionalEdges(source(from), path, [...new Set([...targets.map(target), END])]);
  }
  if (sequence > 0) {
    const names = Array.from({ length: sequence }, (_, index) => `s${index}`);
    graph.addSequence(names.map((name) => [name, ({ log }: State) => ({ log: [`${prefix}${name}(${log.length})`] })]));
    graph.addEdge(nameOf(nodes.length - 1), names[0]!);
  }
  return graph;
}

function itemOf(state: State, from: string, at: number): State {
  return {
    ...state,
    last: `${state.last ? `${state.last}>` : ""}${from}.${at}`,
    nested: { of: from, at: [at, state.sum ?? 0] },
  };
}

function behaviour(
  library: Library,
  node: NodeDescription,
  name: string,
  ran: string[],
): (state: State, context: unknown) => unknown {
  // By task: which of a node's tasks comes first is not the same in both libraries.
  const failures = new Map<string, number>();
  return (state, context) => {
    ran.push(name);
    const { nested } = state;
    const item = [state.last, nested && JSON.stringify(nested)].filter((part) => part !== undefined).join();
    const answers: unknown[] = [];
    for (let question = 0; question < node.asks; question++)
      answers.push(library.ask(`${name}${item}?${question}`, context));

    const failed = failures.get(item) ?? 0;
    if (node.fails === 9 || failed < node.fails) {
      failures.set(item, failed + 1);
      throw new Error(`${name} fails`);
    }
    const update: Partial<State> = {};
    const log = [`${name}(${state.log?.length ?? 0}${item && `,${item}`})${answers.join("")}`];
    for (const write of node.writes) {
      if (write === "log") update.log = log;
      else if (write === "over") update.log = new library.Overwrite(log) as string[];
      else if (write === "sum") update.sum = 1 + (state.log?.length ?? 0);
      else update[write] = `${name}:${state.sum ?? 0}`;
    }
    // Rounds must end: a Command leads on only while the state is small.
    const turns = node.goto.map((index, at) =>
      node.gotoSends ? new library.Send(nameOf(index), itemOf(state, name, at)) : nameOf(index),
    );
    const goto = (state.log?.length ?? 0) > 10 ? [] : turns;
    return goto.length > 0 ? new library.Command({ update, goto }) : update;
  };
}
