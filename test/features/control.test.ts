/** Control: what runs next, how often, with what input, and how many at once. */
import { describe, expect, it } from "vitest";
import { Annotation, Command, END, MemorySaver, Send, START, StateGraph } from "../../src/mod.ts";
import { until } from "../support/wait.ts";
import { list, thread, ways } from "./stage.ts";

describe.each(ways)("$way", ({ kept }) => {
  const log = (name: string) => () => ({ log: [name] });

  it.each([
    ["a name", () => "left", undefined, ["left"]],
    ["a key of a map", (s: { n: number }) => s.n > 1, { true: "left", false: "right" }, ["left"]],
    ["several names", () => ["left", "right"], ["left", "right"], ["left", "right"]],
    ["END", () => END, ["left", "right", END], []],
  ])("conditional edges: the answer is %s", async (_form, path, targets, expected) => {
    const graph = new StateGraph({ n: Annotation<number>(), log: list() })
      .addNode({ decide: () => undefined, left: log("left"), right: log("right") })
      .addEdge(START, "decide")
      .addConditionalEdges("decide", path as () => string, targets as string[])
      .addConditionalEdges("decide", () => END, ["left", "right", END])
      .compile(kept());
    expect((await graph.invoke({ n: 2 }, thread)).log).toEqual(expected);
  });

  it("conditional edges: from START, asynchronous, seeing what their node wrote", async () => {
    const graph = new StateGraph({ n: Annotation<number>(), log: list() })
      .addNode("add", ({ n }) => ({ n: n + 1 }))
      .addNode("done", log("done"))
      .addConditionalEdges(START, async ({ n }) => (n < 3 ? "add" : "done"), ["add", "done"])
      .addConditionalEdges("add", ({ n }) => (n < 3 ? "add" : "done"), ["add", "done"])
      .compile(kept());
    expect(await graph.invoke({ n: 0 }, thread)).toEqual({ n: 3, log: ["done"] });
    expect(await graph.invoke({ n: 3, log: [] }, { threadId: "other" })).toEqual({ n: 3, log: ["done"] });
  });

  it("Send: each call has an input of its own, and writes come in the order of the calls", async () => {
    const quick = Promise.withResolvers<void>();
    const graph = new StateGraph({ log: list() })
      .addNode<{ word: string; waits: boolean }>("work", async ({ word, waits }) => {
        if (waits) await quick.promise;
        else quick.resolve();
        return { log: [word] };
      })
      .addConditionalEdges(
        START,
        () => [new Send("work", { word: "slow", waits: true }), new Send("work", { word: "quick", waits: false })],
        ["work"],
      )
      .compile(kept());
    expect((await graph.invoke({ log: ["in"] }, thread)).log).toEqual(["in", "slow", "quick"]);
  });

  it("a join waits for all of its sources, however many supersteps apart, and fires once a round", async () => {
    const graph = new StateGraph({
      log: list(),
      rounds: Annotation<number>({ reducer: (a, b) => a + b, default: () => 0 }),
    })
      .addNode({ split: log("split"), short: log("short"), long1: log("long1"), long2: log("long2") })
      .addNode("join", () => ({ log: ["join"], rounds: 1 }))
      .addEdge(START, "split")
      .addEdge("split", "short")
      .addEdge("split", "long1")
      .addEdge("long1", "long2")
      .addEdge(["short", "long2"], "join")
      .addConditionalEdges("join", ({ rounds }) => (rounds < 2 ? "split" : END), ["split", END])
      .compile(kept());
    const round = ["split", "long1", "short", "long2", "join"];
    expect((await graph.invoke({}, thread)).log).toEqual([...round, ...round]);
  });

  it("Command: goto to a name, to several, and to single calls; update goes along", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode("go", () => new Command({ update: { log: ["go"] }, goto: ["left", new Send("item", "x")] }), {
        ends: ["left", "item"],
      })
      .addNode("left", log("left"))
      .addNode<string>("item", (item) => new Command({ update: { log: [item] }, goto: "last" }), { ends: ["last"] })
      .addNode("last", log("last"))
      .addEdge(START, "go")
      .compile(kept());
    expect((await graph.invoke({}, thread)).log).toEqual(["go", "left", "x", "last"]);
  });

  it("Command: goto runs besides the node's own edges, and END adds nothing", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode("go", () => new Command({ goto: ["more", END] }), { ends: ["more"] })
      .addNode({ edge: log("edge"), more: log("more") })
      .addEdge(START, "go")
      .addEdge("go", "edge")
      .compile(kept());
    expect((await graph.invoke({}, thread)).log).toEqual(["edge", "more"]);
  });

  it("Command.PARENT: a subgraph's node updates the graph around it and says where that goes", async () => {
    const inner = new StateGraph({ log: list() })
      .addNode("leave", () => new Command({ graph: Command.PARENT, update: { log: ["from inside"] }, goto: "target" }))
      .addNode("never", log("never"))
      .addEdge(START, "leave")
      .addEdge("leave", "never")
      .compile();
    const graph = new StateGraph({ log: list() })
      .addNode("inner", inner, { ends: ["target"] })
      .addNode("target", log("target"))
      .addEdge(START, "inner")
      .compile(kept());
    expect((await graph.invoke({}, thread)).log).toEqual(["from inside", "target"]);
  });

  it("Command.PARENT: in a graph that nothing is around, an error that says so", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode("leave", () => new Command({ graph: Command.PARENT, goto: "x" }))
      .addEdge(START, "leave")
      .compile({ name: "root", ...kept() });
    await expect(graph.invoke({}, thread)).rejects.toThrow(/graph "root".*Command\.PARENT.*no graph around/);
  });

  it("addSequence: nodes in a row, with options of their own", async () => {
    const graph = new StateGraph({ log: list() })
      .addSequence([
        ["one", log("one")],
        ["two", log("two"), { metadata: { about: "the second" } }],
        ["three", log("three")],
      ])
      .addEdge(START, "one")
      .compile(kept());
    expect((await graph.invoke({}, thread)).log).toEqual(["one", "two", "three"]);
  });

  it("a deferred node waits until nothing else is due, and runs once", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode({ short: log("short"), long1: log("long1"), long2: log("long2") })
      .addNode("sum", ({ log: seen }) => ({ log: [`sum of ${seen.length}`] }), { defer: true })
      .addEdge(START, "short")
      .addEdge(START, "long1")
      .addEdge("long1", "long2")
      .addEdge("short", "sum")
      .addEdge("long2", "sum")
      .compile(kept());
    expect((await graph.invoke({}, thread)).log).toEqual(["long1", "short", "long2", "sum of 3"]);
  });

  it.each([{ maxSteps: 5 }, { recursionLimit: 5 }])("the step limit names graph and nodes: %o", async (limit) => {
    let steps = 0;
    const graph = new StateGraph({ log: list() })
      .addNode("spin", () => {
        steps++;
      })
      .addConditionalEdges("spin", () => "spin", ["spin"])
      .addEdge(START, "spin")
      .compile({ name: "loop", ...kept() });
    await expect(graph.invoke({}, { ...thread, ...limit })).rejects.toMatchObject({
      code: "StepLimit",
      message: expect.stringMatching(/graph "loop".*5.*"?spin/),
    });
    expect(steps).toBe(5);
  });

  it.each(["compiled", "given"])(
    "maxConcurrency, %s: so many at a time and never more, and all of them run",
    async (how) => {
      let now = 0;
      let most = 0;
      const graph = new StateGraph({ log: list() })
        .addNode<number>("work", async (n) => {
          now++;
          most = Math.max(most, now);
          // Later ones are quicker: a lane that is free takes the next call at once.
          for (let turn = 0; turn < 12 - n; turn++) await new Promise((resolve) => setImmediate(resolve));
          now--;
          return { log: [String(n)] };
        })
        .addConditionalEdges(START, () => Array.from({ length: 12 }, (_, n) => new Send("work", n)), ["work"])
        .compile({ ...(how === "compiled" ? { maxConcurrency: 3 } : {}), ...kept() });
      const config = how === "given" ? { ...thread, maxConcurrency: 3 } : thread;
      const end = await graph.invoke({}, config);
      expect(most).toBe(3);
      expect(end.log).toEqual(Array.from({ length: 12 }, (_, n) => String(n)));
    },
  );

  it("without maxConcurrency all of a superstep run at once", async () => {
    let here = 0;
    const graph = new StateGraph({ log: list() })
      .addNode<number>("work", async () => {
        here++;
        await until(() => here === 50, { what: "all calls are at work" });
      })
      .addConditionalEdges(START, () => Array.from({ length: 50 }, (_, n) => new Send("work", n)), ["work"])
      .compile(kept());
    await graph.invoke({}, thread);
    expect(here).toBe(50);
  });

  it("the fan-out limit: a superstep of more tasks is an error that names graph and both numbers", async () => {
    let ran = 0;
    const graph = new StateGraph({ log: list() })
      .addNode<number>("work", () => {
        ran++;
      })
      .addConditionalEdges(START, () => Array.from({ length: 11 }, (_, n) => new Send("work", n)), ["work"])
      .compile({ name: "wide", fanOutMax: 10, ...kept() });
    await expect(graph.invoke({}, thread)).rejects.toMatchObject({
      code: "ResourceExhausted",
      message: expect.stringMatching(/graph "wide".*11.*10/),
    });
    expect(ran).toBe(0);
  });
});

it("Command from a caller: update and goto beside an answer, on a thread that waits", async () => {
  const graph = new StateGraph({ log: list() })
    .addNode("ask", (_state, ctx) => ({ log: [`answer ${ctx.interrupt("?")}`] }))
    .addNode("also", () => ({ log: ["also"] }))
    .addConditionalEdges("ask", () => END, ["also", END])
    .addEdge(START, "ask")
    .compile({ checkpointer: new MemorySaver() });
  await graph.invoke({}, thread);
  const end = await graph.invoke(new Command({ resume: "yes", update: { log: ["by hand"] }, goto: "also" }), thread);
  expect(end.log).toEqual(["by hand", "also", "answer yes"]);
});

it("the step limit counts what a run took before it was resumed in the middle", async () => {
  const graph = new StateGraph({ log: list() })
    .addNode("spin", ({ log: seen }, ctx) => {
      if (seen.length === 2) ctx.interrupt("go on?");
      return { log: ["spin"] };
    })
    .addConditionalEdges("spin", ({ log: seen }) => (seen.length < 6 ? "spin" : END), ["spin", END])
    .addEdge(START, "spin")
    .compile({ checkpointer: new MemorySaver() });
  await graph.invoke({}, { ...thread, maxSteps: 4 });
  // Each run has its own count: four more supersteps bring it to its end.
  expect((await graph.invoke(new Command({ resume: "yes" }), { ...thread, maxSteps: 4 })).log).toHaveLength(6);
});
