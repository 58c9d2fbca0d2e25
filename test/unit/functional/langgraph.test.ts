/** The same functions in LangGraph.js and here: what callers and followers see is the same. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { install } from "../../../adapters/node/mod.ts";
import * as ours from "../../../src/mod.ts";
import { root } from "../../support/imports.ts";

type Library = Pick<
  typeof ours,
  | "entrypoint"
  | "task"
  | "getPreviousState"
  | "interrupt"
  | "Command"
  | "StateGraph"
  | "Annotation"
  | "START"
  | "isInterrupted"
> & { readonly MemorySaver: new () => ours.MemorySaver };

let theirs: Library;

beforeAll(async () => {
  install();
  const folder = join(root, "tools", "langgraph", "node_modules", "@langchain", "langgraph");
  if (!existsSync(folder)) throw new Error("LangGraph.js is not there to compare with: run npm run tools");
  theirs = (await import(pathToFileURL(join(folder, "dist", "index.js")).href)) as Library;
});

const at = { configurable: { thread_id: "t" } };

async function collect(stream: AsyncIterable<unknown> | Promise<AsyncIterable<unknown>>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const item of await stream) all.push(item);
  return all;
}

/** Ids of interrupts are each library's own. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value ?? null, (key, part: unknown) => (key === "id" ? "id" : part)));
}

async function alike(program: (library: Library) => Promise<unknown>): Promise<unknown> {
  const expected = plain(await program(theirs));
  expect(plain(await program(ours as unknown as Library))).toEqual(expected);
  return expected;
}

function review({ entrypoint, task, interrupt, MemorySaver }: Library, runs: string[]) {
  const write = task("write", async (topic: string) => {
    runs.push(`write ${topic}`);
    return `about ${topic}`;
  });
  const rate = task("rate", async (topic: string) => {
    runs.push(`rate ${topic}`);
    return { stars: topic.length };
  });
  return entrypoint({ name: "review", checkpointer: new MemorySaver() }, async (topic: string) => {
    const [essay, { stars }] = await Promise.all([write(topic), rate(topic)]);
    const verdict = interrupt<string>({ essay });
    return { essay, stars, verdict };
  });
}

describe("as in LangGraph.js", () => {
  test("updates of tasks, of a run that waits, and of the run that goes on", async () => {
    const seen = await alike(async (library) => {
      const runs: string[] = [];
      const graph = review(library, runs);
      const first = await collect(graph.stream("cats", at));
      const second = await collect(graph.stream(new library.Command({ resume: "fine" }), at));
      return { first, second, runs };
    });
    expect(seen).toMatchObject({ runs: ["write cats", "rate cats"], second: [{}, {}, { review: { stars: 4 } }] });
  });

  test("results of invoke, states and history", async () => {
    await alike(async (library) => {
      const graph = review(library, []);
      const waits = await graph.invoke("cats", at);
      const before = await graph.getState(at);
      const end = await graph.invoke(new library.Command({ resume: "fine" }), at);
      const after = await graph.getState(at);
      const again = await graph.invoke("dogs", at);
      const history = (await collect(graph.getStateHistory(at))) as { values: unknown; next: unknown }[];
      return [
        [waits, library.isInterrupted(waits), before?.values, before?.next, end, after?.values, after?.next, again],
        history.map(({ values, next }) => [values, next]),
      ];
    });
  });

  test("what is saved: the result, or what final says, or what updateState says", async () => {
    const seen = await alike(async ({ entrypoint, getPreviousState, MemorySaver }) => {
      const sum = entrypoint({ name: "sum", checkpointer: new MemorySaver() }, async (n: number) => {
        const previous = getPreviousState<number>() ?? 0;
        return entrypoint.final({ value: previous, save: previous + n });
      });
      const results: unknown[] = [];
      for (const n of [3, 4]) results.push(await sum.invoke(n, at));
      results.push((await sum.getState(at))?.values);
      await sum.updateState(at, 42);
      results.push((await sum.getState(at))?.values, await sum.invoke(1, at));
      await sum.updateState(at, entrypoint.final({ value: 1, save: 77 }));
      results.push(await sum.invoke(5, at), await sum.invoke(0, { configurable: { thread_id: "u" } }));
      return results;
    });
    expect(seen).toEqual([0, 3, 3, 42, 42, 77, 0]);
  });

  test("tasks and entrypoints in nodes, and entrypoints as nodes", async () => {
    await alike(async ({ entrypoint, task, StateGraph, Annotation, START, MemorySaver }) => {
      const State = Annotation.Root({ n: Annotation<number>() });
      const double = task("double", async (n: number) => n * 2);
      const inner = entrypoint("inner", async (n: number) => n + 1);
      const whole = entrypoint("whole", async ({ n }: { n: number }) => ({ n: n * 10 }));
      const graph = new StateGraph(State)
        .addNode("a", async ({ n }) => ({ n: (await double(n)) + (await inner.invoke(n)) }))
        .addNode("b", whole)
        .addEdge(START, "a")
        .addEdge("a", "b")
        .compile({ checkpointer: new MemorySaver() });
      return await collect(graph.stream({ n: 1 }, { ...at, streamMode: "updates" }));
    });
  });

  test("values, and that generators are refused", async () => {
    await alike(async (library) => {
      const streamed = await collect(review(library, []).stream("cats", { ...at, streamMode: "values" }));
      let refused = "";
      try {
        library.task("g", async function* () {} as never);
      } catch (thrown) {
        refused = (thrown as Error).message.includes("enerator") ? "refused" : "";
      }
      return [streamed, refused];
    });
  });
});
