/** The store goes away for some seconds, for everybody at once (PROTOCOL.md P5, P7, P14). */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { until } from "../support/wait.ts";
import { clean } from "./checker.ts";
import { Cluster, readyz, type StoreKind } from "./cluster.ts";
import { startRelay } from "./load.ts";
import { RestartableServer } from "./postgres-server.ts";

/** Longer than a lease's credit (3,000) and than the lease itself (4,500). */
const outageMs = 5_000;
const input = { rounds: 20, width: 3, ms: 40 };
const runs = 12;

/** Takes the store away in the middle of runs, brings it back, and expects every one of them to end well. */
async function survives(cluster: Cluster, outage: () => Promise<void>): Promise<void> {
  const workers = await cluster.startWorkers(2);
  const coordinator = cluster.coordinator(workers.map(({ address }) => address));
  await cluster.ready(coordinator, 2);
  const ends = await Promise.all(
    Array.from({ length: runs }, (_, n) => startRelay(cluster, coordinator, `r${n}`, input)),
  );
  await until(() => cluster.latest().length === runs, { what: "all runs to be at work" });
  await outage();
  const back = startRelay(cluster, coordinator, "after", { rounds: 1, width: 1, ms: 10 });
  await Promise.all([...ends, await back].map(({ end }) => end));
  expect(await cluster.verdict()).toMatchObject({ ...clean(runs + 1), staleStarts: 0 });
  for (const runId of cluster.accepted) {
    const { state } = (await cluster.saver.getRun(runId))!;
    expect(state.poison, `${runId}: ${JSON.stringify(state.history)}`).toBe(0);
  }
  await until(async () => (await Promise.all(workers.map(readyz))).every((status) => status === 200), {
    what: "both workers to be ready again",
  });
  const attempts = await Promise.all(
    cluster.accepted.map(async (id) => (await cluster.saver.getRun(id))!.state.attempt),
  );
  console.info(`${cluster.kind}: ${outageMs} ms without the store; attempts of the runs: ${attempts.join(" ")}`);
}

describe.concurrent("outages", () => {
  test("sqlite: another process holds the write lock", async () => {
    await using cluster = await Cluster.open("sqlite");
    await survives(cluster, async () => {
      const holder = await cluster.spawn([
        join(import.meta.dirname, "sqlite-holder.ts"),
        cluster.path,
        String(outageMs),
      ]);
      await holder.line(/^held$/);
      expect(await holder.exited).toEqual({ code: 0, signal: null });
    });
  });

  test("postgres: the server crashes and is started again", async () => {
    await using server = await RestartableServer.start();
    await using cluster = await Cluster.open("postgres" satisfies StoreKind, { url: server.url });
    await survives(cluster, async () => {
      await server.crash();
      // The outage's own length: there is nothing to wait for while nothing can happen.
      await sleep(outageMs);
      for (const worker of cluster.workers) {
        await until(async () => (await readyz(worker)) === 503, { what: "a worker without its store to be not ready" });
      }
      await server.up();
    });
  });
});
