/** Workers stopped with SIGTERM (PROTOCOL.md P14): runs are handed over at a checkpoint, or in the middle when time is up. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { until } from "../support/wait.ts";
import { clean } from "./checker.ts";
import { Cluster, readyz, storeKinds } from "./cluster.ts";
import type { RelayInput } from "./graphs.ts";
import { open, startGated, startRelay } from "./load.ts";
import { nowMs } from "./witness.ts";

const input: RelayInput = { rounds: 12, width: 3, ms: 50 };

/** The process in which the held run's long step began: the one before it is at work for a moment only. */
function holder(cluster: Cluster): number | undefined {
  return cluster.starts("held").find(({ node }) => node === "long")?.pid;
}

describe.concurrent("drain", () => {
  test.each(storeKinds)(
    "%s: a stopped worker is not ready at once, hands its runs over at the next boundary and ends with 0",
    async (kind) => {
      await using cluster = await Cluster.open(kind);
      const [a, b] = await cluster.startWorkers(2);
      const coordinator = cluster.coordinator([a!.address]);
      await cluster.ready(coordinator, 1);
      // One run that holds the drain open, and some that do not.
      const gate = join(cluster.folder, "gate");
      const held = await startGated(cluster, coordinator, "held", gate);
      const ends = await Promise.all(
        Array.from({ length: 6 }, (_, n) => startRelay(cluster, coordinator, `r${n}`, input)),
      );
      await until(() => holder(cluster) === a!.pid && open(cluster, a!.pid).size === 7, {
        what: "all runs to be at work",
      });
      coordinator.addWorker(b!.address);
      await cluster.ready(coordinator, 2);
      expect(await readyz(a!)).toBe(200);

      const t = nowMs();
      a!.child.signal("SIGTERM");
      await until(async () => (await readyz(a!)) === 503, { what: "503", everyMs: 5 });
      // The signal, its handler and one probe: at once, on however busy a machine.
      expect(nowMs() - t).toBeLessThan(1_000);
      await until(() => cluster.latest().filter(([, { pid }]) => pid === b!.pid).length === 6, {
        what: "the relays to go on at the second worker",
      });
      expect(await readyz(a!)).toBe(503);
      expect(a!.child.ending).toBeUndefined();
      writeFileSync(gate, "");
      expect(await a!.child.exited).toEqual({ code: 0, signal: null });
      await Promise.all([held, ...ends].map(({ end }) => end));

      // Boundaries only: no task was broken off, so none ran twice.
      expect(await cluster.verdict()).toMatchObject({ ...clean(7), repeatedInFlight: 0, staleStarts: 0 });
      for (const runId of cluster.accepted) {
        const { state } = (await cluster.saver.getRun(runId))!;
        expect(state, runId).toMatchObject({ attempt: 2, poison: 0, owner: b!.id });
        expect(state.history, runId).toMatchObject([{ attempt: 1, worker: a!.id, reason: "drained" }]);
      }
      expect(cluster.starts("held").map(({ node, pid }) => [node, pid === a!.pid ? "a" : "b"])).toEqual([
        ["before", "a"],
        ["long", "a"],
        ["after", "b"],
      ]);
    },
  );

  test.each(storeKinds)(
    "%s: a step that outlasts the grace is handed over all the same, without being poison",
    async (kind) => {
      await using cluster = await Cluster.open(kind);
      const drainMs = 600;
      const [a, b] = await cluster.startWorkers(2, { drainMs });
      const coordinator = cluster.coordinator([a!.address, b!.address]);
      await cluster.ready(coordinator, 2);
      const gate = join(cluster.folder, "gate");
      const { end, events } = await startGated(cluster, coordinator, "held", gate, ["custom"]);
      const first = await until(() => cluster.workers.find(({ pid }) => pid === holder(cluster)), {
        what: "the step",
      });
      const t = nowMs();
      first.child.signal("SIGTERM");
      expect(await first.child.exited).toEqual({ code: 0, signal: null });
      const tookMs = nowMs() - t;
      expect(tookMs).toBeGreaterThanOrEqual(drainMs);
      // The grace, the hand-over's write, a second for last answers, on a busy machine.
      expect(tookMs).toBeLessThan(drainMs + 3_000);
      const other = first === a ? b! : a!;
      await until(() => open(cluster, other.pid).has("held"), { what: "the step to begin on the other worker" });
      writeFileSync(gate, "");
      expect(await end).toMatchObject({ status: "succeeded" });
      expect(cluster.starts("held").map(({ node, attempt }) => `${node}@${attempt}`)).toEqual([
        "before@1",
        "long@1",
        "long@2",
        "after@2",
      ]);
      const { state } = (await cluster.saver.getRun("held"))!;
      expect(state).toMatchObject({ attempt: 2, poison: 0, owner: other.id });
      expect(state.history).toMatchObject([{ attempt: 1, worker: first.id, reason: "drained" }]);
      expect(await cluster.verdict()).toMatchObject({ ...clean(1), repeatedInFlight: 1 });
      // What the broken-off step had sent is taken back before it is sent again (P16).
      const told: string[] = [];
      for await (const { kind: what, attempt } of events) told.push(`${what} ${attempt}`);
      expect(told).toEqual(["custom 1", "retract 1", "custom 2"]);
    },
  );
});
