// Where a Postgres store is, what it says it is, and what is told when that does not fit.
import postgres from "postgres";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { format } from "../../adapters/postgres/migrations.ts";
import { PostgresSaver } from "../../adapters/postgres/mod.ts";
import { admitted, committed, held } from "../../src/testing/fixture.ts";
import { Stage } from "./postgres-fixture.ts";

const variables = ["DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"];

beforeEach(() => {
  for (const name of variables) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

test("fromUrl takes zone, region and schema out of the URL, and leaves the rest to the driver", async () => {
  await using stage = await Stage.open();
  const url = new URL(stage.url);
  url.searchParams.set("agentmatic_region", "eu-west-1");
  url.searchParams.set("agentmatic_zone", "eu");
  url.searchParams.set("agentmatic_schema", stage.schema);
  url.searchParams.set("application_name", "mine");
  const saver = PostgresSaver.fromUrl(url.href);
  try {
    await saver.setup();
    expect(await saver.identity()).toMatchObject({ zone: "eu", region: "eu-west-1", format });
    const [row] = await stage.admin`SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'mine'`;
    expect(row?.n).toBeGreaterThan(0);
    await admitted(saver, { threadId: "eu::t", runId: "eu::r" });
    await expect(admitted(saver, { threadId: "us::t", runId: "us::r" })).rejects.toMatchObject({
      code: "ResidencyViolation",
    });
  } finally {
    await saver.close();
  }
});

test("fromEnv reads DATABASE_URL, else the PG* variables, connects late, and names what is not set", async () => {
  await using stage = await Stage.open();
  expect(() => PostgresSaver.fromEnv()).toThrow(/DATABASE_URL: is not set, nor is one of PGHOST, PGDATABASE, PGUSER/);
  vi.stubEnv("DATABASE_URL", "mysql://somewhere/else");
  expect(() => PostgresSaver.fromEnv()).toThrow(/DATABASE_URL: must look like/);
  vi.stubEnv("DATABASE_URL", "postgres://127.0.0.1:1/nobody-listens");
  await PostgresSaver.fromEnv().close();
  const { hostname, port, username, password, pathname } = new URL(stage.url);
  vi.stubEnv("DATABASE_URL", undefined);
  vi.stubEnv("PGHOST", hostname);
  vi.stubEnv("PGPORT", port);
  vi.stubEnv("PGUSER", username);
  vi.stubEnv("PGPASSWORD", password);
  vi.stubEnv("PGDATABASE", pathname.slice(1));
  const saver = PostgresSaver.fromEnv({ schema: stage.schema });
  await saver.setup();
  expect((await stage.rows("SELECT store_id FROM $.meta"))[0]?.store_id).toBe((await saver.identity()).id);
  await saver.close();
});

test("wrong options are refused by name, and a password is in no message", async () => {
  const refused = (make: () => unknown): string => {
    try {
      make();
    } catch (error) {
      expect(error).toMatchObject({ code: "InvalidArgument" });
      return String(error) + JSON.stringify(error) + String((error as Error).cause);
    }
    throw new Error("was taken");
  };
  const secret = "hunter2secret";
  for (const url of [
    `postgres://u:${secret}@host:port/db`,
    `postgres://u:${secret}@[/db`,
    `http://u:${secret}@host/db`,
    `postgres://u:${secret}@host/db?agentmatic_colour=red`,
    `postgres://u:${secret}@host/db?application_name=%zz`,
  ]) {
    expect(
      refused(() => PostgresSaver.fromUrl(url)),
      url,
    ).not.toContain(secret);
  }
  const url = "postgres://localhost/db";
  expect(refused(() => new PostgresSaver({ url, schema: "Robert'); DROP" }))).toMatch(/schema: /);
  expect(refused(() => new PostgresSaver({ url, schema: "pg_mine" }))).toMatch(/schema: /);
  expect(refused(() => new PostgresSaver({ url, zone: "EU!" }))).toMatch(/zone: /);
  expect(refused(() => new PostgresSaver({ url, region: "a'b" }))).toMatch(/region: /);
  expect(refused(() => new PostgresSaver({ url, connections: 0 }))).toMatch(/connections: /);
  expect(refused(() => new PostgresSaver({ url, lanes: 1.5 }))).toMatch(/lanes: /);
  expect(refused(() => new PostgresSaver({ url, statementTimeoutMs: -1 }))).toMatch(/statementTimeoutMs: /);
});

test("what the server refuses says what to do, without statement, parameters or password", async () => {
  await using stage = await Stage.open();
  const missing = new URL(stage.url);
  missing.pathname = "/no_such_database";
  const nowhere = new PostgresSaver({ url: missing.href });
  await expect(nowhere.setup()).rejects.toMatchObject({ code: "FailedPrecondition" });
  await nowhere.close();
  const bare = new PostgresSaver({ url: stage.url, schema: stage.schema });
  await expect(bare.identity()).rejects.toThrow(/is not set up: call setup\(\) once/);
  await expect(admitted(bare)).rejects.toMatchObject({ code: "FailedPrecondition" });
  expect(await bare.commit([]).catch((error: { code: string }) => error.code)).toBe("FailedPrecondition");
  await bare.setup();
  const record = await admitted(bare);
  await stage.rows("DROP TABLE $.specs");
  const error = await bare.getRun(record.spec.runId).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "FailedPrecondition", details: { sqlstate: "42P01" } });
  const told = Reflect.ownKeys((error as Error).cause as object);
  expect(told).not.toContain("parameters");
  expect(told).not.toContain("query");
  await bare.close();
});

test("a store of another zone, another region, or a newer format is FailedPrecondition, naming both", async () => {
  await using stage = await Stage.open();
  await stage.saver({ zone: "eu", region: "eu-west-1" });
  const place = { url: stage.url, schema: stage.schema };
  for (const [options, message] of [
    [{ zone: "us" }, /keeps zone "eu", not zone "us"/],
    [{ zone: "" }, /keeps zone "eu", not zone ""/],
    [{ region: "us-east-1" }, /lies in region "eu-west-1", not in region "us-east-1"/],
  ] as const) {
    const other = new PostgresSaver({ ...place, ...options });
    for (const call of [() => other.setup(), () => other.identity(), () => other.head("eu::t")]) {
      await expect(call()).rejects.toThrow(message);
    }
    await other.close();
  }
  const plain = await stage.saver();
  expect(await plain.identity()).toMatchObject({ zone: "eu", region: "eu-west-1" });
  await stage.rows(`UPDATE $.meta SET format = ${format + 1}`);
  const older = new PostgresSaver(place);
  await expect(older.setup()).rejects.toThrow(`has format ${format + 1}, this version knows ${format}`);
  await expect(older.identity()).rejects.toMatchObject({ code: "FailedPrecondition" });
  expect(await stage.rows("SELECT format FROM $.meta")).toEqual([{ format: format + 1 }]);
  await older.close();
});

test("a server that answers before its disk has the commit is refused", async () => {
  await using stage = await Stage.open();
  const url = new URL(stage.url);
  url.searchParams.set("synchronous_commit", "off");
  const saver = new PostgresSaver({ url: url.href, schema: stage.schema });
  await expect(saver.setup()).rejects.toThrow(/synchronous_commit = off/);
  await saver.close();
});

test("setup needs no privilege where all is there, and its user none but on the tables", async () => {
  await using stage = await Stage.open();
  await stage.saver();
  const role = `worker_${stage.schema}`;
  await stage.rows(`CREATE ROLE ${role} LOGIN PASSWORD 'worker'`);
  await stage.rows(`GRANT USAGE ON SCHEMA "${stage.schema}" TO ${role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "${stage.schema}" TO ${role};
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA "${stage.schema}" TO ${role}`);
  const url = new URL(stage.url);
  url.username = role;
  url.password = "worker";
  const saver = await stage.saver({ url: url.href });
  const holding = await held(saver);
  await committed(saver, holding);
  await saver.beat("member");
  expect((await saver.get(holding.threadId, ""))?.checkpoint.seq).toBe(1);
  await saver.close();
  await stage.rows(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
});

test("a pool that is handed in is shared, and stays its owner's to end", async () => {
  await using stage = await Stage.open();
  const sql = postgres(stage.url, { max: 2, prepare: false, transform: postgres.camel });
  const saver = await stage.saver({ sql, connections: 2, prepare: false });
  const holding = await held(saver);
  await committed(saver, holding);
  expect((await saver.get(holding.threadId, ""))?.checkpoint.seq).toBe(1);
  await saver.close();
  await expect(saver.head(holding.threadId)).rejects.toMatchObject({ code: "FailedPrecondition" });
  expect((await sql`SELECT 1 AS one`)[0]?.one).toBe(1);
  await sql.end();
});

test("members beyond the most are dropped, the oldest beats first", async () => {
  await using stage = await Stage.open();
  const saver = await stage.saver();
  await stage.rows("INSERT INTO $.members SELECT 'm' || g, 1, nextval('$.turns') FROM generate_series(1, 1000) g");
  expect(await saver.beat("m1")).toBe(2);
  expect(await saver.members()).toHaveLength(1_000);
  expect(await saver.beat("new")).toBe(1);
  const ids = (await saver.members()).map(({ id }) => id);
  expect(ids).toHaveLength(1_000);
  expect(ids).toContain("m1");
  expect(ids).not.toContain("m2");
});

test("without fences, as the test hook has it, a zombie's commit and writes are taken", async () => {
  await using stage = await Stage.open();
  const fenced = await stage.saver();
  const saver = await stage.saver({ unsafeWithoutFence: true });
  const holding = await held(fenced);
  await committed(fenced, holding);
  const zombie = { ...holding, head: { commitId: null, seq: 0, checkpointId: null, runId: null } };
  await committed(saver, { ...zombie, fence: { ...zombie.fence, epoch: 0, nonce: "old" } }, { checkpointId: "late" });
  expect((await fenced.get(holding.threadId, ""))?.checkpoint).toMatchObject({ checkpointId: "late", seq: 1 });
});
