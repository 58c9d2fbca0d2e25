/**
 * P17: every fenced statement decides on the head row that it has locked, never on the view it began with. Each test
 * holds that row, lets two statements queue behind it in a known order (Postgres serves waiters of a row in turn), and
 * lets go: the second one began before the first had changed anything.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { PostgresSaver } from "../../adapters/postgres/mod.ts";
import { done, outcomes, refused, rejects } from "../../src/testing/assert.ts";
import {
  admitted,
  claimRequest,
  committed,
  dump,
  endState,
  finishOf,
  type Holding,
  handedOff,
  held,
  nextCommit,
  stored,
  taskWrites,
} from "../../src/testing/fixture.ts";
import { Bench } from "./postgres-bench.ts";

let bench: Bench;
let a: PostgresSaver;
let b: PostgresSaver;
let owner: Holding;

beforeEach(async () => {
  bench = await Bench.start();
  [a, b] = [await bench.saver(), await bench.saver()];
  owner = await held(a);
  await committed(a, owner);
});

afterEach(() => bench[Symbol.asyncDispose]());

/** Both began before either could go on; the first goes through before the second looks. */
async function inTurn<A, B>(first: () => Promise<A>, second: () => Promise<B>): Promise<[A, B]> {
  const release = await bench.lock(owner.threadId);
  const one = first();
  await bench.waiting(1);
  const two = second();
  // A failure must not go unnoticed while the lock is still held.
  const both = Promise.all([one, two]);
  both.catch(() => {});
  await bench.waiting(2);
  await release();
  return both;
}

const claimAgain = async () => b.claim(claimRequest(await stored(a, owner.runId)));
const seeAll = () => dump(b, owner.threadId, [owner.runId]);

describe("P17: a write under an old fence that waited while a newer claim went through leaves nothing behind", () => {
  test("task writes", async () => {
    const before = await seeAll();
    const writes = [taskWrites(owner, "late")];
    const [, results] = await inTurn(claimAgain, () => a.putWrites([{ fence: owner.fence, writes }]));
    refused(results, "FencedOut");
    const after = await seeAll();
    expect([after.head, after.checkpoints]).toEqual([before.head, before.checkpoints]);
  });

  test("a commit with writes that ends the run", async () => {
    const before = await seeAll();
    const commit = nextCommit(owner, { writes: [taskWrites(owner, "late")], finish: finishOf(owner) });
    const [claim, results] = await inTurn(claimAgain, () => a.commit([commit]));
    refused(results, "FencedOut");
    const after = await seeAll();
    expect([after.head, after.checkpoints]).toEqual([before.head, before.checkpoints]);
    expect(after.runs).toEqual([claim.record]);
  });

  test("a renewal", async () => {
    const { fence, runId } = owner;
    const [claim, results] = await inTurn(claimAgain, () => a.renew([{ fence, runId }]));
    outcomes(results, "FencedOut");
    expect((await seeAll()).runs).toEqual([claim.record]);
  });

  test("a commit that waited for the end of its run by a coordinator", async () => {
    const cancelled = endState(await stored(b, owner.runId), "cancelled");
    const commit = nextCommit(owner, { finish: finishOf(owner) });
    const [record, results] = await inTurn(
      () => b.updateRun(owner.runId, cancelled),
      () => a.commit([commit]),
    );
    refused(results, "FencedOut");
    expect((await seeAll()).runs).toEqual([record]);
  });
});

describe("P17: a claim that waited for a write under the old fence sees it", () => {
  test("task writes are there when the claimer reads", async () => {
    const writes = [taskWrites(owner, "just-in-time")];
    const [results] = await inTurn(() => a.putWrites([{ fence: owner.fence, writes }]), claimAgain);
    done(results);
    expect((await b.get(owner.threadId, ""))?.writes).toEqual(writes);
  });

  test("a commit is the head that the claim answers", async () => {
    const commit = nextCommit(owner);
    const [results, claim] = await inTurn(() => a.commit([commit]), claimAgain);
    done(results);
    expect(claim.head).toMatchObject({ commitId: commit.commitId, seq: 2 });
    expect([claim.record.state.claimSeq, claim.record.headSeq]).toEqual([2, 2]);
  });

  test("a finish makes the claim stale", async () => {
    const record = await stored(a, owner.runId);
    const commit = nextCommit(owner, { finish: finishOf(owner) });
    const [results] = await inTurn(
      () => a.commit([commit]),
      () => rejects(b.claim(claimRequest(record)), "StaleAttempt"),
    );
    done(results);
  });
});

describe("P11, P12, P17: changes of records that waited decide on what they then find", () => {
  test("a claim behind the hand-off of its attempt is stale", async () => {
    const record = await stored(a, owner.runId);
    await inTurn(
      () => handedOff(b, owner.runId),
      () => rejects(a.claim(claimRequest(record)), "StaleAttempt"),
    );
  });

  test("a cancel behind the finish is a conflict", async () => {
    const cancelled = endState(await stored(b, owner.runId), "cancelled");
    const commit = nextCommit(owner, { finish: finishOf(owner) });
    await inTurn(
      () => a.commit([commit]),
      () => rejects(b.updateRun(owner.runId, cancelled), "Conflict"),
    );
    expect((await stored(b, owner.runId)).state.status).toBe("succeeded");
  });

  test("a finish finds the run that was admitted while it waited, and makes it active", async () => {
    const { threadId } = owner;
    const commit = nextCommit(owner, { finish: finishOf(owner) });
    const [next, results] = await inTurn(
      () => admitted(b, { threadId }),
      () => a.commit([commit]),
    );
    done(results);
    expect((await stored(a, next.spec.runId)).active).toBe(true);
    await b.claim(claimRequest(next));
  });

  test("a run admitted behind a finish finds the thread free", async () => {
    const { threadId } = owner;
    const commit = nextCommit(owner, { finish: finishOf(owner) });
    const [, next] = await inTurn(
      () => a.commit([commit]),
      () => admitted(b, { threadId }, "reject"),
    );
    expect([next.active, next.headSeq]).toEqual([true, 2]);
    await b.claim(claimRequest(next));
  });

  test("a thread is not deleted under a run that was admitted while the deletion waited", async () => {
    const { threadId } = owner;
    await committed(a, owner, { finish: finishOf(owner) });
    const [next] = await inTurn(
      () => admitted(a, { threadId }),
      () => rejects(b.deleteThread(threadId), "ThreadBusy"),
    );
    expect((await b.claim(claimRequest(next))).head).toEqual(owner.head);
  });
});
