/** The same streams over a cluster: shapes, settings, back-pressure, questions and time travel. */
import { expect, test } from "vitest";
import {
  type AgentmaticError,
  Annotation,
  Command,
  CompiledGraph,
  END,
  MemorySaver,
  MemoryStore,
  type NodeContext,
  Send,
  START,
  StateGraph,
  type StreamMode,
} from "../../src/mod.ts";
import { until } from "../support/wait.ts";
import { Wired } from "./streaming-wired.ts";

const list = () => Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
const sum = () => Annotation<number>({ reducer: (a, b) => a + b, default: () => 0 });

/** Every kind of step, with a graph inside that asks. */
function everything() {
  const state = { log: list(), sum: sum(), who: Annotation<string> };
  const inner = new StateGraph(state)
    .addNode("first", (_state, ctx) => {
      ctx.stream("from inside");
      return { sum: 10 };
    })
    .addNode("question", (_state, ctx) => ({ who: ctx.interrupt<string>("who?") }))
    .addEdge(START, "first")
    .addEdge("first", "question")
    .compile({ name: "inner" });
  const stateless = new StateGraph({ log: list() })
    .addNode("only", () => ({ log: ["stateless"] }))
    .addEdge(START, "only")
    .compile({ name: "stateless", checkpointer: false });
  return new StateGraph(state)
    .addNode("talk", async (_state, ctx) => {
      ctx.stream({ streamsMessages: ctx.streamsMessages });
      for (const token of ["a", "b"]) ctx.streamMessage({ token }, { id: "m" });
      return { log: ["talk"] };
    })
    .addNode("part", async (item: { n: number }) => ({ log: [`part ${item.n}`], sum: item.n }))
    .addNode("twice", () => [new Command({ update: { log: ["x"] } }), new Command({ update: { log: ["y"] } })])
    .addNode("nothing", () => undefined)
    .addNode("inner", inner)
    .addNode("stateless", stateless)
    .addEdge(START, "talk")
    .addConditionalEdges("talk", () => [1, 2, 3].map((n) => new Send("part", { n })), ["part"])
    .addEdge("part", "twice")
    .addEdge("twice", "nothing")
    .addEdge("nothing", "stateless")
    .addEdge("stateless", "inner")
    .addEdge("inner", END)
    .compile({ name: "everything" });
}

const modes: StreamMode[] = ["values", "updates", "messages", "custom", "tasks", "checkpoints", "debug"];
const streamModes: (StreamMode | StreamMode[])[] = [...modes, modes];

async function read(graph: CompiledGraph, input: unknown, config: object): Promise<unknown[]> {
  const parts: unknown[] = [];
  for await (const part of graph.stream(input as never, config)) parts.push(part);
  return JSON.parse(JSON.stringify(parts, (key, value) => (key === "timestamp" ? "" : value)));
}

for (const durability of ["sync", "async", "exit"] as const) {
  test(`durability ${durability}: every mode gives the same sequence on a cluster as in one process, with and without subgraphs`, async () => {
    const graph = everything() as unknown as CompiledGraph;
    await using wired = await Wired.start([graph.plan]);
    const here = new CompiledGraph(graph.plan, { checkpointer: new MemorySaver({ store: new MemoryStore() }) });
    const there = wired.bind(graph);
    let count = 0;
    for (const streamMode of streamModes) {
      for (const subgraphs of [false, true]) {
        const threadId = `t${count++}`;
        const config = { threadId, streamMode, subgraphs, durability };
        const asked = await read(here, {}, { ...config, runId: `${threadId}-1` });
        expect(await read(there, {}, { ...config, runId: `${threadId}-1` })).toEqual(asked);
        const [open] = (await here.getState({ threadId }))!.interrupts;
        expect((await there.getState({ threadId }))!.interrupts).toEqual([open]);
        const answer = new Command({ resume: { [open!.id]: "Ada" } });
        const answered = await read(here, answer, { ...config, runId: `${threadId}-2` });
        expect(await read(there, answer, { ...config, runId: `${threadId}-2` })).toEqual(answered);
        expect(asked.length + answered.length).toBeGreaterThan(1);
        expect((await there.getState({ threadId }))?.values).toMatchObject({ who: "Ada", sum: 22 });
      }
    }
  });
}

test("events say whether their commit is durable, on the other side of the wire too", async () => {
  const graph = everything();
  await using wired = await Wired.start([graph.plan]);
  const there = wired.bind(graph);
  for (const durability of ["sync", "async", "exit"] as const) {
    const handle = await there.start({}, { threadId: durability, durability }, ["updates"]);
    const marks = new Set<unknown>();
    for await (const { durable, seq } of handle.events) if (seq > 0) marks.add(durable);
    expect([...marks]).toEqual([durability === "sync" ? undefined : false]);
  }
});

test("a run's own settings reach its nodes on the worker", async () => {
  const seen: Record<string, unknown>[] = [];
  let running = 0;
  let most = 0;
  const graph = new StateGraph({ log: list() }, Annotation.Root({ tenant: Annotation<string> }))
    .addNode("look", (_state, ctx) => {
      const { context, budget, deadlineMs, streamsMessages } = ctx;
      seen.push({ context, budget, deadline: deadlineMs !== undefined, streamsMessages });
      return { log: ["look"] };
    })
    .addNode("part", async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      return { log: ["part"] };
    })
    .addNode("last", () => ({ log: ["last"] }))
    .addEdge(START, "look")
    .addConditionalEdges("look", () => Array.from({ length: 6 }, () => new Send("part", {})), ["part"])
    .addEdge("part", "last")
    .compile({ name: "settings" });
  await using wired = await Wired.start([graph.plan]);
  const there = wired.bind(graph);
  const config = {
    threadId: "t",
    context: { tenant: "acme" },
    budget: { tokens: 1_000, cost: 2 },
    maxConcurrency: 2,
    interruptBefore: ["last"],
    timeout: 60_000,
    durability: "async",
    streamMode: "messages",
  } as const;
  for await (const _ of there.stream({}, config)) expect.fail("no messages here");
  expect(seen).toEqual([
    { context: { tenant: "acme" }, budget: { tokens: 1_000, cost: 2 }, deadline: true, streamsMessages: true },
  ]);
  expect(most).toBe(2);
  expect((await there.getState({ threadId: "t" }))?.next).toEqual(["last"]);
  expect((await there.invoke(null, { threadId: "t" })).log.at(-1)).toBe("last");
  await there.invoke({}, { threadId: "u", interruptAfter: ["look"] });
  expect((await there.getState({ threadId: "u" }))?.next).toHaveLength(6);
});

test("without a shared store the settings travel with the run", async () => {
  const seen: unknown[] = [];
  const graph = new StateGraph({ log: list() })
    .addNode("look", (_state, { context, deadlineMs }) => {
      seen.push([context, deadlineMs !== undefined]);
      return { log: ["look"] };
    })
    .addNode("last", () => ({ log: ["last"] }))
    .addEdge(START, "look")
    .addEdge("look", "last")
    .compile({ name: "apart" });
  await using wired = await Wired.start([graph.plan], { workers: 1, apart: true });
  const there = wired.bind(graph);
  const config = { threadId: "t", context: { a: 1 }, timeout: 60_000, interruptBefore: ["last"] };
  expect((await there.invoke({}, config)).log).toEqual(["look"]);
  expect(seen).toEqual([[{ a: 1 }, true]]);
  expect((await there.invoke(null, { threadId: "t" })).log).toEqual(["look", "last"]);
});

function counting(steps: number, say: (n: number) => unknown) {
  const ran = { steps: 0, commits: 0 };
  const graph = new StateGraph({ n: Annotation<number> })
    .addNode("step", (state, ctx) => {
      ran.steps++;
      ctx.stream(say(state.n));
      return { n: state.n + 1 };
    })
    .addEdge(START, "step")
    .addConditionalEdges("step", ({ n }) => (n < steps ? "step" : END))
    .compile({ name: "counting", maxSteps: 100_000 });
  return { ran, graph };
}

/** Resolves once the run has stood still for a while. */
async function still(look: () => number): Promise<number> {
  let last = -1;
  let since = performance.now();
  await until(
    () => {
      if (look() !== last) since = performance.now();
      last = look();
      return performance.now() - since > 150;
    },
    { what: "the run to wait for its reader" },
  );
  return last;
}

test("a slow reader slows the run on its worker down; nothing is lost, and what waits is bounded", async () => {
  const { ran, graph } = counting(6_000, (n) => n);
  await using wired = await Wired.start([graph.plan], { workers: 1 });
  const events = wired.bind(graph).stream({ n: 0 }, { threadId: "t", streamMode: "custom" });
  expect((await events.next()).value).toBe(0);
  const waits = await still(() => ran.steps);
  expect(waits).toBeGreaterThan(1_000);
  expect(waits).toBeLessThan(3_000);
  const said: unknown[] = [0];
  for await (const part of events) said.push(part);
  expect(said).toEqual(Array.from({ length: 6_000 }, (_, n) => n));
});

test("large events count by their bytes", async () => {
  const { ran, graph } = counting(400, () => "x".repeat(100_000));
  await using wired = await Wired.start([graph.plan], { workers: 1 });
  const events = wired.bind(graph).stream({ n: 0 }, { threadId: "t", streamMode: "custom" });
  await events.next();
  expect(await still(() => ran.steps)).toBeLessThan(200);
  let rest = 1;
  for await (const _ of events) rest++;
  expect(rest).toBe(400);
});

test("a reader that leaves, or whose coordinator goes, holds no run up", async () => {
  const { ran, graph } = counting(4_000, (n) => n);
  const wired = await Wired.start([graph.plan], { workers: 1 });
  const there = wired.bind(graph);
  const first = there.stream({ n: 0 }, { threadId: "t", runId: "r", streamMode: "custom" });
  await first.next();
  await still(() => ran.steps);
  await first.return();
  expect(await there.invoke({ n: 0 }, { threadId: "t", runId: "r" })).toEqual({ n: 4_000 });
  ran.steps = 0;
  const second = there.stream({ n: 0 }, { threadId: "u", runId: "s", streamMode: "custom" });
  await second.next();
  await still(() => ran.steps);
  await wired.coordinator.close();
  await until(async () => (await wired.saver.getRun("s"))?.state.status === "succeeded", { what: "the run to end" });
  expect(ran.steps).toBe(4_000);
});

test("a superstep that says more than its reader can keep: the reader is told, the run goes on", async () => {
  const graph = new StateGraph({ done: Annotation<boolean> })
    .addNode("flood", async (_state, ctx) => {
      for (let i = 0; i < 60; i++) {
        ctx.stream("x".repeat(1_000_000));
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return { done: true };
    })
    .addEdge(START, "flood")
    .compile({ name: "flood" });
  await using wired = await Wired.start([graph.plan], { workers: 1 });
  const there = wired.bind(graph);
  const events = there.stream({}, { threadId: "t", runId: "r", streamMode: "custom" });
  await events.next();
  await until(async () => (await wired.saver.getRun("r"))?.state.status === "succeeded", { what: "the run to end" });
  const reading = async () => {
    for await (const _ of events);
  };
  await expect(reading()).rejects.toMatchObject({ code: "ResourceExhausted" });
  expect(await there.invoke({}, { threadId: "t", runId: "r" })).toEqual({ done: true });
});

test("a run that nobody has begun when its time is over ends with that", async () => {
  let release = () => {};
  const graph = new StateGraph({ log: list() })
    .addNode("hold", async () => {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return { log: ["held"] };
    })
    .addEdge(START, "hold")
    .compile({ name: "hold" });
  await using wired = await Wired.start([graph.plan], { workers: 1, worker: { slots: 1 } });
  const there = wired.bind(graph);
  const first = there.invoke({}, { threadId: "t" });
  await until(() => wired.workers[0]!.active === 1, { what: "the slot to be taken" });
  const queued = there.invoke({}, { threadId: "u", timeout: 50 });
  const behind = there.invoke({}, { threadId: "t", timeout: 50 });
  for (const late of [queued, behind]) {
    const error = (await late.catch((thrown: unknown) => thrown)) as AgentmaticError;
    expect([error.code, /on no worker/.test(error.message)]).toEqual(["DeadlineExceeded", true]);
  }
  const running = there.invoke({}, { threadId: "v", timeout: 2_000 });
  release();
  expect((await first).log).toEqual(["held"]);
  expect(((await running.catch((thrown: unknown) => thrown)) as AgentmaticError).code).toBe("DeadlineExceeded");
});

test("answers with an update and a turn, time travel and forks, all through the workers", async () => {
  const node = (name: string) => (_state: unknown, _ctx: NodeContext) => ({ log: [name] });
  const graph = new StateGraph({ log: list(), who: Annotation<string> })
    .addNode("a", node("a"))
    .addNode("ask", (_state, ctx) => ({ who: ctx.interrupt<string>("who?") }), { ends: ["side"] })
    .addNode("side", node("side"))
    .addNode("z", node("z"))
    .addEdge(START, "a")
    .addEdge("a", "ask")
    .addEdge("ask", "z")
    .addEdge("side", END)
    .compile({ name: "travel" });
  await using wired = await Wired.start([graph.plan]);
  const there = wired.bind(graph);
  const config = { threadId: "t" };
  const first = await there.invoke({}, config);
  expect(first.__interrupt__).toMatchObject([{ value: "who?" }]);
  const done = await there.invoke(new Command({ resume: "me", update: { log: ["told"] }, goto: "side" }), config);
  expect(done).toEqual({ log: ["a", "told", "side", "z"], who: "me" });
  const history = [];
  for await (const snapshot of there.getStateHistory(config)) history.push(snapshot);
  expect(history.map(({ next }) => next)).toEqual([[], ["z"], ["ask", "side"], ["a"]]);
  const before = history.find(({ next }) => next[0] === "ask")!;
  const forked = await there.updateState(before.config, { log: ["edited"] }, "a");
  expect((await there.getState(forked))?.values.log).toEqual(["a", "told", "edited"]);
  const again = await there.invoke(null, forked);
  expect(again.__interrupt__).toMatchObject([{ value: "who?" }]);
  expect(await there.invoke(new Command({ resume: "you" }), config)).toEqual({
    log: ["a", "told", "edited", "z"],
    who: "you",
  });
  const replayed = await there.invoke(new Command({ resume: "they" }), {
    ...config,
    checkpointId: before.checkpointId,
  });
  expect(replayed).toMatchObject({ who: "they" });
  const copy = await there.branch({ ...config, checkpointId: history[0]!.checkpointId }, "other");
  expect((await there.getState(copy))?.values).toEqual(done);
});
