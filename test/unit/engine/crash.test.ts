/** A run is cut off before or after every single write to the store, and another owner goes on. */
import { describe, expect, test } from "vitest";
import type { Saver } from "../../../src/checkpoint/saver.ts";
import { LeaseKeeper } from "../../../src/engine/lease.ts";
import { executeRun } from "../../../src/engine/run.ts";
import type { Plan } from "../../../src/graph/plan.ts";
import {
  AgentmaticError,
  Annotation,
  decodeValue,
  encodeValue,
  MemorySaver,
  MemoryStore,
  Send,
  START,
  StateGraph,
  systemPorts,
} from "../../../src/mod.ts";
import type { RunEnd } from "../../../src/run/link.ts";
import { makeSpec } from "../../../src/run/spec.ts";
import { handOff } from "../../../src/run/transitions.ts";

const list = () => Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
const executions = new Map<string, number>();

function ran<T>(taskId: string, update: T): T {
  executions.set(taskId, (executions.get(taskId) ?? 0) + 1);
  return update;
}

const plan: Plan = new StateGraph({ log: list(), items: Annotation<string[]>(), total: Annotation<number>() })
  .addNode("split", (_s, ctx) => ran(ctx.taskId, { items: ["x", "y", "z"], log: ["split"] }))
  .addNode("left", async (_s, ctx) => ran(ctx.taskId, { log: ["left"] }))
  .addNode("right", async (_s, ctx) => {
    await Promise.resolve();
    return ran(ctx.taskId, { log: ["right"] });
  })
  .addNode<string>("work", async (item, ctx) => {
    for (let i = 0; i < item.charCodeAt(0) - 119; i++) await new Promise((resolve) => setTimeout(resolve, 1));
    return ran(ctx.taskId, { log: [item] });
  })
  .addNode("join", (s, ctx) => ran(ctx.taskId, { total: s.log.length }))
  .addEdge(START, "split")
  .addEdge("split", "left")
  .addEdge("split", "right")
  .addConditionalEdges("left", (s) => s.items.map((item) => new Send("work", item)), ["work"])
  .addEdge(["left", "right"], "join")
  .plan({ name: "crash" });

type Cut = { readonly at: number; readonly when: "before" | "after" };

/** A client of the store whose process is gone at its n-th write: neither this one nor any later call goes through. */
function dying(inner: Saver, cut: Cut | undefined, died: () => void): Saver {
  let writes = 0;
  let dead = false;
  const gone = () => new AgentmaticError("FencedOut", "this process is gone");
  return new Proxy(inner, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        if (dead) throw gone();
        const counts = key === "commit" || key === "putWrites";
        if (counts) writes++;
        const hit = counts && writes === cut?.at;
        if (hit && cut.when === "before") {
          dead = true;
          died();
          throw gone();
        }
        const result = (await value.apply(target, args)) as unknown;
        if (hit) {
          dead = true;
          died();
          throw gone();
        }
        return result;
      };
    },
  });
}

async function attempt(store: MemoryStore, cut: Cut | undefined, died: () => void): Promise<RunEnd> {
  const saver = dying(new MemorySaver({ store }), cut, died);
  const record = (await saver.getRun("r"))!;
  const claimedMs = systemPorts.clock.monotonicMs();
  const nonce = systemPorts.ids.next();
  const claim = await saver.claim({ threadId: "t", runId: "r", attempt: record.state.attempt, owner: "w", nonce });
  const leases = new LeaseKeeper(saver, systemPorts, { leaseMs: 60_000 });
  const lease = leases.hold(claim, claimedMs, () => {});
  try {
    const cancel = new AbortController().signal;
    return await executeRun({
      plan,
      saver,
      claim,
      lease,
      ports: systemPorts,
      wants: () => false,
      emit: () => {},
      cancel,
      draining: () => false,
    });
  } finally {
    lease.release();
    leases.close();
  }
}

async function runCut(cut: Cut | undefined): Promise<{ end: RunEnd; died: boolean; commits: number }> {
  executions.clear();
  const store = new MemoryStore();
  const saver = new MemorySaver({ store });
  const input = encodeValue({ log: ["in"] });
  const spec = await makeSpec(
    { runId: "r", threadId: "t", graph: plan, kind: "input", input, maxSteps: 25 },
    systemPorts,
  );
  await saver.admit({ spec, coordinator: null, whenBusy: "reject" });
  let died = false;
  let end = await attempt(store, cut, () => {
    died = true;
  });
  if (died) {
    const record = (await saver.getRun("r"))!;
    if (record.state.outcome === null) {
      await saver.updateRun("r", handOff(record, "c", "lost", 0));
      end = await attempt(store, undefined, () => {});
    } else {
      const stored = (await saver.get("t", ""))!;
      const values = encodeValue(
        Object.fromEntries(Object.entries(stored.checkpoint.values).map(([k, v]) => [k, decodeValue(v)])),
      );
      end = { ...end, status: record.state.status, values };
    }
  }
  return { end, died, commits: (await saver.list({ threadId: "t", limit: 100 })).length };
}

describe("cut off at any write and gone on by another owner", () => {
  test("the run left alone", async () => {
    const { end, commits } = await runCut(undefined);
    expect(end.status).toBe("succeeded");
    expect(decodeValue(end.values!)).toMatchObject({
      log: ["in", "split", "left", "right", "x", "y", "z"],
      total: 4,
    });
    expect(commits).toBe(4);
    expect([...executions.values()]).toEqual(Array(7).fill(1));
  });

  for (const when of ["before", "after"] as const) {
    test(`${when} each write in turn: same state, same checkpoints, no stored task run again`, async () => {
      const alone = await runCut(undefined);
      let cuts = 0;
      for (let at = 1; ; at++) {
        const { end, died, commits } = await runCut({ at, when });
        if (!died) break;
        cuts++;
        expect({ at, status: end.status, commits }).toEqual({ at, status: "succeeded", commits: alone.commits });
        expect(decodeValue(end.values!)).toEqual(decodeValue(alone.end.values!));
        // Only tasks of the superstep that was cut off may have run twice, and none whose writes were stored.
        const twice = [...executions].filter(([, count]) => count > 1);
        expect(twice.every(([, count]) => count === 2)).toBe(true);
        expect(new Set(twice.map(([taskId]) => taskId.split("|")[0])).size).toBeLessThanOrEqual(1);
        if (when === "after") expect(twice.length).toBeLessThanOrEqual(3);
      }
      expect(cuts).toBeGreaterThanOrEqual(4);
    });
  }
});
