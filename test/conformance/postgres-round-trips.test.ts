/** P19, seen on the wire: one round trip for each step, and the server's limits in every session. */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { PostgresSaver } from "../../adapters/postgres/mod.ts";
import type { RunState } from "../../src/run/record.ts";
import { adopt } from "../../src/run/transitions.ts";
import {
  advance,
  claimRequest,
  committed,
  finishOf,
  held,
  nextCommit,
  stored,
  taskWrites,
} from "../../src/testing/fixture.ts";
import { Stage } from "./postgres-fixture.ts";
import { Meter } from "./postgres-meter.ts";

const heartbeatLimitMs = 3000;

let stage: Stage;
let meter: Meter;
/** One connection, so that turns are round trips. */
let saver: PostgresSaver;

beforeEach(async () => {
  stage = await Stage.open();
  meter = await Meter.at(stage.url);
  saver = await stage.saver({ url: meter.url, connections: 1 });
});

afterEach(async () => {
  await stage[Symbol.asyncDispose]();
  await meter[Symbol.asyncDispose]();
});

/** The driver asks about a statement at its first use, which costs a turn of its own. */
async function turnsOf(work: () => Promise<unknown>): Promise<number> {
  await work();
  const before = meter.turns;
  await work();
  return meter.turns - before;
}

test("P19: a superstep's commit is one round trip, with its writes and the end of its run too", async () => {
  const holding = await held(saver);
  expect(await turnsOf(() => committed(saver, holding))).toBe(1);
  expect(await turnsOf(() => committed(saver, holding, { writes: [taskWrites(holding, "t")] }))).toBe(1);
  const ending = [await held(saver), await held(saver)];
  const end = () => {
    const one = ending.pop()!;
    return committed(saver, one, { writes: [taskWrites(one, "t")], finish: finishOf(one) });
  };
  expect(await turnsOf(end)).toBe(1);
});

test("P18, P19: a batch over a hundred threads is one round trip: commits, task writes, renewals", async () => {
  const other = await stage.saver();
  const all = await Promise.all(Array.from({ length: 100 }, () => held(other)));
  const commit = async () => {
    const commits = all.map((holding) => nextCommit(holding));
    expect((await saver.commit(commits)).every((result) => result.ok)).toBe(true);
    for (const [index, holding] of all.entries()) advance(holding, commits[index]!);
  };
  const write = () => saver.putWrites(all.map((one) => ({ fence: one.fence, writes: [taskWrites(one, "t")] })));
  const renew = () => saver.renew(all.map(({ fence, runId }) => ({ fence, runId })));
  expect([await turnsOf(commit), await turnsOf(write), await turnsOf(renew)]).toEqual([1, 1, 1]);
});

test("P19: a claim, a change of a record and a read are one round trip each", async () => {
  const { runId, threadId } = await held(saver);
  const record = await stored(saver, runId);
  expect(await turnsOf(() => saver.claim(claimRequest(record)))).toBe(1);
  expect(await turnsOf(() => saver.get(threadId, ""))).toBe(1);
  const first = adopt(await stored(saver, runId), "coordinator-1");
  const second: RunState = { ...first, coordinator: "coordinator-2", revision: first.revision + 1 };
  const states = [second, first];
  expect(await turnsOf(() => saver.updateRun(runId, states.pop()!))).toBe(1);
});

test("P19: every session has limits on the server, below the heartbeat limit", () => {
  expect(meter.startups.length).toBeGreaterThan(0);
  for (const startup of meter.startups) {
    for (const name of ["statement_timeout", "idle_in_transaction_session_timeout"]) {
      const value = Number(new RegExp(`\\0${name}\\0(\\d+)\\0`).exec(startup)?.[1]);
      expect(value, name).toBeGreaterThan(0);
      expect(value, name).toBeLessThan(heartbeatLimitMs);
    }
  }
});
