// One description built in either library: their builders have the same names.
import type { Case, GraphDescription, NodeDescription } from "./description.ts";

export interface State {
  log: string[];
  sum: number;
  last?: string;
  mark?: string;
}

/** What both libraries call things; the rest of either is not used. */
export interface Library {
  readonly START: string;
  readonly END: string;
  readonly Send: new (node: string, args: unknown) => unknown;
  readonly Command: new (fields: object) => unknown;
  // biome-ignore lint/suspicious/noExplicitAny: two libraries' builders, by the names that they share
  readonly StateGraph: new (
    state: any,
  ) => any;
  /** The state's channels, in the library's own words. */
  state(): unknown;
  ask(question: string, context: unknown): unknown;
  saver(): unknown;
  /** What makes `count` supersteps the limit of a run. */
  limit(count: number, action: string): number;
  /** True for a checkpoint that has no counterpart in the other library: of an input before it is applied. */
  isExtra(source: string): boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: a compiled graph of either library
export type Compiled = any;

const nameOf = (index: number) => `n${index}`;

export function build(library: Library, { graph, before, after }: Case): Compiled {
  const names = (list: readonly number[]) => list.map(nameOf);
  return builder(library, graph, "").compile({
    checkpointer: library.saver(),
    ...(before.length > 0 ? { interruptBefore: names(before) } : {}),
    ...(after.length > 0 ? { interruptAfter: names(after) } : {}),
  });
}

function builder(library: Library, { nodes, edges, joins, conditions }: GraphDescription, prefix: string): Compiled {
  const { START, END } = library;
  const graph = new library.StateGraph(library.state());
  nodes.forEach((node, index) => {
    const name = nameOf(index);
    const options = {
      ends: node.goto.map(nameOf),
      ...(node.defer ? { defer: true } : {}),
      ...(node.retries
        ? { retryPolicy: { maxAttempts: 3, initialInterval: 1, jitter: false, retryOn: () => true } }
        : {}),
      ...(node.handled ? { errorHandler: () => ({ log: [`${prefix}${name} handled`] }) } : {}),
    };
    if (node.inner) graph.addNode(name, builder(library, node.inner, `${prefix}${name}/`).compile(), { ends: [] });
    else graph.addNode(name, behaviour(library, node, `${prefix}${name}`), options);
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
        : real.map((index, at) => new library.Send(nameOf(index), { ...state, last: `item${at}` }));
    };
    graph.addConditionalEdges(source(from), path, [...new Set([...targets.map(target), END])]);
  }
  return graph;
}

function behaviour(library: Library, node: NodeDescription, name: string): (state: State, context: unknown) => unknown {
  let failures = 0;
  return (state, context) => {
    const answers: unknown[] = [];
    for (let question = 0; question < node.asks; question++) answers.push(library.ask(`${name}?${question}`, context));
    if (node.fails === 9 || failures < node.fails) {
      failures++;
      throw new Error(`${name} fails`);
    }
    const update: Partial<State> = {};
    for (const write of node.writes) {
      if (write === "log")
        update.log = [`${name}(${state.log?.length ?? 0}${state.last ? `,${state.last}` : ""})${answers.join("")}`];
      else if (write === "sum") update.sum = 1 + (state.log?.length ?? 0);
      else update[write] = `${name}:${state.sum ?? 0}`;
    }
    // Rounds must end: a Command leads on only while the state is small.
    const goto = (state.log?.length ?? 0) > 10 ? [] : node.goto.map(nameOf);
    return goto.length > 0 ? new library.Command({ update, goto }) : update;
  };
}
