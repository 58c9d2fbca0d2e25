/** Coordinators that die, come back, freeze, or are two (PROTOCOL.md P3, P4, P11, P12). */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { decodeValue, type RunState } from "../../src/mod.ts";
import { until } from "../support/wait.ts";
import { bind } from "./bind.ts";
import { clean } from "./checker.ts";
import { Cluster, freeze, storeKinds } from "./cluster.ts";
import { relay } from "./graphs.ts";
import { expectResult, open, startRelay } from "./load.ts";
import { nowMs } from "./witness.ts";

const takeoverMs = 2_000;

describe.concurrent("coordinators", () => {
  test.each(storeKinds)(
    "%s: P4: workers outlive their coordinator; the next one re-attaches to them and takes over the queue",
    async (kind) => {
      await using cluster = await Cluster.open(kind);
      const [a, b] = await cluster.startWorkers(2, { slots: 2, leaseMs: 1_500 });
      const gate = join(cluster.folder, "gate");
      const runs = Array.from({ length: 6 }, (_, n) => ({ runId: `g${n}`, graph: "gated", input: { gate } }) as const);
      const child = await cluster.coordinatorChild({ workers: [a!.address, b!.address], takeoverMs, runs });
      await until(() => [a!, b!].every(({ pid }) => open(cluster, pid).size === 2), {
        what: "two runs on each worker",
      });
      await child.kill();

      // Nobody but the workers is left, and the leases grow.
      const leases = async () => (await states(cluster)).filter(({ owner }) => owner).map(({ lease }) => lease);
      const before = await leases();
      await until(async () => (await leases()).every((lease, n) => lease >= before[n]! + 2), { what: "two renewals" });

      const coordinator = cluster.coordinator([a!.address, b!.address], { takeoverMs });
      await coordinator.connect();
      await until(async () => (await states(cluster)).every((state) => state.coordinator === coordinator.id), {
        what: "the new coordinator to look after every run",
        timeoutMs: 20_000,
      });
      // Not one of them was begun again: re-attached where it was, or still waiting for a slot.
      expect((await states(cluster)).map(({ status }) => status).sort()).toEqual([
        ...Array.from({ length: 2 }, () => "queued"),
        ...Array.from({ length: 4 }, () => "running"),
      ]);
      writeFileSync(gate, "");
      const ends = runs.map(async ({ runId }) => (await coordinator.join(runId)).end);
      for (const end of await Promise.all(ends)) expect(end).toMatchObject({ status: "succeeded" });
      for (const state of await states(cluster)) expect(state).toMatchObject({ attempt: 1, history: [] });
      expect(await cluster.verdict()).toMatchObject({ ...clean(6), repeatedInFlight: 0, staleStarts: 0 });
    },
  );

  test.each(storeKinds)(
    "%s: P4, P11: without a coordinator only a lease that stands still is handed off, by one of two replicas",
    async (kind) => {
      await using cluster = await Cluster.open(kind);
      const [a, b, c, d] = await cluster.startWorkers(4, { slots: 2, leaseMs: 1_500 });
      const gate = join(cluster.folder, "gate");
      const runs = Array.from({ length: 4 }, (_, n) => ({ runId: `g${n}`, graph: "gated", input: { gate } }) as const);
      const child = await cluster.coordinatorChild({ workers: [a!.address, b!.address], takeoverMs, runs });
      await until(() => [a!, b!].every(({ pid }) => open(cluster, pid).size === 2), {
        what: "two runs on each worker",
      });
      const onA = [...open(cluster, a!.pid)];
      await child.kill();
      await a!.child.kill();

      // They come up at the same moment, and neither knows b: that it lives they can only see by its leases.
      const t = nowMs();
      const replicas = [c!, d!].map(({ address }) => cluster.coordinator([a!.address, address], { takeoverMs }));
      await Promise.all(replicas.map((replica) => replica.connect()));
      await until(() => onA.every((runId) => cluster.starts(runId).some(({ attempt }) => attempt === 2)), {
        what: "the dead worker's runs to begin elsewhere",
        timeoutMs: 20_000,
      });
      // Seen to stand still for a whole limit, by clocks that began when the replicas did.
      expect(nowMs() - t).toBeGreaterThanOrEqual(takeoverMs);
      await until(() => nowMs() - t > 3 * takeoverMs, { what: "the time in which a live worker might lose its runs" });
      writeFileSync(gate, "");
      const ends = runs.map(async ({ runId }, n) => (await replicas[n % 2]!.join(runId)).end);
      for (const end of await Promise.all(ends)) expect(end).toMatchObject({ status: "succeeded" });
      for (const { runId } of runs) {
        const { state } = (await cluster.saver.getRun(runId))!;
        const lost = [{ attempt: 1, worker: a!.id, reason: "recovered" }];
        if (onA.includes(runId)) expect(state, runId).toMatchObject({ attempt: 2, history: lost });
        else expect(state, runId).toMatchObject({ attempt: 1, history: [], owner: b!.id });
      }
      expect(await cluster.verdict()).toMatchObject({ ...clean(4), repeatedInFlight: 2, staleStarts: 0 });
    },
  );

  test.each(storeKinds)(
    "%s: P11: of two coordinators on one store one is frozen and thawed: each run is executed once",
    async (kind) => {
      await using cluster = await Cluster.open(kind);
      const workers = await cluster.startWorkers(2, { slots: 4 });
      const addresses = workers.map(({ address }) => address);
      const coordinator = cluster.coordinator(addresses, { takeoverMs });
      await cluster.ready(coordinator, 2);
      // More than the slots: some of the frozen one's are queued. Their ends come while it stands still.
      const input = { rounds: 8, width: 2, ms: 40 };
      const runs = Array.from({ length: 12 }, (_, n) => ({ runId: `c${n}`, graph: "relay", input }) as const);
      const [child, ...mine] = await Promise.all([
        cluster.coordinatorChild({ workers: addresses, takeoverMs, runs }),
        ...Array.from({ length: 12 }, (_, n) => startRelay(cluster, coordinator, `m${n}`, input)),
      ]);
      const begun = () => new Set(cluster.starts().map(({ runId }) => runId[0]));
      await until(() => begun().size === 2, { what: "runs of both coordinators to be at work" });
      await freeze(child);
      // While it stands still a worker dies that has runs of it.
      const victim = await until(() => workers.find(({ pid }) => [...open(cluster, pid)].some((id) => id[0] === "c")), {
        what: "a worker with runs of the frozen coordinator",
      });
      await victim.child.kill();
      await Promise.all(mine.map(({ end }) => end));
      const taken = await Promise.all(runs.map(async ({ runId }) => (await coordinator.join(runId)).end));
      runs.forEach(({ runId }, n) => {
        expectResult(taken[n]!, runId, input);
      });
      child.signal("SIGCONT");
      // It finds out what became of its runs, and says so to those who wait there.
      for (const { runId } of runs) await child.line(new RegExp(`^ended ${runId} succeeded$`), { timeoutMs: 20_000 });
      expect(await cluster.verdict()).toMatchObject({ ...clean(24), staleStarts: 0 });
      const records = await Promise.all(cluster.accepted.map((runId) => cluster.saver.getRun(runId)));
      for (const record of records) {
        const { spec, state } = record!;
        expect(state.history, spec.runId).toHaveLength(state.attempt - 1);
        // "" is a dispatch that was under way to it and not claimed yet.
        const others = state.history.filter(({ worker }) => worker !== "" && worker !== victim.id);
        expect(others, `${spec.runId}: hand-offs from workers that live`).toEqual([]);
      }
      const theirs = records.filter((record) => record!.spec.runId.startsWith("c"));
      expect(theirs.filter((record) => record!.state.coordinator === coordinator.id).length).toBeGreaterThan(0);
    },
  );

  test.each(storeKinds)(
    "%s: P12: a coordinator killed while it admits: what is stored is executed once, also where it is asked for again",
    async (kind) => {
      await using cluster = await Cluster.open(kind);
      const workers = await cluster.startWorkers(2);
      const addresses = workers.map(({ address }) => address);
      const input = { rounds: 1, width: 1, ms: 5 };
      const runs = Array.from({ length: 150 }, (_, n) => ({ runId: `a${n}`, graph: "relay", input }) as const);
      const child = await cluster.spawnCoordinator({ workers: addresses, takeoverMs, runs });
      await child.line(/^accepted /, { timeoutMs: 30_000 });
      await child.kill();
      const acknowledged = [...child.output.matchAll(/^accepted (\S+)$/gm)].map(([, runId]) => runId!);
      const stored = (await Promise.all(runs.map(({ runId }) => cluster.saver.getRun(runId)))).filter((run) => run);
      expect(stored.map((record) => record!.spec.runId)).toEqual(expect.arrayContaining(acknowledged));
      console.info(
        `${kind}: killed with ${acknowledged.length} of ${runs.length} runs acknowledged, ${stored.length} stored`,
      );

      const coordinator = cluster.coordinator(addresses, { takeoverMs });
      await coordinator.connect();
      const open = async () => (await cluster.saver.listRuns({ statuses: ["queued", "running"], limit: 1000 })).length;
      await until(async () => (await open()) === 0, {
        what: "every stored run to end",
        timeoutMs: 20_000,
        everyMs: 100,
      });
      await Promise.all(runs.map(async ({ runId }) => (await startRelay(cluster, coordinator, runId, input)).end));
      expect(await cluster.verdict()).toMatchObject({ ...clean(runs.length), repeatedInFlight: 0, staleStarts: 0 });
    },
  );

  test.each(storeKinds)(
    "%s: P12: one runId from two coordinators at once is one run; with another input it is refused",
    async (kind) => {
      await using cluster = await Cluster.open(kind);
      const workers = await cluster.startWorkers(2, { slots: 4 });
      const addresses = workers.map(({ address }) => address);
      const both = [cluster.coordinator(addresses, { takeoverMs }), cluster.coordinator(addresses, { takeoverMs })];
      await Promise.all(both.map((coordinator) => cluster.ready(coordinator, 2)));
      const input = { rounds: 2, width: 2, ms: 20 };
      const ids = Array.from({ length: 10 }, (_, n) => `same${n}`);
      const ends = ids.flatMap((runId) =>
        both.map(async (coordinator) => (await startRelay(cluster, coordinator, runId, input)).end),
      );
      const results = await Promise.all(ends);
      const states = results.map(({ values }) => decodeValue(values!));
      for (let n = 0; n < ids.length; n++) expect(states[2 * n]).toEqual(states[2 * n + 1]);
      for (const coordinator of both) {
        const graph = bind(relay, coordinator, cluster.saver);
        const other = graph.start({ ...input, rounds: 3 }, { threadId: "t-same0", runId: "same0" }, []);
        await expect(other).rejects.toMatchObject({ code: "AlreadyExists" });
      }
      cluster.accepted.splice(0, cluster.accepted.length, ...ids);
      expect(await cluster.verdict()).toMatchObject({ ...clean(10), repeatedInFlight: 0, staleStarts: 0 });
      for (const runId of ids) {
        expect((await cluster.saver.getRun(runId))!.state, runId).toMatchObject({ attempt: 1, history: [] });
      }
    },
  );
});

async function states(cluster: Cluster): Promise<RunState[]> {
  return await Promise.all(cluster.accepted.map(async (runId) => (await cluster.saver.getRun(runId))!.state));
}
