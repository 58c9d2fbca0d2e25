/**
 * P17 for pairs of statements: each decides on the head row that it has locked, never on the view that it began with.
 * The test holds that row, lets two statements queue behind it in a known order (Postgres serves the waiters of a row in
 * turn), and lets go: the second one began before the first had changed anything.
 */
import { afterEach, beforeEach, expect, test } from "vitest";
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
import { Network, Stage } from "./postgres-fixture.ts";

let stage: Stage;
let a: PostgresSaver;
let b: PostgresSaver;
let owner: Holding;

beforeEach(async () => {
  stage = await Stage.open();
  [a, b] = [await stage.saver(), await stage.saver()];
  owner = await held(a);
  await committed(a, owner);
});

afterEach(() => stage[Symbol.asyncDispose]());

/** Both begin before either can go on; the first goes through before the second looks. */
async function inTurn<A, B>(first: () => Promise<A>, second: () => Promise<B>): Promise<[A, B]> {
  const release = await stage.lockHead(owner.threadId);
  const one = first();
  await stage.waiting(1);
  const both = Promise.all([one, second()]);
  // A failure while the lock is still held is reported below.
  both.catch(() => {});
  await stage.waiting(2);
  await release();
  return both;
}

const claimAgain = async () => b.claim(claimRequest(await stored(a, owner.runId)));

test("P9, P17: a commit that ends the run, behind a newer claim: nothing of it is left", async () => {
  const before = await dump(b, owner.threadId, []);
  const late = nextCommit(owner, { writes: [taskWrites(owner, "late")], finish: finishOf(owner) });
  const [claim, results] = await inTurn(claimAgain, () => a.commit([late]));
  refused(results, "FencedOut");
  expect(await dump(b, owner.threadId, [])).toEqual(before);
  expect(await stored(b, owner.runId)).toEqual(claim.record);
});

test("P9, P17: a commit that ends the run, behind its end by a coordinator: the end stands", async () => {
  const cancelled = endState(await stored(b, owner.runId), "cancelled");
  const late = nextCommit(owner, { finish: finishOf(owner) });
  const [record, results] = await inTurn(
    () => b.updateRun(owner.runId, cancelled),
    () => a.commit([late]),
  );
  refused(results, "FencedOut");
  expect(await stored(b, owner.runId)).toEqual(record);
});

test("P8, P17: a claim behind a commit starts from it", async () => {
  const commit = nextCommit(owner);
  const [results, claim] = await inTurn(() => a.commit([commit]), claimAgain);
  done(results);
  expect(claim.head).toMatchObject({ commitId: commit.commitId, seq: 2 });
  expect([claim.record.state.claimSeq, claim.record.headSeq]).toEqual([2, 2]);
});

test("P1, P17: a claim behind the run's finish is stale", async () => {
  const record = await stored(a, owner.runId);
  const last = nextCommit(owner, { finish: finishOf(owner) });
  const [results] = await inTurn(
    () => a.commit([last]),
    () => rejects(b.claim(claimRequest(record)), "StaleAttempt"),
  );
  done(results);
});

test("P1, P17: a claim behind the hand-off of its attempt is stale", async () => {
  const record = await stored(a, owner.runId);
  await inTurn(
    () => handedOff(b, owner.runId),
    () => rejects(a.claim(claimRequest(record)), "StaleAttempt"),
  );
});

test("P11, P17: a hand-off behind the claim of its attempt is a conflict", async () => {
  await inTurn(claimAgain, () => rejects(handedOff(a, owner.runId), "Conflict"));
  expect((await stored(a, owner.runId)).state).toMatchObject({ status: "running", attempt: 1 });
});

test("P9, P11, P17: a cancel behind the run's finish is a conflict", async () => {
  const cancelled = endState(await stored(b, owner.runId), "cancelled");
  const last = nextCommit(owner, { finish: finishOf(owner) });
  await inTurn(
    () => a.commit([last]),
    () => rejects(b.updateRun(owner.runId, cancelled), "Conflict"),
  );
  expect((await stored(b, owner.runId)).state.status).toBe("succeeded");
});

test("P12, P17: a run admitted behind a finish finds the thread free", async () => {
  const { threadId } = owner;
  const last = nextCommit(owner, { finish: finishOf(owner) });
  const [, next] = await inTurn(
    () => a.commit([last]),
    () => admitted(b, { threadId }, "reject"),
  );
  expect([next.active, next.headSeq]).toEqual([true, 2]);
  await b.claim(claimRequest(next));
});

test("P12, P17: a cancel that waited while a run was enqueued makes that run active", async () => {
  const { threadId } = owner;
  const cancelled = endState(await stored(b, owner.runId), "cancelled");
  const [next] = await inTurn(
    () => admitted(a, { threadId }),
    () => b.updateRun(owner.runId, cancelled),
  );
  expect((await stored(a, next.spec.runId)).active).toBe(true);
  await a.claim(claimRequest(next));
});

test("P2, P12, P17: a thread is not deleted under a run that was admitted while the deletion waited", async () => {
  const { threadId } = owner;
  await committed(a, owner, { finish: finishOf(owner) });
  const [next] = await inTurn(
    () => admitted(a, { threadId }),
    () => rejects(b.deleteThread(threadId), "ThreadBusy"),
  );
  expect((await b.claim(claimRequest(next))).head).toEqual(owner.head);
});

test("P2, P17: a run admitted behind a deletion starts from nothing, above every older epoch", async () => {
  const { threadId, fence } = owner;
  await committed(a, owner, { finish: finishOf(owner) });
  const [, next] = await inTurn(
    () => a.deleteThread(threadId),
    () => admitted(b, { threadId }),
  );
  const claim = await b.claim(claimRequest(next));
  expect([claim.head.seq, claim.record.headSeq]).toEqual([0, 0]);
  expect(claim.fence.epoch).toBeGreaterThan(fence.epoch);
});

test("P7: a commit whose first statement still runs when it is issued again is there once", async () => {
  await using network = await Network.to(stage.url);
  const far = await stage.saver({ url: network.url, connections: 1 });
  const release = await stage.lockHead(owner.threadId);
  const commit = nextCommit(owner);
  const results = far.commit([commit]);
  await stage.waiting(1);
  // The server is not told: its first statement goes on waiting, and the second one comes to wait behind it.
  network.cut();
  await stage.waiting(2);
  await release();
  done(await results);
  expect((await b.list({ threadId: owner.threadId, limit: 10 })).length).toBe(2);
  expect((await b.head(owner.threadId))?.commitId).toBe(commit.commitId);
});

test("P18: a batch that the server undoes as a deadlock's victim is issued again, and every entry is answered", async () => {
  const all = await Promise.all(Array.from({ length: 6 }, () => held(a)));
  all.sort((x, y) => (x.threadId < y.threadId ? -1 : 1));
  const [first, last] = [all[0]!.threadId, all.at(-1)!.threadId];
  const other = await stage.admin.reserve();
  const heads = other(`${stage.schema}.threads`);
  // The other transaction locks against the order and is patient, so that the batch is the one to be undone.
  await other`SET deadlock_timeout = '60s'`;
  await other`BEGIN`;
  await other`SELECT FROM ${heads} WHERE thread_id = ${last} FOR UPDATE`;
  const results = b.commit(all.map((holding) => nextCommit(holding)));
  await stage.waiting(1);
  await other`SELECT FROM ${heads} WHERE thread_id = ${first} FOR UPDATE`;
  await other`COMMIT`;
  other.release();
  outcomes(await results, "ok", "ok", "ok", "ok", "ok", "ok");
  const rows = await stage.rows("SELECT thread_id FROM $.checkpoints WHERE seq = 1");
  expect(rows.map((row) => row.thread_id).sort()).toEqual([owner, ...all].map(({ threadId }) => threadId).sort());
});

test("P18: an entry that the server refuses for a duplicate key fails alone, and whole", async () => {
  const all = await Promise.all(Array.from({ length: 7 }, () => held(a)));
  const spoilt = all[3]!;
  await committed(a, spoilt);
  // Damage of the kind that a restored copy brings: the row of commit 1 is there, and the head does not know it.
  await stage.admin`UPDATE ${stage.admin(`${stage.schema}.threads`)} SET seq = 0, commit_id = NULL
    WHERE thread_id = ${spoilt.threadId}`;
  spoilt.head = { commitId: null, seq: 0, checkpointId: null, runId: null };
  const commits = all.map((holding) => nextCommit(holding, { finish: finishOf(holding) }));
  const results = await b.commit(commits);
  expect(results.map((result) => result.ok)).toEqual([true, true, true, false, true, true, true]);
  for (const [index, holding] of all.entries()) {
    const fine = holding !== spoilt;
    expect((await b.head(holding.threadId))?.commitId).toBe(fine ? commits[index]!.commitId : undefined);
    expect((await stored(b, holding.runId)).state.status).toBe(fine ? "succeeded" : "running");
  }
});
