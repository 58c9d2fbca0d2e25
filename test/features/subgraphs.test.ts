/** Graphs inside graphs: as nodes and called inside them, their state, questions, events and errors. */
import { describe, expect, it } from "vitest";
import {
  Annotation,
  Command,
  type CompiledGraph,
  MemorySaver,
  type NodeContext,
  Send,
  START,
  StateGraph,
  systemPorts,
} from "../../src/mod.ts";
import { until } from "../support/wait.ts";
import { settle, virtualPorts, watched } from "../unit/policy/clock.ts";
import { all, list, overheard, thread, ways } from "./stage.ts";

const resume = (answer: unknown) => new Command({ resume: answer });

/** Appends its name, once for each name given. */
function steps(...names: string[]) {
  return new StateGraph({ log: list() })
    .addSequence(names.map((name) => [name, () => ({ log: [name] })] as const))
    .addEdge(START, names[0]!);
}

describe.each(ways)("$way", ({ kept }) => {
  it("as a node: shares the channels of the same name, and keeps its own to itself", async () => {
    const inner = new StateGraph({ log: Annotation<string[]>(), own: Annotation<number>() })
      .addNode("count", ({ log }) => ({ own: log.length }))
      .addNode("tell", ({ own }) => ({ log: [`inner saw ${own}`] }))
      .addEdge(START, "count")
      .addEdge("count", "tell")
      .compile({ name: "inner" });
    const graph = new StateGraph({ log: list(), other: Annotation<string>() })
      .addNode({ before: () => ({ log: ["before"], other: "mine" }), inner })
      .addEdge(START, "before")
      .addEdge("before", "inner")
      .compile(kept());
    expect(await graph.invoke({}, thread)).toEqual({ log: ["before", "inner saw 1"], other: "mine" });
  });

  it.each(["ctx.invoke", "graph.invoke"])(
    "called inside a node by %s: a state of its own, as often as wanted",
    async (how) => {
      const double = new StateGraph({ n: Annotation<number>() })
        .addNode("double", async ({ n }) => ({ n: n * 2 }))
        .addEdge(START, "double")
        .compile({ name: "double" });
      const graph = new StateGraph({ n: Annotation<number>() })
        .addNode("twice", async ({ n }, ctx) => {
          const call = async (given: number) => {
            const end =
              how === "ctx.invoke" ? await ctx.invoke(double, { n: given }) : await double.invoke({ n: given }, ctx);
            return (end as { n: number }).n;
          };
          const [one, two] = await Promise.all([call(n), call(n + 1)]);
          return { n: (await call(one)) + two };
        })
        .addEdge(START, "twice")
        .compile(kept());
      expect(await graph.invoke({ n: 1 }, thread)).toEqual({ n: 8 });
    },
  );

  it("in single calls side by side, each with its own state", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode("inner", steps("a", "b").compile())
      .addConditionalEdges(START, () => ["x", "y"].map((item) => new Send("inner", { log: [item] })), ["inner"])
      .compile(kept());
    // Without a checkpointer of its own each call begins with what it was sent.
    expect((await graph.invoke({}, thread)).log).toEqual(["x", "a", "b", "y", "a", "b"]);
  });

  it("an error names the way down to the node that threw, and keeps its code", async () => {
    const bottom = new StateGraph({ log: list() })
      .addNode("break", () => {
        throw new Error("deep trouble");
      })
      .addEdge(START, "break")
      .compile({ name: "bottom" });
    const middle = new StateGraph({ log: list() })
      .addNode("down", bottom)
      .addEdge(START, "down")
      .compile({ name: "middle" });
    const graph = new StateGraph({ log: list() })
      .addNode("down", middle)
      .addEdge(START, "down")
      .compile({ name: "top", ...kept() });
    await expect(graph.invoke({}, thread)).rejects.toMatchObject({
      code: "NodeFailed",
      message: expect.stringMatching(/graph "top".*graph "middle".*graph "bottom", node "break": deep trouble/),
    });
  });

  it("a node that calls one is retried, and the call begins anew", async () => {
    let tries = 0;
    const inner = new StateGraph({ log: list() })
      .addNode("first", () => ({ log: ["first"] }))
      .addNode("second", () => {
        if (++tries < 3) throw new Error("not yet");
        return { log: [`try ${tries}`] };
      })
      .addEdge(START, "first")
      .addEdge("first", "second")
      .compile();
    const graph = new StateGraph({ log: list() })
      .addNode("call", async (_state, ctx) => (await ctx.invoke(inner, {})) as { log: string[] }, {
        retryPolicy: { initialInterval: 0, maxAttempts: 3 },
      })
      .addEdge(START, "call")
      .compile(kept());
    expect((await graph.invoke({}, thread)).log).toEqual(["first", "try 3"]);
  });

  it("a cancel reaches the node inside, and the run ends as cancelled", async () => {
    const inside = { begun: false, stopped: false };
    const inner = new StateGraph({ log: list() })
      .addNode("hang", async (_state, ctx) => {
        ctx.signal.addEventListener("abort", () => {
          inside.stopped = true;
        });
        inside.begun = true;
        await new Promise(() => undefined);
      })
      .addEdge(START, "hang")
      .compile();
    const graph = new StateGraph({ log: list() }).addNode("inner", inner).addEdge(START, "inner").compile(kept());
    const controller = new AbortController();
    const end = graph.invoke({}, { ...thread, signal: controller.signal });
    end.catch(() => undefined);
    await until(() => inside.begun, { what: "the node inside has begun" });
    controller.abort();
    await expect(end).rejects.toMatchObject({ code: "Cancelled" });
    expect(inside.stopped).toBe(true);
  });

  it("a timeout of the calling node reaches the node inside", async () => {
    let stopped = false;
    const inner = new StateGraph({ log: list() })
      .addNode("hang", async (_state, ctx) => {
        ctx.signal.addEventListener("abort", () => {
          stopped = true;
        });
        await new Promise(() => undefined);
      })
      .addEdge(START, "hang")
      .compile();
    const graph = new StateGraph({ log: list() })
      .addNode("call", async (_state, ctx) => (await ctx.invoke(inner, {})) as object, { timeout: 30 })
      .addEdge(START, "call")
      .compile({ name: "outer", ...kept() });
    await expect(graph.invoke({}, thread)).rejects.toMatchObject({ code: "Timeout" });
    await until(() => stopped, { what: "the node inside is told" });
  });

  it("a try that is over stops the graphs it has started, before the next one begins", async () => {
    const ran: string[] = [];
    let tries = 0;
    const first = Promise.withResolvers<void>();
    const inner = new StateGraph({ log: list() })
      .addNode("slow", async (_state, ctx) => {
        const name = `try ${tries}`;
        ctx.signal.addEventListener("abort", () => ran.push(`${name} stopped`), { once: true });
        if (tries === 1) await first.promise;
        return { log: [name] };
      })
      .addNode("then", () => {
        ran.push("then");
      })
      .addEdge(START, "slow")
      .addEdge("slow", "then")
      .compile();
    const policy = { timeout: 40, retryPolicy: { retryOn: ["Timeout"], initialInterval: 0, maxAttempts: 2 } };
    const graph = new StateGraph({ log: list() })
      .addNode(
        "call",
        async (_state, ctx) => {
          tries++;
          return (await ctx.invoke(inner, {})) as object;
        },
        policy,
      )
      .addNode("after", async () => {
        // What the first try has left at work comes to its end now, and nothing follows it.
        first.resolve();
        for (let turn = 0; turn < 10; turn++) await settle();
      })
      .addEdge(START, "call")
      .addEdge("call", "after")
      .compile(kept());
    expect((await graph.invoke({}, thread)).log).toEqual(["try 2"]);
    expect(ran.filter((one) => one !== "try 2 stopped")).toEqual(["try 1 stopped", "then"]);
  });

  it("a timeout stops the graphs inside at its time, and not when the next try begins", async () => {
    const { clock, ports } = virtualPorts();
    let signal: AbortSignal | undefined;
    const inner = new StateGraph({ log: list() })
      .addNode("hang", async (_state, ctx) => {
        signal ??= ctx.signal;
        if (ctx.signal === signal) await new Promise(() => undefined);
      })
      .addEdge(START, "hang")
      .compile();
    const graph = new StateGraph({ log: list() })
      .addNode("inner", inner, {
        timeout: 1_000,
        retryPolicy: { retryOn: ["Timeout"], initialInterval: 60_000, jitter: false },
      })
      .addEdge(START, "inner")
      .compile({ ports: { ...systemPorts, ...ports }, ...kept() });
    const end = watched(graph.invoke({}, thread));
    await clock.advance(999);
    expect(signal?.aborted).toBe(false);
    await clock.advance(1);
    expect([signal?.aborted, end.state]).toEqual([true, "pending"]);
    await clock.advance(60_000);
    expect(end.state).toBe("resolved");
  });

  it("a try that failed beside other calls stops those as well, also in a durable call", async () => {
    const ran: string[] = [];
    let tries = 0;
    const gate = Promise.withResolvers<void>();
    const slow = new StateGraph({ log: list() })
      .addNode("wait", async () => {
        if (tries === 1) await gate.promise;
      })
      .addNode("then", () => {
        ran.push(`then in try ${tries}`);
      })
      .addEdge(START, "wait")
      .addEdge("wait", "then")
      .compile();
    const graph = new StateGraph({ log: list() })
      .addNode(
        "call",
        async (_state, ctx) => {
          tries++;
          const fails = async () => {
            if (tries === 1) throw new Error("not yet");
          };
          await Promise.all([ctx.invoke(slow, {}), ctx.task("slow", async () => await slow.invoke({}, ctx)), fails()]);
          return { log: [`try ${tries}`] };
        },
        { retryPolicy: { initialInterval: 0 } },
      )
      .addNode("after", async () => {
        gate.resolve();
        for (let turn = 0; turn < 10; turn++) await settle();
      })
      .addEdge(START, "call")
      .addEdge("call", "after")
      .compile(kept());
    expect((await graph.invoke({}, thread)).log).toEqual(["try 2"]);
    expect(ran).toEqual(["then in try 2", "then in try 2"]);
  });

  it("signs of life inside are those of the calling node", async () => {
    const { clock, ports } = virtualPorts();
    const pause = () => new Promise<void>((resolve) => void clock.after(800, resolve));
    const inner = new StateGraph({ log: list() })
      .addSequence(["a", "b", "c"].map((name) => [name, pause] as const))
      .addNode("speak", async (_state, ctx) => {
        for (let i = 0; i < 3; i++) {
          await pause();
          ctx.heartbeat();
        }
      })
      .addNode("silent", async () => await new Promise(() => undefined))
      .addEdge(START, "a")
      .addEdge("c", "speak")
      .addEdge("speak", "silent")
      .compile();
    const graph = new StateGraph({ log: list() })
      .addNode("call", async (_state, ctx) => (await ctx.invoke(inner, {})) as object, {
        timeout: { idleTimeout: 1_000 },
      })
      .addEdge(START, "call")
      .compile({ name: "outer", ports: { ...systemPorts, ...ports }, ...kept() });
    const end = watched(graph.invoke({}, thread));
    await clock.advance(6 * 800 + 999);
    expect(end.state).toBe("pending");
    await clock.advance(1);
    expect(end.reason).toMatchObject({
      code: "Timeout",
      message: expect.stringContaining('graph "outer", node "call"'),
    });
  });

  it("events come with subgraphs: true, each with the path of its graph", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode("inner", steps("a", "b").compile())
      .addNode("after", () => ({ log: ["after"] }))
      .addEdge(START, "inner")
      .addEdge("inner", "after")
      .compile(kept());
    const parts = (await all(graph.stream({}, { ...thread, subgraphs: true }))) as [
      string[],
      Record<string, unknown>,
    ][];
    expect(parts.map(([path, data]) => [path.length, Object.keys(data)[0]])).toEqual([
      [1, "a"],
      [1, "b"],
      [0, "inner"],
      [0, "after"],
    ]);
    expect(parts[0]?.[0][0]).toMatch(/^inner:/);
    const outside = await all(graph.stream({}, { threadId: "other" }));
    expect(outside.map((part) => Object.keys(part as object)[0])).toEqual(["inner", "after"]);
  });

  it("a graph that contains itself by calls is stopped, not the process", async () => {
    const graph: CompiledGraph<{ log: ReturnType<typeof list> }> = new StateGraph({ log: list() })
      .addNode("again", async (_state, ctx) => (await ctx.invoke(graph, {})) as object)
      .addEdge(START, "again")
      .compile({ name: "mirror", ...kept() });
    await expect(graph.invoke({}, thread)).rejects.toThrow(/graph "mirror": graphs inside graphs, over 32 deep/);
  });
});

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
