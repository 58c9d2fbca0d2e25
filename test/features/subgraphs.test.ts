/** Graphs inside graphs: as nodes and called inside them, their state, questions, events and errors. */
import { describe, expect, it } from "vitest";
import { install } from "../../adapters/node/mod.ts";
import {
  Annotation,
  type CompiledGraph,
  installAsyncContext,
  Send,
  START,
  StateGraph,
  systemPorts,
} from "../../src/mod.ts";
import { until } from "../support/wait.ts";
import { settle, virtualPorts, watched } from "../unit/policy/clock.ts";
import { all, list, thread, ways } from "./stage.ts";

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

  it.each(["by its context", "by its async context"])(
    "calls that are awaited one after the other, %s: the second one's end is nobody's error once the first has failed",
    async (how) => {
      if (how === "by its async context") install();
      const failing = new StateGraph({ n: Annotation<number>() })
        .addNode("fail", async ({ n }) => Promise.reject(new Error(`failure ${n}`)))
        .addEdge(START, "fail")
        .compile();
      const graph = new StateGraph({ log: list() })
        .addNode("both", async (_state, ctx) => {
          const call = (n: number) => (how === "by its context" ? failing.invoke({ n }, ctx) : failing.invoke({ n }));
          const [first, second] = [call(1), call(2)];
          await first;
          await second;
        })
        .addEdge(START, "both")
        .compile(kept());
      try {
        await expect(graph.invoke({}, thread)).rejects.toThrow("failure 1");
        // Rejections that nobody has taken in hand are told of once the microtasks are done.
        await new Promise((resolve) => setImmediate(resolve));
      } finally {
        installAsyncContext(undefined as never);
      }
    },
  );

  it("a graph that contains itself by calls is stopped, not the process", async () => {
    const graph: CompiledGraph<{ log: ReturnType<typeof list> }> = new StateGraph({ log: list() })
      .addNode("again", async (_state, ctx) => (await ctx.invoke(graph, {})) as object)
      .addEdge(START, "again")
      .compile({ name: "mirror", ...kept() });
    await expect(graph.invoke({}, thread)).rejects.toThrow(/graph "mirror": graphs inside graphs, over 32 deep/);
  });
});
