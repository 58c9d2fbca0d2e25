// Random graphs that do the same each time they are run: whatever they come to after a kill must be what they come to
// when left alone.
import fc from "fast-check";
import {
  Annotation,
  Command,
  type CompiledGraph,
  END,
  type NodeContext,
  Send,
  START,
  StateGraph,
} from "../../src/mod.ts";

export type Kind = "plain" | "asks" | "fails" | "handled" | "calls" | "sends" | "turns" | "inner" | "invokes";

export interface NodeDescription {
  readonly kind: Kind;
  /** How often it asks, fails or calls. */
  readonly times: number;
  readonly isAsync: boolean;
  readonly defer: boolean;
  readonly inner: GraphDescription | null;
}

export interface GraphDescription {
  readonly nodes: readonly NodeDescription[];
  /** For each node but the first: the earlier one that leads to it. */
  readonly parents: readonly number[];
  /** Nodes that lead there by a condition instead of an edge. */
  readonly conditional: readonly boolean[];
  /** A join of two earlier nodes into the last. */
  readonly join: readonly [number, number] | null;
  /** From the last node back to the first, until the log is that long; 0 for none. */
  readonly roundUntil: number;
  readonly stopsBefore: number | null;
}

const kinds: readonly Kind[] = [
  "plain",
  "plain",
  "asks",
  "fails",
  "handled",
  "calls",
  "sends",
  "turns",
  "inner",
  "invokes",
];

export function graphArb(depth: number): fc.Arbitrary<GraphDescription> {
  const node: fc.Arbitrary<NodeDescription> = fc
    .record({
      kind: fc.constantFrom<Kind[]>(...kinds),
      times: fc.integer({ min: 1, max: 2 }),
      isAsync: fc.boolean(),
      defer: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    })
    .chain((own): fc.Arbitrary<NodeDescription> => {
      const nests = own.kind === "inner" || own.kind === "invokes";
      if (!nests) return fc.constant({ ...own, inner: null });
      if (depth === 0) return fc.constant({ ...own, kind: "plain" as const, inner: null });
      return graphArb(depth - 1).map((inner) => ({ ...own, defer: false, inner }));
    });
  return fc.integer({ min: 1, max: depth === 0 ? 3 : 5 }).chain((size) =>
    fc.record({
      nodes: fc.array(node, { minLength: size, maxLength: size }),
      parents: fc.tuple(...Array.from({ length: size }, (_, index) => fc.integer({ min: -1, max: index - 1 }))),
      conditional: fc.array(fc.boolean(), { minLength: size, maxLength: size }),
      join: size < 3 ? fc.constant(null) : fc.option(fc.constant([0, 1] as const), { nil: null }),
      roundUntil: fc.constantFrom(0, 0, 0, 6),
      stopsBefore: fc.option(fc.nat(size - 1), { nil: null, freq: 4 }),
    }),
  );
}

/** Told of every effect, by its idempotency key. */
export type Effect = (key: string) => void;

interface State {
  readonly log: readonly string[];
}

export function build(description: GraphDescription, effect: Effect, name = "random"): CompiledGraph {
  const { nodes, parents, conditional, join, roundUntil, stopsBefore } = description;
  const log = Annotation<readonly string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
  const graph = new StateGraph({ log, last: Annotation<string> });
  const nameOf = (index: number) => `n${index}`;
  nodes.forEach((node, index) => {
    const own = nameOf(index);
    const path = `${name}/${own}`;
    const later = nodes.map((_, at) => nameOf(at)).filter((_, at) => at > index);
    const options = {
      defer: node.defer,
      ends: node.kind === "turns" ? later : [],
      ...(node.kind === "fails" ? { retryPolicy: { maxAttempts: 3, initialInterval: 1, retryOn: () => true } } : {}),
      ...(node.kind === "handled" ? { errorHandler: () => ({ log: [`${path} handled`] }) } : {}),
    };
    const inner = node.inner && build(node.inner, effect, path);
    if (node.kind === "inner") graph.addNode(own, inner!, { defer: node.defer });
    else graph.addNode(own, behaviour(node, path, inner, later, effect), options);
  });
  parents.forEach((parent, index) => {
    const from = parent < 0 ? START : nameOf(parent);
    if (parent >= 0 && nodes[parent]!.kind === "sends") {
      const packets = (state: State) =>
        [0, 1].map((at) => new Send(nameOf(index), { log: [...state.log, `item ${at}`] }));
      graph.addConditionalEdges(from, packets, [nameOf(index)]);
    } else if (conditional[index]) {
      graph.addConditionalEdges(from, ({ log: { length } }) => (length % 3 === 2 ? END : nameOf(index)), [
        nameOf(index),
        END,
      ]);
    } else graph.addEdge(from, nameOf(index));
  });
  if (join) graph.addEdge(join.map(nameOf), nameOf(nodes.length - 1));
  if (roundUntil > 0) {
    const back = ({ log: { length } }: State) => (length < roundUntil ? nameOf(0) : END);
    graph.addConditionalEdges(nameOf(nodes.length - 1), back, [nameOf(0), END]);
  }
  const stops = name === "random" && stopsBefore !== null ? { interruptBefore: [nameOf(stopsBefore)] } : {};
  return graph.compile({ name, maxSteps: 30, fanOutMax: 200, ...stops }) as unknown as CompiledGraph;
}

function behaviour(
  { kind, times, isAsync }: NodeDescription,
  path: string,
  inner: CompiledGraph | null,
  later: readonly string[],
  effect: Effect,
) {
  return async ({ log }: State, ctx: NodeContext) => {
    if (isAsync) await Promise.resolve();
    const said: unknown[] = [log.length];
    effect(ctx.idempotencyKey);
    if (kind === "asks") for (let at = 0; at < times; at++) said.push(ctx.interrupt(`${path}?${at}`));
    if (kind === "fails" && ctx.retryAttempt <= times) throw new Error(`${path} fails`);
    if (kind === "handled") throw new Error(`${path} fails for good`);
    if (kind === "calls") {
      const one = (at: number) =>
        ctx.task(
          `call ${at}`,
          async (n: number) => {
            effect(`${ctx.idempotencyKey} ${n}`);
            return n * 2;
          },
          at,
        );
      said.push(...(isAsync ? await Promise.all([one(1), one(2)]) : [await one(1), await one(2)]));
    }
    if (inner) said.push(((await ctx.invoke(inner, { log: [path] })) as State).log.length);
    const update = { log: [`${path}(${said.join()})`], ...(times === 2 && kind === "plain" ? { last: path } : {}) };
    return kind === "turns" && log.length < 8 ? new Command({ update, goto: later.slice(0, times) }) : update;
  };
}
