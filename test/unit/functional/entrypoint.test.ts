import { beforeAll, describe, expect, test } from "vitest";
import { plansOf } from "../../../adapters/_shared/graphs.ts";
import { install } from "../../../adapters/node/mod.ts";
import {
  Annotation,
  Command,
  entrypoint,
  getConfig,
  getPreviousState,
  interrupt,
  isInterrupted,
  MemorySaver,
  START,
  StateGraph,
} from "../../../src/mod.ts";

beforeAll(() => install());

const at = { threadId: "t" };

describe("what goes in and comes out", () => {
  test.each([
    ["text", "hello"],
    ["a number", 7],
    ["zero", 0],
    ["false", false],
    ["undefined", undefined],
    ["a list", [1, [2]]],
    ["a date", new Date(5)],
    ["a map", new Map([["a", 1n]])],
    ["an object with names of channels", { __start__: 1, __end__: 2, __previous__: 3 }],
  ])("%s, kept or not", async (_name, value) => {
    const seen: unknown[] = [];
    const run = async (input: unknown) => {
      seen.push(input);
      return input;
    };
    expect(await entrypoint("echo", run).invoke(value)).toEqual(value);
    const kept = entrypoint({ name: "echo", checkpointer: new MemorySaver() }, run);
    expect(await kept.invoke(value, at)).toEqual(value);
    expect((await kept.getState(at))?.values).toEqual(value);
    expect(seen).toEqual([value, value]);
  });

  test("null as a result, and a function that is not async", async () => {
    expect(await entrypoint("none", () => null).invoke(1)).toBeNull();
    expect(await entrypoint("twice", (n: number) => n * 2).invoke(4)).toBe(8);
  });

  test("a value that cannot be stored is refused, with its path", async () => {
    const kept = entrypoint({ name: "bad", checkpointer: new MemorySaver() }, async () => ({ inner: { go: () => 1 } }));
    await expect(kept.invoke(1, at)).rejects.toMatchObject({ code: "StateNotSerializable" });
    await expect(kept.invoke({ go: () => 1 } as never, { threadId: "u" })).rejects.toThrow("input.go");
  });

  test("an error names the graph", async () => {
    const fails = entrypoint("pay", async () => {
      throw new TypeError("no money");
    });
    await expect(fails.invoke(1)).rejects.toMatchObject({
      code: "NodeFailed",
      message: 'graph "pay", node "pay": no money',
      cause: expect.any(TypeError),
    });
  });
});

describe("what is saved", () => {
  test("a run's result is there for the next run of the thread, and of no other", async () => {
    const words = entrypoint({ name: "words", checkpointer: new MemorySaver() }, async (word: string, ctx) => {
      expect(getPreviousState()).toBe(ctx.previous);
      return ctx.previous === undefined ? word : `${ctx.previous} ${word}`;
    });
    expect(await words.invoke("hello", at)).toBe("hello");
    expect(await words.invoke("world", at)).toBe("hello world");
    expect(await words.invoke("other", { threadId: "u" })).toBe("other");
    expect((await words.getState(at))?.values).toBe("hello world");
  });

  test("final gives one value back and saves another", async () => {
    const sum = entrypoint({ name: "sum", checkpointer: new MemorySaver() }, async (n: number) => {
      const previous = getPreviousState<number>() ?? 0;
      return entrypoint.final({ value: previous, save: previous + n });
    });
    const results: number[] = [];
    for (const n of [3, 4, 5]) results.push(await sum.invoke(n, at));
    expect(results).toEqual([0, 3, 7]);
  });

  test("a run that fails or waits saves nothing", async () => {
    const graph = entrypoint({ name: "g", checkpointer: new MemorySaver() }, async (what: string, ctx) => {
      if (what === "fail") throw new Error("no");
      if (what === "ask") return ctx.interrupt<string>("?");
      return [ctx.previous, what];
    });
    expect(await graph.invoke("a", at)).toEqual([undefined, "a"]);
    await expect(graph.invoke("fail", at)).rejects.toThrow("no");
    expect(isInterrupted(await graph.invoke("ask", at))).toBe(true);
    expect(await graph.invoke("b", at)).toEqual([[undefined, "a"], "b"]);
  });

  test("updateState does as if the function had returned it; history and forks are those of any graph", async () => {
    const graph = entrypoint({ name: "g", checkpointer: new MemorySaver() }, async (n: number) => {
      const previous = getPreviousState<number>() ?? 0;
      return previous + n;
    });
    await graph.invoke(1, at);
    await graph.updateState(at, 40);
    expect((await graph.getState(at))?.values).toBe(40);
    expect(await graph.invoke(2, at)).toBe(42);
    await graph.updateState(at, entrypoint.final({ value: 0, save: 100 }));
    expect((await graph.getState(at))?.values).toBe(0);
    expect(await graph.invoke(1, at)).toBe(101);
    const seen: unknown[] = [];
    for await (const { values, source, next } of graph.getStateHistory(at)) seen.push([values, source, next]);
    expect(seen.slice(0, 3)).toEqual([
      [101, "loop", []],
      [0, "input", ["g"]],
      [0, "update", []],
    ]);
    expect(seen).toHaveLength(8);
    await graph.branch(at, "copy");
    expect(await graph.invoke(1, { threadId: "copy" })).toBe(102);
  });
});

describe("questions", () => {
  const review = (checkpointer: MemorySaver, runs: string[]) =>
    entrypoint({ name: "review", checkpointer }, async (topic: string, ctx) => {
      const essay = await ctx.task("write", async () => {
        runs.push("write");
        return `about ${topic}`;
      });
      const verdict = interrupt<string>({ essay });
      const printed = await ctx.task("print", async () => {
        runs.push("print");
        return 2;
      });
      const more = interrupt<string>("another?");
      return { essay, verdict, printed, more };
    });

  test("between tasks: what has been done is not done again, in another process either", async () => {
    const saver = new MemorySaver();
    const runs: string[] = [];
    const first = await review(saver, runs).invoke("cats", at);
    expect(first).toEqual({ __interrupt__: [{ id: expect.any(String), value: { essay: "about cats" } }] });
    expect((await review(saver, runs).getState(at))?.next).toEqual(["review"]);
    const second = await review(saver, runs).invoke(new Command({ resume: "good" }), at);
    expect(second).toMatchObject({ __interrupt__: [{ value: "another?" }] });
    expect(await review(saver, runs).invoke(new Command({ resume: "no" }), at)).toEqual({
      essay: "about cats",
      verdict: "good",
      printed: 2,
      more: "no",
    });
    expect(runs).toEqual(["write", "print"]);
  });

  test("a breakpoint before the function", async () => {
    const runs: string[] = [];
    const graph = review(new MemorySaver(), runs);
    expect(await graph.invoke("cats", { ...at, interruptBefore: ["review"] })).toEqual({ __interrupt__: [] });
    expect(runs).toEqual([]);
    expect(isInterrupted(await graph.invoke(null, at))).toBe(true);
    expect(runs).toEqual(["write"]);
  });
});

describe("as part of other graphs", () => {
  const double = entrypoint("double", async (n: number) => n * 2);
  const State = Annotation.Root({ n: Annotation<number>() });

  test("called inside a node, an entrypoint and a task; by itself and by ctx.invoke", async () => {
    const graph = new StateGraph(State)
      .addNode("a", async ({ n }, ctx) => ({
        n: (await double.invoke(n)) + ((await ctx.invoke(double, 10)) as number),
      }))
      .addEdge(START, "a")
      .compile();
    expect(await graph.invoke({ n: 1 })).toEqual({ n: 22 });
    const outer = entrypoint({ name: "outer", checkpointer: new MemorySaver() }, async (list: number[], ctx) =>
      Promise.all(list.map((n) => ctx.task("each", async () => await double.invoke(n)))),
    );
    expect(await outer.invoke([1, 2, 3], at)).toEqual([2, 4, 6]);
  });

  test("as a node: given the state, it returns what a node would", async () => {
    const increment = entrypoint("increment", async ({ n }: { n: number }) => ({ n: n + 1 }));
    const graph = new StateGraph(State)
      .addNode("a", increment)
      .addEdge(START, "a")
      .compile({ checkpointer: new MemorySaver() });
    expect(await graph.invoke({ n: 1 }, at)).toEqual({ n: 2 });
  });

  test("with checkpointer true it remembers over the calls of a thread, otherwise it does not", async () => {
    for (const [checkpointer, expected] of [
      [true, [1, 3]],
      [undefined, [1, 2]],
    ] as const) {
      const options = { name: "sum", ...(checkpointer ? { checkpointer } : {}) };
      const sum = entrypoint(options, async (n: number, ctx) => ((ctx.previous as number | undefined) ?? 0) + n);
      const outer = entrypoint({ name: "outer", checkpointer: new MemorySaver() }, (n: number) => sum.invoke(n));
      expect([await outer.invoke(1, at), await outer.invoke(2, at)]).toEqual(expected);
    }
  });

  test("its question is the caller's", async () => {
    const ask = entrypoint("ask", async (what: string) => `${what}: ${interrupt<string>(what)}`);
    const outer = entrypoint({ name: "outer", checkpointer: new MemorySaver() }, async (_: number, ctx) =>
      Promise.all(["a", "b"].map((what) => ctx.task("ask", async () => await ask.invoke(what)))),
    );
    const waiting: unknown = await outer.invoke(1, at);
    if (!isInterrupted(waiting)) throw new Error("does not wait");
    expect(waiting.__interrupt__.map(({ value }) => value)).toEqual(["a", "b"]);
    const resume = Object.fromEntries(waiting.__interrupt__.map(({ id, value }) => [id, `${value}!`]));
    expect(await outer.invoke(new Command({ resume }), at)).toEqual(["a: a!", "b: b!"]);
  });

  test("a worker's module may export it", () => {
    expect(plansOf({ double }).map(({ name }) => name)).toEqual(["double"]);
  });
});

describe("what it is told and refuses", () => {
  test("getConfig is the context; context comes from the caller", async () => {
    const graph = entrypoint("g", async (_: number, ctx) => [
      getConfig() === ctx,
      ctx.context.user,
      ctx.graph,
      ctx.node,
    ]);
    expect(await graph.invoke(1, { context: { user: "ann" } })).toEqual([true, "ann", "g", "g"]);
  });

  test("options that cannot be", () => {
    const make = (options: unknown, run: unknown = async () => 1) => entrypoint(options as never, run as never);
    expect(() => make({})).toThrow("name: must be a non-empty string");
    expect(() => make(undefined)).toThrow("entrypoint: needs a name");
    expect(() => make("a|b")).toThrow('node "a|b"');
    expect(() => make("g", 5)).toThrow('entrypoint "g": needs a function');
    expect(() => make("g", function* () {})).toThrow('entrypoint "g": cannot be a generator');
    expect(() => make("g", async function* () {})).toThrow("cannot be a generator");
    expect(() => make({ name: "g", version: "" })).toThrow("version");
    expect(() => make({ name: "g", timeout: -1 })).toThrow("timeout");
    expect(() => make({ name: "g", checkpointer: {} })).toThrow("checkpointer: must be a saver");
  });

  test("its version is of its name and salt, or as given", () => {
    const version = (options: object) => entrypoint({ name: "g", ...options }, async () => 1).plan.version;
    expect(version({})).toBe(version({}));
    expect(version({ versionSalt: "2" })).not.toBe(version({}));
    expect(version({ name: "h" })).not.toBe(version({}));
    expect(version({ version: "v7" })).toBe("v7");
  });
});
