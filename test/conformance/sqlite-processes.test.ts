/** Several processes on one file: races, kills and freezes inside a commit (PROTOCOL.md P6, P7, P20). */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockHolders, SqliteSaver, stuckHolders, writeLockHeld } from "../../adapters/sqlite/mod.ts";
import { type Child, start } from "../support/process.ts";
import { until } from "../support/wait.ts";

const program = fileURLToPath(new URL("sqlite-child.ts", import.meta.url));
/** Far above what a healthy commit takes on a busy machine. */
const forMs = 600;
/** /proc says who holds a lock and who is frozen; elsewhere `lockHolders` knows nothing, and says so by []. */
const onLinux = test.runIf(process.platform === "linux");

let folder: string;
let path: string;
let children: Child[];
let store: SqliteSaver;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "agentmatic-sqlite-"));
  path = join(folder, "store.db");
  children = [];
  store = new SqliteSaver({ path });
});

afterEach(async () => {
  await Promise.all(children.map((child) => child.kill()));
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

async function child(mode: string, name: string, ...args: (string | number)[]): Promise<Child> {
  const started = await start(process.execPath, [program, mode, path, name, ...args.map(String)]);
  children.push(started);
  return started;
}

/** Ids that the child says are stored. */
function acknowledged({ output }: Child): string[] {
  return [...output.matchAll(/^ack (\S+)$/gm)].map(([, id]) => id!);
}

async function storedIds(threadId: string): Promise<string[]> {
  const ids: string[] = [];
  for (let before: string | undefined; ; before = ids.at(-1)) {
    const page = await store.list({ threadId, limit: 1000, before });
    if (page.length === 0) return ids.reverse();
    for (const { checkpoint } of page) ids.push(checkpoint.checkpointId);
  }
}

/** What whoever started the writers does about a silent one: nothing, unless it is what blocks the store. */
async function guard(among: readonly Child[]): Promise<Child[]> {
  const stuck = await stuckHolders(
    path,
    among.map(({ pid }) => pid),
    { forMs },
  );
  const killed = among.filter(({ pid }) => stuck.includes(pid));
  await Promise.all(killed.map((one) => one.kill()));
  return killed;
}

/** SIGSTOP, and sure that it has taken hold. */
async function freeze(one: Child): Promise<void> {
  one.signal("SIGSTOP");
  const state = async () => /\) (\w)/.exec(await readFile(`/proc/${one.pid}/stat`, "utf8"))?.[1];
  await until(async () => (await state()) === "T", { what: `process ${one.pid} to stand still`, everyMs: 1 });
}

async function goesOn(writer: Child): Promise<void> {
  const before = acknowledged(writer).length;
  await until(() => acknowledged(writer).length > before, { what: "another acknowledged commit", timeoutMs: 5_000 });
}

interface Round {
  round: number;
  result: string;
  epoch: number;
}

async function raceOf(names: string[], rounds: number, ...flags: string[]): Promise<Map<string, Round[]>> {
  const racers = await Promise.all(names.map((name) => child("race", name, rounds, names.length, ...flags)));
  const endings = await Promise.all(racers.map((racer) => racer.exited));
  expect(
    endings.map(({ code }) => code),
    racers.map(({ output }) => output.slice(-500)).join("\n"),
  ).toEqual(names.map(() => 0));
  return new Map(
    racers.map(({ output }, index) => {
      const lines = [...output.matchAll(/^round (\d+) (\S+) (\d+)$/gm)];
      return [
        names[index]!,
        lines.map(([, round, result, epoch]) => ({ round: Number(round), result: result!, epoch: Number(epoch) })),
      ];
    }),
  );
}

test("P6: three processes race over 1,000 rounds, each round has one winner, and the store has just the winners", async () => {
  const rounds = 1000;
  const results = await raceOf(["a", "b", "c"], rounds);
  const winners: string[] = [];
  const epochs = new Set<number>();
  const losers = new Set<string>();
  for (let round = 1; round <= rounds; round++) {
    for (const [name, rows] of results) {
      const row = rows[round - 1]!;
      expect(row.round).toBe(round);
      epochs.add(row.epoch);
      if (row.result === "won") winners.push(`${round}-${name}`);
      else losers.add(row.result);
    }
  }
  expect(winners).toHaveLength(rounds);
  expect(await storedIds("race")).toEqual(winners);
  expect(epochs.size).toBe(3 * rounds);
  expect([...losers].every((code) => code === "FencedOut" || code === "Conflict")).toBe(true);
  expect((await store.head("race"))?.seq).toBe(rounds);
}, 90_000);

test("P6: the same race with the fence switched off has rounds with several winners", async () => {
  const results = await raceOf(["a", "b"], 30, "unfenced");
  const wins = [...results.values()].flat().filter(({ result }) => result === "won");
  expect(wins.length).toBeGreaterThan(30);
}, 60_000);

test("P7: what was acknowledged before a SIGKILL is stored, and at most one commit more", async () => {
  for (let round = 0; round < 6; round++) {
    const writer = await child("write", `w${round}`);
    const enough = 20 + ((round * 67) % 200);
    await until(() => acknowledged(writer).length >= enough, { what: `${enough} commits`, everyMs: 1 });
    await writer.kill();
    const told = acknowledged(writer);
    const ids = await storedIds(`w${round}`);
    expect(ids.slice(0, told.length)).toEqual(told);
    expect(ids.length - told.length, `${told.length} were acknowledged`).toBeLessThanOrEqual(1);
    const newest = await store.get(`w${round}`, "");
    expect(new TextDecoder().decode(newest?.checkpoint.values.value)).toBe(ids.at(-1));
  }
}, 60_000);

onLinux(
  "P20: a writer frozen inside its commit is found and killed, the others go on, its commit is not there",
  async () => {
    const [b, c, bystander] = await Promise.all([child("write", "b"), child("write", "c"), child("idle", "d")]);
    await bystander.line(/^idle$/);
    await freeze(bystander);
    const a = await child("write", "a", "pause-at", 10);
    await a.line(/^inside a-10$/);
    await freeze(a);

    // Blocked: the others are where they were, however long one waits.
    expect(await writeLockHeld(path, { forMs })).toBe(true);
    const before = [b, c].map((one) => acknowledged(one).length);
    expect(await writeLockHeld(path, { forMs })).toBe(true);
    expect([b, c].map((one) => acknowledged(one).length)).toEqual(before);
    // Reads are not.
    expect(await storedIds("a")).toHaveLength(9);

    expect(await lockHolders(path)).toEqual([a.pid]);
    // Somebody who did not start the holder leaves everybody alone.
    expect(await guard([b, c, bystander])).toEqual([]);
    expect(await guard([a, b, c, bystander])).toEqual([a]);

    await Promise.all([goesOn(b), goesOn(c)]);
    expect(acknowledged(a)).toHaveLength(9);
    expect(await storedIds("a")).toEqual(acknowledged(a));
    expect(bystander.ending).toBeUndefined();
    bystander.signal("SIGCONT");
    bystander.signal("SIGUSR2");
    await bystander.line(/^late ok$/);
  },
  60_000,
);

onLinux(
  "P20: a frozen process without the lock is left alone, and busy healthy writers are not taken for stuck",
  async () => {
    const [b, c, idle] = await Promise.all([child("write", "b"), child("write", "c"), child("idle", "d")]);
    await idle.line(/^idle$/);
    await freeze(idle);
    for (let look = 0; look < 5; look++) {
      expect(await writeLockHeld(path, { forMs: 2_000 })).toBe(false);
      expect(await guard([b, c, idle])).toEqual([]);
      await Promise.all([goesOn(b), goesOn(c)]);
    }
  },
  60_000,
);

onLinux(
  "P20: writers stopped at random moments never stop the others, and only holders are killed",
  async () => {
    const other = await child("write", "other");
    let killed = 0;
    for (let round = 0; round < 8; round++) {
      const victim = await child("write", `v${round}`);
      const enough = 5 + ((round * 23) % 60);
      await until(() => acknowledged(victim).length >= enough, { what: "a writer at work", everyMs: 1 });
      await freeze(victim);
      const holding = (await lockHolders(path)).includes(victim.pid);
      const gone = await guard([victim, other]);
      expect(gone).toEqual(holding ? [victim] : []);
      killed += gone.length;
      await goesOn(other);
      if (gone.length === 0) {
        victim.signal("SIGCONT");
        await goesOn(victim);
        await victim.kill();
      }
      const told = acknowledged(victim);
      const ids = await storedIds(`v${round}`);
      expect(ids.slice(0, told.length)).toEqual(told);
      expect(ids.length - told.length).toBeLessThanOrEqual(1);
    }
    console.info(`frozen at random: ${killed} of 8 held the lock and were killed`);
  },
  90_000,
);

test("P20: waiting for a lock never holds the event loop, and ends as Unavailable", async () => {
  const impatient = new SqliteSaver({ path, busyTimeoutMs: 1_500 });
  await impatient.setup();
  const a = await child("write", "a", "pause-at", 3);
  await a.line(/^inside a-3$/);
  let longest = 0;
  let last = performance.now();
  const ticker = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  const began = performance.now();
  await expect(impatient.beat("me")).rejects.toMatchObject({ code: "Unavailable" });
  const waited = performance.now() - began;
  clearInterval(ticker);
  expect(waited).toBeGreaterThanOrEqual(1_500);
  expect(waited).toBeLessThan(5_000);
  // A wait inside SQLite would hold it for all of the 1,500 ms; a busy machine holds it for some time too.
  expect(longest).toBeLessThan(750);
  await a.kill();
  expect(await impatient.beat("me")).toBe(1);
  await impatient.close();
});
