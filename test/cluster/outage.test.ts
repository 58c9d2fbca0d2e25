/** The store goes away for some seconds, for everybody at once (PROTOCOL.md P5, P7, P14). */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { until } from "../support/wait.ts";
import { clean } from "./checker.ts";
import { Cluster, readyz, type StoreKind } from "./cluster.ts";
import { startRelay } from "./load.ts";
import { RestartableServer } from "./postgres-server.ts";

/** Longer than a lease (4,500); in the long form also than a SQLite write waits for the lock (10,000). */
const outageMs = process.env.AGENTMATIC_TEST_LONG === "1" ? 15_000 : 5_000;
const input = { rounds: 20, width: 3, ms: 40 };
const runs = 12;

/** Takes the store away in the middle of runs, a worker too while it is away, brings it back, and expects every run to end well. */
async function survives(cluster: Cluster, outage: (strike: () => Promise<unknown>) => Promise<void>): Promise<void> {
  const workers = await cluster.startWorkers(2);
  const coordinator = cluster.coordinator(workers.map(({ address }) => address));
  await cluster.ready(coordinator, 2);
  const ends = await Promise.all(
    Array.from({ length: runs }, (_, n) => startRelay(cluster, coordinator, `r${n}`, input)),
  );
  await until(() => cluster.latest().length === runs, { what: "all runs to be at work" });
  const [victim] = workers.splice(0, 1);
  await outage(() => victim!.child.kill());
  const back = startRelay(cluster, coordinator, "after", { rounds: 1, width: 1, ms: 10 });
  await Promise.all([...ends, await back].map(({ end }) => end));
  expect(await cluster.verdict()).toMatchObject({ ...clean(runs + 1), staleStarts: 0 });
  for (const runId of cluster.accepted) {
    const { state } = (await cluster.saver.getRun(runId))!;
    // An outage by itself takes a run from nobody.
    const others = state.history.filter(({ worker }) => worker !== "" && worker !== victim!.id);
    expect(others, `${runId}: hand-offs from a worker that lives`).toEqual([]);
    expect(state.attempt, runId).toBeLessThanOrEqual(2);
  }
  await until(async () => (await Promise.all(workers.map(readyz))).every((status) => status === 200), {
    what: "the other worker to be ready again",
  });
  const attempts = await Promise.all(
    cluster.accepted.map(async (id) => (await cluster.saver.getRun(id))!.state.attempt),
  );
  console.info(`${cluster.kind}: ${outageMs} ms without the store; attempts of the runs: ${attempts.join(" ")}`);
}

describe.concurrent("outages", () => {
  test("sqlite: another process holds the write lock", async () => {
    await using cluster = await Cluster.open("sqlite");
    await survives(cluster, async (strike) => {
      const holder = await cluster.spawn([
        join(import.meta.dirname, "sqlite-holder.ts"),
        cluster.path,
        String(outageMs),
      ]);
      await holder.line(/^held$/);
      await strike();
      expect(await holder.exited).toEqual({ code: 0, signal: null });
    });
  });

  test("postgres: the server crashes and is started again", async () => {
    await using server = await RestartableServer.start();
    await using cluster = await Cluster.open("postgres" satisfies StoreKind, { url: server.url });
    await survives(cluster, async (strike) => {
      await server.crash();
      await strike();
      // The outage's own length: there is nothing to wait for while nothing can happen.
      await sleep(outageMs);
      for (const worker of cluster.workers.filter(({ child }) => !child.ending)) {
        await until(async () => (await readyz(worker)) === 503, { what: "a worker without its store to be not ready" });
      }
      await server.up();
    });
  });
});
