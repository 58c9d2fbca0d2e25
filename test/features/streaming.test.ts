/** Streams: shapes as LangGraph.js 1.7 gives them, compared with the real one; bounds, and what a reader may do. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import {
  type AgentmaticError,
  Annotation,
  Command,
  END,
  interrupt,
  MemorySaver,
  type NodeContext,
  Send,
  START,
  StateGraph,
  type StreamMode,
} from "../../src/mod.ts";
import { root } from "../support/imports.ts";

/** What both libraries are called by. */
interface Library {
  StateGraph: typeof StateGraph;
  Annotation: typeof Annotation & { Root(spec: object): never };
  MemorySaver: typeof MemorySaver;
  START: typeof START;
  END: typeof END;
  Send: typeof Send;
  Command: typeof Command;
  interrupt: typeof interrupt;
}

const folder = join(root, "tools", "langgraph", "node_modules", "@langchain", "langgraph");
const theirs = (await import(pathToFileURL(join(folder, "dist", "index.js")).href)) as Library;
const ours = {
  StateGraph,
  Annotation: Object.assign(Annotation, { Root: (spec: object) => spec }),
  MemorySaver,
  START,
  END,
  Send,
  Command,
  interrupt,
} as unknown as Library;

interface Streamable {
  stream(input: unknown, config: object): AsyncIterable<unknown> | Promise<AsyncIterable<unknown>>;
  getState(config: object): Promise<{ values: unknown }>;
}

/** Every kind of step: a writer, a graph as a node, a fan-out, several writes of one channel, nothing at all, a question. */
function build(lib: Library): Streamable {
  const spec = () => ({
    sum: lib.Annotation<number, number>({ reducer: (a: number, b: number) => a + b, default: () => 0 }),
    name: lib.Annotation<string>(),
  });
  const say = (context: unknown, what: unknown) => {
    const { stream, writer } = context as { stream?: (data: unknown) => void; writer?: (data: unknown) => void };
    if (stream) stream(what);
    else writer?.(what);
  };
  const inner = new lib.StateGraph(lib.Annotation.Root(spec()))
    .addNode("first", (_state: unknown, context: unknown) => {
      say(context, "from inside");
      return { sum: 10 };
    })
    .addNode("second", () => ({ sum: 5 }))
    .addEdge(lib.START, "first" as never)
    .addEdge("first" as never, "second" as never)
    .addEdge("second" as never, lib.END)
    .compile();
  const graph = new lib.StateGraph(lib.Annotation.Root(spec()))
    .addNode("greet", (_state: unknown, context: unknown) => {
      say(context, { hello: 1 });
      return { name: "A" };
    })
    .addNode("inner", inner as never)
    .addNode("nothing", () => undefined)
    .addNode("part", (async (state: { sum: number }) => ({ sum: await state.sum })) as never)
    .addNode("twice", (() => [
      new lib.Command({ update: { sum: 1 } }),
      new lib.Command({ update: { sum: 2, name: "B" } }),
    ]) as never)
    .addNode("ask", ((_state: unknown, context: NodeContext) => ({
      name: lib === ours ? context.interrupt("who?") : lib.interrupt("who?"),
    })) as never)
    .addEdge(lib.START, "greet" as never)
    .addEdge("greet" as never, "inner" as never)
    .addEdge("inner" as never, "nothing" as never)
    .addConditionalEdges("nothing" as never, () => [1, 2].map((sum) => new lib.Send("part", { sum })) as never, [
      "part",
    ] as never)
    .addEdge("part" as never, "twice" as never)
    .addEdge("twice" as never, "ask" as never)
    .addEdge("ask" as never, lib.END);
  return graph.compile({ checkpointer: new lib.MemorySaver() }) as unknown as Streamable;
}

async function collect(graph: Streamable, input: unknown, config: object): Promise<unknown[]> {
  const parts: unknown[] = [];
  for await (const part of await graph.stream(input, config)) parts.push(plain(part));
  return parts;
}

/** Without what is each library's own: ids, versions' marks, and how steps before the first are counted. */
function plain(value: unknown): unknown {
  const text = JSON.stringify(value, (key, each: unknown) => {
    if (each === undefined || ["triggers", "timestamp", "id", "path", "run_id", "parents", "step"].includes(key))
      return undefined;
    if (key === "metadata") {
      const { source } = each as { source?: string };
      return source === undefined ? undefined : { source: source === "input" ? "loop" : source };
    }
    if (key === "config" || key === "parentConfig" || key === "state") {
      const { configurable } = each as { configurable: { thread_id: string; checkpoint_ns: string } };
      return { thread: configurable.thread_id, ns: configurable.checkpoint_ns };
    }
    return each;
  });
  return JSON.parse(text.replaceAll(/inner:[^"|]+/g, "inner:*"));
}

/** LangGraph.js has a checkpoint before the input, and begins a resumed run with the state it goes on from: ours do not. */
function withoutExtra(parts: unknown[], mode: StreamMode, resumed: boolean): unknown[] {
  const isCheckpoint = (part: unknown) => /"checkpoint"|"parentConfig"|"tasks":\[/.test(JSON.stringify(part));
  if (mode === "values") return resumed ? parts.slice(1) : parts;
  if (mode !== "checkpoints" && mode !== "debug") return parts;
  if (resumed) return parts.slice(1);
  return parts.filter((part) => !(isCheckpoint(part) && JSON.stringify(part).includes("__start__")));
}

const modes: StreamMode[] = ["values", "updates", "custom", "tasks", "checkpoints", "debug"];

const ways = modes.flatMap((mode) =>
  [false, true].map((subgraphs) => [mode, subgraphs ? "with" : "without", subgraphs] as const),
);

test.each(ways)(
  "%s %s subgraphs: the same as LangGraph.js, up to a question and after it",
  async (mode, _with, subgraphs) => {
    const config = { configurable: { thread_id: "t" }, streamMode: mode, subgraphs };
    const [mine, peer] = [build(ours), build(theirs)];
    const before = await collect(mine, { sum: 1 }, config);
    const peerBefore = withoutExtra(await collect(peer, { sum: 1 }, config), mode, false);
    expect(ownOrder(before)).toEqual(ownOrder(peerBefore));
    const after = await collect(mine, new Command({ resume: "me" }), config);
    const peerAfter = withoutExtra(await collect(peer, new theirs.Command({ resume: "me" }), config), mode, true);
    expect(after).toEqual(peerAfter);
    expect(plain((await mine.getState(config)).values)).toEqual(plain((await peer.getState(config)).values));
    expect(before.length).toBeGreaterThan(1);
  },
);

/** The first checkpoint of a graph has no parent here: it is the input's. */
function ownOrder(parts: unknown[]): unknown[] {
  return JSON.parse(JSON.stringify(parts, (key, value) => (key === "parentConfig" ? undefined : value)));
}

test("several modes at once come as pairs, in the order in which things happened", async () => {
  const config = { configurable: { thread_id: "t" }, streamMode: ["updates", "custom", "values"] };
  const mine = await collect(build(ours), { sum: 1 }, config);
  const peer = await collect(build(theirs), { sum: 1 }, config);
  expect(mine).toEqual(peer);
  expect((mine as [string, unknown][]).map(([mode]) => mode).slice(0, 4)).toEqual([
    "values",
    "custom",
    "updates",
    "values",
  ]);
});

test("messages: tokens and their metadata, also those of a graph inside", async () => {
  const state = { text: Annotation<string> };
  const inner = new StateGraph(state)
    .addNode("model", (_state, ctx) => {
      for (const token of ["he", "llo"]) if (ctx.streamsMessages) ctx.streamMessage({ content: token }, { id: "m" });
      return { text: "hello" };
    })
    .addEdge(START, "model")
    .compile({ name: "inner" });
  const graph = new StateGraph(state).addNode("inner", inner).addEdge(START, "inner").compile({ name: "outer" });
  const parts: [unknown, Record<string, unknown>][] = [];
  for await (const part of graph.stream({}, { streamMode: "messages" })) parts.push(part as never);
  expect(parts.map(([chunk]) => chunk)).toEqual([{ content: "he" }, { content: "llo" }]);
  expect(parts[0]?.[1]).toMatchObject({ id: "m", graph: "inner", node: "model", step: 1 });
  const updates: unknown[] = [];
  for await (const part of graph.stream({}, { streamMode: "updates" })) updates.push(part);
  expect(updates).toEqual([{ inner: { text: "hello" } }]);
});

function counting(steps: number, bytes = 0) {
  const ran = { steps: 0 };
  const graph = new StateGraph({ n: Annotation<number> })
    .addNode("step", (state, ctx) => {
      ran.steps++;
      ctx.stream(bytes > 0 ? "x".repeat(bytes) : state.n);
      return { n: state.n + 1 };
    })
    .addEdge(START, "step")
    .addConditionalEdges("step", ({ n }) => (n < steps ? "step" : END));
  return { ran, graph };
}

/** Resolves once so many turns of the event loop have passed in which nothing changed. */
async function still(look: () => number): Promise<number> {
  let last = look();
  for (let turns = 0; turns < 200; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (look() !== last) turns = 0;
    last = look();
  }
  return last;
}

for (const keeps of [false, true]) {
  test(`a slow reader slows the run down${keeps ? " with a checkpointer" : ""}: what waits for it is bounded`, async () => {
    const { ran, graph } = counting(5_000);
    const options = keeps ? { checkpointer: new MemorySaver(), maxSteps: 10_000 } : { maxSteps: 10_000 };
    const events = graph.compile(options).stream({ n: 0 }, { threadId: "t", streamMode: "custom" });
    expect((await events.next()).value).toBe(0);
    const stopped = await still(() => ran.steps);
    expect(stopped).toBeGreaterThan(100);
    expect(stopped).toBeLessThan(1_100);
    let read = 1;
    for await (const _ of events) read++;
    expect([read, ran.steps]).toEqual([5_000, 5_000]);
  });
}

test("large events count by their bytes", async () => {
  const { ran, graph } = counting(200, 200_000);
  const events = graph.compile({ maxSteps: 500 }).stream({ n: 0 }, { streamMode: "custom" });
  await events.next();
  expect(await still(() => ran.steps)).toBeLessThan(40);
  let read = 1;
  for await (const _ of events) read++;
  expect(read).toBe(200);
});

test("a superstep that says more than its reader can keep: the reader is told, the run goes on", async () => {
  const graph = new StateGraph({ done: Annotation<boolean> })
    .addNode("flood", (_state, ctx) => {
      for (let i = 0; i < 40; i++) ctx.stream("x".repeat(1_000_000));
      return { done: true };
    })
    .addEdge(START, "flood")
    .compile({ checkpointer: new MemorySaver() });
  let read = 0;
  const reading = async () => {
    for await (const _ of graph.stream({}, { threadId: "t", runId: "r", streamMode: "custom" })) read++;
  };
  await expect(reading()).rejects.toMatchObject({ code: "ResourceExhausted" });
  expect(read).toBeGreaterThan(20);
  expect(read).toBeLessThan(34);
  expect(await graph.invoke({}, { threadId: "t", runId: "r" })).toEqual({ done: true });
});

test("leaving the loop early cancels nothing: the run comes to its end", async () => {
  const { ran, graph: builder } = counting(50);
  const graph = builder.compile({ checkpointer: new MemorySaver(), maxSteps: 100 });
  for await (const part of graph.stream({ n: 0 }, { threadId: "t", runId: "r", streamMode: "custom" })) {
    if (part === 3) break;
  }
  expect(await graph.invoke({ n: 0 }, { threadId: "t", runId: "r" })).toEqual({ n: 50 });
  expect(ran.steps).toBe(50);
});

test("an error comes after everything that happened before it", async () => {
  const graph = new StateGraph({ n: Annotation<number> })
    .addNode("fine", () => ({ n: 1 }))
    .addNode("bad", () => {
      throw new Error("no luck");
    })
    .addEdge(START, "fine")
    .addEdge("fine", "bad")
    .compile({ checkpointer: new MemorySaver() });
  const parts: unknown[] = [];
  const reading = async () => {
    for await (const part of graph.stream({}, { threadId: "t", streamMode: ["updates", "tasks"] })) parts.push(part);
  };
  await expect(reading()).rejects.toThrow(/node "bad": no luck/);
  expect(parts).toHaveLength(5);
  expect(parts[2]).toEqual(["updates", { fine: { n: 1 } }]);
  expect(parts[4]).toMatchObject(["tasks", { name: "bad", result: {}, error: { code: "NodeFailed" } }]);
});

test("aborting ends the run and the stream, with what was said before", async () => {
  const controller = new AbortController();
  const graph = new StateGraph({ n: Annotation<number> })
    .addNode("fine", () => ({ n: 1 }))
    .addNode("wait", async (_state, ctx) => {
      ctx.stream("waiting");
      await new Promise((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason)));
    })
    .addEdge(START, "fine")
    .addEdge("fine", "wait")
    .compile({ checkpointer: new MemorySaver() });
  const config = { threadId: "t", streamMode: ["updates", "custom"] as const, signal: controller.signal };
  const parts: unknown[] = [];
  const reading = async () => {
    for await (const part of graph.stream({}, config)) {
      parts.push(part);
      if ((part as unknown[])[1] === "waiting") controller.abort();
    }
  };
  const error = (await reading().catch((thrown: unknown) => thrown)) as AgentmaticError;
  expect(error.code).toBe("Cancelled");
  expect(parts).toEqual([
    ["updates", { fine: { n: 1 } }],
    ["custom", "waiting"],
  ]);
  expect((await graph.getState({ threadId: "t" }))?.next).toEqual(["wait"]);
});

test("a graph without state of its own and one called inside a node are followed as well", async () => {
  const inner = (keep?: false) =>
    new StateGraph({ n: Annotation<number> })
      .addNode("add", ({ n }) => ({ n: n + 1 }))
      .addEdge(START, "add")
      .compile(keep === false ? { checkpointer: false } : {});
  const called = inner();
  const graph = new StateGraph({ n: Annotation<number> })
    .addNode("stateless", inner(false))
    .addNode("calls", async (state, ctx) => (await ctx.invoke(called, state)) as { n: number })
    .addEdge(START, "stateless")
    .addEdge("stateless", "calls")
    .compile({ checkpointer: new MemorySaver() });
  const parts: unknown[] = [];
  for await (const part of graph.stream({ n: 0 }, { threadId: "t", subgraphs: true, streamMode: "updates" })) {
    const [path, data] = part as [string[], unknown];
    parts.push([path.map((segment) => segment.slice(0, segment.indexOf(":"))), data]);
  }
  expect(parts).toEqual([
    [["stateless"], { add: { n: 1 } }],
    [[], { stateless: { n: 1 } }],
    [["calls"], { add: { n: 2 } }],
    [[], { calls: { n: 2 } }],
  ]);
});

test("an event that cannot be sent is an error in its place, and the run goes on", async () => {
  const graph = new StateGraph({ n: Annotation<number> })
    .addNode("odd", (_state, ctx) => {
      ctx.stream(() => "a function");
      return { n: 1 };
    })
    .addEdge(START, "odd")
    .compile();
  const parts: unknown[] = [];
  for await (const part of graph.stream({}, { streamMode: ["custom", "updates"] })) parts.push(part);
  expect(parts).toMatchObject([
    ["custom", { error: { code: "StateNotSerializable" } }],
    ["updates", { odd: { n: 1 } }],
  ]);
});

test("modes that are not there, or none, are refused by name", async () => {
  const { graph } = counting(1);
  const first = (streamMode: unknown) =>
    graph
      .compile()
      .stream({ n: 0 }, { streamMode: streamMode as StreamMode })
      .next();
  await expect(first("tokens")).rejects.toThrow(/streamMode: must be one of .*messages/);
  await expect(first([])).rejects.toThrow(/streamMode: names no mode/);
});
