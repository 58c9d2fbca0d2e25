/** P18: group commit that neither deadlocks nor lets one entry spoil the others. */
import { afterEach, beforeEach, expect, test } from "vitest";
import type { PostgresSaver } from "../../adapters/postgres/mod.ts";
import type { Commit } from "../../src/checkpoint/saver.ts";
import { outcomes } from "../../src/testing/assert.ts";
import {
  advance,
  committed,
  finishOf,
  type Holding,
  held,
  nextCommit,
  stored,
  taskWrites,
} from "../../src/testing/fixture.ts";
import { replayable } from "../support/seed.ts";
import { Bench } from "./postgres-bench.ts";

let bench: Bench;
let saver: PostgresSaver;

beforeEach(async () => {
  bench = await Bench.start();
  saver = await bench.saver();
});

afterEach(() => bench[Symbol.asyncDispose]());

function holdings(count: number): Promise<Holding[]> {
  return Promise.all(Array.from({ length: count }, () => held(saver)));
}

test("P18: batches over the same threads in any order, from several processes at once, cause no deadlock", () =>
  replayable(async (random) => {
    const writers = [saver, await bench.saver(), await bench.saver(), await bench.saver()];
    const all = await holdings(30);
    for (let round = 0; round < 20; round++) {
      const entries = writers.map(() => shuffled(all, random).slice(0, 20));
      const results = await Promise.all(
        writers.map((writer, index) =>
          // Each thread's commit, its task writes and its renewal, in three orders of their own.
          Promise.all([
            writer.commit(entries[index]!.map((holding) => nextCommit(holding))),
            writer.putWrites(
              shuffled(all, random).map((holding) => ({ fence: holding.fence, writes: [taskWrites(holding, "t")] })),
            ),
            writer.renew(shuffled(all, random).map(({ fence, runId }) => ({ fence, runId }))),
          ]),
        ),
      );
      for (const [, writes, renewals] of results) {
        expect([...writes, ...renewals].every((result) => result.ok)).toBe(true);
      }
      for (const holding of all) holding.head = (await saver.head(holding.threadId)) ?? holding.head;
    }
    // The server counts a session's deadlocks for all to see once the session has ended.
    for (const writer of writers) await writer.close();
    const [row] = await bench.sql`SELECT deadlocks::int AS n FROM pg_stat_database WHERE datname = current_database()`;
    expect(row?.n).toBe(0);
  }));

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((x, y) => x.at - y.at)
    .map(({ item }) => item);
}

test("P18: an entry that the server refuses for a duplicate key fails alone, whole, and every other goes through", async () => {
  const all = await holdings(7);
  const spoilt = all[3]!;
  await committed(saver, spoilt);
  // Damage of the kind that a restored copy brings: the row of commit 1 is there, and the head does not know it.
  await bench.sql`UPDATE agentmatic.threads SET seq = 0, commit_id = NULL WHERE thread_id = ${spoilt.threadId}`;
  spoilt.head = { commitId: null, seq: 0, checkpointId: null, runId: null };
  const commits = all.map((holding) => nextCommit(holding, { finish: finishOf(holding) }));
  const results = await saver.commit(commits);
  expect(results.map((result) => result.ok)).toEqual([true, true, true, false, true, true, true]);
  for (const [index, holding] of all.entries()) {
    const fine = holding !== spoilt;
    expect((await saver.head(holding.threadId))?.commitId).toBe(fine ? commits[index]!.commitId : undefined);
    expect((await stored(saver, holding.runId)).state.status).toBe(fine ? "succeeded" : "running");
  }
});

test("P18: a batch that the server undoes as a deadlock's victim is issued again, and every entry is answered", async () => {
  const all = (await holdings(6)).sort((x, y) => (x.threadId < y.threadId ? -1 : 1));
  const [first, last] = [all[0]!.threadId, all.at(-1)!.threadId];
  const other = await bench.sql.reserve();
  // The other transaction locks against the order and is patient, so that the batch is the one to be undone.
  await other`SET deadlock_timeout = '60s'`;
  await other`BEGIN`;
  await other`SELECT FROM agentmatic.threads WHERE thread_id = ${last} FOR UPDATE`;
  const commits = all.map((holding) => nextCommit(holding));
  const results = saver.commit(commits);
  await bench.waiting(1);
  await other`SELECT FROM agentmatic.threads WHERE thread_id = ${first} FOR UPDATE`;
  await other`COMMIT`;
  other.release();
  outcomes(await results, "ok", "ok", "ok", "ok", "ok", "ok");
  const rows = await bench.sql`SELECT count(*)::int AS n FROM agentmatic.checkpoints`;
  expect(rows[0]?.n).toBe(6);
});

test("P18: of a refused entry no row is in any table, though its thread and others are in the same batch", async () => {
  const [zombie, ...rest] = await holdings(5);
  await bench.sql`UPDATE agentmatic.threads SET epoch = epoch + 1, nonce = 'newer' WHERE thread_id = ${zombie!.threadId}`;
  const late = (holding: Holding): Commit => nextCommit(holding, { writes: [taskWrites(holding, "t")] });
  outcomes(await saver.commit([late(zombie!), ...rest.map(late)]), "FencedOut", "ok", "ok", "ok", "ok");
  for (const table of ["checkpoints", "writes"]) {
    const rows = await bench.sql`SELECT DISTINCT thread_id FROM ${bench.sql(`agentmatic.${table}`)}`;
    expect(rows.map((row) => row.thread_id).sort()).toEqual(rest.map(({ threadId }) => threadId).sort());
  }
});

test("P18: commits of one thread handed in at once go one after the other, in the order of their numbers", async () => {
  const [holding] = await holdings(1);
  const commits = Array.from({ length: 20 }, () => {
    const commit = nextCommit(holding!);
    advance(holding!, commit);
    return commit;
  });
  const results = await Promise.all(commits.map((commit) => saver.commit([commit])));
  outcomes(results.flat(), ...commits.map(() => "ok" as const));
  expect(await saver.head(holding!.threadId)).toEqual(holding!.head);
});
