/** Graphs whose streams are followed from another process. */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Annotation, Command, END, Send, START, StateGraph } from "../../src/mod.ts";

const state = {
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
  who: Annotation<string>(),
};

const inner = new StateGraph(state)
  .addNode("first", (_state, ctx) => {
    ctx.stream("from inside");
    return { log: ["inside"] };
  })
  .addNode("question", (_state, ctx) => ({ who: ctx.interrupt<string>("who?") }))
  .addEdge(START, "first")
  .addEdge("first", "question")
  .compile({ name: "inner" });

/** Every kind of step. */
export const everything = new StateGraph(state)
  .addNode("talk", (_state, ctx) => {
    for (const token of ["a", "b"]) ctx.streamMessage({ token }, { id: "m" });
    return { log: ["talk"] };
  })
  .addNode("part", async (item: { n: number }) => ({ log: [`part ${item.n}`] }))
  .addNode("twice", () => [new Command({ update: { log: ["x"] } }), new Command({ update: { log: ["y"] } })])
  .addNode("inner", inner)
  .addEdge(START, "talk")
  .addConditionalEdges("talk", () => [1, 2, 3].map((n) => new Send("part", { n })), ["part"])
  .addEdge("part", "twice")
  .addEdge("twice", "inner")
  .addEdge("inner", END)
  .compile({ name: "everything" });

/** Counts, with something to say at each step; at step `stopAt` it waits until the file `gate` is there. */
export const counter = new StateGraph({
  n: Annotation<number>(),
  to: Annotation<number>(),
  bytes: Annotation<number>(),
  stopAt: Annotation<number>(),
  gate: Annotation<string>(),
})
  .addNode("step", async ({ n, bytes, stopAt, gate }, ctx) => {
    ctx.stream(bytes > 0 ? "x".repeat(bytes) : `${n + 1} by ${ctx.attempt}`);
    while (n + 1 === stopAt && !existsSync(gate)) await sleep(10, undefined, { signal: ctx.signal });
    return { n: n + 1 };
  })
  .addEdge(START, "step")
  .addConditionalEdges("step", ({ n, to }) => (n < to ? "step" : END))
  .compile({ name: "counter", maxSteps: 100_000 });
