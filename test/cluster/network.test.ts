/** Links between coordinator and workers that break, stall and come back (PROTOCOL.md P3, P14, P16). */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Coordinator } from "../../adapters/cluster/mod.ts";
import { AgentmaticError, decodeValue } from "../../src/mod.ts";
import type { RunEvent } from "../../src/run/events.ts";
import { replayable } from "../support/seed.ts";
import { until } from "../support/wait.ts";
import { bind } from "./bind.ts";
import { clean } from "./checker.ts";
import { Cluster, storeKinds } from "./cluster.ts";
import { relay, relayResult } from "./graphs.ts";
import { expectResult, open } from "./load.ts";
import { Wire } from "./wire.ts";

const troubles = ["cut", "reset", "stall", "refuse"] as const;
/** Each trouble strikes so many times, and lasts up to this long: now shorter, now longer than the silence limit. */
const strikes = 24;
const troubleMsMax = 2_000;
const calmMsMax = 400;
const silentMs = 1_000;
const lanes = 8;
/** Longer than the silence limit: a run whose link stalls is not over when that is noticed. */
const input = { rounds: 16, width: 2, ms: 40 };

describe.concurrent("network", () => {
  test.each(storeKinds)("%s: no run is lost and no step committed twice over links that break at random", (kind) =>
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

      let over = false;
      const streams: Stream[] = [];
      const lane = async (index: number) => {
        for (let n = 0; !over; n++) {
          const stream = await follow(cluster, coordinator, `r${index}-${n}`);
          streams.push(stream);
          await stream.done;
        }
      };
      const all = Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)));
      all.catch(() => undefined);
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
      over = true;
      await all;
      await Promise.all(wires.map((wire) => wire.close()));

      const attempts = await Promise.all(cluster.accepted.map(async (id) => (await cluster.saver.getRun(id))!.state));
      const moved = attempts.filter(({ attempt }) => attempt > 1).length;
      console.info(`${kind}: ${JSON.stringify(struck)}; ${cluster.accepted.length} runs, ${moved} of them handed off`);
      expect(moved).toBeGreaterThan(0);
      expect(await cluster.verdict()).toMatchObject(clean(cluster.accepted.length));
      for (const stream of streams) expectEvents(stream);
    }),
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

interface Stream {
  readonly runId: string;
  readonly events: RunEvent[];
  readonly done: Promise<void>;
  /** Why the events ended before the run did. */
  broken?: AgentmaticError;
}

async function follow(cluster: Cluster, coordinator: Coordinator, runId: string): Promise<Stream> {
  const graph = bind(relay, coordinator, cluster.saver);
  const handle = await graph.start(input, { threadId: `t-${runId}`, runId }, ["values", "updates", "custom"]);
  cluster.accepted.push(runId);
  const events: RunEvent[] = [];
  const stream: Stream = { runId, events, done: read() };
  return stream;

  async function read(): Promise<void> {
    try {
      for await (const event of handle.events) events.push(event);
    } catch (thrown) {
      stream.broken = AgentmaticError.from(thrown);
    }
    expectResult(await handle.end, runId, input);
  }
}

/** Every state in its order, none left out, none twice, to the last one; or an error that says so. */
function expectEvents({ runId, events, broken }: Stream): void {
  const values = events.filter(({ kind }) => kind === "values");
  const seqs = values.map(({ seq }) => seq);
  // One commit for the input, three for each round.
  const all = Array.from({ length: 1 + 3 * input.rounds }, (_, n) => n + 1);
  expect(seqs, `${runId}: commits told of`).toEqual(broken ? all.slice(0, seqs.length) : all);
  if (!broken) expect(decodeValue(values.at(-1)!.data), runId).toMatchObject({ sum: relayResult(input).sum });
  const epochs = events.map(({ epoch }) => epoch);
  expect(epochs, `${runId}: epochs`).toEqual(epochs.toSorted((a, b) => a - b));
  const updates = events.filter(({ kind }) => kind === "updates").map(({ seq, node }) => `${seq} ${node}`);
  expect(updates.length - new Set(updates).size, `${runId}: ${updates}`).toBeLessThanOrEqual(
    input.rounds * (input.width - 1),
  );
}
