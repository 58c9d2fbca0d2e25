// P17 and P19 with real connections that wait for each other: what a statement decides after it had to wait, and how
// long it may wait.
import postgres from "postgres";
import { expect, test } from "vitest";
import type { PostgresSaver } from "../../adapters/postgres/mod.ts";
import {
  admitted,
  advance,
  claimRequest,
  committed,
  endState,
  finishOf,
  type Holding,
  held,
  holdingOf,
  nextCommit,
  stored,
  taskWrites,
} from "../../src/testing/fixture.ts";
import { Stage } from "./postgres-fixture.ts";

test("P17: task writes, a commit and a renewal that waited while a newer claim was made leave nothing", async () => {
  await using stage = await Stage.open();
  const [a, b] = [await stage.saver(), await stage.saver()];
  const record = await admitted(a);
  const zombie = holdingOf(await a.claim(claimRequest(record)));
  await committed(a, zombie);
  const release = await stage.lockHead(zombie.threadId);
  const claiming = b.claim(claimRequest(record));
  await stage.waiting(1);
  // They begin now, and see the old claim in force; when they get the lock it is over.
  const writing = a.putWrites([{ fence: zombie.fence, writes: [taskWrites(zombie, "late")] }]);
  const renewing = a.renew([{ fence: zombie.fence, runId: zombie.runId }]);
  const committing = a.commit([nextCommit(zombie, { checkpointId: "late" })]);
  await stage.waiting(4);
  await release();
  const claim = await claiming;
  for (const results of [await writing, await renewing, await committing]) {
    expect(results).toEqual([{ ok: false, error: expect.objectContaining({ code: "FencedOut" }) }]);
  }
  expect(claim.head).toEqual(zombie.head);
  expect(await stage.rows("SELECT * FROM $.writes")).toEqual([]);
  expect(await stage.rows("SELECT checkpoint_id FROM $.checkpoints WHERE checkpoint_id = 'late'")).toEqual([]);
  expect((await stored(b, zombie.runId)).state.lease).toBe(claim.record.state.lease);
});

test("P17: task writes that got the lock first are there for the claim that waited behind them", async () => {
  await using stage = await Stage.open();
  const [a, b] = [await stage.saver(), await stage.saver()];
  const record = await admitted(a);
  const owner = holdingOf(await a.claim(claimRequest(record)));
  await committed(a, owner);
  const release = await stage.lockHead(owner.threadId);
  const writing = a.putWrites([{ fence: owner.fence, writes: [taskWrites(owner, "early")] }]);
  await stage.waiting(1);
  const claiming = b.claim(claimRequest(record));
  await stage.waiting(2);
  await release();
  expect(await writing).toEqual([{ ok: true }]);
  await claiming;
  expect((await b.get(owner.threadId, ""))?.writes.map(({ taskId }) => taskId)).toEqual(["early"]);
});

/** The two ways in which a run ends and its thread goes to the next one: by its worker, and by a coordinator. */
const endings = [
  [
    "a finish",
    async (saver: PostgresSaver, owner: Holding) => saver.commit([nextCommit(owner, { finish: finishOf(owner) })]),
  ],
  [
    "a cancel",
    async (saver: PostgresSaver, owner: Holding) =>
      saver.updateRun(owner.runId, endState(await stored(saver, owner.runId), "cancelled")),
  ],
] as const;

test.each(endings)("P9, P17: %s that waited while a run was enqueued makes that run active", async (_, end) => {
  await using stage = await Stage.open();
  const [a, b] = [await stage.saver(), await stage.saver()];
  const owner = await held(a);
  const release = await stage.lockHead(owner.threadId);
  const admitting = admitted(b, { threadId: owner.threadId });
  await stage.waiting(1);
  // Its view has no second run yet.
  const ending = end(a, owner);
  await stage.waiting(2);
  await release();
  const result = await ending;
  if ("length" in result) expect(result).toEqual([{ ok: true }]);
  const next = await admitting;
  expect((await stored(a, next.spec.runId)).active).toBe(true);
  await b.claim(claimRequest(next));
});

test.each(endings)("P9, P17: %s that waited while the next run was cancelled passes over it", async (_, end) => {
  await using stage = await Stage.open();
  const [a, b] = [await stage.saver(), await stage.saver()];
  const owner = await held(a);
  const second = await admitted(a, { threadId: owner.threadId });
  const third = await admitted(a, { threadId: owner.threadId });
  const release = await stage.lockHead(owner.threadId);
  const cancelling = b.updateRun(second.spec.runId, endState(second, "cancelled"));
  await stage.waiting(1);
  // Its view has the second run as it was.
  const ending = end(a, owner);
  await stage.waiting(2);
  await release();
  const result = await ending;
  if ("length" in result) expect(result).toEqual([{ ok: true }]);
  expect((await cancelling).active).toBe(false);
  expect((await stored(a, third.spec.runId)).active).toBe(true);
  await b.claim(claimRequest(third));
});

test("P17: a deletion that waited behind a run's last commit removes that commit too", async () => {
  await using stage = await Stage.open();
  const [a, b] = [await stage.saver(), await stage.saver()];
  const owner = await held(a);
  const last = nextCommit(owner, { finish: finishOf(owner) });
  const release = await stage.lockHead(owner.threadId);
  const finishing = a.commit([last]);
  await stage.waiting(1);
  const deleting = b.deleteThread(owner.threadId);
  await stage.waiting(2);
  await release();
  expect(await finishing).toEqual([{ ok: true }]);
  await deleting;
  for (const table of ["runs", "specs", "checkpoints", "writes"]) {
    expect(await stage.rows(`SELECT * FROM $.${table}`), table).toEqual([]);
  }
});

test("P18, P19: one locked thread costs its own commit the server's limit, and the others of its batch go through", async () => {
  await using stage = await Stage.open();
  const saver = await stage.saver({ statementTimeoutMs: 300, lanes: 1 });
  const holdings = await Promise.all(Array.from({ length: 8 }, () => held(saver)));
  const locked = holdings[3]!;
  const release = await stage.lockHead(locked.threadId);
  const commits = holdings.map((holding) => nextCommit(holding));
  const results = await saver.commit(commits);
  await release();
  for (const [index, result] of results.entries()) {
    if (holdings[index] !== locked) expect(result).toEqual({ ok: true });
    else expect(result).toMatchObject({ ok: false, error: { code: "DeadlineExceeded" } });
  }
  expect(await saver.head(locked.threadId)).toBeUndefined();
  expect(await saver.commit([commits[3]!])).toEqual([{ ok: true }]);
});

test("P19: the server's limits are below the heartbeat limit, and no transaction waits for its client", async () => {
  await using stage = await Stage.open();
  const saver = await stage.saver();
  const holdings = await Promise.all(Array.from({ length: 32 }, () => held(saver)));
  const release = await stage.lockHead(holdings[0]!.threadId);
  const started = performance.now();
  expect(await saver.commit([nextCommit(holdings[0]!)])).toMatchObject([{ ok: false }]);
  expect(performance.now() - started).toBeLessThan(3_000);
  await release();
  let running = true;
  const idle: unknown[] = [];
  const watching = (async () => {
    while (running) {
      idle.push(
        ...(await stage.admin`SELECT query FROM pg_stat_activity
          WHERE application_name = 'agentmatic' AND state LIKE 'idle in transaction%'`),
      );
    }
  })();
  for (let step = 0; step < 20; step++) {
    const commits = holdings.map((holding) => nextCommit(holding));
    await Promise.all(commits.map((commit) => saver.commit([commit])));
    commits.forEach((commit, index) => {
      advance(holdings[index]!, commit);
    });
  }
  running = false;
  await watching;
  expect(idle).toEqual([]);
});

test("P18: a superstep is one statement, and supersteps of one moment share it", async () => {
  await using stage = await Stage.open();
  const seen: string[] = [];
  const sql = postgres(stage.url, { max: 4, fetch_types: false, debug: (_, query) => void seen.push(query) });
  try {
    const saver = await stage.saver({ sql });
    const alone = await held(saver);
    await committed(saver, alone);
    seen.length = 0;
    await committed(saver, alone, { writes: [taskWrites(alone, "last")] });
    expect(seen).toHaveLength(1);
    const many = await Promise.all(Array.from({ length: 64 }, () => held(saver)));
    seen.length = 0;
    const results = await Promise.all(many.map((holding) => saver.commit([nextCommit(holding)])));
    expect(results.flat().every(({ ok }) => ok)).toBe(true);
    expect(seen.length).toBeLessThanOrEqual(4);
  } finally {
    await sql.end();
  }
});
