/** Residency through real processes: what runs where, and what waits rather than run elsewhere. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { until } from "../support/wait.ts";
import { bind } from "./bind.ts";
import { clean } from "./checker.ts";
import { Cluster, storeKinds } from "./cluster.ts";
import { gated, relay } from "./graphs.ts";

const eu = "eu-west-1";
const residency = { regions: [eu] };
const input = { rounds: 1, width: 2, ms: 10 };

test.concurrent.each(storeKinds)(
  "%s: a run with a rule is executed in its regions only, and waits where there is none",
  async (kind) => {
    await using cluster = await Cluster.open(kind, { region: eu });
    const [inside, outside, unknown] = await Promise.all([
      cluster.startWorker({ region: eu }),
      cluster.startWorker({ region: "us-east-1" }),
      cluster.startWorker(),
    ]);
    const coordinator = cluster.coordinator([inside.address, outside.address, unknown.address]);
    await cluster.ready(coordinator, 3);
    const graph = bind(relay, coordinator, cluster.saver);
    const begin = async (runId: string, rule: object) => {
      const handle = await graph.start(input, { threadId: `t-${runId}`, runId, ...rule }, []);
      cluster.accepted.push(runId);
      return (await handle.end).status;
    };

    const ruled = Array.from({ length: 12 }, (_, n) => begin(`eu${n}`, { residency }));
    const free = Array.from({ length: 12 }, (_, n) => begin(`any${n}`, {}));
    expect(new Set(await Promise.all([...ruled, ...free]))).toEqual(new Set(["succeeded"]));
    const pidsOf = (prefix: string) =>
      new Set(cluster.starts().flatMap(({ runId, pid }) => (runId.startsWith(prefix) ? [pid] : [])));
    expect(pidsOf("eu")).toEqual(new Set([inside.pid]));
    for (const { pid } of [outside, unknown]) expect(pidsOf("any")).toContain(pid);

    // Nobody here is in that region: refused before it is accepted, saying by what.
    const nowhere = { threadId: "t", runId: "nowhere", residency: { regions: ["ap-south-1"] } };
    await expect(graph.start(input, nowhere, [])).rejects.toMatchObject({
      code: "ResidencyViolation",
      details: { filter: "residency" },
    });
    expect(await cluster.saver.getRun("nowhere")).toBeUndefined();

    // In the middle of a run its region loses its only worker: it waits, beside workers with free slots.
    const gate = join(cluster.folder, "gate");
    const slow = bind(gated, coordinator, cluster.saver);
    const handle = await slow.start({ gate }, { threadId: "t-slow", runId: "slow", residency }, []);
    cluster.accepted.push("slow");
    await until(() => cluster.starts("slow").some(({ node }) => node === "long"), { what: "its long step" });
    await inside.child.kill();
    await until(async () => (await cluster.saver.getRun("slow"))!.state.attempt === 2, { what: "the hand-off" });
    writeFileSync(gate, "");
    expect(await begin("later", {})).toBe("succeeded");
    expect(await cluster.saver.getRun("slow")).toMatchObject({ state: { status: "queued", attempt: 2 } });
    expect(coordinator.queueDepth).toBe(1);
    const back = await cluster.startWorker({ listen: inside.address, region: eu });
    expect(await handle.end).toMatchObject({ status: "succeeded" });
    expect(cluster.starts("slow").map(({ pid }) => pid)).toEqual([inside.pid, inside.pid, back.pid, back.pid]);
    expect(await cluster.verdict()).toMatchObject(clean(26));
  },
);

test.concurrent.each(storeKinds)("%s: a store of no known region takes no run with a rule", async (kind) => {
  await using cluster = await Cluster.open(kind);
  const worker = await cluster.startWorker({ region: eu });
  const coordinator = cluster.coordinator([worker.address]);
  await cluster.ready(coordinator, 1);
  const graph = bind(relay, coordinator, cluster.saver);
  const refused = graph.start(input, { threadId: "t", runId: "r", residency }, []);
  await expect(refused).rejects.toMatchObject({ code: "ResidencyViolation" });
  expect(await cluster.saver.getRun("r")).toBeUndefined();
  expect(cluster.starts()).toEqual([]);
});
