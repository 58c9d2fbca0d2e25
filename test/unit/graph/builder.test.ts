/** Nodes, edges and policies as they are given to the builder, and what the plan has of them. */
import { describe, expect, test } from "vitest";
import type { GraphBuilder } from "../../../src/graph/builder.ts";
import { Annotation } from "../../../src/graph/channels.ts";
import type { NodeOptions } from "../../../src/graph/node.ts";
import { END, InMemoryCache, type Migrate, type Plan, START, StateGraph } from "../../../src/mod.ts";

const state = { log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }) };
const say = (text: string) => () => ({ log: [text] });
const builder = () => new StateGraph(state);

const chain = (plan: Plan) => Object.fromEntries([...plan.nodes].map(([name, { edges }]) => [name, edges]));

describe("addNode", () => {
  test("takes one, an object of them, and a list", async () => {
    const graph = builder()
      .addNode("a", say("a"))
      .addNode({ b: say("b"), c: say("c") })
      .addNode([
        ["d", say("d")],
        ["e", say("e"), { defer: true, metadata: { of: "list" } }],
      ])
      .addEdge(START, "a");
    for (const [from, to] of ["ab", "bc", "cd", "de"].map((pair) => [...pair])) graph.addEdge(from!, to!);
    expect(await graph.compile().invoke({})).toEqual({ log: ["a", "b", "c", "d", "e"] });
    expect(graph.plan().nodes.get("e")).toMatchObject({ defer: true, metadata: { of: "list" } });
  });

  test("takes a compiled graph", async () => {
    const inner = builder().addNode("x", say("x")).addEdge(START, "x").compile({ name: "inner" });
    const outer = builder()
      .addNode("sub", inner, { metadata: { a: 1 } })
      .addEdge(START, "sub");
    const node = outer.plan().nodes.get("sub");
    expect(node?.subgraph).toEqual({ plan: inner.plan, state: "call" });
    expect(() => node?.run({} as never, {} as never)).toThrow(expect.objectContaining({ code: "Internal" }));
    expect(await outer.compile().invoke({})).toEqual({ log: ["x"] });
  });

  const wrong: readonly [RegExp, (graph: GraphBuilder<typeof state>) => unknown][] = [
    [/a node needs a name/, (graph) => graph.addNode("", say("a"))],
    [/node "5": a node needs a name/, (graph) => graph.addNode(5 as never, say("a"))],
    [/node "__start__": this name is reserved/, (graph) => graph.addNode(START, say("a"))],
    [/node "__end__": this name is reserved/, (graph) => graph.addNode(END, say("a"))],
    [/node "a\|b": a name may not contain/, (graph) => graph.addNode("a|b", say("a"))],
    [/node "a:b": a name may not contain/, (graph) => graph.addNode("a:b", say("a"))],
    [/node "a": a node of this name is there already/, (graph) => graph.addNode("a", say("a")).addNode("a", say("a"))],
    [/node "a": a node must be a function or a compiled graph$/, (graph) => graph.addNode("a", {} as never)],
    [/node "a": .*compile\(\) this one first/, (graph) => graph.addNode("a", builder() as never)],
    [/node "a": .*function/, (graph) => graph.addNode("a", { plan: {}, subgraphState: "call" } as never)],
    [/node "a": its options must be an object/, (graph) => graph.addNode("a", say("a"), 5 as never)],
    [/addNode: needs a node at least/, (graph) => graph.addNode({})],
    [/addNode: takes nodes as/, (graph) => graph.addNode([say("a")] as never)],
    [/node "a": input: must be a list/, (graph) => graph.addNode("a", say("a"), { input: [1] as never })],
    [/node "a": input: must be an object of channels/, (graph) => graph.addNode("a", say("a"), { input: 5 as never })],
  ];
  test.each(wrong)("%s", (message, build) => {
    expect(() => build(builder())).toThrow(message);
  });
});

describe("a node's options out of bounds name node and field", () => {
  const wrong: readonly [field: string, options: object][] = [
    ["ends", { ends: "a" }],
    ["ends", { ends: [1] }],
    ["writes", { writes: 5 }],
    ["defer", { defer: "yes" }],
    ["metadata", { metadata: 5 }],
    ["retryPolicy", { retryPolicy: 5 }],
    ["retryPolicy.maxAttempts", { retryPolicy: { maxAttempts: 0 } }],
    ["retryPolicy.maxAttempts", { retryPolicy: [{ maxAttempts: 2 }, { maxAttempts: 1.5 }] }],
    ["retryPolicy.initialInterval", { retryPolicy: { initialInterval: -1 } }],
    ["retryPolicy.backoffFactor", { retryPolicy: { backoffFactor: Number.NaN } }],
    ["retryPolicy.retryOn", { retryPolicy: { retryOn: "always" } }],
    ["timeout", { timeout: 0 }],
    ["timeout", { timeout: "5s" }],
    ["timeout.idleTimeout", { timeout: { idleTimeout: -5 } }],
    ["timeout.runTimeout", { timeout: { runTimeout: Number.POSITIVE_INFINITY } }],
    ["cachePolicy.ttl", { cachePolicy: { ttl: 0 } }],
    ["cachePolicy", { cachePolicy: "yes" }],
    ["circuitBreaker", { circuitBreaker: 5 }],
    ["errorHandler", { errorHandler: "later" }],
  ];
  test.each(wrong)("%s: %j", (field, options) => {
    expect(() => builder().addNode("mine", say("a"), options as never)).toThrow(
      expect.objectContaining({
        code: "InvalidGraph",
        message: expect.stringContaining(`node "mine": ${field}`),
        details: { node: "mine" },
      }),
    );
  });
});

describe("setNodeDefaults", () => {
  const handler: NodeOptions<typeof state>["errorHandler"] = () => ({ log: ["handled"] });
  const own: NodeOptions<typeof state>["errorHandler"] = () => ({ log: ["own"] });

  test("is for the nodes that say nothing of their own, wherever it is called", () => {
    const { nodes } = builder()
      .addNode("a", say("a"))
      .setNodeDefaults({ retryPolicy: { maxAttempts: 2 }, cachePolicy: true, timeout: 5 })
      .addNode("b", say("b"), { retryPolicy: [], cachePolicy: false, timeout: { idleTimeout: 1 }, errorHandler: own })
      .addNode("c", say("c"), { cachePolicy: { ttl: 1 } })
      .setNodeDefaults({ errorHandler: handler, timeout: 7 })
      .addEdge(START, "a")
      .addEdge("a", "b")
      .addEdge("b", "c")
      .plan();
    expect(nodes.get("a")).toMatchObject({
      retry: [{ maxAttempts: 2 }],
      cache: {},
      timeout: { runTimeout: 7 },
      onError: handler,
    });
    expect(nodes.get("b")).toMatchObject({ retry: [], timeout: { idleTimeout: 1 }, onError: own });
    expect(nodes.get("b")).not.toHaveProperty("cache");
    expect(nodes.get("c")).toMatchObject({ cache: { ttl: 1 }, onError: handler });
  });

  test("names the field of a bad one", () => {
    expect(() => builder().setNodeDefaults({ timeout: -1 })).toThrow(/timeout/);
    expect(() => builder().setNodeDefaults(null as never)).toThrow(/setNodeDefaults/);
  });

  test("holds for the nodes of this graph and not of graphs inside it", async () => {
    let tries = 0;
    const inner = builder()
      .addNode("x", () => {
        tries++;
        throw new Error("no");
      })
      .addEdge(START, "x")
      .compile();
    const graph = builder()
      .addNode("sub", inner)
      .addEdge(START, "sub")
      .setNodeDefaults({ errorHandler: handler })
      .compile();
    expect(await graph.invoke({})).toEqual({ log: ["handled"] });
    expect(tries).toBe(1);
  });
});

describe("edges", () => {
  test("addSequence puts nodes one after the other", async () => {
    const graph = builder()
      .addSequence([
        ["a", say("a")],
        ["b", say("b"), { metadata: { second: true } }],
      ])
      .addSequence({ c: say("c"), d: say("d") })
      .addEdge(START, "a")
      .addEdge("b", "c");
    expect(chain(graph.plan())).toEqual({ a: ["b"], b: ["c"], c: ["d"], d: [] });
    expect(await graph.compile().invoke({})).toEqual({ log: ["a", "b", "c", "d"] });
  });

  test("a join fires once all of its nodes have finished; drawn twice it is one", async () => {
    const graph = builder()
      .addNode({ a: say("a"), b: say("b"), c: say("c"), end: say("end") })
      .addEdge(START, "a")
      .addEdge(START, "b")
      .addEdge("b", "c")
      .addEdge(["a", "c"], "end")
      .addEdge(["c", "a", "c"], "end");
    expect(graph.plan().joins).toEqual([{ sources: ["a", "c"], target: "end", key: "a+c>end" }]);
    expect(await graph.compile().invoke({})).toEqual({ log: ["a", "b", "c", "end"] });
  });

  test("a join of one is an edge", () => {
    const plan = builder()
      .addNode({ a: say("a"), b: say("b") })
      .addEdge(START, "a")
      .addEdge(["a"], "b")
      .plan();
    expect(chain(plan)).toEqual({ a: ["b"], b: [] });
    expect(plan.joins).toEqual([]);
  });

  test("joins of nodes with odd names are told apart", () => {
    const graph = builder().addNode({ "a+b": say("1"), c: say("2"), a: say("3"), "b+c": say("4"), "t>": say("5") });
    for (const name of ["a+b", "c", "a", "b+c"]) graph.addEdge(START, name);
    const { joins } = graph.addEdge(["a+b", "c"], "t>").addEdge(["a", "b+c"], "t>").plan();
    expect(new Set(joins.map(({ key }) => key)).size).toBe(2);
  });

  test("conditional edges in both forms, by list, by map and by truth", async () => {
    const graph = builder()
      .addNode({ a: say("a"), b: say("b"), c: say("c"), d: say("d") })
      .setConditionalEntryPoint(() => true, { true: "a", false: END })
      .addConditionalEdges({ source: "a", path: () => "go", pathMap: { go: "b" } })
      .addConditionalEdges({ source: "b", path: async () => ["c"], pathMap: ["c", "d"] })
      .addConditionalEdges("c", () => [1], { 1: "d" })
      .setFinishPoint("d")
      .compile();
    expect(await graph.invoke({})).toEqual({ log: ["a", "b", "c", "d"] });
  });

  const wrong: readonly [RegExp, (graph: GraphBuilder<typeof state>) => unknown][] = [
    [/^from: /, (graph) => graph.addEdge(5 as never, "a")],
    [/^from: /, (graph) => graph.addEdge(["a", 5] as never, "a")],
    [/^to: /, (graph) => graph.addEdge("a", undefined as never)],
    [/^source: /, (graph) => graph.addConditionalEdges(undefined as never, () => "a")],
    [/node "a": a conditional edge needs a function/, (graph) => graph.addConditionalEdges("a", "b" as never)],
    [/node "a": targets must be/, (graph) => graph.addConditionalEdges("a", () => "b", [5] as never)],
    [/node "a": targets must be/, (graph) => graph.addConditionalEdges("a", () => "b", "b" as never)],
    [/addSequence: needs a node/, (graph) => graph.addSequence([])],
    [/addSequence: takes/, (graph) => graph.addSequence(undefined as never)],
  ];
  test.each(wrong)("%s", (message, build) => {
    expect(() => build(builder())).toThrow(message);
  });
});

describe("compile options", () => {
  const graph = () => builder().addNode("a", say("a")).addEdge(START, "a");

  test("are in the plan", () => {
    const migrate: Migrate = (stored) => stored;
    const cache = new InMemoryCache();
    const when = () => false;
    const plan = graph().plan({
      name: "g",
      version: "7",
      interruptBefore: "*",
      interruptAfter: ["*"],
      interruptBeforeWhen: when,
      interruptAfterWhen: when,
      maxSteps: 5,
      maxConcurrency: 2,
      fanOutMax: 3,
      migrate,
      cache,
    });
    expect(plan).toMatchObject({ name: "g", version: "7", maxSteps: 5, maxConcurrency: 2, fanOutMax: 3 });
    expect([...plan.interruptBefore, ...plan.interruptAfter]).toEqual(["a", "a"]);
    expect([plan.migrate, plan.cache, plan.interruptBeforeWhen, plan.interruptAfterWhen]).toEqual([
      migrate,
      cache,
      when,
      when,
    ]);
    expect(graph().plan()).toMatchObject({ name: "graph", maxSteps: 25, fanOutMax: 10_000 });
  });

  const wrong: readonly [field: string, options: object][] = [
    ["name", { name: "" }],
    ["version", { version: 5 }],
    ["versionSalt", { versionSalt: 5 }],
    ["interruptBefore", { interruptBefore: "a" }],
    ["interruptAfterWhen", { interruptAfterWhen: "a" }],
    ["migrate", { migrate: {} }],
    ["cache", { cache: {} }],
    ["maxSteps", { maxSteps: 0 }],
    ["maxSteps", { maxSteps: Number.NaN }],
    ["maxConcurrency", { maxConcurrency: 1.5 }],
    ["fanOutMax", { fanOutMax: 1e9 }],
  ];
  test.each(wrong)("%s: %j is refused", (field, options) => {
    expect(() => graph().plan(options as never)).toThrow(
      expect.objectContaining({ code: "InvalidArgument", details: { field } }),
    );
  });
});

test("a plan stays as it is when the builder goes on", () => {
  const graph = builder().addNode("a", say("a")).addEdge(START, "a");
  const plan = graph.plan();
  graph.addNode("b", say("b")).addEdge("a", "b");
  expect([[...plan.nodes.keys()], plan.nodes.get("a")?.edges]).toEqual([["a"], []]);
});
