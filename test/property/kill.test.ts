// Any prefix of a run, killed and gone on with, comes to what the run comes to when it is left alone.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Durability } from "../../src/mod.ts";
import { checkCrashes, type Question, virtualPorts } from "../../src/testing/mod.ts";
import { givenSeed } from "../support/seed.ts";
import { build, graphArb } from "./graphs.ts";

const isLong = process.env.AGENTMATIC_TEST_LONG === "1";

/** Answers each question by its own words, several at once by id. */
function answer(questions: readonly Question[]): unknown {
  const all = questions.map(({ id, value }) => [id, `<${String(value)}>`] as const);
  return all.length === 1 ? all[0]![1] : Object.fromEntries(all);
}

// Failing graphs count as well: they must fail the same way.
test.each<[Durability, number]>([
  ["sync", isLong ? 5_000 : 300],
  ["async", isLong ? 2_500 : 150],
  ["exit", isLong ? 2_500 : 150],
])(
  "%s: %i random graphs, killed before and after every write",
  { timeout: isLong ? 1_500_000 : 300_000 },
  async (durability, graphs) => {
    const seed = givenSeed() ?? Math.floor(Math.random() * 2 ** 31);
    const total = { graphs: 0, tasks: 0, writes: 0, cuts: 0, begunAgain: 0 };
    const statuses = new Map<string, number>();
    const property = fc.asyncProperty(graphArb(1), async (description) => {
      const keys = new Set<string>();
      const report = await checkCrashes({
        // Each process has a graph of its own.
        graph: () => build(description, (key) => keys.add(key)),
        input: { log: ["in"] },
        answers: answer,
        durability,
        ports: () => virtualPorts({ seed: 1 }),
        reset: () => keys.clear(),
        // A task that runs again has the key that it had.
        effects: () => [...keys].sort(),
      });
      total.graphs++;
      for (const key of ["tasks", "writes", "cuts", "begunAgain"] as const) total[key] += report[key];
      statuses.set(report.status, (statuses.get(report.status) ?? 0) + 1);
    });
    await fc.assert(property, { numRuns: graphs, seed });
    console.log(`${durability}, seed ${seed}: ${JSON.stringify({ ...total, ...Object.fromEntries(statuses) })}`);
    expect(statuses.get("succeeded") ?? 0).toBeGreaterThan(graphs / 3);
    expect(total.cuts).toBeGreaterThanOrEqual(total.writes);
  },
);
