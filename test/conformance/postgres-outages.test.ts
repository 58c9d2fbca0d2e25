// P7 with real connections: answers that are lost, connections that are ended, a server that is silent, gone, or
// crashes. Whatever was acknowledged is there exactly once, and nothing is there twice.
import { afterEach, expect, test } from "vitest";
import type { PostgresSaver } from "../../adapters/postgres/mod.ts";
import type { Commit } from "../../src/checkpoint/saver.ts";
import {
  admitted,
  advance,
  claimRequest,
  finishOf,
  type Holding,
  held,
  holdingOf,
  nextCommit,
  stored,
  taskWrites,
} from "../../src/testing/fixture.ts";
import { Network, OwnServer, Stage } from "./postgres-fixture.ts";

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

interface Line {
  readonly holding: Holding;
  readonly acknowledged: Commit[];
}

/** Commits on a thread one after the other, as an engine does: what is in doubt is issued again, as it was. */
async function work(saver: PostgresSaver, { holding, acknowledged }: Line, goOn: () => boolean): Promise<void> {
  while (goOn()) {
    const commit = nextCommit(holding, { writes: [taskWrites(holding, `task-${holding.head.seq}`)] });
    for (;;) {
      const [result] = await saver.commit([commit]);
      if (result?.ok) break;
      // Any other answer would say that a fence, or a head, was lost.
      expect(result?.error.code).toBe("Unavailable");
    }
    advance(holding, commit);
    acknowledged.push(commit);
  }
}

async function lines(saver: PostgresSaver, count: number): Promise<Line[]> {
  return Promise.all(Array.from({ length: count }, async () => ({ holding: await held(saver), acknowledged: [] })));
}

async function expectExactlyOnce(stage: Stage, all: readonly Line[]): Promise<void> {
  for (const { holding, acknowledged } of all) {
    const rows = await stage.admin.unsafe(
      `SELECT seq::int, checkpoint_id FROM "${stage.schema}".checkpoints WHERE thread_id = $1 ORDER BY seq`,
      [holding.threadId],
    );
    expect([...rows]).toEqual(
      acknowledged.map(({ seq, checkpoint }) => ({ seq, checkpoint_id: checkpoint!.checkpointId })),
    );
    const [head] = await stage.admin.unsafe(`SELECT commit_id FROM "${stage.schema}".threads WHERE thread_id = $1`, [
      holding.threadId,
    ]);
    expect(head?.commit_id ?? null).toBe(acknowledged.at(-1)?.commitId ?? null);
    const [writes] = await stage.admin.unsafe(
      `SELECT count(*)::int AS n FROM "${stage.schema}".writes WHERE thread_id = $1`,
      [holding.threadId],
    );
    expect(writes?.n).toBe(acknowledged.length);
  }
}

test("P7: commits whose answers are lost are there once, and their callers know it", async () => {
  await using stage = await Stage.open();
  await using network = await Network.to(stage.url);
  const saver = await stage.saver({ url: network.url });
  const all = await lines(saver, 8);
  let pieces = 0;
  let lost = 0;
  network.onAnswer = () => {
    pieces += 1;
    if (pieces % 6 !== 0) return true;
    lost += 1;
    return false;
  };
  await Promise.all(all.map((line) => work(saver, line, () => line.acknowledged.length < 60)));
  network.onAnswer = () => true;
  expect(lost).toBeGreaterThan(5);
  await expectExactlyOnce(stage, all);
});

test("P7, P9: a finish, a claim, an admission and a cancel whose answers are lost are what they were", async () => {
  await using stage = await Stage.open();
  await using network = await Network.to(stage.url);
  const saver = await stage.saver({ url: network.url });
  await saver.getRun("warm-up");
  /** Loses the first answer after the call. */
  const losing = async <T>(call: () => Promise<T>): Promise<T> => {
    let once = false;
    network.onAnswer = () => {
      const lose = !once;
      once = true;
      return !lose;
    };
    const answer = await call();
    expect(once).toBe(true);
    network.onAnswer = () => true;
    return answer;
  };
  for (let round = 0; round < 5; round++) {
    const record = await losing(() => admitted(saver, {}, "reject"));
    const claim = await losing(() => saver.claim(claimRequest(record)));
    expect(claim.fence.epoch).toBe(1);
    expect(claim.record.state.revision).toBe(2);
    const holding = holdingOf(claim);
    const writing = { fence: claim.fence, writes: [taskWrites(holding, "task")] };
    expect(await losing(() => saver.putWrites([writing]))).toEqual([{ ok: true }]);
    const behind = await losing(() => admitted(saver, { threadId: holding.threadId }));
    const cancelled = { ...behind.state, status: "cancelled" as const, revision: 2, outcome: { checkpointId: null } };
    expect((await losing(() => saver.updateRun(behind.spec.runId, cancelled))).state).toEqual(cancelled);
    const last = nextCommit(holding, { finish: finishOf(holding) });
    expect(await losing(() => saver.commit([last]))).toEqual([{ ok: true }]);
    expect((await stored(saver, holding.runId)).state).toMatchObject({ status: "succeeded", revision: 3 });
    await losing(() => saver.deleteThread(holding.threadId));
    expect(await saver.head(holding.threadId)).toBeUndefined();
  }
});

test("P7: connections ended by the server in the middle of commits", async () => {
  await using stage = await Stage.open();
  const saver = await stage.saver();
  const all = await lines(saver, 12);
  let kills = 0;
  const working = Promise.all(all.map((line) => work(saver, line, () => kills < 25)));
  while (kills < 25) {
    const rows = await stage.admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE application_name = 'agentmatic' AND datname = current_database() AND state = 'active' LIMIT 2`;
    kills += rows.length;
  }
  await working;
  const steps = all.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0);
  expect(steps).toBeGreaterThan(12);
  await expectExactlyOnce(stage, all);
});

test("P7: a server that cannot be reached for a while is waited for; for long, it is Unavailable, and no secret is told", async () => {
  await using stage = await Stage.open();
  await using network = await Network.to(stage.url);
  const saver = await stage.saver({ url: network.url });
  const all = await lines(saver, 4);
  const listen = await network.refuse();
  const commits = all.map(({ holding }) => nextCommit(holding));
  const committing = saver.commit(commits);
  await listen();
  expect(await committing).toEqual(commits.map(() => ({ ok: true })));
  commits.forEach((commit, index) => {
    advance(all[index]!.holding, commit);
    all[index]!.acknowledged.push({ ...commit, writes: [] });
  });
  const listenAgain = await network.refuse();
  const [result] = await saver.commit([nextCommit(all[0]!.holding)]);
  expect(result).toMatchObject({ ok: false, error: { code: "Unavailable", retryable: true } });
  const { password } = new URL(network.url);
  if (password) expect(JSON.stringify(result) + String(!result?.ok && result?.error.stack)).not.toContain(password);
  await expect(saver.identity()).rejects.toMatchObject({ code: "Unavailable" });
  await listenAgain();
  await saver.identity();
  const rows = await stage.rows("SELECT count(*)::int AS n FROM $.checkpoints");
  expect(rows).toEqual([{ n: 4 }]);
});

test("P7: a silent server costs its limit and a second, then the commits go by new connections", async () => {
  await using stage = await Stage.open();
  await using network = await Network.to(stage.url);
  const saver = await stage.saver({ url: network.url, statementTimeoutMs: 200 });
  const all = await lines(saver, 4);
  await Promise.all(all.map((line) => work(saver, line, () => line.acknowledged.length < 5)));
  network.silence();
  const started = performance.now();
  await Promise.all(all.map((line) => work(saver, line, () => line.acknowledged.length < 10)));
  expect(performance.now() - started).toBeLessThan(5_000);
  await expectExactlyOnce(stage, all);
});

test("P7: a server that crashes under load, and one that is stopped and started, lose nothing acknowledged", async () => {
  await using server = await OwnServer.start();
  await using stage = await Stage.open(server.url);
  const saver = await stage.saver();
  const all = await lines(saver, 12);
  let stop = false;
  const working = Promise.all(all.map((line) => work(saver, line, () => !stop)));
  const count = () => all.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0);
  for (const signal of ["SIGQUIT", "SIGINT", "SIGQUIT"] as const) {
    const before = count();
    await expect.poll(count, { timeout: 10_000 }).toBeGreaterThan(before + 100);
    await server.stop(signal);
    server.startAgain();
    const after = count();
    await expect.poll(count, { timeout: 20_000 }).toBeGreaterThan(after + 100);
  }
  stop = true;
  await working;
  await expectExactlyOnce(stage, all);
}, 90_000);
