/** Entrypoints on workers, over the wire's messages: values of any kind, tasks' events, questions, a broken link. */
import { expect, test } from "vitest";
import { Command, entrypoint, isInterrupted, MemorySaver } from "../../../src/mod.ts";
import { Wired } from "../../features/streaming-wired.ts";

const runs: string[] = [];
let onTask = async () => {};

const review = (options: object) =>
  entrypoint({ name: "review", ...options }, async (topic: string, ctx) => {
    const essay = await ctx.task(
      "write",
      async (what: string) => {
        runs.push("write");
        await onTask();
        return `about ${what}`;
      },
      topic,
    );
    const verdict = ctx.interrupt<string>({ essay });
    return entrypoint.final({ value: [essay, verdict, ctx.previous], save: verdict });
  });

async function collect(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function cluster() {
  const wired = await Wired.start([review({ checkpointer: new MemorySaver() }).plan]);
  return { wired, graph: review({ checkpointer: wired.saver, cluster: { runner: () => wired.coordinator } }) };
}

test("runs, waits and remembers as here", async () => {
  const { wired, graph } = await cluster();
  await using _ = wired;
  runs.length = 0;
  const at = { threadId: "t" };
  expect(isInterrupted(await graph.invoke("cats", at))).toBe(true);
  expect(await graph.invoke(new Command({ resume: "good" }), { ...at, runId: "second" })).toEqual([
    "about cats",
    "good",
    undefined,
  ]);
  // Asked again, the end is made from the store.
  expect(await graph.invoke(new Command({ resume: "good" }), { ...at, runId: "second" })).toEqual([
    "about cats",
    "good",
    undefined,
  ]);
  expect((await graph.getState(at))?.values).toEqual(["about cats", "good", undefined]);
  expect(runs).toEqual(["write"]);
  await graph.invoke("dogs", at);
  expect(await graph.invoke(new Command({ resume: "bad" }), at)).toEqual(["about dogs", "bad", "good"]);
});

test("followers are told what tasks gave back, also where the link broke in the meantime", async () => {
  const { wired, graph } = await cluster();
  await using _ = wired;
  const at = { threadId: "t" };
  expect(await collect(graph.stream("cats", at))).toEqual([
    { write: "about cats" },
    { __interrupt__: [{ id: expect.any(String), value: { essay: "about cats" } }] },
  ]);
  const modes = ["updates", "values"] as const;
  expect(await collect(graph.stream(new Command({ resume: "good" }), { ...at, streamMode: modes }))).toEqual([
    ["updates", { write: "about cats", __metadata__: { cached: true } }],
    ["updates", { review: ["about cats", "good", undefined] }],
    ["values", ["about cats", "good", undefined]],
  ]);
  onTask = async () => wired.cut();
  const seen = (await collect(graph.stream("dogs", { threadId: "u" }))) as Record<string, unknown>[];
  onTask = async () => {};
  expect(seen.at(-1)).toMatchObject({ __interrupt__: [{ value: { essay: "about dogs" } }] });
});
