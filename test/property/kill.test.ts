// Any prefix of a run, killed and gone on with, comes to what the run comes to when it is left alone.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Durability } from "../../src/mod.ts";
import { checkCrashes, type Question, virtualPorts } from "../../src/testing/mod.ts";
import { replayable } from "../support/seed.ts";
import { build, type GraphDescription, graphArb } from "./graphs.ts";
import { World } from "./world.ts";

const isLong = process.env.AGENTMATIC_TEST_LONG === "1";

/** Answers each question by its own words, several at once by id. */
function answer(questions: readonly Question[]): unknown {
  const all = questions.map(({ id, value }) => [id, `<${String(value)}>`] as const);
  return all.length === 1 ? all[0]![1] : Object.fromEntries(all);
}

async function check(description: GraphDescription, durability: Durability) {
  const world = new World();
  const report = await checkCrashes({
    // Each process has a graph of its own.
    graph: () => build(description, world),
    input: { log: ["in"] },
    answers: answer,
    durability,
    ports: () => virtualPorts({ seed: 1 }),
    store: () => world.store(),
    reset: () => world.clear(),
    effects: () => world.effects(durability === "sync"),
  });
  // Of the last kill, and so of all: they are compared with each other.
  expect(world.effects(durability === "sync")).toMatchObject({ unsteady: [], ranAgain: [] });
  if (durability === "sync") expect(world.notStored).toEqual([]);
  return report;
}

// Failing graphs count as well: they must fail the same way.
test.each<[Durability, number]>([
  ["sync", isLong ? 6_000 : 300],
  ["async", isLong ? 3_000 : 150],
  ["exit", isLong ? 3_000 : 150],
])(
  "%s: %i random graphs, killed before and after every write",
  { timeout: isLong ? 3_000_000 : 300_000 },
  async (durability, graphs) => {
    await replayable(async (_random, seed) => {
      const total = { graphs: 0, tasks: 0, writes: 0, kills: 0, begunAgain: 0 };
      const statuses: Record<string, number> = {};
      const property = fc.asyncProperty(graphArb(1), async (description) => {
        const report = await check(description, durability);
        total.graphs++;
        total.kills += report.cuts;
        for (const key of ["tasks", "writes", "begunAgain"] as const) total[key] += report[key];
        statuses[report.status] = (statuses[report.status] ?? 0) + 1;
      });
      await fc.assert(property, { numRuns: graphs, seed });
      console.log(`${durability}, seed ${seed}: ${JSON.stringify({ ...total, ...statuses })}`);
      expect(statuses.succeeded ?? 0).toBeGreaterThan(graphs / 3);
      expect(total.kills).toBe(total.writes * 2);
      expect(total.begunAgain).toBeGreaterThan(graphs);
    });
  },
);
