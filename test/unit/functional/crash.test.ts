/** Entrypoints that are killed at every write: what is finished is not done again, what comes out is the same. */
import { beforeAll, expect, test } from "vitest";
import { install } from "../../../adapters/node/mod.ts";
import { entrypoint, task } from "../../../src/mod.ts";
import { checkCrashes, virtualPorts } from "../../../src/testing/mod.ts";

beforeAll(() => install());

test.each(["sync", "async", "exit"] as const)(
  "tasks in a row, side by side, inside others, and between questions: %s",
  async (durability) => {
    const done = new Map<string, number>();
    const work = task("work", async (name: string) => {
      await Promise.resolve();
      done.set(name, (done.get(name) ?? 0) + 1);
      return name.toUpperCase();
    });
    const group = task("group", async (names: string[]) => await Promise.all(names.map((name) => work(name))));
    const nested = entrypoint(
      "nested",
      async (name: string, ctx) => `${await work(name)} ${ctx.interrupt<string>(name)}`,
    );
    const graph = entrypoint("story", async (first: string, ctx) => {
      const a = await work(first);
      const [b, c] = await Promise.all([work("b"), group(["c1", "c2", "c3"])]);
      const answer = ctx.interrupt<string>("go on?");
      const d = await work("d");
      const e = await ctx.task("call", async () => await nested.invoke("e"));
      return entrypoint.final({ value: [a, b, c, answer, d, e], save: ctx.previous });
    });
    const report = await checkCrashes({
      graph,
      input: "a",
      answers: ["yes", "sure"],
      durability,
      ports: () => virtualPorts(),
      reset: () => done.clear(),
    });
    expect(report.values).toEqual(["A", "B", ["C1", "C2", "C3"], "yes", "D", "E sure"]);
    if (durability === "sync") {
      // Two commits, a write for each of the nine calls, the questions, the graph inside.
      expect(report.writes).toBeGreaterThanOrEqual(14);
      expect(report.begunAgain).toBeGreaterThan(0);
    }
  },
);

test("an effect in a task is made again only where its process died before the result was stored", async () => {
  const charges: string[] = [];
  const charge = task("charge", async (amount: number) => {
    charges.push(`charge ${amount}`);
    return amount;
  });
  const graph = entrypoint("pay", async (amounts: number[]) => {
    let sum = 0;
    for (const amount of amounts) sum += await charge(amount);
    return sum;
  });
  const most: number[] = [];
  const report = await checkCrashes({
    graph,
    input: [1, 2, 3],
    reset: () => {
      most.push(charges.length);
      charges.length = 0;
    },
    effects: () => [...new Set(charges)],
  });
  expect(report).toMatchObject({ values: 6, writes: 5, cuts: 10, tasks: 4 });
  // Each charge once, but for the one that was under way.
  expect(Math.max(...most)).toBe(4);
});
