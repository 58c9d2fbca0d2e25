/**
 * P7: answers lost after the step was done. The driver asks about a statement at its first use on a connection, so each
 * step is taken once before, on the one connection there is: what is lost then is the answer itself.
 */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { PostgresSaver } from "../../adapters/postgres/mod.ts";
import { adopt } from "../../src/run/transitions.ts";
import { done, outcomes, rejects } from "../../src/testing/assert.ts";
import {
  admitted,
  advance,
  claimRequest,
  committed,
  finishOf,
  type Holding,
  held,
  nextCommit,
  stored,
  taskWrites,
} from "../../src/testing/fixture.ts";
import { Network, Stage } from "./postgres-fixture.ts";

let stage: Stage;
let network: Network;
let far: PostgresSaver;
/** Not behind the network that fails. */
let near: PostgresSaver;
let holding: Holding;

beforeEach(async () => {
  stage = await Stage.open();
  network = await Network.to(stage.url);
  near = await stage.saver();
  far = await stage.saver({ url: network.url, connections: 1 });
  holding = await held(near);
  await committed(near, holding);
});

afterEach(async () => {
  await stage[Symbol.asyncDispose]();
  await network[Symbol.asyncDispose]();
});

/** `meanwhile` happens between the loss and the second issue: no connection is to be had until it is over. */
async function losing<T>(step: () => Promise<T>, meanwhile: () => Promise<unknown> = async () => {}): Promise<T> {
  let done: Promise<unknown> | undefined;
  network.onAnswer = () => {
    if (done) return true;
    const closing = network.refuse();
    done = meanwhile().finally(async () => (await closing)());
    return false;
  };
  const answer = await step();
  expect(done, "an answer to be lost").toBeDefined();
  await done;
  network.onAnswer = () => true;
  return answer;
}

test("P7: a commit with writes and the end of its run", async () => {
  const warm = await held(near);
  await committed(far, warm, { writes: [taskWrites(warm, "t")], finish: finishOf(warm) });
  const { threadId, runId } = holding;
  const next = await admitted(near, { threadId });
  const commit = nextCommit(holding, { writes: [taskWrites(holding, "t")], finish: finishOf(holding) });
  done(await losing(() => far.commit([commit])));
  expect((await near.list({ threadId, limit: 10 })).length).toBe(2);
  expect((await stored(near, runId)).state).toMatchObject({ status: "succeeded", revision: 3 });
  expect((await stored(near, next.spec.runId)).active).toBe(true);
});

test("P6, P7: a batch in which one thread was taken over between the loss and the second issue", async () => {
  const all = [holding, await held(near), await held(near)];
  const batch = () => all.map((one) => nextCommit(one));
  const warm = batch();
  outcomes(await far.commit(warm), "ok", "ok", "ok");
  for (const [index, one] of all.entries()) advance(one, warm[index]!);
  const record = await stored(near, holding.runId);
  const commits = batch();
  let fence: unknown;
  const results = await losing(
    () => far.commit(commits),
    async () => {
      const claim = await near.claim(claimRequest(record));
      fence = claim.fence;
      // It had landed, and its writer is told that it is out: the new owner goes on from it.
      expect(claim.head.commitId).toBe(commits[0]!.commitId);
    },
  );
  expect(fence).toBeDefined();
  outcomes(results, "FencedOut", "ok", "ok");
});

test("P2, P7: a claim is the same claim", async () => {
  const record = await stored(near, holding.runId);
  const warm = await far.claim(claimRequest(record));
  const claim = await losing(() => far.claim(claimRequest(record)));
  expect(claim.fence.epoch).toBe(warm.fence.epoch + 1);
  expect(claim.record.state.revision).toBe(warm.record.state.revision + 1);
  outcomes(await near.renew([{ fence: claim.fence, runId: holding.runId }]), "ok");
});

test("P7, P12: an admission is one run", async () => {
  const warm = await admitted(far);
  const record = await losing(() => admitted(far, { threadId: warm.spec.threadId }));
  expect([record.ticket, record.active]).toEqual([2, false]);
  expect((await near.listRuns({ threadId: warm.spec.threadId, limit: 10 })).length).toBe(2);
});

test("P7, P10: task writes and a renewal", async () => {
  const { fence, runId, threadId } = holding;
  const put = (taskId: string) => far.putWrites([{ fence, writes: [taskWrites(holding, taskId)] }]);
  done(await put("a"));
  done(await losing(() => put("b")));
  expect((await near.get(threadId, ""))?.writes.map(({ taskId }) => taskId)).toEqual(["a", "b"]);
  outcomes(await far.renew([{ fence, runId }]), "ok");
  outcomes(await losing(() => far.renew([{ fence, runId }])), "ok");
});

test("P7, P11: a change of a record is its maker's success, unless another has changed it since", async () => {
  const { runId } = holding;
  const first = await far.updateRun(runId, adopt(await stored(near, runId), "coordinator-1"));
  const second = await losing(() => far.updateRun(runId, adopt(first, "coordinator-2")));
  expect(second.state).toMatchObject({ coordinator: "coordinator-2", revision: first.state.revision + 1 });
  await far.updateRun(runId, adopt(second, "coordinator-3"));
  const third = await stored(near, runId);
  // A third party must not be told that its change is there where it is not.
  await losing(
    () => rejects(far.updateRun(runId, adopt(third, "coordinator-4")), "Conflict"),
    async () => near.updateRun(runId, adopt(await stored(near, runId), "coordinator-5")),
  );
  expect((await stored(near, runId)).state.coordinator).toBe("coordinator-5");
});
