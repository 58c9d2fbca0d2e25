// Random graphs that do the same each time they are run: whatever they come to after a kill must be what they come to
// when left alone.
import fc from "fast-check";
import {
  Annotation,
  Command,
  type CompiledGraph,
  END,
  InMemoryCache,
  type NodeContext,
  Overwrite,
  Send,
  START,
  StateGraph,
} from "../../src/mod.ts";
import type { World } from "./world.ts";

const kinds = [
  "plain",
  "asks",
  "fails",
  "handled",
  "calls",
  "asks between calls",
  "cached",
  "slow",
  "overwrites",
  "sends",
  "turns",
  "turns by sends",
  "turns of the parent",
  "inner",
  "invokes",
] as const;

export type Kind = (typeof kinds)[number];

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
  /** A join of earlier nodes into the last. */
  readonly join: readonly number[] | null;
  /** From the last node back to the first, until the log is that long; 0 for none. */
  readonly roundUntil: number;
  readonly stopsBefore: number | null;
}

export function graphArb(depth: number): fc.Arbitrary<GraphDescription> {
  const node: fc.Arbitrary<NodeDescription> = fc
    .record({
      kind: fc.constantFrom<Kind[]>(...kinds, "plain"),
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
      join:
        size < 3
          ? fc.constant(null)
          : fc.option(fc.uniqueArray(fc.nat(size - 2), { minLength: 2, maxLength: 3 }), { nil: null }),
      roundUntil: fc.constantFrom(0, 0, 0, 6),
      stopsBefore: fc.option(fc.nat(size - 1), { nil: null, freq: 4 }),
    }),
  );
}

interface State {
  readonly log: readonly string[];
}

const nameOf = (index: number): string => `n${index}`;

/** As a process of its own would have it: nothing is shared with another one but the world. */
export function build(description: GraphDescription, world: World): CompiledGraph {
  return graphOf(description, world, "random", []);
}

function graphOf(
  { nodes, parents, conditional, join, roundUntil, stopsBefore }: GraphDescription,
  world: World,
  name: string,
  outer: readonly string[],
): CompiledGraph {
  const log = Annotation<readonly string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
  const sum = Annotation<number>({ reducer: (a, b) => a + b, default: () => 0 });
  const graph = new StateGraph({ log, sum, last: Annotation<string> });
  nodes.forEach((node, index) => {
    const { kind, defer } = node;
    const path = `${name}/${nameOf(index)}`;
    const later = nodes.map((_, at) => nameOf(at)).slice(index + 1);
    const inner = node.inner && graphOf(node.inner, world, path, kind === "inner" ? later : []);
    if (inner && kind === "inner") graph.addNode(nameOf(index), inner, { defer, ends: later });
    else {
      graph.addNode(nameOf(index), behaviour(node, { path, inner, later, outer, world }), {
        defer,
        ends: kind === "turns" || kind === "turns by sends" ? later : [],
        ...(kind === "fails" ? { retryPolicy: { maxAttempts: 3, initialInterval: 1, retryOn: () => true } } : {}),
        ...(kind === "handled" ? { errorHandler: () => ({ log: [`${path} handled`] }) } : {}),
        ...(kind === "cached" ? { cachePolicy: true } : {}),
      });
    }
  });
  parents.forEach((parent, index) => {
    const from = parent < 0 ? START : nameOf(parent);
    if (parent >= 0 && nodes[parent]!.kind === "sends") {
      graph.addConditionalEdges(from, (state: State) => items(state, nameOf(index)), [nameOf(index)]);
    } else if (conditional[index]) {
      const path = ({ log: { length } }: State) => (length % 3 === 2 ? END : nameOf(index));
      graph.addConditionalEdges(from, path, [nameOf(index), END]);
    } else graph.addEdge(from, nameOf(index));
  });
  if (join) graph.addEdge(join.map(nameOf), nameOf(nodes.length - 1));
  if (roundUntil > 0) {
    const back = ({ log: { length } }: State) => (length < roundUntil ? nameOf(0) : END);
    graph.addConditionalEdges(nameOf(nodes.length - 1), back, [nameOf(0), END]);
  }
  const stops = name === "random" && stopsBefore !== null ? { interruptBefore: [nameOf(stopsBefore)] } : {};
  const cache = new InMemoryCache();
  return graph.compile({ name, cache, maxSteps: 30, fanOutMax: 200, ...stops }) as unknown as CompiledGraph;
}

function items({ log }: State, node: string): readonly Send[] {
  return [0, 1].map((at) => new Send(node, { log: [...log, `item ${at}`] }));
}

interface Place {
  readonly path: string;
  readonly inner: CompiledGraph | null;
  /** Nodes after this one, and after that which this graph is. */
  readonly later: readonly string[];
  readonly outer: readonly string[];
  readonly world: World;
}

function behaviour(node: NodeDescription, place: Place) {
  const run = work(node, place);
  return async (state: State, ctx: NodeContext) => {
    const returned = await run(state, ctx);
    if (node.kind !== "cached" && node.kind !== "turns of the parent") place.world.ends(ctx);
    return returned;
  };
}

function work({ kind, times, isAsync }: NodeDescription, { path, inner, later, outer, world }: Place) {
  return async (state: State, ctx: NodeContext) => {
    const { log } = state;
    if (isAsync) await Promise.resolve();
    const said: unknown[] = [log.length];
    // What a process has in its cache it does not do again, and another one does.
    if (kind !== "cached") world.touch(ctx, "runs");
    const call = async (at: number) => {
      const run = async (n: number) => {
        world.touch(ctx, `call ${n}`);
        return n * 2;
      };
      const result = await ctx.task(`call ${at}`, run, at);
      world.returned(ctx, `call ${at}`);
      return result;
    };
    const ask = (at: number) => said.push(ctx.interrupt(`${path}?${at}`));
    if (kind === "asks") for (let at = 0; at < times; at++) ask(at);
    if (kind === "fails" && ctx.retryAttempt <= times) throw new Error(`${path} fails`);
    if (kind === "handled") throw new Error(`${path} fails for good`);
    if (kind === "slow") {
      const sinceMs = ctx.ports.clock.monotonicMs();
      await new Promise<void>((done) => void ctx.ports.timers.after(times * 10, done));
      world.waited(ctx, sinceMs);
    }
    if (kind === "calls") {
      said.push(...(isAsync ? await Promise.all([call(1), call(2)]) : [await call(1), await call(2)]));
    }
    if (kind === "asks between calls") {
      said.push(await call(1));
      ask(0);
      said.push(await call(2));
    }
    if (inner) said.push(((await ctx.invoke(inner, { log: [path] })) as State).log.length);
    const own = [`${path}(${said.join()})`];
    const update = {
      // Never shorter, as rounds end by its length.
      log: kind === "overwrites" ? new Overwrite([...log, ...own]) : own,
      ...(times === 2 ? { sum: log.length } : {}),
      ...(times === 2 && kind === "plain" ? { last: path } : {}),
    };
    // Turns come to an end, as the log grows.
    if (log.length > 8) return update;
    if (kind === "turns") return new Command({ update, goto: later.slice(0, times) });
    if (kind === "turns by sends")
      return new Command({ update, goto: later.slice(0, 1).flatMap((to) => items(state, to)) });
    if (kind === "turns of the parent" && outer.length > 0) {
      return new Command({ update: { log: own }, goto: outer.slice(0, times), graph: Command.PARENT });
    }
    return update;
  };
}
