import { expect, test } from "vitest";
import { Annotation, Command, END, MemorySaver, Send, START, StateGraph } from "../../../src/mod.ts";

const list = () => Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });

function diamond() {
  return new StateGraph({ text: Annotation<string>, trail: list() })
    .addNode("parse", () => ({ trail: ["parse"] }))
    .addNode("b", async () => ({ trail: ["b"] }))
    .addNode("a", () => ({ trail: ["a"] }))
    .addNode("join", (state) => ({ trail: [`join:${state.trail.length}`] }))
    .addEdge(START, "parse")
    .addEdge("parse", "a")
    .addEdge("parse", "b")
    .addEdge(["a", "b"], "join")
    .addEdge("join", END);
}

test("a diamond runs in supersteps and writes come in path order", async () => {
  const graph = diamond().compile();
  expect(await graph.invoke({ text: "x" })).toEqual({ text: "x", trail: ["parse", "a", "b", "join:3"] });
});

test("a thread keeps its state and its history", async () => {
  const graph = diamond().compile({ checkpointer: new MemorySaver() });
  await graph.invoke({ text: "x" }, { threadId: "t" });
  const again = await graph.invoke({ text: "y" }, { threadId: "t" });
  expect(again.trail).toHaveLength(8);
  const history = [];
  for await (const state of graph.getStateHistory({ threadId: "t" })) history.push(state);
  expect(history.map(({ step }) => step)).toEqual([7, 6, 5, 4, 3, 2, 1, 0]);
  expect(history[0]?.next).toEqual([]);
  expect(history[3]).toMatchObject({ source: "input", next: ["parse"] });
});

test("Send runs a node once for each packet, and conditional edges see the node's own writes", async () => {
  const graph = new StateGraph({ items: list(), out: list() })
    .addNode("split", () => ({ items: ["a", "b", "c"] }))
    .addNode<string>("work", (item) => ({ out: [item.toUpperCase()] }))
    .addNode("end", () => undefined)
    .addEdge(START, "split")
    .addConditionalEdges("split", (state) => state.items.map((item) => new Send("work", item)), ["work"])
    .addEdge("work", "end")
    .compile();
  // The branch sees Sends, which need no entry in the list of names.
  expect((await graph.invoke({})).out).toEqual(["A", "B", "C"]);
});

test("Command moves and updates", async () => {
  const graph = new StateGraph({ n: Annotation<number> })
    .addNode("count", (state) => new Command({ update: { n: state.n + 1 }, goto: state.n < 3 ? "count" : END }), {
      ends: ["count", END],
    })
    .addEdge(START, "count")
    .compile();
  expect(await graph.invoke({ n: 0 })).toEqual({ n: 4 });
  await expect(graph.invoke({ n: -100 }, { maxSteps: 5 })).rejects.toMatchObject({ code: "StepLimit" });
});

test("interrupts stop, show, and are answered once", async () => {
  const ran: string[] = [];
  const graph = new StateGraph({ answer: Annotation<string>, log: list() })
    .addNode("ask", (_state, ctx) => {
      ran.push("ask");
      const first = ctx.interrupt<string>("name?");
      const second = ctx.interrupt<string>("age?");
      return { answer: `${first} ${second}` };
    })
    .addNode("side", () => {
      ran.push("side");
      return { log: ["side"] };
    })
    .addEdge(START, "ask")
    .addEdge(START, "side")
    .compile({ checkpointer: new MemorySaver() });
  const stopped = await graph.invoke({}, { threadId: "t" });
  expect(stopped.__interrupt__).toMatchObject([{ value: "name?" }]);
  const again = await graph.invoke(new Command({ resume: "Ada" }), { threadId: "t" });
  expect(again.__interrupt__).toMatchObject([{ value: "age?" }]);
  const id = again.__interrupt__![0]!.id;
  const done = await graph.invoke(new Command({ resume: { [id]: "36" } }), { threadId: "t" });
  expect(done).toEqual({ answer: "Ada 36", log: ["side"] });
  expect(ran).toEqual(["ask", "side", "ask", "ask"]);
  await expect(graph.invoke(new Command({ resume: "x" }), { threadId: "t" })).rejects.toMatchObject({
    code: "FailedPrecondition",
  });
});

test("two last-value writes in one superstep name both nodes and the channel", async () => {
  const graph = new StateGraph({ x: Annotation<number> })
    .addNode("a", () => ({ x: 1 }))
    .addNode("b", () => ({ x: 2 }))
    .addEdge(START, "a")
    .addEdge(START, "b")
    .compile();
  await expect(graph.invoke({})).rejects.toThrow(/"a" and "b" both wrote "x"/);
});

test("stream modes", async () => {
  const graph = diamond().compile({ checkpointer: new MemorySaver() });
  const seen: unknown[] = [];
  for await (const part of graph.stream({ text: "x" }, { threadId: "t", streamMode: ["updates", "values"] }))
    seen.push(part);
  expect(seen.map((part) => (part as [string])[0])).toEqual([
    "values",
    "updates",
    "values",
    "updates",
    "updates",
    "values",
    "updates",
    "values",
  ]);
});
