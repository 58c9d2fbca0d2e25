/** What the channels beside last value and reducer keep, for how long, and what they refuse. */
import { describe, expect, test } from "vitest";
import { Annotation, absent, type Channel, type ChannelSpec } from "../../../src/graph/channels.ts";
import { Overwrite } from "../../../src/graph/command.ts";
import { anyValue, barrier, ephemeral, topic, untracked } from "../../../src/graph/kinds.ts";
import { AgentmaticError, MemorySaver, START, StateGraph } from "../../../src/mod.ts";

type Update = Readonly<Record<string, unknown>>;

/** Runs nodes one after the other, each with its update, and tells what each of them saw and what the run ended with. */
async function line(spec: ChannelSpec, input: Update, ...updates: Update[]) {
  const seen: Update[] = [];
  const graph = new StateGraph<ChannelSpec>(spec);
  updates.forEach((update, index) => {
    graph.addNode(`n${index}`, (state) => {
      seen.push(state);
      return update;
    });
    graph.addEdge(index === 0 ? START : `n${index - 1}`, `n${index}`);
  });
  const end = await graph.compile().invoke(input);
  return { seen, end };
}

/** Two nodes that write in one superstep, and one after them. */
async function both(spec: ChannelSpec, a: Update, b: Update) {
  let seen: Update | undefined;
  const graph = new StateGraph<ChannelSpec>(spec)
    .addNode("a", () => a)
    .addNode("b", () => b)
    .addNode("after", (state) => {
      seen = state;
    })
    .addEdge(START, "a")
    .addEdge(START, "b")
    .addEdge(["a", "b"], "after")
    .compile();
  await graph.invoke({});
  return seen;
}

const log = Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });

describe("ephemeral", () => {
  test("is there for one superstep", async () => {
    const { seen, end } = await line({ x: ephemeral<number>(), log }, { x: 1 }, { x: 2 }, { log: ["a"] }, {});
    expect(seen).toEqual([{ x: 1, log: [] }, { x: 2, log: [] }, { log: ["a"] }]);
    expect(end).toEqual({ log: ["a"] });
  });

  test("has its default where nothing was written", async () => {
    const { seen, end } = await line({ x: ephemeral<number>({ default: () => 0 }), log }, {}, { x: 2 }, {}, {});
    expect(seen.map(({ x }) => x)).toEqual([0, 2, 0]);
    expect(end.x).toBe(0);
  });

  test("takes one write in a superstep, or with guard: false the last", async () => {
    await expect(both({ x: ephemeral<number>() }, { x: 1 }, { x: 2 })).rejects.toMatchObject({
      code: "InvalidGraph",
      message: expect.stringMatching(/graph "graph".*"x".*2 writes/),
    });
    expect(await both({ x: ephemeral<number>({ guard: false }) }, { x: 1 }, { x: 2 })).toEqual({ x: 2 });
  });
});

describe("anyValue", () => {
  test("takes several writers, the last by path counts, and forgets after a superstep", async () => {
    expect(await both({ x: anyValue<number>() }, { x: 1 }, { x: 2 })).toEqual({ x: 2 });
    const { seen } = await line({ x: anyValue<number>(), log }, { x: 1 }, {}, { log: [] });
    expect(seen.map(({ x }) => x)).toEqual([1, undefined]);
  });
});

describe("untracked", () => {
  test("keeps its value through the run", async () => {
    const { seen, end } = await line({ x: untracked<number>({ default: () => 7 }), log }, {}, {}, { x: 2 }, {}, {});
    expect(seen.map(({ x }) => x)).toEqual([7, 7, 2, 2]);
    expect(end.x).toBe(2);
  });

  test("is never stored: what cannot be stored may be in it, and another run has its default", async () => {
    const saver = new MemorySaver();
    const seen: unknown[] = [];
    const graph = new StateGraph({ socket: untracked<{ send(): void }>(), log })
      .addNode("open", () => ({ socket: { send() {} }, log: ["open"] }))
      .addNode("use", ({ socket }) => {
        seen.push(typeof socket?.send);
      })
      .addEdge(START, "open")
      .addEdge("open", "use")
      .compile({ checkpointer: saver });
    await graph.invoke({}, { threadId: "t" });
    const state = await graph.getState({ threadId: "t" });
    expect(seen).toEqual(["function"]);
    expect(state?.values).toEqual({ log: ["open"] });
  });

  test("takes one write in a superstep unless guard: false", async () => {
    await expect(both({ x: untracked<number>() }, { x: 1 }, { x: 2 })).rejects.toThrow(/2 writes/);
    expect(await both({ x: untracked<number>({ guard: false }) }, { x: 1 }, { x: 2 })).toEqual({ x: 2 });
  });
});

describe("topic", () => {
  test("holds what one superstep has written, single values and lists", async () => {
    expect(await both({ x: topic<number>() }, { x: 1 }, { x: [2, 3] })).toEqual({ x: [1, 2, 3] });
    const { seen, end } = await line({ x: topic<number>(), log }, { x: 1 }, { x: [2, 3] }, {}, { x: [] });
    expect(seen.map(({ x }) => x)).toEqual([[1], [2, 3], undefined]);
    expect(end).toEqual({ log: [] });
  });

  test("accumulates", async () => {
    const { seen } = await line({ x: topic<number>({ accumulate: true }), log }, { x: 1 }, { x: [2, 1] }, {}, {});
    expect(seen.map(({ x }) => x)).toEqual([[1], [1, 2, 1], [1, 2, 1]]);
  });

  test("keeps each value once", async () => {
    const spec = { x: topic<number>({ accumulate: true, unique: true }) };
    const { seen, end } = await line(spec, { x: [1, 1] }, { x: [2, 1] }, { x: 3 });
    expect(seen.map(({ x }) => x)).toEqual([[1], [1, 2]]);
    expect(end.x).toEqual([1, 2, 3]);
  });

  test("has its default where nothing was written", async () => {
    const { seen } = await line({ x: topic<number>({ default: () => [] }), log }, {}, { x: 1 }, {}, {});
    expect(seen.map(({ x }) => x)).toEqual([[], [1], []]);
  });
});

describe("barrier", () => {
  test("is complete once all names were written, whoever wrote them, and begins anew after that", async () => {
    const { seen } = await line(
      { done: barrier(["b", "a"]) },
      {},
      { done: "b" },
      {},
      { done: "a" },
      { done: "b" },
      {},
      { done: "a" },
      {},
      {},
    );
    expect(seen.map(({ done }) => done)).toEqual([
      undefined,
      ["b"],
      ["b"],
      ["a", "b"],
      ["b"],
      ["b"],
      ["a", "b"],
      undefined,
    ]);
  });

  test("takes two names in one superstep, and refuses others", async () => {
    const spec = { done: barrier(["a", "b"]) };
    expect(await both(spec, { done: "a" }, { done: "b" })).toEqual({ done: ["a", "b"] });
    await expect(both(spec, { done: "a" }, { done: "c" })).rejects.toThrow(/"done".*"c".*none of a, b/);
  });
});

describe("Overwrite", () => {
  const sum = () => Annotation<number>({ reducer: (a, b) => a + b, default: () => 10 });

  test.each([
    ["class", new Overwrite(1)],
    ["plain", { __overwrite__: 1 }],
  ])("as %s takes the place", async (_form, update) => {
    const { end } = await line({ n: sum() }, { n: 5 }, { n: update }, { n: 2 });
    expect(end).toEqual({ n: 3 });
  });

  test("is more than an object with more keys", async () => {
    const objects = Annotation<object[], object>({ reducer: (all, one) => [...all, one], default: () => [] });
    const { end } = await line({ all: objects }, {}, { all: { __overwrite__: 1, more: true } });
    expect(end).toEqual({ all: [{ __overwrite__: 1, more: true }] });
  });
});

describe("bad options name their field", () => {
  const cases: readonly [field: string, make: () => unknown][] = [
    ["Annotation.reducer", () => Annotation({} as never)],
    ["Annotation.reducer", () => Annotation(null as never)],
    ["Annotation.default", () => Annotation({ reducer: () => 1, default: 5 as never })],
    ["topic.unique", () => topic({ unique: "yes" as never })],
    ["topic.accumulate", () => topic({ accumulate: 1 as never })],
    ["topic.default", () => topic({ default: [] as never })],
    ["topic", () => topic(null as never)],
    ["ephemeral.guard", () => ephemeral({ guard: 0 as never })],
    ["untracked.guard", () => untracked({ guard: "x" as never })],
    ["anyValue.default", () => anyValue({ default: 1 as never })],
    ["barrier.names", () => barrier([])],
    ["barrier.names", () => barrier("ab" as never)],
    ["barrier.names", () => barrier([1] as never)],
  ];
  test.each(cases)("%s", (field, make) => {
    expect(make).toThrow(AgentmaticError);
    expect(make).toThrow(expect.objectContaining({ code: "InvalidArgument", details: { field } }));
  });
});

test("a default that throws names graph and channel", async () => {
  const failing = Annotation<number>({
    reducer: (a, b) => a + b,
    default: () => {
      throw new Error("no default today");
    },
  });
  await expect(line({ n: failing }, {}, {})).rejects.toMatchObject({
    code: "InvalidGraph",
    message: expect.stringMatching(/graph "graph".*"n".*no default today/),
  });
});

test("fold and rest do not change what they are given", () => {
  const frozen = Object.freeze([1, 2]) as readonly number[];
  const accumulating: Channel<readonly number[], number | readonly number[]> = topic<number>({ accumulate: true });
  expect(accumulating.fold!(frozen, [3])).toEqual([1, 2, 3]);
  expect(accumulating.fold!(absent, [])).toBe(absent);
  expect(barrier(["a"]).rest!(Object.freeze(["a"]) as readonly string[])).toBe(absent);
});
