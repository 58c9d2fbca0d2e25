// What is compared must do the same: each workload gives the same result in all libraries. Nothing is timed here.
import { beforeAll, describe, expect, it } from "vitest";
import { chainGraph, plainChain } from "../../../bench/engine/chain.ts";
import { type Mode, modes, runConfig } from "../../../bench/engine/libraries.ts";
import { mapGraph, plainMap } from "../../../bench/engine/map.ts";
import { agents } from "../../../bench/engine/react.ts";
import { measure } from "../../../bench/engine/rounds.ts";
import { plainSupervisor, supervisorGraph } from "../../../bench/engine/supervisor.ts";
import { table } from "../../../bench/engine/table.ts";

let all: Mode[];

beforeAll(async () => {
  all = await modes();
});

describe("the workloads of the engine's benchmarks", () => {
  it("chain", async () => {
    const results = await Promise.all(all.map((mode) => chainGraph(mode).invoke({ count: 0 }, runConfig(1))));
    expect(results).toEqual(all.map(() => ({ count: 10 })));
    expect(await plainChain()).toEqual({ count: 10 });
  });

  it("map", async () => {
    const results = await Promise.all(all.map((mode) => mapGraph(mode).invoke({ count: 20 }, runConfig(1))));
    expect(results.map(({ total }) => total)).toEqual(all.map(() => 2_470));
    expect(await plainMap(20)).toBe(2_470);
  });

  it("supervisor", async () => {
    const results = await Promise.all(all.map((mode) => supervisorGraph(mode).invoke({ topic: "rain" }, runConfig(1))));
    const plain = await plainSupervisor();
    expect(results.map(({ answer }) => answer)).toEqual(all.map(() => plain));
    expect(plain).toContain("law on rain");
  });

  it("ReAct agent", async () => {
    const answers = await Promise.all((await agents()).map(async ({ make }) => (await make())(1)));
    expect(answers).toEqual(Array.from({ length: 5 }, () => "It is 5."));
  });
});

describe("figures", () => {
  it("are medians of interleaved rounds, without those that come before the first that counts", async () => {
    const order: string[] = [];
    let next = 0;
    const contender = (name: string, samplesMax?: number) => ({
      name,
      ...(samplesMax === undefined ? {} : { samplesMax }),
      sample: async () => {
        order.push(name);
        return next++;
      },
    });
    const figures = await measure([contender("a"), contender("b", 1)], { rounds: 3, warmups: 1 });
    expect(order).toEqual(["a", "a", "b", "a", "a"]);
    expect(figures).toEqual([
      { name: "a", median: 3, min: 1, max: 4, samples: 3 },
      { name: "b", median: 2, min: 2, max: 2, samples: 1 },
    ]);
  });

  it("stand in a table with their ratios", () => {
    const of = (name: string, median: number) => ({ name, median, min: median, max: median, samples: 1 });
    const rows = table([of("plain calls", 2), of("agentmatic", 4), of("LangGraph.js", 400)], "ms").split("\n");
    expect(rows.at(3)).toBe("| agentmatic | 4.00 | 4.00 to 4.00 | 1 | 2.00 × | 100 × |");
  });
});
