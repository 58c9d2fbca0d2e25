/** What the SQLite saver promises beyond the suite: its options, its file, and that many writes share a transaction. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openDatabase } from "../../adapters/sqlite/driver.ts";
import { SqliteSaver, type SqliteSaverOptions, writeLockHeld } from "../../adapters/sqlite/mod.ts";
import type { Commit, Fence } from "../../src/checkpoint/saver.ts";
import type { RunSpec } from "../../src/run/record.ts";

let folder: string;
let path: string;
let stores: SqliteSaver[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "agentmatic-sqlite-"));
  path = join(folder, "store.db");
  stores = [];
});

afterEach(async () => {
  for (const store of stores) await store.close();
  await rm(folder, { recursive: true, force: true });
});

function made(options: Partial<SqliteSaverOptions> = {}): SqliteSaver {
  const store = new SqliteSaver({ path, ...options });
  stores.push(store);
  return store;
}

async function ready(options: Partial<SqliteSaverOptions> = {}): Promise<SqliteSaver> {
  const store = made(options);
  await store.setup();
  return store;
}

function specOf(threadId: string): RunSpec {
  return {
    runId: `run-${threadId}`,
    threadId,
    kind: "input",
    graph: { name: "test", version: "1" },
    input: new Uint8Array([1]),
    inputHash: "same",
    correlationId: "test",
    maxSteps: 10,
    maxAttempts: 3,
    createdAtMs: 0,
  };
}

async function own(store: SqliteSaver, threadId: string): Promise<Fence> {
  await store.admit({ spec: specOf(threadId), coordinator: null, whenBusy: "reject" });
  const request = { threadId, runId: `run-${threadId}`, attempt: 1, owner: "worker", nonce: "n".repeat(22) };
  return (await store.claim(request)).fence;
}

function commitOf(fence: Fence, seq: number): Commit {
  const { threadId } = fence;
  return {
    fence,
    expectedHead: seq === 1 ? null : `${threadId}-${seq - 1}`,
    commitId: `${threadId}-${seq}`,
    seq,
    checkpoint: {
      ns: "",
      checkpointId: `${threadId}-${seq}`,
      parentId: seq === 1 ? null : `${threadId}-${seq - 1}`,
      runId: `run-${threadId}`,
      step: seq,
      versions: { value: seq },
      values: { value: new Uint8Array([seq]) },
      body: new Uint8Array(),
    },
  };
}

describe("where it is", () => {
  test("URLs", () => {
    expect(SqliteSaver.fromUrl("sqlite:./a.db").path).toBe(join(process.cwd(), "a.db"));
    expect(SqliteSaver.fromUrl("sqlite:///var/x%20y.db?region=eu-west-1&zone=eu").path).toBe("/var/x y.db");
    expect(SqliteSaver.fromUrl("sqlite:/var/a.db").path).toBe("/var/a.db");
    for (const [url, text] of [
      ["postgres://host/db", "must look like"],
      ["sqlite:", "must look like"],
      ["sqlite://host/a.db", "names a host"],
      ["sqlite:a.db?zoen=eu", '"zoen"'],
      ["sqlite:a%zz.db", "%"],
    ] as const) {
      expect(() => SqliteSaver.fromUrl(url), url).toThrow(text);
    }
  });

  test("the URL's zone and region are the store's", async () => {
    const store = SqliteSaver.fromUrl(`sqlite://${path}?region=eu-west-1&zone=eu`);
    stores.push(store);
    await store.setup();
    expect(await store.identity()).toMatchObject({ zone: "eu", region: "eu-west-1", format: 1 });
  });

  test("the environment", () => {
    const kept = { ...process.env };
    try {
      delete process.env.AGENTMATIC_SQLITE_PATH;
      delete process.env.AGENTMATIC_STORE;
      expect(() => SqliteSaver.fromEnv()).toThrow("AGENTMATIC_SQLITE_PATH");
      process.env.AGENTMATIC_STORE = "sqlite:///var/b.db";
      expect(SqliteSaver.fromEnv().path).toBe("/var/b.db");
      process.env.AGENTMATIC_SQLITE_PATH = "/var/c.db";
      expect(SqliteSaver.fromEnv().path).toBe("/var/c.db");
    } finally {
      process.env = kept;
    }
  });

  test("options are checked", () => {
    expect(() => new SqliteSaver({ path: "" })).toThrow("path");
    expect(() => new SqliteSaver({ path: ":memory:" })).toThrow("path");
    expect(() => new SqliteSaver({ path, busyTimeoutMs: Number.NaN })).toThrow("busyTimeoutMs");
    expect(() => new SqliteSaver({ path, synchronous: "off" as "full" })).toThrow("synchronous");
  });

  test("missing, in a missing folder, or no database at all", async () => {
    await expect(made().identity()).rejects.toMatchObject({ code: "FailedPrecondition" });
    await expect(made({ path: join(folder, "no", "x.db") }).setup()).rejects.toThrow(join(folder, "no"));
    await writeFile(
      path,
      "this is a text and not a database, and long enough that SQLite looks at all of it".repeat(20),
    );
    await expect(made().setup()).rejects.toMatchObject({ code: "FailedPrecondition" });
    await expect(made().beat("a")).rejects.toMatchObject({ code: "FailedPrecondition" });
  });
});

describe("who it is", () => {
  test("twenty first set-ups at once make one store", async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => ready()));
    const ids = await Promise.all(all.map(async (store) => (await store.identity()).id));
    expect(new Set(ids).size).toBe(1);
  });

  test("another zone or region is refused, naming both; none given takes the stored one", async () => {
    await ready({ zone: "eu", region: "eu-west-1" });
    expect(await (await ready()).identity()).toMatchObject({ zone: "eu", region: "eu-west-1" });
    for (const other of [{ region: "us-east-1" }, { zone: "us" }, { region: "" }]) {
      const store = made(other);
      const [field, given] = Object.entries(other)[0]!;
      const failure = await store.setup().catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: "FailedPrecondition", details: { field, given } });
      expect(String(failure)).toContain(field === "zone" ? `"eu"` : `"eu-west-1"`);
      await expect(store.getRun("eu::x")).rejects.toMatchObject({ code: "FailedPrecondition" });
    }
  });

  test("a newer format is refused by setup and by use, and stays as it is", async () => {
    await ready();
    const db = new DatabaseSync(path);
    db.exec("UPDATE agentmatic_meta SET value = '2' WHERE name = 'format'");
    await expect(made().setup()).rejects.toMatchObject({ code: "FailedPrecondition" });
    await expect(made().beat("a")).rejects.toThrow("format 2");
    expect(db.prepare("SELECT value FROM agentmatic_meta WHERE name = 'format'").get()).toMatchObject({ value: "2" });
    db.close();
  });

  test("the file may be the user's own, with tables of theirs", async () => {
    const db = new DatabaseSync(path);
    db.exec("CREATE TABLE threads (mine TEXT); INSERT INTO threads VALUES ('kept')");
    const store = await ready();
    expect(await store.beat("a")).toBe(1);
    expect(db.prepare("SELECT mine FROM threads").get()).toMatchObject({ mine: "kept" });
    db.close();
  });

  test("settings of the file: WAL, no waiting inside SQLite", async () => {
    await ready();
    const db = new DatabaseSync(path);
    expect(db.prepare("PRAGMA journal_mode").get()).toMatchObject({ journal_mode: "wal" });
    db.close();
  });
});

describe("writes", () => {
  test("64 threads' commits at once share a transaction", async () => {
    let transactions = 0;
    const store = await ready({ inTransaction: () => transactions++ });
    const fences = await Promise.all(Array.from({ length: 64 }, (_, index) => own(store, `t${index}`)));
    transactions = 0;
    for (const seq of [1, 2, 3]) {
      const results = await Promise.all(fences.map((fence) => store.commit([commitOf(fence, seq)])));
      expect(results.every(([result]) => result?.ok)).toBe(true);
    }
    // A machine that stops for a while may end a transaction early.
    expect(transactions).toBeLessThan(10);
  });

  test("an entry that SQLite itself refuses leaves nothing behind and fails nobody else", async () => {
    const store = await ready();
    const fences = await Promise.all(["a", "b", "c"].map((name) => own(store, name)));
    const batch = fences.map((fence) => commitOf(fence, 1));
    const broken = batch[1]!.checkpoint!;
    // Found by a rule of the table only after the thread's head was moved.
    batch[1] = { ...batch[1]!, checkpoint: { ...broken, body: "text" as unknown as Uint8Array } };
    const results = await store.commit(batch);
    expect(results.map(({ ok }) => ok)).toEqual([true, false, true]);
    expect(results[1]).toMatchObject({ error: { code: "Internal" } });
    expect(await store.head("b")).toBeUndefined();
    expect(await store.list({ threadId: "b", limit: 10 })).toEqual([]);
    expect((await store.get("c", ""))?.checkpoint.values.value).toEqual(new Uint8Array([1]));
    expect(await store.commit([commitOf(fences[1]!, 1)])).toEqual([{ ok: true }]);
  });

  test("a text that some runtime would cut is refused, naming its field", async () => {
    const store = await ready();
    const fence = await own(store, "a");
    const write = {
      ns: "",
      checkpointId: "c",
      taskId: "t\0u",
      path: "p",
      kind: "done",
      data: new Uint8Array(),
    } as const;
    const results = await store.putWrites([
      { fence, writes: [write] },
      { fence, writes: [{ ...write, taskId: "t" }] },
    ]);
    expect(results[0]).toMatchObject({
      ok: false,
      error: { code: "InvalidArgument", details: { field: "writes.taskId" } },
    });
    expect(results[1]).toEqual({ ok: true });
    const commit = commitOf(fence, 1);
    const odd = { ...commit, checkpoint: { ...commit.checkpoint!, checkpointId: "c\uD800" } };
    expect((await store.commit([odd]))[0]).toMatchObject({ error: { details: { field: "checkpoint.checkpointId" } } });
  });

  test("what waits is bounded", async () => {
    const store = await ready();
    await store.beat("first");
    const all = await Promise.allSettled(Array.from({ length: 10_050 }, () => store.beat("m")));
    const refused = all.filter((one) => one.status === "rejected");
    expect(refused.length).toBe(50);
    expect(refused[0]).toMatchObject({ reason: { code: "ResourceExhausted" } });
    expect(await store.beat("m")).toBe(10_001);
  });

  test("closing waits for what was handed in, and refuses what comes after", async () => {
    const store = await ready();
    const pending = Promise.all([store.beat("a"), store.beat("a")]);
    await Promise.resolve();
    const closing = store.close();
    expect(await pending).toEqual([1, 2]);
    await closing;
    await store.close();
    await expect(store.beat("a")).rejects.toMatchObject({ code: "FailedPrecondition" });
    expect(await (await ready()).members()).toEqual([{ id: "a", beat: 2 }]);
  });

  test("a damaged value is DataLoss, never a wrong value", async () => {
    const store = await ready();
    const fence = await own(store, "a");
    await store.commit([commitOf(fence, 1), commitOf(fence, 2)]);
    const db = new DatabaseSync(path);
    db.exec("UPDATE agentmatic_checkpoints SET changed = substr(changed, 1, 12) WHERE seq = 2");
    await expect(store.get("a", "")).rejects.toMatchObject({ code: "DataLoss" });
    db.exec("UPDATE agentmatic_checkpoints SET versions = '{\"value\":7}' WHERE seq = 1");
    await expect(store.get("a", "", "a-1")).rejects.toMatchObject({ code: "DataLoss" });
    db.close();
  });
});

describe("P20: the lock watch", () => {
  test("a pause of the watcher itself is no proof that somebody is stuck", async () => {
    await ready();
    const holder = await openDatabase(path);
    holder.exec("BEGIN IMMEDIATE");
    let now = 0;
    let looks = 0;
    const ports = {
      clock: { monotonicMs: () => now, wallMs: () => 0 },
      timers: {
        after(_: number, run: () => void) {
          // The machine stood still for a minute; the holder goes on a moment after the watcher.
          now += 60_000;
          if (++looks === 2) holder.exec("COMMIT");
          setImmediate(run);
          return () => {};
        },
      },
    };
    expect(await writeLockHeld(path, { forMs: 300, ports })).toBe(false);
    holder.exec("BEGIN IMMEDIATE");
    expect(await writeLockHeld(path, { forMs: 300, ports })).toBe(true);
    holder.close();
  });

  test("a file that is not there is an error, not a free lock", async () => {
    await expect(writeLockHeld(join(folder, "no", "x.db"), { forMs: 1 })).rejects.toMatchObject({
      code: "Unavailable",
    });
  });
});
