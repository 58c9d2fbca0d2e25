/** Reading, editing, forking, replaying and branching threads, on every store. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PostgresSaver } from "../../adapters/postgres/mod.ts";
import { SqliteSaver } from "../../adapters/sqlite/mod.ts";
import {
  Annotation,
  Command,
  END,
  MemorySaver,
  type NodeContext,
  type Saver,
  Send,
  START,
  StateGraph,
  type StateSnapshot,
} from "../../src/mod.ts";
import { createDatabase } from "../support/postgres.ts";

const list = () => Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

const folder = await mkdtemp(join(tmpdir(), "agentmatic-travel-"));
const stores: Record<string, () => Promise<Saver>> = {
  memory: async () => new MemorySaver(),
  sqlite: async () => new SqliteSaver({ path: join(folder, "store.db") }),
  postgres: async () => PostgresSaver.fromUrl(await createDatabase()),
};

afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each(Object.keys(stores))("%s", (kind) => {
  let saver: Saver;
  let threads = 0;
  const thread = () => ({ threadId: `t${threads++}` });

  beforeAll(async () => {
    saver = await stores[kind]!();
    await saver.setup();
  });
  afterAll(async () => {
    await saver.close();
  });

  /** a → b → c, noting each start with its idempotency key. */
  function abc() {
    const starts: [node: string, key: string][] = [];
    const node = (name: string) => (_state: unknown, ctx: NodeContext) => {
      starts.push([name, ctx.idempotencyKey]);
      return { log: [name], last: name };
    };
    const graph = new StateGraph({ log: list(), last: Annotation<string> })
      .addNode("a", node("a"))
      .addNode("b", node("b"))
      .addNode("c", node("c"))
      .addEdge(START, "a")
      .addEdge("a", "b")
      .addEdge("b", "c")
      .addEdge("c", END)
      .compile({ name: "abc", checkpointer: saver });
    return { graph, starts, names: () => starts.map(([name]) => name) };
  }

  test("the history is there, newest first, with filter, limit and before", async () => {
    const { graph } = abc();
    const config = thread();
    expect(await graph.getState(config)).toBeUndefined();
    await graph.invoke({}, { ...config, runId: `${config.threadId}-1` });
    await graph.invoke({ last: "again" }, { ...config, runId: `${config.threadId}-2` });
    const history = await all(graph.getStateHistory(config));
    expect(history.map(({ step, source, next }) => [step, source, next.join()])).toEqual([
      [7, "loop", ""],
      [6, "loop", "c"],
      [5, "loop", "b"],
      [4, "input", "a"],
      [3, "loop", ""],
      [2, "loop", "c"],
      [1, "loop", "b"],
      [0, "input", "a"],
    ]);
    for (const [index, snapshot] of history.entries()) {
      expect(snapshot.parentConfig).toEqual(history[index + 1]?.config);
      expect(await graph.getState(snapshot.config)).toEqual(snapshot);
      expect(Date.parse(snapshot.createdAt!)).toBeGreaterThan(Date.parse("2024-01-01"));
    }
    const steps = async (options: object) =>
      (await all(graph.getStateHistory(config, options))).map(({ step }) => step);
    expect(await steps({ limit: 2 })).toEqual([7, 6]);
    expect(await steps({ before: history[4]!.config })).toEqual([2, 1, 0]);
    expect(await steps({ before: history[4]!.checkpointId, limit: 1 })).toEqual([2]);
    expect(await steps({ filter: { source: "input" } })).toEqual([4, 0]);
    expect(await steps({ filter: { source: "input" }, limit: 1 })).toEqual([4]);
    expect(await steps({ filter: { run_id: `${config.threadId}-1`, step: 2 } })).toEqual([2]);
    expect(await steps({ filter: { run_id: "unknown" } })).toEqual([]);
    expect(await steps({ before: { configurable: { checkpoint_id: "unknown" } } })).toEqual([]);
    await expect(steps({ limit: 0 })).rejects.toThrow(/limit/);
    expect(await graph.getState({ ...config, checkpointId: "unknown" })).toBeUndefined();
    await expect(graph.getState({})).rejects.toThrow(/threadId: is needed/);
  });

  test("a history longer than a page is read to its end", async () => {
    const graph = new StateGraph({ n: Annotation<number> })
      .addNode("count", ({ n }) => ({ n: n + 1 }))
      .addEdge(START, "count")
      .addConditionalEdges("count", ({ n }) => (n < 230 ? "count" : END))
      .compile({ checkpointer: saver, maxSteps: 1_000 });
    const config = thread();
    await graph.invoke({ n: 0 }, config);
    const read = (await all(graph.getStateHistory(config))).map(({ values }) => values.n);
    expect(read).toEqual(Array.from({ length: 231 }, (_, index) => 230 - index));
    expect(await all(graph.getStateHistory(config, { filter: { step: 3 } }))).toHaveLength(1);
  });

  test("replay: from a checkpoint on everything is run again, with keys of its own; the first line stays", async () => {
    const { graph, starts, names } = abc();
    const config = thread();
    await graph.invoke({}, config);
    const history = await all(graph.getStateHistory(config));
    const afterA = history.find(({ next }) => next[0] === "b")!;
    starts.length = 0;
    expect(await graph.invoke(null, { ...config, checkpointId: afterA.checkpointId })).toMatchObject({
      log: ["a", "b", "c"],
    });
    expect(names()).toEqual(["b", "c"]);
    const before = history.map(({ checkpointId }) => checkpointId);
    const now = await all(graph.getStateHistory(config));
    expect(now.map(({ checkpointId }) => checkpointId).slice(-before.length)).toEqual(before);
    expect(now.slice(0, -before.length).map(({ source }) => source)).toEqual(["loop", "loop", "fork"]);
    expect(now[2]!.parentId).toBe(afterA.checkpointId);
    const { starts: first } = { starts: [...starts] };
    starts.length = 0;
    await graph.invoke(null, afterA.config);
    expect(names()).toEqual(["b", "c"]);
    expect(new Set([...first, ...starts].map(([, key]) => key)).size).toBe(4);
    // From the end there is nothing to run.
    starts.length = 0;
    expect((await graph.invoke(null, { ...config, checkpointId: history[0]!.checkpointId })).log).toEqual([
      "a",
      "b",
      "c",
    ]);
    expect(names()).toEqual([]);
    await expect(graph.invoke(null, { ...config, checkpointId: "unknown" })).rejects.toMatchObject({
      code: "NotFound",
    });
  });

  test("an input from an earlier checkpoint begins there", async () => {
    const { graph } = abc();
    const config = thread();
    await graph.invoke({}, config);
    const [, , afterA] = await all(graph.getStateHistory(config));
    const result = await graph.invoke({ log: ["new"] }, { ...config, checkpointId: afterA!.checkpointId });
    expect(result.log).toEqual(["a", "new", "a", "b", "c"]);
  });

  test("updateState as a node: reducers, edges and conditions as if the node had run", async () => {
    const { graph, starts, names } = abc();
    const config = thread();
    await graph.invoke({}, { ...config, interruptBefore: ["c"] });
    const edited = await graph.updateState(config, { log: ["by hand"], last: "hand" }, "a");
    const state = (await graph.getState(edited))!;
    expect(state).toMatchObject({
      values: { log: ["a", "b", "by hand"], last: "hand" },
      next: ["b"],
      source: "update",
    });
    expect(await graph.getState(config)).toEqual(state);
    starts.length = 0;
    expect((await graph.invoke(null, config)).log).toEqual(["a", "b", "by hand", "b", "c"]);
    expect(names()).toEqual(["b", "c"]);
  });

  test("updateState without a node is of the one that wrote last; where that is not clear it asks", async () => {
    const { graph } = abc();
    const config = thread();
    await graph.invoke({}, { ...config, interruptAfter: ["b"] });
    await graph.updateState(config, { last: "edit" });
    expect((await graph.getState(config))?.next).toEqual(["c"]);
    const wide = new StateGraph({ log: list() })
      .addNode("x", () => ({ log: ["x"] }))
      .addNode("y", () => ({ log: ["y"] }))
      .addEdge(START, "x")
      .addEdge(START, "y")
      .compile({ checkpointer: saver });
    const other = thread();
    await wide.invoke({}, other);
    await expect(wide.updateState(other, { log: ["?"] })).rejects.toThrow(/asNode: must be given/);
    await expect(wide.updateState(other, { log: ["?"] }, "z")).rejects.toThrow(/asNode: .*no node "z"/);
    await expect(wide.updateState(other, { unknown: 1 } as never, "x")).rejects.toThrow(/unknown/);
    await expect(wide.updateState(other, [1] as never, "x")).rejects.toThrow(/values: must be an object/);
    expect((await wide.getState(other))?.values.log).toEqual(["x", "y"]);
  });

  test("updateState: null copies, END drops what is due, START gives an input, a Command moves", async () => {
    const { graph } = abc();
    const config = thread();
    await graph.invoke({}, { ...config, interruptBefore: ["b"] });
    const before = (await graph.getState(config))!;
    const copy = (await graph.getState(await graph.updateState(config, null)))!;
    expect(copy).toMatchObject({ values: before.values, next: ["b"], parentId: before.checkpointId });
    const ended = await graph.updateState(config, null, END);
    expect((await graph.getState(ended))?.next).toEqual([]);
    expect(await graph.invoke(null, config)).toEqual(before.values);
    const begun = await graph.updateState(config, { last: "input" }, START);
    expect((await graph.getState(begun))?.next).toEqual(["a"]);
    const fresh = thread();
    await graph.updateState(fresh, { log: ["first"] }, START);
    expect((await graph.invoke(null, fresh)).log).toEqual(["first", "a", "b", "c"]);
    const skipped = thread();
    await graph.updateState(skipped, { log: ["skipped a and b"] }, "b");
    expect((await graph.invoke(null, skipped)).log).toEqual(["skipped a and b", "c"]);
  });

  test("an edit of an older checkpoint is a fork; both lines stay", async () => {
    const { graph, starts, names } = abc();
    const config = thread();
    await graph.invoke({}, config);
    const [end, , afterA] = await all(graph.getStateHistory(config));
    starts.length = 0;
    const fork = await graph.updateState(afterA!.config, { log: ["forked"] }, "a");
    expect(await graph.invoke(null, fork)).toMatchObject({ log: ["a", "forked", "b", "c"] });
    expect(names()).toEqual(["b", "c"]);
    expect((await graph.getState(end!.config))?.values.log).toEqual(["a", "b", "c"]);
    expect((await graph.getState(config))?.values.log).toEqual(["a", "forked", "b", "c"]);
  });

  test("a fork from a question is asked again, and may be answered otherwise", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode("side", () => ({ log: ["side"] }))
      .addNode("ask", (_state, ctx) => ({ log: [`${ctx.interrupt<string>("who?")}`] }))
      .addEdge(START, "side")
      .addEdge(START, "ask")
      .compile({ checkpointer: saver });
    const config = thread();
    await graph.invoke({}, config);
    const asked = (await graph.getState(config))!;
    expect(asked.next).toEqual(["ask"]);
    expect(asked.tasks.find(({ name }) => name === "side")?.result).toEqual({ log: ["side"] });
    expect((await graph.invoke(new Command({ resume: "Ada" }), config)).log).toEqual(["Ada", "side"]);
    const other = await graph.invoke(new Command({ resume: "Bob" }), { ...config, checkpointId: asked.checkpointId });
    expect(other.log).toEqual(["Bob", "side"]);
    const again = await graph.invoke(null, asked.config);
    expect(again.__interrupt__).toMatchObject([{ value: "who?" }]);
    expect(again.__interrupt__![0]!.id).not.toBe(asked.interrupts[0]!.id);
  });

  test("branch: a new thread with the state, and what is due, of any checkpoint", async () => {
    const { graph, starts, names } = abc();
    const config = thread();
    await graph.invoke({}, config);
    const [, , afterA] = await all(graph.getStateHistory(config));
    starts.length = 0;
    const target = `${config.threadId}-branch`;
    const branch = await graph.branch(afterA!.config, target);
    expect(await graph.getState(branch)).toMatchObject({ values: { log: ["a"] }, next: ["b"], step: 1 });
    expect((await graph.getState(branch))?.parentId).toBeNull();
    expect((await graph.invoke(null, { threadId: target })).log).toEqual(["a", "b", "c"]);
    expect(names()).toEqual(["b", "c"]);
    expect((await graph.getState(config))?.values.log).toEqual(["a", "b", "c"]);
    await expect(graph.branch(config, target)).rejects.toThrow(/threadId: .*must be a new one/);
    await expect(graph.branch({ threadId: "nowhere" }, "x")).rejects.toMatchObject({ code: "NotFound" });
  });

  test("a branch takes fan-outs, joins and deferred nodes along", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode("plan", () => ({ log: ["plan"] }))
      .addNode("part", (item: { n: number }) => ({ log: [`part ${item.n}`] }))
      .addNode("left", () => ({ log: ["left"] }))
      .addNode("right", () => ({ log: ["right"] }))
      .addNode("longer", () => ({ log: ["longer"] }))
      .addNode("join", () => ({ log: ["join"] }))
      .addNode("last", () => ({ log: ["last"] }), { defer: true })
      .addEdge(START, "plan")
      .addConditionalEdges("plan", () => [
        new Send("part", { n: 1 }),
        new Send("part", { n: 2 }),
        "left",
        "right",
        "last",
      ])
      .addEdge("right", "longer")
      .addEdge(["left", "longer"], "join")
      .compile({ checkpointer: saver });
    const config = thread();
    const result = await graph.invoke({}, config);
    for (const [index, snapshot] of (await all(graph.getStateHistory(config))).entries()) {
      const threadId = `${config.threadId}-${index}`;
      await graph.branch(snapshot.config, threadId);
      expect(await graph.invoke(null, { threadId })).toEqual(result);
    }
    expect(result.log.at(-1)).toBe("last");
  });

  test("what a caller gave with an answer is part of the state, and of a branch, before the next step is through", async () => {
    let broken = true;
    const graph = new StateGraph({ log: list() })
      .addNode("ask", (_state, ctx) => {
        const answer = ctx.interrupt<string>("who?");
        if (broken) throw new Error("not now");
        return { log: [answer] };
      })
      .addEdge(START, "ask")
      .compile({ checkpointer: saver });
    const config = thread();
    await graph.invoke({}, config);
    const answer = new Command({ resume: "Ada", update: { log: ["told"] } });
    await expect(graph.invoke(answer, config)).rejects.toThrow(/not now/);
    expect(await graph.getState(config)).toMatchObject({ values: { log: ["told"] }, next: ["ask"] });
    const threadId = `${config.threadId}-branch`;
    await graph.branch(config, threadId);
    expect((await graph.getState({ threadId }))?.values.log).toEqual(["told"]);
    broken = false;
    expect((await graph.invoke(null, config)).log).toEqual(["told", "Ada"]);
    expect((await graph.invoke(null, { threadId })).__interrupt__).toMatchObject([{ value: "who?" }]);
  });

  test("states of graphs inside are read with subgraphs; edits of them are refused with a reason", async () => {
    const inner = new StateGraph({ log: list() })
      .addNode("deep", (_state, ctx) => ({ log: [`${ctx.interrupt<string>("deep?")}`] }))
      .addEdge(START, "deep")
      .compile();
    const graph = new StateGraph({ log: list() })
      .addNode("inner", inner)
      .addEdge(START, "inner")
      .compile({ checkpointer: saver });
    const config = thread();
    await graph.invoke({ log: ["given"] }, config);
    const plain = (await graph.getState(config))!;
    const place = plain.tasks[0]!.state as { configurable: { checkpoint_ns: string } };
    expect(place.configurable.checkpoint_ns).toMatch(/^inner:/);
    const deep = (await graph.getState(config, { subgraphs: true }))!;
    const state = deep.tasks[0]!.state as StateSnapshot<never>;
    expect(state).toMatchObject({ values: { log: ["given"] }, next: ["deep"], interrupts: [{ value: "deep?" }] });
    expect(await graph.getState({ ...config, ...place })).toEqual(state);
    expect(await all(graph.getStateHistory({ ...config, ...place }))).toHaveLength(1);
    await expect(graph.updateState({ ...config, ...place }, { log: ["x"] })).rejects.toMatchObject({
      code: "Unsupported",
    });
    await expect(
      graph.getState({ configurable: { thread_id: config.threadId, checkpoint_ns: "nobody:1" } }),
    ).rejects.toThrow(/checkpoint_ns.*no graph as a node/);
    expect((await graph.invoke(new Command({ resume: "yes" }), config)).log).toEqual(["given", "given", "yes"]);
  });

  test("an edit is refused while a run is at work, and leaves nothing behind where it fails", async () => {
    let release = () => {};
    const started = Promise.withResolvers<void>();
    const graph = new StateGraph({ n: Annotation<number> })
      .addNode("slow", async () => {
        started.resolve();
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return { n: 1 };
      })
      .addEdge(START, "slow")
      .compile({ checkpointer: saver });
    const config = thread();
    const running = graph.invoke({}, config);
    await started.promise;
    await expect(graph.updateState(config, { n: 5 }, "slow")).rejects.toMatchObject({ code: "ThreadBusy" });
    release();
    expect(await running).toEqual({ n: 1 });
    const before = await all(graph.getStateHistory(config));
    await expect(graph.updateState(config, { n: () => 1 } as never, "slow")).rejects.toThrow(
      /values\.values\.n|values\.n/,
    );
    expect(await all(graph.getStateHistory(config))).toEqual(before);
  });
});

test("a task that failed shows its error until it has run again", async () => {
  let works = false;
  const graph = new StateGraph({ log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }) })
    .addNode("good", () => ({ log: ["good"] }))
    .addNode("bad", () => {
      if (!works) throw new Error("the disk is full");
      return { log: ["bad"] };
    })
    .addEdge(START, "good")
    .addEdge(START, "bad")
    .compile({ name: "errors", checkpointer: new MemorySaver() });
  const thread = { threadId: "t" };
  await expect(graph.invoke({ log: [] }, thread)).rejects.toThrow("the disk is full");
  const failed = await graph.getState(thread);
  const error = { code: "NodeFailed", message: 'graph "errors", node "bad": the disk is full' };
  expect(failed?.tasks.map((task) => [task.name, task.error])).toMatchObject([
    ["bad", error],
    ["good", undefined],
  ]);
  expect(failed?.next).toEqual(["bad"]);
  works = true;
  expect(await graph.invoke(null, thread)).toEqual({ log: ["bad", "good"] });
  expect((await graph.getState(thread))?.tasks).toEqual([]);
});
