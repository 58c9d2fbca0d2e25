// A random graph and what is done with it, as plain data: printed, shrunk, and built in both libraries.
import fc from "fast-check";

/** Channels: `log` and `sum` have reducers, `last` and `mark` keep the last value. `over` takes `log`'s place. */
export type Write = "log" | "sum" | "last" | "mark" | "over";

/** Decides by `log.length % targets.length`, so that it depends on the state alone. */
export interface Condition {
  readonly from: number;
  readonly targets: readonly number[];
  /** Single calls instead of turns: each target gets an item. */
  readonly sends: boolean;
}

export interface NodeDescription {
  readonly writes: readonly Write[];
  /** Times that it throws before it works; 9 = always. */
  readonly fails: number;
  /** Questions that it asks, one after the other. */
  readonly asks: number;
  /** Where its Command leads, besides its edges. */
  readonly goto: readonly number[];
  /** By single calls. */
  readonly gotoSends: boolean;
  readonly defer: boolean;
  readonly retries: boolean;
  readonly handled: boolean;
  /** A graph in place of a function. */
  readonly inner: GraphDescription | null;
}

export interface GraphDescription {
  readonly nodes: readonly NodeDescription[];
  /** Node numbers; -1 as source is START, as target END. */
  readonly edges: readonly (readonly [from: number, to: number])[];
  readonly joins: readonly { readonly from: readonly number[]; readonly to: number }[];
  readonly conditions: readonly Condition[];
  /** Nodes of a sequence that begins after the last node; 0 for none. */
  readonly sequence: number;
}

export type Action =
  | { readonly kind: "input"; readonly item: string }
  | { readonly kind: "resume" }
  | { readonly kind: "go on" }
  | { readonly kind: "update"; readonly as: number }
  | { readonly kind: "fork"; readonly back: number };

export interface Case {
  readonly graph: GraphDescription;
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly actions: readonly Action[];
}

const writes: readonly Write[] = ["log", "log", "log", "log", "log", "sum", "sum", "sum", "last", "mark", "over"];

function nodeArb(size: number, depth: number): fc.Arbitrary<NodeDescription> {
  const rare = (weight: number) => fc.integer({ min: 0, max: weight }).map((n) => n === 0);
  return fc.record({
    writes: fc
      .uniqueArray(fc.constantFrom(...writes), { maxLength: 3 })
      .map((all) => (all.includes("over") ? all.filter((write) => write !== "log") : all)),
    fails: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 9),
    asks: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2),
    goto: rare(5).chain((has) =>
      has ? fc.uniqueArray(fc.nat(size - 1), { minLength: 1, maxLength: 2 }) : fc.constant<number[]>([]),
    ),
    gotoSends: rare(2),
    defer: rare(9),
    retries: rare(3),
    handled: rare(6),
    inner: depth > 0 ? rare(6).chain((has) => (has ? graphArb(3, depth - 1) : fc.constant(null))) : fc.constant(null),
  });
}

/** Every node but the first has a way in from an earlier one, so that both libraries take the graph. */
export function graphArb(most: number, depth: number): fc.Arbitrary<GraphDescription> {
  return fc.integer({ min: 1, max: most }).chain((size) =>
    fc
      .record({
        nodes: fc.array(nodeArb(size, depth), { minLength: size, maxLength: size }),
        tree: fc.array(fc.nat(), { minLength: size, maxLength: size }),
        more: fc.array(fc.tuple(fc.nat(size - 1), fc.integer({ min: -1, max: size - 1 })), { maxLength: 3 }),
        joins: fc.array(
          fc.record({ from: fc.uniqueArray(fc.nat(size - 1), { minLength: 2, maxLength: 3 }), to: fc.nat(size - 1) }),
          { maxLength: size > 2 ? 1 : 0 },
        ),
        conditions: fc.uniqueArray(
          fc.record({
            from: fc.integer({ min: -1, max: size - 1 }),
            targets: fc.uniqueArray(fc.integer({ min: -1, max: size - 1 }), { minLength: 1, maxLength: 3 }),
            sends: fc.boolean(),
          }),
          // LangGraph.js takes one nameless condition of a node.
          { maxLength: 2, selector: ({ from }) => from },
        ),
        sequence: fc.constantFrom(0, 0, 0, 0, 0, 2, 3),
        rounds: fc.boolean(),
      })
      .map(({ nodes, tree, more, joins, conditions, sequence, rounds }) => {
        const edges = new Map<string, readonly [number, number]>();
        const add = (from: number, to: number) => edges.set(`${from}>${to}`, [from, to]);
        for (const [index, value] of tree.entries()) add(index === 0 ? -1 : (value % (index + 1)) - 1, index);
        for (const [from, to] of more) add(from, to);
        return bounded({ nodes, sequence, edges: [...edges.values()], joins, conditions }, rounds);
      }),
  );
}

/**
 * Single calls lead forward only, as rounds of them would double at every turn. Where the rest may lead back, there is
 * one call at a time; else nothing leads back.
 */
function bounded(graph: GraphDescription, rounds: boolean): GraphDescription {
  const forward = (from: number, targets: readonly number[], most: number) =>
    targets.filter((target) => target < 0 || target > from).slice(0, most);
  const most = rounds ? 1 : 2;
  const nodes = graph.nodes.map((node, index) =>
    node.gotoSends ? { ...node, goto: rounds ? [] : forward(index, node.goto, most) } : node,
  );
  const conditions = graph.conditions
    .map((one) => (one.sends ? { ...one, targets: forward(one.from, one.targets, most) } : one))
    .filter(({ targets }) => targets.length > 0);
  const calls =
    nodes.some(({ gotoSends, goto }) => gotoSends && goto.length > 0) || conditions.some(({ sends }) => sends);
  if (rounds || !calls) return { ...graph, nodes, conditions };
  const later = (from: number, targets: readonly number[]) => forward(from, targets, targets.length);
  return {
    ...graph,
    nodes: nodes.map((node, index) => ({ ...node, goto: later(index, node.goto) })),
    edges: graph.edges.filter(([from, to]) => to < 0 || to > from),
    joins: graph.joins.filter(({ from, to }) => from.every((source) => to > source)),
    conditions: conditions
      .map((one) => ({ ...one, targets: later(one.from, one.targets) }))
      .filter(({ targets }) => targets.length > 0),
  };
}

const actionArb: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Action>({ kind: "resume" }) },
  { weight: 3, arbitrary: fc.constant<Action>({ kind: "go on" }) },
  { weight: 2, arbitrary: fc.constantFrom("x", "y").map((item): Action => ({ kind: "input", item })) },
  { weight: 2, arbitrary: fc.nat(4).map((as): Action => ({ kind: "update", as })) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 3 }).map((back): Action => ({ kind: "fork", back })) },
);

export const caseArb: fc.Arbitrary<Case> = graphArb(5, 1).chain((graph) =>
  fc.record({
    graph: fc.constant(graph),
    before: breakpoints(graph),
    after: breakpoints(graph),
    actions: fc.array(actionArb, { maxLength: 4 }),
  }),
);

function breakpoints({ nodes }: GraphDescription): fc.Arbitrary<readonly number[]> {
  const some = fc.uniqueArray(fc.nat(nodes.length - 1), { minLength: 1, maxLength: 1 });
  return fc.integer({ min: 0, max: 7 }).chain((n) => (n === 0 ? some : fc.constant<number[]>([])));
}
