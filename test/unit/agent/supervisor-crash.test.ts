/** A supervisor and its agents are cut off before or after every single write to the store; another owner goes on. */
import { expect, test } from "vitest";
import { z } from "zod";
import { createSupervisor } from "../../../src/agent/supervisor.ts";
import type { Saver } from "../../../src/checkpoint/saver.ts";
import { LeaseKeeper } from "../../../src/engine/lease.ts";
import { executeRun } from "../../../src/engine/run.ts";
import type { Plan } from "../../../src/graph/plan.ts";
import {
  AgentmaticError,
  createReactAgent,
  decodeValue,
  encodeValue,
  MemorySaver,
  MemoryStore,
  systemPorts,
  tool,
} from "../../../src/mod.ts";
import type { RunEnd } from "../../../src/run/link.ts";
import { makeSpec } from "../../../src/run/spec.ts";
import { handOff } from "../../../src/run/transitions.ts";
import { type Answer, callOf, scripted } from "./model.ts";

interface Cut {
  readonly at: number;
  readonly when: "before" | "after";
}

/** What models and tools did, over all processes. */
type Log = Map<string, number>;

/** Two agents with a tool each, one of them under a supervisor of its own; of this process. */
function build(log: Log): Plan {
  const count = (what: string) => log.set(what, (log.get(what) ?? 0) + 1);
  const model = (name: string, answers: readonly Answer[]) =>
    scripted(
      answers,
      ({ prompt }) => void count(`${name} ${prompt.filter(({ role }) => role === "assistant").length}`),
    );
  const agent = (name: string) => {
    const work = tool({
      name: "work",
      description: "Works",
      input: z.object({}),
      execute: (_input, { idempotencyKey }) => {
        count(`${name} works ${idempotencyKey}`);
        return `${name}'s work`;
      },
    });
    return createReactAgent({ name, llm: model(name, [[callOf("w", "work", {})], `${name} is done`]), tools: [work] });
  };
  const hand = (name: string) => callOf(name, `transfer_to_${name}`, { task: `work, ${name}` });
  const inner = createSupervisor({
    name: "inner",
    llm: model("inner", [[hand("right")], "inner is done"]),
    agents: [agent("right")],
  });
  const llm = model("outer", [[hand("left"), hand("inner")], "all is done"]);
  return createSupervisor({ name: "outer", llm, agents: [agent("left"), inner] }).plan;
}

/** A client of the store whose process is gone at its n-th write. */
function dying(inner: Saver, cut: Cut | undefined, died: () => void): Saver {
  let writes = 0;
  let dead = false;
  return new Proxy(inner, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== "function") return value;
      const die = (): never => {
        if (!dead) died();
        dead = true;
        throw new AgentmaticError("FencedOut", "this process is gone");
      };
      return async (...args: unknown[]) => {
        if (dead) die();
        const hit = (key === "commit" || key === "putWrites") && ++writes === cut?.at;
        if (hit && cut.when === "before") die();
        const result = (await value.apply(target, args)) as unknown;
        return hit ? die() : result;
      };
    },
  });
}

async function attempt(store: MemoryStore, plan: Plan, cut: Cut | undefined, died: () => void): Promise<RunEnd> {
  const saver = dying(new MemorySaver({ store }), cut, died);
  const record = (await saver.getRun("r"))!;
  const claimedMs = systemPorts.clock.monotonicMs();
  const nonce = systemPorts.ids.next();
  const claim = await saver.claim({ threadId: "t", runId: "r", attempt: record.state.attempt, owner: "w", nonce });
  const leases = new LeaseKeeper(saver, systemPorts, { leaseMs: 60_000 });
  const lease = leases.hold(claim, claimedMs, () => {});
  const { signal: cancel } = new AbortController();
  const process = { plan, saver, claim, lease, ports: systemPorts, cancel };
  try {
    return await executeRun({ ...process, wants: () => false, emit: () => {}, draining: () => false });
  } finally {
    lease.release();
    leases.close();
  }
}

async function runCut(cut: Cut | undefined) {
  const log: Log = new Map();
  const store = new MemoryStore();
  const saver = new MemorySaver({ store });
  const input = encodeValue({ messages: { role: "user", content: "go" } });
  const plan = build(log);
  const about = { runId: "r", threadId: "t", graph: plan, kind: "input", input, maxSteps: 25 } as const;
  await saver.admit({ spec: await makeSpec(about, systemPorts), coordinator: null, whenBusy: "reject" });
  let died = false;
  await attempt(store, plan, cut, () => {
    died = true;
  });
  const record = (await saver.getRun("r"))!;
  if (died && record.state.outcome === null) {
    await saver.updateRun("r", handOff(record, "c", "lost", 0));
    await attempt(store, build(log), undefined, () => {});
  }
  const { status } = (await saver.getRun("r"))!.state;
  const { values } = (await saver.get("t", ""))!.checkpoint;
  const state = Object.fromEntries(Object.entries(values).map(([key, value]) => [key, decodeValue(value)]));
  return { log, died, status, state, commits: (await saver.list({ threadId: "t", limit: 100 })).length };
}

test("left alone, each model is asked once for each answer and each tool is called once", async () => {
  const { log, status, state, commits } = await runCut(undefined);
  expect({ status, commits }).toEqual({ status: "succeeded", commits: 4 });
  expect([...log.values()]).toEqual(Array(10).fill(1));
  expect(state).toMatchObject({ usage: { calls: 8, inputTokens: 8, outputTokens: 8 } });
  expect(state.messages).toMatchObject([
    { role: "user" },
    { role: "assistant" },
    { role: "tool", content: [{ toolCallId: "left", output: { value: "left is done" } }] },
    { role: "tool", content: [{ toolCallId: "inner", output: { value: "inner is done" } }] },
    { role: "assistant", content: [{ text: "all is done" }] },
  ]);
});

test.each(["before", "after"] as const)(
  "%s each write in turn: the same state and usage, and what was stored is not done again",
  async (when) => {
    const alone = await runCut(undefined);
    let cuts = 0;
    for (let at = 1; ; at++) {
      const { log, died, status, state, commits } = await runCut({ at, when });
      if (!died) break;
      cuts++;
      expect({ at, status, commits, state }).toEqual({
        at,
        status: "succeeded",
        commits: alone.commits,
        state: alone.state,
      });
      expect([...log.keys()].sort()).toEqual([...alone.log.keys()].sort());
      // At most one step of each of the two agents was in flight.
      const again = [...log.values()].map((times) => times - 1);
      expect(Math.max(...again)).toBeLessThanOrEqual(1);
      expect(again.reduce((sum, times) => sum + times, 0)).toBeLessThanOrEqual(2);
    }
    expect(cuts).toBeGreaterThanOrEqual(12);
  },
);
