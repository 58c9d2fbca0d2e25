import { beforeAll, describe, expect, test } from "vitest";
import { install } from "../../../adapters/node/mod.ts";
import {
  Annotation,
  Command,
  entrypoint,
  getConfig,
  InMemoryCache,
  installAsyncContext,
  interrupt,
  MemorySaver,
  START,
  StateGraph,
  task,
} from "../../../src/mod.ts";
import { virtualPorts } from "../../../src/testing/mod.ts";
import { replayable } from "../../support/seed.ts";

beforeAll(() => install());

const at = { threadId: "t" };

async function collect(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe("a task", () => {
  test("is called once: not again when the node is tried again, kept or not", async () => {
    for (const checkpointer of [undefined, new MemorySaver()]) {
      const runs: string[] = [];
      const work = task("work", async (name: string) => {
        runs.push(name);
        return { name, list: [name] };
      });
      let tries = 0;
      const graph = entrypoint(
        {
          name: "g",
          retryPolicy: { initialInterval: 1, maxAttempts: 3 },
          ...(checkpointer ? { checkpointer } : {}),
        },
        async () => {
          const [a, b] = await Promise.all([work("a"), work("b")]);
          if (++tries < 3) throw new Error("again");
          return [a.name, b.name, await work("c")];
        },
      );
      expect(await graph.invoke(1, at)).toEqual(["a", "b", { name: "c", list: ["c"] }]);
      expect(runs).toEqual(["a", "b", "c"]);
    }
  });

  test("has arguments and a result of any storable kind", async () => {
    const echo = task("echo", (...args: unknown[]) => args);
    const graph = entrypoint(
      { name: "g", checkpointer: new MemorySaver() },
      async () => await echo(undefined, new Date(1), 2n),
    );
    expect(await graph.invoke(1, at)).toEqual([undefined, new Date(1), 2n]);
  });

  test("works in the nodes of any graph", async () => {
    const runs: number[] = [];
    const count = task("count", async (n: number) => {
      runs.push(n);
      return n + 1;
    });
    const graph = new StateGraph({ n: Annotation<number>() })
      .addNode("a", async ({ n }, ctx) => ({ n: (await count(n)) + ctx.interrupt<number>("how many?") }))
      .addEdge(START, "a")
      .compile({ checkpointer: new MemorySaver() });
    await graph.invoke({ n: 1 }, at);
    expect(await graph.invoke(new Command({ resume: 5 }), at)).toEqual({ n: 7 });
    expect(runs).toEqual([1]);
  });

  test("may call tasks, whose results are kept though its own is not yet", async () => {
    const runs: string[] = [];
    const inner = task("inner", async (name: string) => {
      runs.push(name);
      return name;
    });
    const outer = task("outer", async () => [await inner("a"), await inner("b")]);
    const graph = entrypoint({ name: "g", checkpointer: new MemorySaver() }, async (_: number, ctx) => {
      const asks = ctx.task("asks", async () => {
        return [await inner("c"), interrupt("?")];
      });
      return await Promise.all([outer(), asks]);
    });
    await graph.invoke(1, at);
    expect(await graph.invoke(new Command({ resume: "yes" }), at)).toEqual([
      ["a", "b"],
      ["c", "yes"],
    ]);
    expect(runs.sort()).toEqual(["a", "b", "c"]);
  });

  test("throws to its caller what it threw, and names itself where nobody catches that", async () => {
    class Broken extends Error {}
    const fails = task("fails", async () => {
      throw new Broken("no");
    });
    const caught = entrypoint("g", async () => await fails().catch((thrown: unknown) => thrown instanceof Broken));
    expect(await caught.invoke(1)).toBe(true);
    await expect(entrypoint("g", () => fails()).invoke(1)).rejects.toMatchObject({
      message: 'graph "g", node "g", task "fails": no',
      code: "NodeFailed",
      details: { node: "g", task: "fails" },
    });
  });

  test("a result that cannot be stored is refused with its path", async () => {
    const bad = task("bad", async () => ({ deep: [{ go: () => 1 }] }));
    const graph = entrypoint({ name: "g", checkpointer: new MemorySaver() }, () => bad());
    await expect(graph.invoke(1, at)).rejects.toThrow(/task "bad".*deep\[0\]\.go/);
  });

  test("calls in another order than before are an error that names both", async () => {
    const graph = (names: string[]) =>
      entrypoint({ name: "g", checkpointer: saver }, async (_: number, ctx) => {
        for (const name of names) await ctx.task(name, () => name);
        return ctx.interrupt("?");
      });
    const saver = new MemorySaver();
    await graph(["a", "b"]).invoke(1, at);
    await expect(graph(["a", "c"]).invoke(new Command({ resume: 1 }), at)).rejects.toThrow(
      'its call "c" was "b" when it ran before; calls must come in the same order each time',
    );
  });

  test("outside of a run, and without an async context, it says what to do", async () => {
    const work = task("work", async () => 1);
    await expect(work()).rejects.toMatchObject({
      code: "Unsupported",
      message: 'task "work": task() was called outside of a node',
    });
    installAsyncContext(undefined as never);
    try {
      await expect(entrypoint("g", () => work()).invoke(1)).rejects.toThrow(
        'task "work": task() needs an async context: use ctx.task(), or call install() of agentmatic/node',
      );
      const withContext = entrypoint("g", (n: number, ctx) => ctx.task("work", (m: number) => m + 1, n));
      expect(await withContext.invoke(1)).toBe(2);
    } finally {
      install();
    }
  });

  test("a promise of it that nobody waits for ends no process", async () => {
    const fails = task("fails", async () => {
      throw new Error("no");
    });
    const graph = entrypoint("g", async () => {
      void fails();
      return 1;
    });
    // vitest fails on unhandled rejections.
    expect(await graph.invoke(1)).toBe(1);
    await new Promise((resolve) => setImmediate(resolve));
  });

  test("options that cannot be name the task", () => {
    const make = (options: unknown, run: unknown = () => 1) => task(options as never, run as never);
    expect(() => make({})).toThrow("task: needs a name");
    expect(() => make("t", 5)).toThrow('task "t": needs a function');
    expect(() => make("t", async function* () {})).toThrow('task "t": cannot be a generator');
    expect(() => make({ name: "t", retry: { maxAttempts: 0 } })).toThrow('task "t": retryPolicy.maxAttempts');
    expect(() => make({ name: "t", timeout: 0 })).toThrow('task "t": timeout');
    expect(() => make({ name: "t", cachePolicy: { ttl: -1 } })).toThrow('task "t": cachePolicy.ttl');
  });
});

describe("policies of tasks", () => {
  test("retries, under LangGraph.js's name too", async () => {
    const ports = virtualPorts();
    for (const name of ["retry", "retryPolicy"]) {
      let tries = 0;
      const work = task({ name: "work", [name]: { maxAttempts: 3 } } as { name: string }, async () => {
        if (++tries < 3) throw new Error("later");
        return tries;
      });
      expect(await ports.settle(entrypoint({ name: "g", ports }, () => work()).invoke(1))).toBe(3);
    }
  });

  test("a timeout fails it with its name, and its signal aborts", async () => {
    const ports = virtualPorts();
    let aborted = false;
    const hangs = task({ name: "hangs", timeout: 1_000 }, () => {
      getConfig().signal.addEventListener("abort", () => {
        aborted = true;
      });
      return new Promise(() => {});
    });
    const graph = entrypoint({ name: "g", ports }, () => hangs());
    await expect(ports.settle(graph.invoke(1))).rejects.toMatchObject({
      code: "Timeout",
      details: { node: "g", task: "hangs" },
    });
    expect(aborted).toBe(true);
  });

  test("a cache goes by the arguments, and keyFunc is given them", async () => {
    const runs: string[] = [];
    const cached = (cachePolicy: object | boolean) =>
      task({ name: "look", cachePolicy: cachePolicy as never }, async (city: string, _day?: number) => {
        runs.push(city);
        return `sunny in ${city}`;
      });
    const graph = (look: ReturnType<typeof cached>) =>
      entrypoint({ name: "g", cache: new InMemoryCache() }, async (cities: string[]) => {
        const all: string[] = [];
        for (const city of cities) all.push(await look(city, all.length));
        return all;
      });
    const plain = graph(cached(true));
    expect(await plain.invoke(["Rome", "Rome"])).toEqual(["sunny in Rome", "sunny in Rome"]);
    expect(runs).toEqual(["Rome", "Rome"]);
    await plain.invoke(["Rome", "Rome"]);
    expect(runs).toEqual(["Rome", "Rome"]);
    runs.length = 0;
    const keyed = graph(cached({ keyFunc: ([city]: readonly unknown[]) => String(city) }));
    await keyed.invoke(["Rome", "Oslo", "Rome"]);
    expect(runs).toEqual(["Rome", "Oslo"]);
  });
});

describe("followers", () => {
  const say = task("say", async (word: string) => word.toUpperCase());
  const graph = () =>
    entrypoint({ name: "g", checkpointer: new MemorySaver() }, async (word: string, ctx) => {
      ctx.stream({ at: "start" });
      const said = await say(word);
      return said + ctx.interrupt<string>("?");
    });

  test("are told each task's result, and when the run goes on, that it was there already", async () => {
    const one = graph();
    expect(await collect(one.stream("a", at))).toEqual([
      { say: "A" },
      { __interrupt__: [{ id: expect.any(String), value: "?" }] },
    ]);
    expect(await collect(one.stream(new Command({ resume: "!" }), at))).toEqual([
      { say: "A", __metadata__: { cached: true } },
      { g: "A!" },
    ]);
  });

  test("of several modes", async () => {
    const one = graph();
    await collect(one.stream("a", at));
    const modes = ["values", "tasks", "custom"] as const;
    const events = await collect(one.stream(new Command({ resume: "!" }), { ...at, streamMode: modes }));
    expect(events).toMatchObject([
      ["tasks", { name: "g", input: "a" }],
      ["custom", { at: "start" }],
      ["tasks", { name: "g", result: { __end__: "A!" } }],
      ["values", "A!"],
    ]);
  });

  test("of tasks: begin, end, and error", async () => {
    const fails = task("fails", async () => {
      throw new Error("no");
    });
    const two = entrypoint("g", async (word: string) => {
      await fails().catch(() => undefined);
      return await say(word);
    });
    const events = await collect(two.stream("b", { streamMode: "tasks" }));
    expect(events).toMatchObject([
      { name: "g", input: "b" },
      { name: "fails", input: [] },
      { name: "fails", error: { message: "no" }, result: {} },
      { name: "say", input: ["b"] },
      { name: "say", result: { __return__: "B" }, error: null },
      { name: "g", result: { __end__: "B" } },
    ]);
  });
});

test("a thousand runs side by side never see each other's", async () => {
  await replayable(async (random) => {
    const saver = new MemorySaver();
    const pause = () => new Promise<void>((resolve) => setTimeout(resolve, random() * 5));
    const step = task("step", async (run: number, n: number) => {
      await pause();
      return [run, n] as const;
    });
    const graph = entrypoint({ name: "g", checkpointer: saver }, async (run: number, ctx) => {
      await pause();
      const [a, b] = await Promise.all([step(run, 1), step(run, 2)]);
      await pause();
      const c = await step(run, 3);
      return [ctx.threadId, a, b, c];
    });
    const runs = Array.from({ length: 1_000 }, (_, run) => graph.invoke(run, { threadId: `t${run}` }));
    for (const [run, result] of (await Promise.all(runs)).entries()) {
      expect(result).toEqual([`t${run}`, [run, 1], [run, 2], [run, 3]]);
    }
  });
});
