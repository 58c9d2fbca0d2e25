/** State from schemas (zod 4): what is checked where, and what an error says. */
import { describe, expect, it } from "vitest";
import { z } from "zod";
import {
  type AgentmaticError,
  Annotation,
  MemorySaver,
  ReducedValue,
  START,
  StateGraph,
  StateSchema,
} from "../../src/mod.ts";
import { list, thread, ways } from "./stage.ts";

const Order = z.object({
  items: z.array(z.object({ sku: z.string(), count: z.number().int().positive() })),
  note: z.string().default("none"),
});

describe.each(ways)("$way", ({ kept }) => {
  it("a zod object is a state: its defaults are there, its types are the nodes'", async () => {
    const graph = new StateGraph(Order)
      .addNode("count", ({ items, note }) => ({ note: `${note}: ${items.length}` }))
      .addEdge(START, "count")
      .compile(kept());
    const end = await graph.invoke({ items: [{ sku: "a", count: 1 }] }, thread);
    expect(end).toEqual({ items: [{ sku: "a", count: 1 }], note: "none: 1" });
  });

  it("an input that does not fit is refused with its path, and no node runs", async () => {
    let ran = false;
    const graph = new StateGraph(Order)
      .addNode("count", () => {
        ran = true;
      })
      .addEdge(START, "count")
      .compile({ name: "order", ...kept() });
    const items = [
      { sku: "a", count: 1 },
      { sku: "b", count: -1 },
    ];
    await expect(graph.invoke({ items }, thread)).rejects.toMatchObject({
      code: "InvalidArgument",
      message: expect.stringContaining("input.items[1].count"),
    });
    expect(ran).toBe(false);
  });

  it("what a node returns and does not fit is refused with graph, node and path", async () => {
    const graph = new StateGraph(Order)
      .addNode("fill", () => ({ items: [{ sku: "a", count: "two" as unknown as number }] }))
      .addEdge(START, "fill")
      .compile({ name: "order", ...kept() });
    const error = await graph.invoke({ items: [] }, thread).catch((thrown: AgentmaticError) => thrown);
    expect(error).toMatchObject({
      code: "NodeFailed",
      message: expect.stringContaining('graph "order", node "fill": items[0].count'),
      details: { node: "fill", channel: "items" },
    });
  });

  it("a schema that converts gives the converted value, to input and return alike", async () => {
    const seen: unknown[] = [];
    const graph = new StateGraph(z.object({ name: z.string().trim(), age: z.coerce.number().optional() }))
      .addNode("see", (state) => {
        seen.push(state);
        return { name: "  Bob " };
      })
      .addEdge(START, "see")
      .compile(kept());
    expect(await graph.invoke({ name: " Ada ", age: "36" }, thread)).toEqual({ name: "Bob", age: 36 });
    expect(seen).toEqual([{ name: "Ada", age: 36 }]);
  });

  it("a reduced field checks each update by its own schema", async () => {
    const State = new StateSchema({
      total: new ReducedValue(z.number().default(0), {
        inputSchema: z.string(),
        reducer: (sum, text: string) => sum + Number(text),
      }),
    });
    const make = (update: unknown) =>
      new StateGraph(State)
        .addNode("add", () => ({ total: update as string }))
        .addEdge(START, "add")
        .compile({ name: "sum", ...kept() });
    expect(await make("2").invoke({ total: "40" }, thread)).toEqual({ total: 42 });
    await expect(make(2).invoke({ total: "40" }, thread)).rejects.toThrow('graph "sum", node "add": total');
  });

  it("input and output schemas: what callers may give and what they get", async () => {
    const graph = new StateGraph({
      state: z.object({ question: z.string(), draft: z.string(), answer: z.string() }),
      input: z.object({ question: z.string().min(3) }),
      output: ["answer"],
    })
      .addNode("draft", ({ question }) => ({ draft: `about ${question}` }))
      .addNode("answer", ({ draft }) => ({ answer: draft.toUpperCase() }))
      .addEdge(START, "draft")
      .addEdge("draft", "answer")
      .compile(kept());
    expect(await graph.invoke({ question: "tea" }, thread)).toEqual({ answer: "ABOUT TEA" });
    await expect(graph.invoke({ question: "?" }, thread)).rejects.toThrow("input.question");
    await expect(graph.invoke({ question: "tea", draft: "x" } as never, thread)).rejects.toThrow("input.draft");
  });

  it("a node's own input: channels by name, or a schema that checks them", async () => {
    const seen: unknown[] = [];
    const graph = new StateGraph({ city: Annotation<string>(), days: Annotation<number>(), log: list() })
      .addNode("names", (state) => void seen.push(state), { input: ["city"] })
      .addNode("schema", (state) => void seen.push(state), { input: z.object({ days: z.number().max(7) }) })
      .addEdge(START, "names")
      .addEdge("names", "schema")
      .compile({ name: "trip", ...kept() });
    await graph.invoke({ city: "Rome", days: 3 }, thread);
    expect(seen).toEqual([{ city: "Rome" }, { days: 3 }]);
    await expect(graph.invoke({ city: "Rome", days: 9 }, thread)).rejects.toThrow(
      'graph "trip", node "schema": its input.days',
    );
  });

  it("a context schema checks what a run is given beside its state, and its defaults reach the nodes", async () => {
    const graph = new StateGraph(
      { log: list() },
      { context: z.object({ user: z.string(), model: z.string().default("small") }) },
    )
      .addNode("see", (_state, ctx) => ({ log: [ctx.context.user, ctx.context.model] }))
      .addEdge(START, "see")
      .compile(kept());
    expect((await graph.invoke({}, { ...thread, context: { user: "ann" } })).log).toEqual(["ann", "small"]);
    await expect(graph.invoke({}, { ...thread, context: { user: 5 } as never })).rejects.toMatchObject({
      code: "InvalidArgument",
      message: expect.stringContaining("context.user"),
    });
    await expect(graph.invoke({}, thread)).rejects.toThrow("context.user");
  });
});

it("a refused update leaves the thread as it was, and a good one goes on", async () => {
  let count: unknown = "two";
  const graph = new StateGraph(Order)
    .addNode("fill", () => ({ items: [{ sku: "a", count: count as number }] }))
    .addEdge(START, "fill")
    .compile({ checkpointer: new MemorySaver() });
  await expect(graph.invoke({ items: [] }, thread)).rejects.toThrow("items[0].count");
  expect((await graph.getState(thread))?.values.items).toEqual([]);
  count = 2;
  expect((await graph.invoke(null, thread)).items).toEqual([{ sku: "a", count: 2 }]);
});
