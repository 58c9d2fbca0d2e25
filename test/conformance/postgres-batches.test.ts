// P18: batches of many threads from several processes' worth of connections, with zombies, doubles and bad entries in
// them.
import postgres from "postgres";
import { expect, test } from "vitest";
import type { Commit, WriteResult } from "../../src/checkpoint/saver.ts";
import { systemPorts } from "../../src/ports.ts";
import {
  admitted,
  advance,
  claimRequest,
  committed,
  type Holding,
  held,
  holdingOf,
  newSpec,
  nextCommit,
  taskWrites,
} from "../../src/testing/fixture.ts";
import { Stage } from "./postgres-fixture.ts";

const threads = 48;
const batches = 600;

/** Numbers that a seed decides (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled<T>(items: readonly T[], next: () => number): T[] {
  const rest = [...items];
  return items.map(() => rest.splice(Math.floor(next() * rest.length), 1)[0]!);
}

async function deadlocks(stage: Stage): Promise<number> {
  // The counter is written by each server process when it is idle or ends.
  const [row] = await stage.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
  return Number(row?.deadlocks);
}

test("P18: 600 batches in random orders from three pools: no deadlock, and of a zombie's entries not a row", async () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`replay with SEED=${seed}`);
  const next = seeded(seed);
  await using stage = await Stage.open();
  const savers = [await stage.saver({ lanes: 2 }), await stage.saver({ lanes: 2 }), await stage.saver({ lanes: 2 })];
  const records = await Promise.all(Array.from({ length: threads }, () => admitted(savers[0]!)));
  const zombies = await Promise.all(
    records.map(async (record) => holdingOf(await savers[0]!.claim(claimRequest(record)))),
  );
  const owners = await Promise.all(
    records.map(async (record) => holdingOf(await savers[0]!.claim(claimRequest(record)))),
  );
  const kept = new Map<string, string[]>(records.map(({ spec }) => [spec.threadId, []]));
  let sent = 0;

  /** Owns a third of the threads, and is a zombie on the rest, so that its batches meet those of the others everywhere. */
  const caller = async (saver: (typeof savers)[number], third: number) => {
    while (sent < batches) {
      sent += 1;
      const own = owners.filter((_, index) => index % savers.length === third && next() < 0.8);
      const entries = own.map((owner) => nextCommit(owner));
      const late = owners.flatMap((owner, index) =>
        index % savers.length === third ? [] : [lateCommit(zombies[index]!, owner)],
      );
      const order = shuffled([...entries, ...late], next);
      const results = await saver.commit(order);
      order.forEach((commit, at) => {
        const result = results[at]!;
        if (late.includes(commit)) expect(result).toMatchObject({ ok: false, error: { code: "FencedOut" } });
        else expect(result, result.ok ? "" : result.error.message).toEqual({ ok: true });
      });
      entries.forEach((commit, at) => {
        advance(own[at]!, commit);
        kept.get(commit.fence.threadId)!.push(commit.checkpoint!.checkpointId);
      });
    }
  };
  await Promise.all(savers.map(caller));

  for (const [threadId, ids] of kept) {
    const rows = await stage.admin.unsafe(
      `SELECT checkpoint_id FROM "${stage.schema}".checkpoints WHERE thread_id = $1 ORDER BY seq`,
      [threadId],
    );
    expect(rows.map((row) => row.checkpoint_id)).toEqual(ids);
  }
  expect(await stage.rows("SELECT * FROM $.writes")).toEqual([]);
  for (const saver of savers) await saver.close();
  expect(await deadlocks(stage)).toBe(0);
}, 60_000);

function lateCommit(zombie: Holding, owner: Holding): Commit {
  return { ...nextCommit({ ...zombie, head: owner.head }), writes: [taskWrites(zombie, "late")] };
}

test("P18: entries that the server cannot take answer for themselves, and the rest of their batch goes through", async () => {
  await using stage = await Stage.open();
  const saver = await stage.saver({ lanes: 1 });
  const holdings = await Promise.all(Array.from({ length: 16 }, () => held(saver)));
  const commits = holdings.map((holding, index) => {
    // Too long for an index entry of 2,704 bytes, however it is compressed: the server refuses the whole statement.
    if (index === 5 || index === 11) return nextCommit(holding, { checkpointId: noise(9_000) });
    if (index === 7) return nextCommit(holding, { checkpointId: "nul\0" });
    return nextCommit(holding);
  });
  const results = await saver.commit(commits);
  const code = (result: WriteResult | undefined) => (result?.ok ? "ok" : result?.error.code);
  expect(results.map(code)).toEqual(
    holdings.map((_, index) =>
      index === 7 ? "InvalidArgument" : [5, 11].includes(index) ? "ResourceExhausted" : "ok",
    ),
  );
  const rows = await stage.rows("SELECT count(*)::int AS n FROM $.checkpoints");
  expect(rows).toEqual([{ n: 13 }]);
  for (const index of [5, 7, 11]) expect(await saver.head(holdings[index]!.threadId)).toBeUndefined();
});

function noise(length: number): string {
  let text = "";
  while (text.length < length) text += systemPorts.ids.next();
  return text;
}

test("P12, P18: the same run admitted many times at once, on one thread and on several, by two pools", async () => {
  await using stage = await Stage.open();
  const savers = [await stage.saver(), await stage.saver()];
  const spec = newSpec();
  const elsewhere = newSpec({ runId: spec.runId, inputHash: "another" });
  const others = Array.from({ length: 40 }, () => newSpec());
  const results = await Promise.all(
    [...Array.from({ length: 20 }, () => spec), ...others, ...Array.from({ length: 20 }, () => elsewhere)].map(
      (each, at) =>
        savers[at % 2]!.admit({ spec: each, coordinator: null, whenBusy: "reject" }).then(
          ({ created, record }) => ({ hash: record.spec.inputHash, created }),
          (error: { code: string }) => ({ hash: each.inputHash, code: error.code }),
        ),
    ),
  );
  const [first, rest, second] = [results.slice(0, 20), results.slice(20, 60), results.slice(60)];
  expect(rest.every((result) => "created" in result && result.created)).toBe(true);
  const created = [...first, ...second].filter((result) => "created" in result && result.created);
  expect(created).toHaveLength(1);
  const [winners, losers] = created[0]!.hash === spec.inputHash ? [first, second] : [second, first];
  expect(winners.filter((result) => "created" in result)).toHaveLength(20);
  expect(losers.map((result) => ("code" in result ? result.code : "admitted"))).toEqual(
    Array(20).fill("AlreadyExists"),
  );
  expect(await stage.rows("SELECT count(*)::int AS n FROM $.runs")).toEqual([{ n: 41 }]);
  expect(await stage.rows("SELECT count(*)::int AS n FROM $.specs")).toEqual([{ n: 41 }]);
});

test("P12: a run that somebody else is just admitting is waited for, and found", async () => {
  await using stage = await Stage.open();
  const [a, b] = [await stage.saver(), await stage.saver()];
  // Holds an admission between its last write and its end.
  await stage.rows(`CREATE FUNCTION $.hold() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END';
    CREATE TRIGGER hold AFTER INSERT ON $.specs FOR EACH ROW EXECUTE FUNCTION $.hold()`);
  const gate = await stage.admin.reserve();
  await gate`SELECT pg_advisory_lock(7)`;
  const spec = newSpec();
  const first = a.admit({ spec, coordinator: null, whenBusy: "reject" });
  await stage.waiting(1);
  const same = b.admit({ spec, coordinator: null, whenBusy: "reject" });
  const other = b.admit({ spec: newSpec({ runId: spec.runId }), coordinator: null, whenBusy: "reject" });
  // Caught at once: it may be refused before the others are answered.
  const refused = b
    .admit({ spec: { ...spec, threadId: "t2", inputHash: "2" }, coordinator: null, whenBusy: "reject" })
    .catch((thrown: unknown) => thrown);
  await stage.waiting(2);
  await gate`SELECT pg_advisory_unlock(7)`;
  gate.release();
  expect(await first).toMatchObject({ created: true });
  expect(await same).toMatchObject({ created: false });
  expect(await other).toMatchObject({ created: false });
  expect(await refused).toMatchObject({ code: "AlreadyExists" });
  expect(await stage.rows("SELECT run_id FROM $.runs")).toEqual([{ run_id: spec.runId }]);
});

test("P10, P18: a hundred tasks of one superstep that end at once share a few statements", async () => {
  await using stage = await Stage.open();
  const seen: string[] = [];
  const sql = postgres(stage.url, { max: 4, fetch_types: false, debug: (_, query) => void seen.push(query) });
  try {
    const saver = await stage.saver({ sql });
    const owner = await held(saver);
    await committed(saver, owner);
    const tasks = Array.from({ length: 100 }, (_, index) => `task-${String(index).padStart(3, "0")}`);
    seen.length = 0;
    const results = await Promise.all(
      tasks.map((task) => saver.putWrites([{ fence: owner.fence, writes: [taskWrites(owner, task)] }])),
    );
    expect(results.flat().every(({ ok }) => ok)).toBe(true);
    expect(seen.length).toBeLessThanOrEqual(3);
    expect((await saver.get(owner.threadId, ""))?.writes.map(({ taskId }) => taskId)).toEqual(tasks);
  } finally {
    await sql.end();
  }
});

test("a full queue is ResourceExhausted for what comes too much, and for that only", async () => {
  await using stage = await Stage.open();
  const saver = await stage.saver({ lanes: 1 });
  const owner = await held(saver);
  const release = await stage.lockHead(owner.threadId);
  const queueMax = 10_000;
  const write = { fence: owner.fence, writes: [taskWrites(owner, "task")] };
  const blocked = saver.putWrites([write]);
  await stage.waiting(1);
  const results = saver.putWrites(Array.from({ length: queueMax + 5 }, () => write));
  await release();
  expect(await blocked).toEqual([{ ok: true }]);
  const refused = (await results).filter((result) => !result.ok);
  expect(refused).toHaveLength(5);
  expect(refused[0]).toMatchObject({ error: { code: "ResourceExhausted", retryable: true } });
});
