/** P19 and P7: one round trip, one transaction, limits on both; and answers that get lost on the way. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { PostgresSaver } from "../../adapters/postgres/mod.ts";
import { adopt } from "../../src/run/transitions.ts";
import { done, outcomes, rejects } from "../../src/testing/assert.ts";
import {
  advance,
  claimRequest,
  committed,
  endState,
  finishOf,
  type Holding,
  held,
  nextCommit,
  stored,
  taskWrites,
} from "../../src/testing/fixture.ts";
import { Bench, type Relay } from "./postgres-bench.ts";

const heartbeatLimitMs = 3000;

let bench: Bench;
let relay: Relay;
/** One connection, behind the relay. */
let saver: PostgresSaver;
/** Not behind it. */
let witness: PostgresSaver;

beforeEach(async () => {
  bench = await Bench.start();
  relay = await bench.relay();
  saver = await bench.saver({ url: relay.url, connections: 1 });
  witness = await bench.saver();
});

afterEach(() => bench[Symbol.asyncDispose]());

describe("P19: one round trip", () => {
  /** The driver describes a statement at its first use, which costs a turn of its own. */
  async function turnsOf(work: () => Promise<unknown>): Promise<number> {
    await work();
    const before = relay.turns;
    await work();
    return relay.turns - before;
  }

  test("for a commit of a superstep, with its writes and the end of its run", async () => {
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

  test("for a batch of commits over a hundred threads, and for their task writes and renewals", async () => {
    const all = await Promise.all(Array.from({ length: 100 }, () => held(witness)));
    const commit = async () => {
      const commits = all.map((holding) => nextCommit(holding));
      expect((await saver.commit(commits)).every((result) => result.ok)).toBe(true);
      for (const [index, holding] of all.entries()) advance(holding, commits[index]!);
    };
    const write = () => saver.putWrites(all.map((one) => ({ fence: one.fence, writes: [taskWrites(one, "t")] })));
    const renew = () => saver.renew(all.map(({ fence, runId }) => ({ fence, runId })));
    expect([await turnsOf(commit), await turnsOf(write), await turnsOf(renew)]).toEqual([1, 1, 1]);
  });

  test("for a claim, a change of a record, a read", async () => {
    const { runId, threadId } = await held(saver);
    const record = await stored(saver, runId);
    expect(await turnsOf(() => saver.claim(claimRequest(record)))).toBe(1);
    expect(await turnsOf(() => saver.get(threadId, ""))).toBe(1);
    const states = [adopt(record, "x"), adopt(record, "y")];
    const first = await stored(saver, runId);
    states.forEach((state, index) => {
      states[index] = { ...state, revision: first.state.revision + 1 + index };
    });
    expect(await turnsOf(() => saver.updateRun(runId, states.shift()!))).toBe(1);
  });
});

describe("P19: limits on the server, below the heartbeat limit", () => {
  test("are part of every session", () => {
    expect(relay.startups.length).toBeGreaterThan(0);
    for (const startup of relay.startups) {
      for (const name of ["statement_timeout", "idle_in_transaction_session_timeout"]) {
        const value = Number(new RegExp(`\\0${name}\\0(\\d+)\\0`).exec(startup)?.[1]);
        expect(value, name).toBeGreaterThan(0);
        expect(value, name).toBeLessThan(heartbeatLimitMs);
      }
    }
  });

  test("end a statement that waits for a lock, which leaves nothing behind and can be issued again", async () => {
    const hasty = await bench.saver({ statementTimeoutMs: 200 });
    const holding = await held(hasty);
    const commit = nextCommit(holding);
    const release = await bench.lock(holding.threadId);
    const started = performance.now();
    const [result] = await hasty.commit([commit]);
    expect(performance.now() - started).toBeLessThan(heartbeatLimitMs);
    expect(result?.ok).toBe(false);
    await release();
    expect(await witness.head(holding.threadId)).toBeUndefined();
    done(await hasty.commit([commit]));
    expect((await witness.list({ threadId: holding.threadId, limit: 10 })).length).toBe(1);
  });
});

describe("P7: an answer that is lost is settled by issuing the very same again", () => {
  let holding: Holding;
  let threadId: string;
  const rows = async () => (await witness.list({ threadId, limit: 100 })).length;

  beforeEach(async () => {
    holding = await held(saver);
    threadId = holding.threadId;
    await committed(saver, holding);
  });

  test("a commit that landed", async () => {
    const lost = relay.loseNextAnswer();
    const commit = nextCommit(holding, { finish: finishOf(holding) });
    const [results] = await Promise.all([saver.commit([commit]), lost]);
    done(results);
    expect(await rows()).toBe(2);
    expect((await stored(witness, holding.runId)).state).toMatchObject({ status: "succeeded", revision: 3 });
  });

  test("a commit whose statement still runs when it is issued again", async () => {
    const release = await bench.lock(threadId);
    const commit = nextCommit(holding);
    const results = saver.commit([commit]);
    await bench.waiting(1);
    relay.cutClients();
    // The first one still waits, and the second behind it.
    await bench.waiting(2);
    await release();
    done(await results);
    expect(await rows()).toBe(2);
    expect((await witness.head(threadId))?.commitId).toBe(commit.commitId);
  });

  test("a commit whose server process was killed before it could write", async () => {
    const release = await bench.lock(threadId);
    const commit = nextCommit(holding);
    const results = saver.commit([commit]);
    await bench.waiting(1);
    await bench.sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    await bench.waiting(1);
    await release();
    done(await results);
    expect(await rows()).toBe(2);
  });

  test("a batch: each entry has its own answer", async () => {
    const others = [await held(saver), await held(saver)];
    const lost = relay.loseNextAnswer();
    const commits = [holding, ...others].map((one) => nextCommit(one));
    const zombie = nextCommit({ ...(await held(witness)), fence: { ...holding.fence, nonce: "another nonce" } });
    const [results] = await Promise.all([saver.commit([...commits, zombie]), lost]);
    outcomes(results, "ok", "ok", "ok", "FencedOut");
  });

  test("a claim: it is the same claim", async () => {
    const lost = relay.loseNextAnswer();
    const record = await stored(witness, holding.runId);
    const [claim] = await Promise.all([saver.claim(claimRequest(record)), lost]);
    expect(claim.fence.epoch).toBe(holding.fence.epoch + 1);
    expect(claim.record.state.revision).toBe(record.state.revision + 1);
  });

  test("task writes, a renewal, an admission", async () => {
    let lost = relay.loseNextAnswer();
    const writes = [taskWrites(holding, "t")];
    done((await Promise.all([saver.putWrites([{ fence: holding.fence, writes }]), lost]))[0]);
    expect((await witness.get(threadId, ""))?.writes).toEqual(writes);
    lost = relay.loseNextAnswer();
    const { fence, runId } = holding;
    outcomes((await Promise.all([saver.renew([{ fence, runId }]), lost]))[0], "ok");
    lost = relay.loseNextAnswer();
    const [fresh] = await Promise.all([held(saver), lost]);
    expect((await witness.listRuns({ threadId: fresh.threadId, limit: 10 })).length).toBe(1);
  });

  test("a change of a record: it is done once, and another's change in between is a conflict", async () => {
    const record = await stored(witness, holding.runId);
    let lost = relay.loseNextAnswer();
    const [adopted] = await Promise.all([saver.updateRun(holding.runId, adopt(record, "coordinator-2")), lost]);
    expect(adopted.state).toMatchObject({ coordinator: "coordinator-2", revision: record.state.revision + 1 });
    await witness.updateRun(holding.runId, adopt(adopted, "coordinator-3"));
    lost = relay.loseNextAnswer();
    await Promise.all([rejects(saver.updateRun(holding.runId, endState(adopted, "failed")), "Conflict"), lost]);
    expect((await stored(witness, holding.runId)).state.coordinator).toBe("coordinator-3");
  });
});
