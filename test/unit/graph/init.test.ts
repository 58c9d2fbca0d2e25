/** The forms in which a state and its parts are described, and what becomes of channels that only a part has. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { Annotation } from "../../../src/graph/channels.ts";
import { StateSchema } from "../../../src/graph/state-schema.ts";
import { MemorySaver, type Plan, START, StateGraph } from "../../../src/mod.ts";

const n = Annotation<number>();
const log = Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });

/** The plan of a graph with one node. */
const planOf = (init: unknown, options?: unknown): Plan =>
  new StateGraph(init as never, options as never)
    .addNode("a", () => undefined)
    .addEdge(START, "a")
    .plan();

describe("the constructor", () => {
  const zod = z.object({ n: z.number() });
  const forms: readonly [string, readonly string[], unknown][] = [
    ["channels", ["n", "log"], { n, log }],
    ["a channel called state", ["state"], { state: Annotation<string> }],
    ["a channel object called state", ["state"], { state: n }],
    ["Annotation.Root", ["n", "log"], Annotation.Root({ n, log })],
    ["StateSchema", ["n"], new StateSchema({ n: z.number() })],
    ["a zod object", ["n"], zod],
    ["{ state }", ["n", "log"], { state: { n, log } }],
    ["{ state } of a root", ["n", "log"], { state: Annotation.Root({ n, log }) }],
    ["{ state } with a schema", ["n"], { state: zod, input: ["n"], output: ["n"], context: zod }],
  ];
  test.each(forms)("%s", (_name, names, init) => {
    expect([...planOf(init).channels.keys()]).toEqual(names);
  });

  test("takes parts beside the state, in either place", () => {
    const context = z.object({ user: z.string() });
    const beside = planOf({ n, log }, { input: ["n"], output: { log }, context });
    const within = planOf({ state: { n, log }, input: ["n"], output: { log }, context });
    for (const plan of [beside, within]) {
      expect(plan).toMatchObject({ input: ["n"], output: ["log"] });
      expect(plan.contextSchema).toBe(context);
      expect(plan.inputSchema).toBeUndefined();
    }
  });

  test("takes a context schema as the second argument", () => {
    const context = z.object({ user: z.string() });
    expect(planOf(Annotation.Root({ n }), context).contextSchema).toBe(context);
    // Channels say what the types are, and check nothing.
    expect(planOf({ n }, Annotation.Root({ user: Annotation<string> })).contextSchema).toBeUndefined();
  });

  const bad: readonly [field: string, init: unknown, options?: unknown][] = [
    ["state", undefined],
    ["state", null],
    ["state", 5],
    ["state", [n]],
    ["state", { state: undefined }],
    ["state", z.string()],
    ["options", { n }, null],
    ["options", { n }, "x"],
    ["context", { n }, { context: 5 }],
    ["context", { n }, { context: new StateSchema({}) }],
    ["input", { n }, { input: [5] }],
    ["input", { n }, { input: "n" }],
    ["input.x", { n }, { input: ["x"] }],
    ["output.x", { n }, { output: ["x"] }],
    ["input.n", { n }, { input: { n: log } }],
    ["state.n", { n: z.number() }],
    ["state.n", { n: undefined }],
    ["state.n", { n: { kind: "other" } }],
    ["state.n", { n: { kind: "reduce" } }],
    ["state.__n", { __n: n }],
  ];
  test.each(bad)("%s: %j is refused", (field, init, options) => {
    expect(() => planOf(init, options)).toThrow(
      expect.objectContaining({ code: "InvalidArgument", message: expect.stringContaining(field) }),
    );
  });
});

describe("channels that only a part describes", () => {
  function graph() {
    const seen: Record<string, unknown> = {};
    const built = new StateGraph(
      { n, log },
      { input: { question: Annotation<string>, n }, output: { log, answer: Annotation<string> } },
    )
      .addNode(
        "ask",
        (state: object) => {
          seen.ask = state;
          return { secret: "s", n: 1 } as never;
        },
        { input: { question: Annotation<string> } },
      )
      .addNode(
        "tell",
        (state) => {
          seen.tell = state;
          return { answer: `${state.secret}`, log: ["told"] } as never;
        },
        { input: { secret: Annotation<string>, n } },
      )
      .addNode("end", (state) => {
        seen.end = state;
      })
      .addEdge(START, "ask")
      .addEdge("ask", "tell")
      .addEdge("tell", "end")
      .compile({ checkpointer: new MemorySaver() });
    return { seen, built };
  }

  test("become part of the graph, and are given to those alone that ask for them", async () => {
    const { seen, built } = graph();
    const result = await built.invoke({ question: "?" } as never, { threadId: "t" });
    expect(seen).toEqual({
      ask: { question: "?" },
      tell: { secret: "s", n: 1 },
      end: { n: 1, log: ["told"] },
    });
    expect(result).toEqual({ log: ["told"], answer: "s" });
    await expect(built.invoke({ log: [] } as never, { threadId: "t" })).rejects.toThrow(/input\.log/);
  });

  test("must be of one kind wherever they are described", () => {
    const clash = new StateGraph({ n }).addNode("a", () => ({}), { input: { n: log } }).addEdge(START, "a");
    expect(() => clash.compile({ name: "g" })).toThrow(
      expect.objectContaining({
        code: "InvalidGraph",
        message: expect.stringMatching(/graph "g", node "a": input\.n: is a reduce channel here and a last channel/),
      }),
    );
  });
});

test("a node's own schema checks what the node is given", async () => {
  const graph = new StateGraph({ n, log })
    .addNode("a", ({ n: given }) => ({ log: [`${given}`] }), { input: z.object({ n: z.number().max(3).default(2) }) })
    .addEdge(START, "a")
    .compile({ name: "g" });
  expect(await graph.invoke({})).toEqual({ log: ["2"] });
  await expect(graph.invoke({ n: 5 })).rejects.toThrow(/graph "g", node "a".*n: /);
});
