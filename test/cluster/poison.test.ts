/** A run that kills whatever process executes it (PROTOCOL.md P14). */
import { expect, test } from "vitest";
import { until } from "../support/wait.ts";
import { bind } from "./bind.ts";
import { clean, readStored } from "./checker.ts";
import { Cluster, storeKinds } from "./cluster.ts";
import { hog, poison } from "./graphs.ts";
import { Load, startRelay } from "./load.ts";

const maxAttempts = 3;

test.concurrent.each(storeKinds)(
  "%s: P14: a run that kills its workers is dead-lettered with its history, and harms no other",
  async (kind) => {
    await using cluster = await Cluster.open(kind);
    const { workers } = cluster;
    await cluster.startWorkers(2);
    const coordinator = cluster.coordinator(workers.map(({ address }) => address));
    await cluster.ready(coordinator, 2);
    const input = { rounds: 3, width: 2, ms: 40 };
    const load = new Load(6, async (runId) => (await startRelay(cluster, coordinator, runId, input)).end);

    // Whoever runs the processes starts a new one for each that ends.
    const all = new Map(workers.map((worker) => [worker.id, worker]));
    let over = false;
    const tending = (async () => {
      for (;;) {
        const dead = await until(() => workers.find(({ child }) => child.ending) ?? (over && "over"), {
          what: "a worker to end",
          timeoutMs: 60_000,
        });
        if (dead === "over") return;
        workers.splice(workers.indexOf(dead), 1);
        const next = await cluster.startWorker({ listen: dead.address });
        all.set(next.id, next);
      }
    })();
    const graph = bind(poison, coordinator, cluster.saver);
    const handle = await graph.start({}, { threadId: "t-bad", runId: "bad", maxAttempts }, []);
    cluster.accepted.push("bad");
    const end = await handle.end;
    over = true;
    await tending;
    await load.stop();

    expect(end).toMatchObject({ status: "dead", error: { code: "DeadLettered" } });
    expect(end.error!.message).toMatch(/bad.*3 attempts/);
    const [stored] = await readStored(cluster.saver, ["bad"]);
    const { state } = stored!.record!;
    expect(state).toMatchObject({ status: "dead", poison: maxAttempts, outcome: { error: { code: "DeadLettered" } } });
    const lost = state.history.filter(({ worker }) => worker !== "");
    expect(lost.every(({ reason }) => reason === "lost")).toBe(true);
    const starts = cluster.starts("bad").map(({ node }) => node);
    // The good step is not paid for again, and the deadly one no more often than may be.
    expect(starts.filter((node) => node === "good")).toHaveLength(1);
    const deadly = starts.filter((node) => node === "deadly").length;
    expect(deadly).toBe(lost.length);
    // The first loss came after a commit of the same attempt, so it does not count.
    expect(deadly).toBe(maxAttempts + 1);
    expect(lost.filter(({ worker }) => all.get(worker)?.child.ending?.signal !== "SIGKILL")).toEqual([]);
    // It stays as it is, and what it had finished stays readable.
    expect(stored!.checkpoints.at(-1)!.trail).toHaveLength(1);

    const { length } = cluster.accepted;
    expect(await cluster.verdict()).toMatchObject({ ...clean(length), succeeded: length - 1 });
  },
);

test.concurrent.each(storeKinds)(
  "%s: P14: a step that silences every worker that tries it ends the run, after as many attempts as it may have",
  async (kind) => {
    await using cluster = await Cluster.open(kind);
    const workers = await cluster.startWorkers(2);
    const addresses = workers.map(({ address }) => address);
    const coordinator = cluster.coordinator(addresses, { silentMs: 1_000 });
    await cluster.ready(coordinator, 2);
    const graph = bind(hog, coordinator, cluster.saver);
    // Holds the event loop: for its coordinator such a worker is as good as frozen.
    const handle = await graph.start({ ms: 2_500 }, { threadId: "t", runId: "hog", maxAttempts }, []);
    cluster.accepted.push("hog");
    expect(await handle.end).toMatchObject({ status: "dead", error: { code: "DeadLettered" } });
    const [stored] = await readStored(cluster.saver, ["hog"]);
    const { poison: count, history } = stored!.record!.state;
    expect(count).toBe(maxAttempts);
    expect(history.every(({ reason }) => reason === "silent")).toBe(true);
    expect(await cluster.verdict()).toMatchObject({ ...clean(1), succeeded: 0 });
    expect(workers.every(({ child }) => child.ending === undefined)).toBe(true);
  },
);
