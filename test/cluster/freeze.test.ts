/** Workers frozen with SIGSTOP and let go on later: the zombie (PROTOCOL.md P3, P5, P6, P10, P20). */
import { describe, expect, test } from "vitest";
import { lockHolders } from "../../adapters/sqlite/mod.ts";
import { until } from "../support/wait.ts";
import { clean, dump } from "./checker.ts";
import { Cluster, freeze, guard, metric, storeKinds, type WorkerProcess } from "./cluster.ts";
import type { RelayInput } from "./graphs.ts";
import { handoffs, open, spread, spreadText, startRelay } from "./load.ts";
import { nowMs } from "./witness.ts";

/** The coordinator's default limit for a worker's silence. */
const silentMs = 3_000;
const fencedOut = "agentmatic_fenced_out_total";
const runs = 8;
/** Long enough to be under way when the limit is over, and for a while after. */
const input: RelayInput = { rounds: 40, width: 2, ms: 60 };

/** Freezes a worker in the middle of runs; one that holds the store's lock has to be killed, and another is taken. */
async function zombie(cluster: Cluster): Promise<{ worker: WorkerProcess; t: number }> {
  for (let tries = 0; tries < 5; tries++) {
    const worker = await until(() => cluster.workers.find(({ pid }) => open(cluster, pid).size >= 2), {
      what: "a worker in the middle of runs",
      everyMs: 2,
    });
    const t = nowMs();
    await freeze(worker.child);
    await cluster.lookAfter(worker.pid);
    if (!(await guard(cluster, worker))) return { worker, t };
    cluster.workers.splice(cluster.workers.indexOf(worker), 1);
    await cluster.startWorker({ listen: worker.address });
  }
  throw new Error("five frozen workers in a row held the store's lock");
}

describe.runIf(process.platform === "linux").concurrent("zombies", () => {
  test.each(storeKinds)(
    "%s: a frozen worker's runs go on elsewhere; thawed it writes nothing and serves new runs",
    async (kind) => {
      await using cluster = await Cluster.open(kind);
      const workers = await cluster.startWorkers(3);
      const coordinator = cluster.coordinator(workers.map(({ address }) => address));
      await cluster.ready(coordinator, 3);
      const ends = await Promise.all(
        Array.from({ length: runs }, (_, n) => startRelay(cluster, coordinator, `r${n}`, input)),
      );

      await until(() => cluster.latest().length === runs, { what: "every run to be at work" });
      const { worker, t } = await zombie(cluster);
      const held = cluster.latest().flatMap(([runId, { pid }]) => (pid === worker.pid ? [runId] : []));
      await Promise.all(ends.map(({ end }) => end));
      const spans = handoffs(cluster.starts(), worker.pid, t);
      console.info(
        `${kind}: frozen with ${held.length} runs; next superstep begun elsewhere: ${spreadText(spread(spans))}`,
      );
      expect(spans).toHaveLength(held.length);
      expect(Math.max(...spans)).toBeLessThan(1.5 * silentMs);

      const before = await dump(cluster.saver, cluster.accepted);
      worker.child.signal("SIGCONT");
      await until(async () => (await metric(worker, "agentmatic_active_runs")) === 0, { what: "its slots to be free" });
      expect(await metric(worker, fencedOut), `runs that the zombie was fenced out of, of ${held.join()}`).toBe(
        held.length,
      );
      expect(await dump(cluster.saver, cluster.accepted)).toBe(before);

      await cluster.ready(coordinator, 3);
      const thawed = nowMs();
      const small = { rounds: 2, width: 2, ms: 20 };
      const more = Array.from({ length: 12 }, (_, n) => startRelay(cluster, coordinator, `late${n}`, small));
      await Promise.all((await Promise.all(more)).map(({ end }) => end));
      const again = cluster.starts().filter((start) => start.pid === worker.pid && start.t > thawed);
      expect(new Set(again.map(({ runId }) => runId)).size, "new runs on the thawed worker").toBeGreaterThan(0);
      expect(await cluster.verdict()).toMatchObject(clean(cluster.accepted.length));
    },
  );

  test("sqlite: P20: a worker frozen inside a transaction is killed by who started it, and its runs go on", async () => {
    await using cluster = await Cluster.open("sqlite");
    const workers = await cluster.startWorkers(2);
    const coordinator = cluster.coordinator(workers.map(({ address }) => address));
    await cluster.ready(coordinator, 2);
    const busy = { rounds: 30, width: 4, ms: 10 };
    const ends = await Promise.all(
      Array.from({ length: 16 }, (_, n) => startRelay(cluster, coordinator, `r${n}`, busy)),
    );
    const victim = await until(
      async () => {
        const worker = cluster.workers.find(({ pid }) => open(cluster, pid).size >= 2);
        if (!worker) return undefined;
        await freeze(worker.child);
        if ((await lockHolders(cluster.path)).includes(worker.pid)) return worker;
        worker.child.signal("SIGCONT");
        return undefined;
      },
      { what: "a worker to be frozen inside a transaction", timeoutMs: 60_000, everyMs: 3 },
    );
    expect(await guard(cluster, victim)).toBe(true);
    await Promise.all(ends.map(({ end }) => end));
    expect(await cluster.verdict()).toMatchObject(clean(cluster.accepted.length));
  });

  test.each(storeKinds)("%s: with the fence switched off the same checker finds what a zombie does", async (kind) => {
    await using cluster = await Cluster.open(kind);
    const workers = await cluster.startWorkers(3, {
      env: { AGENTMATIC_UNSAFE_NO_FENCE: "1", AGENTMATIC_LOG: "error" },
    });
    const coordinator = cluster.coordinator(
      workers.map(({ address }) => address),
      { silentMs: 1_000 },
    );
    await cluster.ready(coordinator, 3);
    const ends = await Promise.all(
      Array.from({ length: runs }, (_, n) => startRelay(cluster, coordinator, `r${n}`, input)),
    );
    await until(() => cluster.latest().length === runs, { what: "every run to be at work" });
    const { worker, t } = await zombie(cluster);
    const held = cluster.latest().flatMap(([runId, { pid }]) => (pid === worker.pid ? [runId] : []));
    await until(() => handoffs(cluster.starts(), worker.pid, t).length === held.length, { what: "the hand-offs" });
    worker.child.signal("SIGCONT");
    await until(async () => (await metric(worker, "agentmatic_active_runs")) === 0, {
      what: "the zombie to come to an end",
      timeoutMs: 30_000,
    });
    await Promise.allSettled(ends.map(({ end }) => end));
    const verdict = await cluster.verdict();
    console.info(`${kind}, no fence: ${JSON.stringify({ ...verdict, complaints: verdict.complaints.length })}`);
    expect(verdict.committedTwice).toBeGreaterThan(0);
  });
});
