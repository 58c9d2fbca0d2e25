/** Human in the loop: questions, answers, breakpoints. */
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { install } from "../../adapters/node/mod.ts";
import {
  Annotation,
  Command,
  END,
  InMemoryCache,
  installAsyncContext,
  interrupt,
  MemorySaver,
  type NodeContext,
  Send,
  START,
  StateGraph,
} from "../../src/mod.ts";
import { all, list, thread } from "./stage.ts";

const resume = (answer: unknown) => new Command({ resume: answer });

describe("interrupt", () => {
  it("shows its value in the result, the state and the stream, and the answer comes back where it was asked", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode("ask", (_state, ctx) => ({ log: [`got ${ctx.interrupt<string>({ question: "name?" })}`] }))
      .addEdge(START, "ask")
      .compile({ checkpointer: new MemorySaver() });
    const parts = await all(graph.stream({}, thread));
    const waits = { id: expect.any(String), value: { question: "name?" } };
    expect(parts).toEqual([{ __interrupt__: [waits] }]);
    const state = await graph.getState(thread);
    expect(state).toMatchObject({ next: ["ask"], interrupts: [waits], tasks: [{ name: "ask", interrupts: [waits] }] });
    expect(await graph.invoke(resume("Ada"), thread)).toEqual({ log: ["got Ada"] });
    expect(await graph.getState(thread)).toMatchObject({ next: [], interrupts: [] });
  });

  it("the node runs again from its top; several questions of one node are answered in their order", async () => {
    let runs = 0;
    const graph = new StateGraph({ log: list() })
      .addNode("ask", (_state, ctx) => {
        runs++;
        const first = ctx.interrupt<string>("first?");
        const second = ctx.interrupt<string>(`second, after ${first}?`);
        return { log: [first, second] };
      })
      .addEdge(START, "ask")
      .compile({ checkpointer: new MemorySaver() });
    const values = async (work: Promise<{ __interrupt__?: readonly { value: unknown }[] }>) =>
      (await work).__interrupt__?.map(({ value }) => value);
    expect(await values(graph.invoke({}, thread))).toEqual(["first?"]);
    expect(await values(graph.invoke(resume("a"), thread))).toEqual(["second, after a?"]);
    expect((await graph.invoke(resume("b"), thread)).log).toEqual(["a", "b"]);
    expect(runs).toBe(3);
  });

  it.each([null, undefined, false, "", { a: 1 }, [1]])("takes %j for an answer", async (answer) => {
    const seen: unknown[] = [];
    const graph = new StateGraph({ log: list() })
      .addNode("ask", (_state, ctx) => void seen.push(ctx.interrupt("?")))
      .addEdge(START, "ask")
      .compile({ checkpointer: new MemorySaver() });
    await graph.invoke({}, thread);
    expect(await graph.invoke(resume(answer), thread)).toEqual({ log: [] });
    expect(seen).toEqual([answer]);
  });

  it("without a checkpointer it shows the question, and there is nothing to go on from", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode("ask", (_state, ctx) => ({ log: [ctx.interrupt<string>("?")] }))
      .addEdge(START, "ask")
      .compile();
    expect(await graph.invoke({ log: ["in"] })).toMatchObject({ log: ["in"], __interrupt__: [{ value: "?" }] });
    await expect(graph.invoke(resume("a"))).rejects.toThrow("checkpointer");
  });

  it("the free interrupt() finds the node that it is called in", async () => {
    install();
    const ask = async (question: string) => {
      await Promise.resolve();
      return interrupt<string>(question);
    };
    const graph = new StateGraph({ log: list() })
      .addNode("left", async () => ({ log: [await ask("left?")] }))
      .addNode("right", async () => ({ log: [await ask("right?")] }))
      .addEdge(START, "left")
      .addEdge(START, "right")
      .compile({ checkpointer: new MemorySaver() });
    try {
      const { __interrupt__: open = [] } = await graph.invoke({}, thread);
      const answers = Object.fromEntries(open.map(({ id, value }) => [id, `${value} yes`]));
      expect((await graph.invoke(resume(answers), thread)).log).toEqual(["left? yes", "right? yes"]);
      expect(() => interrupt("nobody asks")).toThrow("outside of a node");
    } finally {
      installAsyncContext(undefined as never);
    }
  });
});

describe("answers and caches", () => {
  it("a node with a cache asks each thread, and gives each the answer of its own", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode("ask", (_state, ctx) => ({ log: [ctx.interrupt<string>("who?")] }), {
        cachePolicy: { keyFunc: () => "same" },
      })
      .addNode("call", async (_state, { task, interrupt }) => ({
        log: [
          await task({ name: "why", cachePolicy: { keyFunc: () => "same" } }, async () => interrupt<string>("why?")),
        ],
      }))
      .addEdge(START, "ask")
      .addEdge("ask", "call")
      .compile({ checkpointer: new MemorySaver(), cache: new InMemoryCache() });
    for (const threadId of ["Ada", "Bob"]) {
      expect(await graph.invoke({}, { threadId })).toMatchObject({ __interrupt__: [{ value: "who?" }] });
      expect(await graph.invoke(resume(threadId), { threadId })).toMatchObject({ __interrupt__: [{ value: "why?" }] });
      expect(await graph.invoke(resume(`${threadId}'s`), { threadId })).toEqual({ log: [threadId, `${threadId}'s`] });
    }
  });
});

describe("a schema for the answer", () => {
  const graph = new StateGraph({ amount: Annotation<number>() })
    .addNode("ask", (_state, ctx) => {
      const { amount } = ctx.interrupt("how much?", { schema: z.object({ amount: z.coerce.number().max(100) }) });
      return { amount };
    })
    .addEdge(START, "ask")
    .compile({ checkpointer: new MemorySaver() });

  it("refuses one that does not fit, naming field and question; the thread waits on for another", async () => {
    const { __interrupt__: open } = await graph.invoke({}, thread);
    for (const bad of [{ amount: 500 }, "much", null]) {
      await expect(graph.invoke(resume(bad), thread)).rejects.toMatchObject({
        code: "InvalidArgument",
        message: expect.stringContaining(`resume.${open?.[0]?.id}`),
      });
      expect(await graph.getState(thread)).toMatchObject({ next: ["ask"], interrupts: open });
    }
    // And hands the node what the schema made of it.
    expect(await graph.invoke(resume({ amount: "7" }), thread)).toEqual({ amount: 7 });
  });

  it("that gives a promise is refused, and the promise's rejection ends no process", async () => {
    const validate = async () => Promise.reject(new Error("too late"));
    const schema = { "~standard": { version: 1 as const, vendor: "own", validate } };
    const late = new StateGraph({ log: list() })
      .addNode("ask", (_state, ctx) => void ctx.interrupt("?", { schema }))
      .addEdge(START, "ask")
      .compile({ checkpointer: new MemorySaver() });
    await late.invoke({}, thread);
    await expect(late.invoke(resume("x"), thread)).rejects.toThrow(/checks asynchronously/);
  });

  it("refuses one answer of several, and keeps the good ones", async () => {
    const ask = (_state: unknown, ctx: NodeContext) => ({
      log: [`${ctx.node} ${ctx.interrupt(`${ctx.node}?`, { schema: z.number() })}`],
    });
    const two = new StateGraph({ log: list() })
      .addNode({ left: ask, right: ask })
      .addEdge(START, "left")
      .addEdge(START, "right")
      .compile({ checkpointer: new MemorySaver() });
    const { __interrupt__: open = [] } = await two.invoke({}, thread);
    const idOf = (value: string) => open.find((one) => one.value === value)!.id;
    const answers = { [idOf("left?")]: 1, [idOf("right?")]: "two" };
    await expect(two.invoke(resume(answers), thread)).rejects.toThrow(idOf("right?"));
    expect((await two.getState(thread))?.interrupts).toEqual([{ id: idOf("right?"), value: "right?" }]);
    expect((await two.invoke(resume({ [idOf("right?")]: 2 }), thread)).log).toEqual(["left 1", "right 2"]);
  });
});

it("a refused answer takes none back that was given before in the same node", async () => {
  const graph = new StateGraph({ log: list() })
    .addNode("ask", (_state, ctx) => {
      const first = ctx.interrupt("first?", { schema: z.string() });
      const second = ctx.interrupt(`second after ${first}?`, { schema: z.number() });
      return { log: [first, `${second}`] };
    })
    .addEdge(START, "ask")
    .compile({ checkpointer: new MemorySaver() });
  await graph.invoke({}, thread);
  await graph.invoke(resume("one"), thread);
  await expect(graph.invoke(resume("two"), thread)).rejects.toMatchObject({ code: "InvalidArgument" });
  expect((await graph.getState(thread))?.interrupts.map(({ value }) => value)).toEqual(["second after one?"]);
  expect((await graph.invoke(resume(2), thread)).log).toEqual(["one", "2"]);
});

describe("several questions at once", () => {
  let runs: string[] = [];
  const graph = new StateGraph({ log: list() })
    .addNode<string>("ask", (item, ctx) => {
      runs.push(item);
      return { log: [`${item}: ${ctx.interrupt(item)}`] };
    })
    .addNode("beside", async () => {
      runs.push("beside");
      return { log: ["beside"] };
    })
    .addNode("after", () => ({ log: ["after"] }))
    .addConditionalEdges(START, () => ["beside", ...["a", "b", "c"].map((item) => new Send("ask", item))], [
      "ask",
      "beside",
    ])
    .addEdge("ask", "after")
    .compile({ checkpointer: new MemorySaver() });
  const begin = async (threadId: string) => {
    runs = [];
    const { __interrupt__: open = [] } = await graph.invoke({}, { threadId });
    return Object.fromEntries(open.map(({ id, value }) => [value, id])) as Record<string, string>;
  };

  it("are all shown, and answered by id in one go; what had finished is not run again", async () => {
    const ids = await begin("all");
    expect(Object.keys(ids)).toEqual(["a", "b", "c"]);
    const answers = { [ids.c!]: 3, [ids.a!]: 1, [ids.b!]: 2 };
    const end = await graph.invoke(resume(answers), { threadId: "all" });
    expect(end.log).toEqual(["beside", "a: 1", "b: 2", "c: 3", "after"]);
    expect(runs.filter((one) => one === "beside")).toHaveLength(1);
  });

  it("are answered one by one, in any order; the others stay open", async () => {
    const ids = await begin("parts");
    const rest = await graph.invoke(resume({ [ids.b!]: 2 }), { threadId: "parts" });
    expect(rest.__interrupt__?.map(({ value }) => value)).toEqual(["a", "c"]);
    expect((await graph.getState({ threadId: "parts" }))?.interrupts.map(({ value }) => value)).toEqual(["a", "c"]);
    await graph.invoke(resume({ [ids.c!]: 3 }), { threadId: "parts" });
    const end = await graph.invoke(resume({ [ids.a!]: 1 }), { threadId: "parts" });
    expect(end.log).toEqual(["beside", "a: 1", "b: 2", "c: 3", "after"]);
    // Once to ask, once with the answer: an answered call is not run again for the others.
    expect(runs.filter((one) => one === "b")).toHaveLength(2);
  });

  it("one answer for several is refused with their ids, and so is one of no question", async () => {
    const ids = await begin("wrong");
    await expect(graph.invoke(resume("yes"), { threadId: "wrong" })).rejects.toThrow(ids.a);
    await expect(graph.invoke(resume({ [`${ids.a}9`]: 1 }), { threadId: "wrong" })).rejects.toThrow("no interrupt");
    expect((await graph.getState({ threadId: "wrong" }))?.interrupts).toHaveLength(3);
  });

  it("in a loop: each round asks anew, and its answer is its own", async () => {
    const loop = new StateGraph({ log: list() })
      .addNode("ask", ({ log }, ctx) => ({ log: [ctx.interrupt<string>(`round ${log.length}`)] }))
      .addConditionalEdges("ask", ({ log }) => (log.at(-1) === "stop" ? END : "ask"), ["ask", END])
      .addEdge(START, "ask")
      .compile({ checkpointer: new MemorySaver() });
    const asked: unknown[] = [];
    let end = await loop.invoke({}, thread);
    for (const answer of ["one", "two", "stop"]) {
      asked.push(end.__interrupt__?.[0]?.value);
      end = await loop.invoke(resume(answer), thread);
    }
    expect(asked).toEqual(["round 0", "round 1", "round 2"]);
    expect(end).toEqual({ log: ["one", "two", "stop"] });
  });
});

describe("breakpoints", () => {
  const make = (options: Parameters<StateGraph["compile"]>[0] = {}) =>
    new StateGraph({ n: Annotation<number>(), log: list() })
      .addSequence(
        ["a", "b", "c"].map((name) => [name, ({ n }: { n: number }) => ({ n: n + 1, log: [name] })] as const),
      )
      .addEdge(START, "a")
      .compile({ checkpointer: new MemorySaver(), ...options });
  /** The log each time that the graph stands still, to its end. */
  const stops = async (graph: ReturnType<typeof make>, config: object = {}) => {
    const seen: string[] = [];
    let end = await graph.invoke({ n: 0 }, { ...thread, ...config });
    for (let rounds = 0; rounds < 10; rounds++) {
      seen.push(end.log.join(""));
      if ((await graph.getState(thread))?.next.length === 0) break;
      end = await graph.invoke(null, { ...thread, ...config });
    }
    return seen;
  };

  it.each([
    ["before, by name", { interruptBefore: ["b", "c"] }, ["a", "ab", "abc"]],
    ["before, all", { interruptBefore: "*" }, ["", "a", "ab", "abc"]],
    ["after, by name", { interruptAfter: ["a"] }, ["a", "abc"]],
    ["after, all", { interruptAfter: "*" }, ["a", "ab", "abc"]],
    ["before and after", { interruptBefore: ["c"], interruptAfter: ["a"] }, ["a", "ab", "abc"]],
  ] as const)("%s: compiled in, and given with the run", async (_what, options, expected) => {
    expect(await stops(make(options as object))).toEqual(expected);
    expect(await stops(make(), options)).toEqual(expected);
  });

  it("before, by a predicate of state and what is next", async () => {
    const asked: unknown[] = [];
    const graph = make({
      interruptBeforeWhen: (state: { n: number }, next: readonly string[]) => {
        asked.push([state.n, ...next]);
        return state.n === 1;
      },
    });
    expect(await stops(graph)).toEqual(["a", "abc"]);
    expect(asked).toEqual([
      [0, "a"],
      [1, "b"],
      [2, "c"],
    ]);
  });

  it("after, by a predicate of state and what ran", async () => {
    const graph = make({ interruptAfterWhen: (state: { n: number }, ran) => state.n === 2 && ran[0] === "b" });
    expect(await stops(graph)).toEqual(["ab", "abc"]);
  });

  it("a state that was changed while the graph stood still is what it goes on with", async () => {
    const graph = make({ interruptBefore: ["b"] });
    await graph.invoke({ n: 0 }, thread);
    await graph.updateState(thread, { n: 40 }, "a");
    expect(await graph.invoke(null, thread)).toMatchObject({ n: 42 });
  });

  it("a predicate that throws is an error that names the graph; a name that is not there is refused", async () => {
    const bad = make({
      name: "careful",
      interruptBeforeWhen: () => {
        throw new Error("oops");
      },
    });
    await expect(bad.invoke({ n: 0 }, thread)).rejects.toThrow(/graph "careful".*predicate.*oops/);
    const late = make({ name: "careful", interruptBeforeWhen: (async () => Promise.reject("no")) as never });
    await expect(late.invoke({ n: 0 }, { threadId: "late" })).rejects.toThrow(/graph "careful".*predicate.*at once/);
    expect(() => make({ interruptBefore: ["nowhere"] })).toThrow("nowhere");
    await expect(make().invoke({ n: 0 }, { ...thread, interruptAfter: ["nowhere"] })).rejects.toThrow("nowhere");
  });
});
