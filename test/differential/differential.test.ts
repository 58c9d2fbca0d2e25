// The same random graph in LangGraph.js and here, with the same things done to it: what a user sees must be the same, or
// differ for one of the reasons in differences.ts, none of which may come up more often than it says.
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { givenSeed } from "../support/seed.ts";
import type { Library } from "./build.ts";
import { type Comparison, compare } from "./compare.ts";
import { caseArb } from "./description.ts";
import { differences } from "./differences.ts";
import { agentmatic, langgraph } from "./libraries.ts";

const isLong = process.env.AGENTMATIC_TEST_LONG === "1";
const graphs = isLong ? 20_000 : 2_000;
/** The same graphs each time, so that a change is to blame for what fails; long runs take others. */
const usualSeed = 3;

let theirs: Library;

beforeAll(async () => {
  theirs = await langgraph();
});

test("there are ten reasons at most, each with a name and a bound of its own", () => {
  expect(differences.length).toBeLessThanOrEqual(10);
  expect(new Set(differences.map(({ id }) => id)).size).toBe(differences.length);
  // What is more common than that must be a matter of how a state is shown, so that the rest is compared all the same.
  for (const { id, share, parts } of differences) expect(share, id).toBeLessThanOrEqual(parts ? 0.2 : 0.4);
});

test(`${graphs} random graphs do the same in LangGraph.js and here`, {
  timeout: isLong ? 3_000_000 : 400_000,
}, async () => {
  const seed = givenSeed() ?? (isLong ? Math.floor(Math.random() * 2 ** 31) : usualSeed);
  const counts = new Map(differences.map(({ id }) => [id, 0]));
  let compared = 0;
  let actions = 0;
  let alike = 0;
  const property = fc.asyncProperty(caseArb, async (given) => {
    const result = await compare(theirs, agentmatic, given);
    compared++;
    actions += result.actions;
    if (result.found.length === 0) alike++;
    for (const { id } of result.found) counts.set(id, counts.get(id)! + 1);
    expect(parted(result)).toBeUndefined();
  });
  await fc.assert(property, {
    numRuns: graphs,
    seed,
    interruptAfterTimeLimit: isLong ? 2_900_000 : 380_000,
    markInterruptAsFailure: true,
  });
  const lines = differences.map(({ id }) => `  ${id}: ${counts.get(id)} (${percent(counts.get(id)! / compared)})`);
  console.log(
    [
      `${compared} graphs, ${actions} actions, seed ${seed}: ${alike} without any difference (${percent(alike / compared)})`,
      ...lines,
    ].join("\n"),
  );
  for (const { id, share } of differences) expect(counts.get(id)! / compared, id).toBeLessThanOrEqual(share);
});

/** What a failing case is told with. */
function parted({ unknown }: Comparison): unknown {
  if (!unknown) return undefined;
  const { theirs: there, ours, history } = unknown;
  const keys = Object.keys(ours) as (keyof typeof ours)[];
  const differing = keys.filter((key) => JSON.stringify(there[key]) !== JSON.stringify(ours[key]));
  return {
    history,
    differing: Object.fromEntries(differing.map((key) => [key, { theirs: there[key], ours: ours[key] }])),
  };
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
