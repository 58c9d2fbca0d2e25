/** Everything at once and at random: kills, freezes, stops, coordinators that die. First with faults, then it must converge. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { replayable } from "../support/seed.ts";
import { until } from "../support/wait.ts";
import { clean } from "./checker.ts";
import { Cluster, freeze, guard, storeKinds, type WorkerProcess } from "./cluster.ts";
import { open, startRelay } from "./load.ts";

const long = process.env.AGENTMATIC_TEST_LONG === "1";
const faults = long ? 150 : 8;
const workersUp = 3;
const threads = 8;
const runsPerThread = 3;
const input = { rounds: 5, width: 2, ms: 40 };
/** Most of a thaw's delays stay below the silence limit, some are above. */
const frozenMsMax = 5_000;
const silentMs = 2_000;
/** Two thirds of it, the credit for starting tasks, are over when a worker counts as silent. */
const leaseMs = 1.5 * silentMs;
const takeoverMs = 3_000;
/** After the last fault everything must come to its end within this time. */
const settleMsMax = 60_000;

describe.runIf(process.platform === "linux").concurrent("chaos", () => {
  test.each(storeKinds)(
    `%s: ${faults} faults at random, then every accepted run ends, each step once`,
    (kind) =>
      replayable(async (random, seed) => {
        await using cluster = await Cluster.open(kind);
        const { workers } = cluster;
        await cluster.startWorkers(workersUp, { leaseMs });
        // Fixed addresses: a coordinator finds a worker's successor where the worker was.
        const addresses = workers.map(({ address }) => address);
        const coordinator = cluster.coordinator(addresses, { silentMs, takeoverMs });
        await cluster.ready(coordinator, workersUp);

        let over = false;
        const lane = async (index: number) => {
          for (let n = 0; !over; n++) {
            const threadId = `t${index}-${n}`;
            // All at once: those of a thread wait for one another.
            const started = [];
            for (let nth = 1; nth <= runsPerThread; nth++) {
              started.push(await startRelay(cluster, coordinator, `${threadId}-${nth}`, input, { threadId, nth }));
            }
            await Promise.all(started.map(({ end }) => end));
          }
        };
        const load = Promise.all(Array.from({ length: threads }, (_, index) => lane(index)));
        load.catch(() => undefined);

        const done: Record<string, number> = {};
        for (let n = 0; n < faults; n++) {
          const fault = pick(random);
          done[fault] = (done[fault] ?? 0) + 1;
          await inflict[fault](cluster, addresses, random, n);
          await Promise.race([load, sleep(random() * 300)]);
        }
        over = true;
        let timer: NodeJS.Timeout | undefined;
        const late = new Promise<never>((_resolve, reject) => {
          timer = setTimeout(reject, settleMsMax, new Error(`not at an end ${settleMsMax} ms after the last fault`));
        });
        await Promise.race([load, late]).finally(() => clearTimeout(timer));
        await until(
          async () => (await cluster.saver.listRuns({ statuses: ["queued", "running"], limit: 1 })).length === 0,
          { what: "the runs of dead coordinators to end", timeoutMs: settleMsMax, everyMs: 50 },
        );

        const verdict = await cluster.verdict();
        const { accepted, repeatedInFlight, staleStarts } = verdict;
        console.info(
          `${kind}: seed ${seed}, ${JSON.stringify(done)}: ${accepted} runs, ${repeatedInFlight} tasks in flight repeated, ${staleStarts} stale starts`,
        );
        expect(verdict).toMatchObject(clean(cluster.accepted.length));
      }),
    long ? 1_800_000 : 120_000,
  );
});

const kinds = ["kill", "killAll", "freeze", "stop", "coordinator"] as const;
type Kind = (typeof kinds)[number];
const weights: Record<Kind, number> = { kill: 35, killAll: 8, freeze: 27, stop: 20, coordinator: 10 };

function pick(random: () => number): Kind {
  let at = random() * 100;
  for (const kind of kinds) {
    at -= weights[kind];
    if (at < 0) return kind;
  }
  return "kill";
}

type Fault = (cluster: Cluster, addresses: readonly string[], random: () => number, n: number) => Promise<void>;

const inflict: Record<Kind, Fault> = {
  async kill(cluster, _addresses, random) {
    const victim = await busy(cluster, random);
    await victim.child.kill();
    await cluster.lookAfter(victim.pid);
    await replace(cluster, [victim]);
  },

  async killAll(cluster) {
    const all = [...cluster.workers];
    await Promise.all(all.map(({ child }) => child.kill()));
    for (const { pid } of all) await cluster.lookAfter(pid);
    await replace(cluster, all);
  },

  async freeze(cluster, _addresses, random) {
    const victim = await busy(cluster, random);
    await freeze(victim.child);
    await cluster.lookAfter(victim.pid);
    // A zombie is worse the longer it believes; one that blocks the others is ended by who started it.
    const untilMs = performance.now() + frozenMsMax * random() ** 2;
    for (;;) {
      if (await guard(cluster, victim)) return await replace(cluster, [victim]);
      if (performance.now() >= untilMs) break;
      await sleep(50);
    }
    victim.child.signal("SIGCONT");
  },

  async stop(cluster, _addresses, random) {
    const victim = await busy(cluster, random);
    victim.child.signal("SIGTERM");
    expect(await victim.child.exited).toEqual({ code: 0, signal: null });
    await replace(cluster, [victim]);
  },

  async coordinator(cluster, addresses, random, n) {
    const runs = Array.from({ length: 4 }, (_, nth) => ({ runId: `k${n}-${nth}`, graph: "relay", input }) as const);
    const child = await cluster.coordinatorChild({ workers: addresses, takeoverMs, runs });
    await sleep(random() * 500);
    await child.kill();
  },
};

function busy(cluster: Cluster, random: () => number): Promise<WorkerProcess> {
  return until(
    () => {
      const worker = cluster.workers[Math.floor(random() * cluster.workers.length)];
      return worker && open(cluster, worker.pid).size > 0 ? worker : undefined;
    },
    { what: "a worker at work", timeoutMs: 30_000, everyMs: 5 },
  );
}

async function replace(cluster: Cluster, dead: readonly WorkerProcess[]): Promise<void> {
  for (const worker of dead) cluster.workers.splice(cluster.workers.indexOf(worker), 1);
  await Promise.all(dead.map(({ address }) => cluster.startWorker({ listen: address, leaseMs })));
}
