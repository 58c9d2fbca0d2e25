/** Graphs inside graphs: their questions, their state seen from outside, and what they remember. */
import { describe, expect, it } from "vitest";
import {
  AgentmaticError,
  Annotation,
  Command,
  END,
  MemorySaver,
  type NodeContext,
  Send,
  START,
  StateGraph,
} from "../../src/mod.ts";
import { all, list, overheard, thread } from "./stage.ts";

const resume = (answer: unknown) => new Command({ resume: answer });

/** Appends its name, once for each name given. */
function steps(...names: string[]) {
  return new StateGraph({ log: list() })
    .addSequence(names.map((name) => [name, () => ({ log: [name] })] as const))
    .addEdge(START, names[0]!);
}

describe("questions", () => {
  /** Two deep: the question is asked in the graph that is called inside a node of a graph that is a node. */
  function nested() {
    const ran: string[] = [];
    const bottom = new StateGraph({ log: list() })
      .addNode("work", () => {
        ran.push("bottom.work");
        return { log: ["worked"] };
      })
      .addNode("ask", (_state, ctx) => ({ log: [`said ${ctx.interrupt<string>("sure?")}`] }))
      .addEdge(START, "work")
      .addEdge("work", "ask")
      .compile({ name: "bottom" });
    const middle = new StateGraph({ log: list() })
      .addNode("prepare", () => {
        ran.push("middle.prepare");
      })
      .addNode("call", async (_state, ctx) => (await ctx.invoke(bottom, { log: [] })) as { log: string[] })
      .addEdge(START, "prepare")
      .addEdge("prepare", "call")
      .compile({ name: "middle" });
    const saver = new MemorySaver();
    const graph = new StateGraph({ log: Annotation<string[]>() })
      .addNode("middle", middle)
      .addEdge(START, "middle")
      .compile({ name: "top", checkpointer: saver });
    return { graph, saver, ran };
  }

  it("two deep: stop the run, are answered from outside, and nothing that was done is done again", async () => {
    const { graph, ran } = nested();
    const { __interrupt__: open } = await graph.invoke({ log: ["in"] }, thread);
    expect(open).toEqual([{ id: expect.any(String), value: "sure?" }]);
    const end = await graph.invoke(resume("yes"), thread);
    expect(end.log).toEqual(["in", "worked", "said yes"]);
    expect(ran).toEqual(["middle.prepare", "bottom.work"]);
  });

  it("the state of a graph as a node is read with the thread's, or by its namespace", async () => {
    const { graph } = nested();
    await graph.invoke({ log: ["in"] }, thread);
    const top = await graph.getState(thread);
    const at = top?.tasks[0]?.state as { configurable: { thread_id: string; checkpoint_ns: string } };
    expect(at.configurable).toMatchObject({ thread_id: "t", checkpoint_ns: expect.stringMatching(/^middle:/) });
    const inner = await graph.getState(at);
    expect(inner).toMatchObject({ values: { log: ["in"] }, next: ["call"], interrupts: [{ value: "sure?" }] });
    const deep = await graph.getState(thread, { subgraphs: true });
    expect(deep?.tasks[0]?.state).toMatchObject({ next: ["call"] });
    const history = await all(graph.getStateHistory(at));
    expect(history.map(({ next }) => next)).toEqual([["call"], ["prepare"]]);
  });

  it("a namespace that no graph has is refused", async () => {
    const { graph } = nested();
    await graph.invoke({ log: [] }, thread);
    const at = { configurable: { thread_id: "t", checkpoint_ns: "nowhere:1" } };
    await expect(graph.getState(at)).rejects.toThrow('checkpoint_ns: graph "top" has no graph as a node there');
  });

  it("of several calls in one node are all shown at once, and answered by id", async () => {
    const ran: string[] = [];
    const ask = new StateGraph({ item: Annotation<string>(), answer: Annotation<string>() })
      .addNode("read", ({ item }) => {
        ran.push(item);
      })
      .addNode("ask", ({ item }, ctx) => ({ answer: `${item} ${ctx.interrupt<string>(item)}` }))
      .addEdge(START, "read")
      .addEdge("read", "ask")
      .compile();
    const graph = new StateGraph({ log: list() })
      .addNode("both", async (_state, ctx) => {
        const ends = await Promise.all(["x", "y"].map((item) => ask.invoke({ item }, ctx)));
        return { log: ends.map(({ answer }) => answer) };
      })
      .addEdge(START, "both")
      .compile({ checkpointer: new MemorySaver() });
    const { __interrupt__: open = [] } = await graph.invoke({}, thread);
    expect(open.map(({ value }) => value).sort()).toEqual(["x", "y"]);
    const answers = Object.fromEntries(open.map(({ id, value }) => [id, `${value}!`]));
    expect((await graph.invoke(resume(answers), thread)).log).toEqual(["x x!", "y y!"]);
    expect(ran.sort()).toEqual(["x", "y"]);
  });

  it("a breakpoint inside stops the whole run, and null goes on from there", async () => {
    const inner = steps("a", "b").compile({ interruptBefore: ["b"] });
    const graph = new StateGraph({ log: Annotation<string[]>() })
      .addNode("inner", inner)
      .addEdge(START, "inner")
      .compile({ checkpointer: new MemorySaver() });
    await graph.invoke({ log: [] }, thread);
    expect(await graph.getState(thread, { subgraphs: true })).toMatchObject({
      next: ["inner"],
      tasks: [{ state: { next: ["b"], values: { log: ["a"] } } }],
    });
    expect((await graph.invoke(null, thread)).log).toEqual(["a", "b"]);
  });
});

describe("checkpointer", () => {
  const counter = (checkpointer?: boolean) =>
    new StateGraph({ seen: Annotation<number>({ reducer: (a, b) => a + b, default: () => 0 }) })
      .addNode("count", () => ({ seen: 1 }))
      .addEdge(START, "count")
      .compile({ name: "counter", ...(checkpointer === undefined ? {} : { checkpointer }) });
  const around = (inner: ReturnType<typeof counter>, saver = new MemorySaver()) =>
    new StateGraph({ seen: Annotation<number>() })
      .addNode("call", async (_state, ctx) => (await ctx.invoke(inner, {})) as { seen: number })
      .addEdge(START, "call")
      .compile({ checkpointer: saver });
  const twice = async (graph: ReturnType<typeof around>) => {
    const first = await graph.invoke({}, thread);
    return [first.seen, (await graph.invoke({}, thread)).seen];
  };

  it("by default: each call begins anew", async () => {
    expect(await twice(around(counter()))).toEqual([1, 1]);
  });

  it("true: one state over all calls of the thread, another thread has its own", async () => {
    const graph = around(counter(true));
    expect(await twice(graph)).toEqual([1, 2]);
    expect(await graph.invoke({}, { threadId: "other" })).toEqual({ seen: 1 });
  });

  it("true: calls of one node side by side are refused, as one would lose what the other wrote", async () => {
    const inner = counter(true);
    const graph = new StateGraph({ seen: Annotation<number>({ reducer: (a, b) => a + b, default: () => 0 }) })
      .addNode("call", async (_item: unknown, ctx) => ({
        seen: ((await ctx.invoke(inner, {})) as { seen: number }).seen,
      }))
      .addConditionalEdges(START, () => [new Send("call", 1), new Send("call", 2)], ["call"])
      .compile({ name: "outer", checkpointer: new MemorySaver() });
    const thrown = await graph.invoke({}, thread).catch((error: unknown) => error);
    expect(thrown).toMatchObject({
      code: "FailedPrecondition",
      message: expect.stringContaining("one after the other"),
    });
    // The one that was at work has ended; the other runs now.
    expect(await graph.invoke(null, thread)).toEqual({ seen: 3 });
  });

  it.each(["sync", "async", "exit"] as const)(
    "true: also with durability %s, over the calls of one run and of many",
    async (durability) => {
      // A store that takes its time: what goes on ahead of it must not ask it too early.
      const slow = new Proxy(new MemorySaver(), {
        get(target, key) {
          const value = Reflect.get(target, key, target) as unknown;
          if (typeof value !== "function") return value;
          return async (...args: unknown[]) => {
            if (key === "commit") await new Promise((resolve) => setImmediate(resolve));
            return (await value.apply(target, args)) as unknown;
          };
        },
      });
      const inner = counter(true);
      const graph = new StateGraph({ seen: Annotation<number>() })
        .addNode("call", async (_state, ctx) => (await ctx.invoke(inner, {})) as { seen: number })
        .addEdge(START, "call")
        .addConditionalEdges("call", ({ seen }) => (seen % 3 === 0 ? END : "call"), ["call", END])
        .compile({ checkpointer: slow });
      const config = { ...thread, durability, maxSteps: 10 };
      expect((await graph.invoke({}, config)).seen).toBe(3);
      expect((await graph.invoke({}, config)).seen).toBe(6);
    },
  );

  it("with durability exit, a store that refuses its state is left without it, and without half of it", async () => {
    const saver = new MemorySaver();
    let refuses = true;
    const refusing = new Proxy(saver, {
      get(target, key) {
        const value = Reflect.get(target, key, target) as unknown;
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          if (key !== "commit" || !refuses) return value.apply(target, args) as unknown;
          refuses = false;
          return Promise.reject(new AgentmaticError("DataLoss", "the disk is full"));
        };
      },
    });
    const graph = around(counter(true), refusing);
    await expect(graph.invoke({}, { ...thread, durability: "exit" })).rejects.toThrow("the disk is full");
    expect(await graph.invoke({}, { ...thread, durability: "exit" })).toEqual({ seen: 1 });
    expect(await graph.invoke({}, thread)).toEqual({ seen: 2 });
  });

  it("with durability exit, what spoke to the graph around it leaves nothing to store", async () => {
    const saver = new MemorySaver();
    const inner = new StateGraph({ n: Annotation<number>() })
      .addNode(
        "hand",
        ({ n }) => new Command({ graph: Command.PARENT, update: { n: n + 1 }, goto: n < 9 ? "inner" : END }),
      )
      .addEdge(START, "hand")
      .compile();
    const graph = new StateGraph({ n: Annotation<number>() })
      .addNode("inner", inner, { ends: ["inner", END] })
      .addEdge(START, "inner")
      .compile({ checkpointer: saver });
    expect(await graph.invoke({ n: 0 }, { ...thread, durability: "exit" })).toEqual({ n: 10 });
    expect((await saver.head("t"))?.seq).toBe(1);
  });

  it("false: nothing of it is stored, and its questions begin it anew", async () => {
    const ran: string[] = [];
    const make = (checkpointer?: boolean) =>
      new StateGraph({ note: Annotation<string>() })
        .addNode("work", (_state: unknown, ctx: NodeContext) => {
          ran.push(ctx.idempotencyKey);
          return { note: "stays inside" };
        })
        .addNode("ask", (_state: unknown, ctx: NodeContext) => ({ note: `said ${ctx.interrupt<string>("?")}` }))
        .addEdge(START, "work")
        .addEdge("work", "ask")
        .compile(checkpointer === undefined ? {} : { checkpointer });
    const { saver, said } = overheard();
    const graph = new StateGraph({ note: Annotation<string>() })
      .addNode("inner", make(false))
      .addEdge(START, "inner")
      .compile({ checkpointer: saver });
    await graph.invoke({}, thread);
    expect(said()).not.toContain("stays inside");
    expect(await graph.invoke(resume("yes"), thread)).toEqual({ note: "said yes" });
    // With the same key, so that an effect is still made once.
    expect(ran).toHaveLength(2);
    expect(ran[0]).toBe(ran[1]);
  });
});
