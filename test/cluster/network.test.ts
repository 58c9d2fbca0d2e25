/** Links between coordinator and workers that break, stall and come back (PROTOCOL.md P3, P14, P16). */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { replayable } from "../support/seed.ts";
import { until } from "../support/wait.ts";
import { clean } from "./checker.ts";
import { Cluster, storeKinds } from "./cluster.ts";
import { Load, open } from "./load.ts";
import { expectEvents, follow, type Stream } from "./stream.ts";
import { Wire } from "./wire.ts";

const troubles = ["cut", "reset", "stall", "refuse"] as const;
const long = process.env.AGENTMATIC_TEST_LONG === "1";
const strikes = long ? 200 : 24;
/** Now shorter, now longer than the silence limit. */
const troubleMsMax = 2_000;
const calmMsMax = 400;
const silentMs = 1_000;
const lanes = 8;
/** Longer than the silence limit: a run whose link stalls is not over when that is noticed. */
const input = { rounds: 16, width: 2, ms: 40 };

describe.concurrent("network", () => {
  test.each(storeKinds)(
    "%s: no run is lost and no step committed twice over links that break at random",
    (kind) =>
      replayable(async (random, seed) => {
        console.info(`${kind}: seed ${seed}`);
        await using cluster = await Cluster.open(kind);
        const workers = await cluster.startWorkers(2);
        const wires = await Promise.all(workers.map(({ address }) => Wire.open(address)));
        const coordinator = cluster.coordinator(
          wires.map(({ address }) => address),
          { silentMs },
        );
        await cluster.ready(coordinator, 2);

        const streams: Stream[] = [];
        const load = new Load(lanes, async (runId) => {
          const stream = await follow(cluster, coordinator, runId, input);
          streams.push(stream);
          await stream.done;
        });
        // One that is sure to last too long for a worker with runs; the others are up to chance.
        await until(() => open(cluster, workers[0]!.pid).size > 0, { what: "the first worker to be at work" });
        wires[0]!.stall(true);
        await sleep(1.5 * silentMs);
        wires[0]!.stall(false);
        const struck: Record<string, number> = {};
        await Promise.all(
          wires.map(async (wire) => {
            for (let n = 0; n < strikes / wires.length; n++) {
              const trouble = troubles[Math.floor(random() * troubles.length)]!;
              struck[trouble] = (struck[trouble] ?? 0) + 1;
              await strike(wire, trouble, random);
              await sleep(random() * calmMsMax);
            }
          }),
        );
        await load.stop();
        await Promise.all(wires.map((wire) => wire.close()));

        const attempts = await Promise.all(cluster.accepted.map(async (id) => (await cluster.saver.getRun(id))!.state));
        const moved = attempts.filter(({ attempt }) => attempt > 1).length;
        console.info(
          `${kind}: ${JSON.stringify(struck)}; ${cluster.accepted.length} runs, ${moved} of them handed off`,
        );
        expect(moved).toBeGreaterThan(0);
        expect(await cluster.verdict()).toMatchObject(clean(cluster.accepted.length));
        for (const stream of streams) expectEvents(stream, input);
      }),
    long ? 900_000 : 120_000,
  );
});

async function strike(wire: Wire, trouble: (typeof troubles)[number], random: () => number): Promise<void> {
  const lastsMs = random() * troubleMsMax;
  if (trouble === "cut" || trouble === "reset") {
    wire[trouble]();
    return;
  }
  wire[trouble](true);
  await sleep(lastsMs);
  wire[trouble](false);
}
