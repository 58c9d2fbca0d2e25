/** PROTOCOL.md P5: the fence is checked at the start of each task, not once for all of a superstep's. */
import { expect, test } from "vitest";
import type { HeldLease } from "../../../src/engine/lease.ts";
import { executeRun } from "../../../src/engine/run.ts";
import type { Plan } from "../../../src/graph/plan.ts";
import {
  AgentmaticError,
  Annotation,
  encodeValue,
  MemorySaver,
  START,
  StateGraph,
  systemPorts,
} from "../../../src/mod.ts";
import { makeSpec } from "../../../src/run/spec.ts";

const started: string[] = [];
const plan: Plan = new StateGraph({ go: Annotation<boolean>() })
  .addNode("a", () => void started.push("a"))
  .addNode("b", () => void started.push("b"))
  .addNode("c", () => void started.push("c"))
  .addEdge(START, "a")
  .addEdge(START, "b")
  .addEdge(START, "c")
  .plan({ name: "fan-out" });

async function execute(lease: HeldLease) {
  started.length = 0;
  const saver = new MemorySaver();
  const graph = { name: plan.name, version: plan.version };
  const fields = { threadId: "t", graph, kind: "input" as const, input: encodeValue({ go: true }), maxSteps: 9 };
  const spec = await makeSpec(fields, systemPorts);
  await saver.admit({ spec, coordinator: null, whenBusy: "reject" });
  const claim = await saver.claim({ runId: spec.runId, threadId: "t", attempt: 1, owner: "w", nonce: "n".repeat(22) });
  const quiet = { wants: () => false, emit: () => {}, cancel: new AbortController().signal, draining: () => false };
  return executeRun({ plan, saver, claim, lease, ports: systemPorts, ...quiet });
}

test("P5: a freeze between two tasks of a superstep starts none after it", async () => {
  const lost = new AbortController();
  let checks = 0;
  const check = () => {
    if (++checks === 1) return undefined;
    return Promise.reject(new AgentmaticError("FencedOut", "another owner"));
  };
  const end = await execute({ check, lost: lost.signal, release: () => {} });
  expect(started).toEqual(["a"]);
  expect(end).toMatchObject({ status: "queued", error: { code: "FencedOut" } });
});

test("P5: nothing starts once the claim is known to be over", async () => {
  const lost = new AbortController();
  const check = async () => lost.abort(new AgentmaticError("FencedOut", "another owner"));
  const end = await execute({ check, lost: lost.signal, release: () => {} });
  expect(started).toEqual([]);
  expect(end).toMatchObject({ status: "queued", error: { code: "FencedOut" } });
});

test("P5: each start is checked", async () => {
  let checks = 0;
  const check = () => void checks++ as undefined;
  const end = await execute({ check, lost: new AbortController().signal, release: () => {} });
  expect([started, checks, end.status]).toEqual([["a", "b", "c"], 3, "succeeded"]);
});
