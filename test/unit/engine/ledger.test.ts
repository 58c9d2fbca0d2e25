import { expect, test } from "vitest";
import { Annotation, END, MemorySaver, START, StateGraph } from "../../../src/mod.ts";
import { replayable } from "../../support/seed.ts";

interface Item {
  id: number;
  text: string;
}

const long = "x".repeat(40);

type Change = (list: Item[], random: () => number) => Item[];

/** What nodes and reducers do to a list, in place as well: both are to be found in what is stored. */
const changes: Record<string, Change> = {
  append: (list, random) => [...list, { id: Math.floor(random() * 1e9), text: long }],
  push: (list, random) => {
    list.push({ id: Math.floor(random() * 1e9), text: long });
    return list;
  },
  drop: (list, random) => list.filter((_item, index) => index !== Math.floor(random() * list.length)),
  shorten: (list) => list.slice(Math.floor(list.length / 2)),
  replace: (list, random) => list.map((item) => (random() < 0.1 ? { ...item, text: `${item.text}!` } : item)),
  swap: (list) => (list.length > 1 ? [list.at(-1)!, ...list.slice(1, -1), list[0]!] : list),
  splice: (list, random) => {
    list.splice(Math.floor(random() * list.length), 1, { id: 1, text: "in place" }, { id: 2, text: "in place" });
    return list;
  },
};
const names = Object.keys(changes);

async function compareWithStore(steps: number, random: () => number): Promise<void> {
  const seen: unknown[] = [];
  const graph = new StateGraph({
    n: Annotation<number>,
    list: Annotation<Item[], { change: string }>({
      reducer: (list, { change }) => changes[change]!(list, random),
      default: () => Array.from({ length: 80 }, (_, id) => ({ id, text: long })),
    }),
    whole: Annotation<Item[]>,
    byId: Annotation<Item[], Item | Item[]>({
      reducer: (list, update) => {
        const next = [...list];
        for (const item of [update].flat()) {
          const at = next.findIndex(({ id }) => id === item.id);
          if (at < 0) next.push(item);
          else next[at] = item;
        }
        return next;
      },
      default: () => Array.from({ length: 80 }, (_, id) => ({ id, text: long })),
    }),
  })
    .addNode("change", (state) => {
      seen.push(structuredClone(state));
      const { whole, byId, n } = state;
      // A node that changes what it was given, and hands it in again.
      const some = byId[Math.floor(random() * byId.length)]!;
      some.text = `${n} ${random()}`;
      whole[Math.floor(random() * whole.length)]!.text = `${random()}`;
      const change = names[Math.floor(random() * names.length)]!;
      return { n: n + 1, list: { change }, whole, byId: random() < 0.5 ? some : [some, { id: 1_000 + n, text: long }] };
    })
    .addEdge(START, "change")
    .addConditionalEdges("change", ({ n }) => (n < steps ? "change" : END), ["change", END])
    .compile({ checkpointer: new MemorySaver(), maxSteps: steps + 5 });
  const whole = Array.from({ length: 80 }, (_, id) => ({ id, text: long }));
  const result = await graph.invoke({ n: 0, whole }, { threadId: "t" });
  const stored: unknown[] = [];
  for await (const { values } of graph.getStateHistory({ threadId: "t" })) stored.unshift(values);
  expect(stored).toHaveLength(seen.length + 1);
  expect(stored.at(-1)).toEqual(result);
  seen.forEach((state, index) => {
    expect(stored[index], `state before superstep ${index}`).toEqual(state);
  });
}

test("what is stored of lists in pieces is what the nodes saw, however it was changed, in place as well", async () => {
  await replayable(async (random) => {
    for (let round = 0; round < 15; round++) await compareWithStore(1 + Math.floor(random() * 120), random);
  });
});

test("pieces are merged: five thousand appends are read by a bounded number of pieces", async () => {
  const saver = new MemorySaver();
  const list = Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
  const graph = new StateGraph({ list })
    .addNode("append", ({ list: { length } }) => ({ list: [`${length} ${long}`] }))
    .addEdge(START, "append")
    .addConditionalEdges("append", (state) => (state.list.length < 5_000 ? "append" : END), ["append", END])
    .compile({ checkpointer: saver, maxSteps: 6_000 });
  await graph.invoke({}, { threadId: "t" });
  const stored = await saver.get("t", "");
  expect((await graph.getState({ threadId: "t" }))?.values.list).toHaveLength(5_000);
  expect(stored?.checkpoint.pieces.list?.length).toBeLessThan(100);
});

test("channels may have the names of what every object has", async () => {
  const log = Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
  const names = ["constructor", "toString", "hasOwnProperty"];
  const graph = new StateGraph(Object.fromEntries(names.map((name) => [name, log])))
    .addNode("write", () => Object.fromEntries(names.map((name) => [name, [long]])))
    .addEdge(START, "write")
    .compile({ checkpointer: new MemorySaver() });
  const thread = { threadId: "t" };
  for (let runs = 1; runs <= 80; runs++) await graph.invoke({}, { ...thread, runId: `r${runs}` });
  const { values } = (await graph.getState(thread))!;
  for (const name of names) expect(values[name]).toEqual(Array(80).fill(long));
  expect(await graph.invoke({}, { ...thread, runId: "r80" })).toEqual(values);
});
