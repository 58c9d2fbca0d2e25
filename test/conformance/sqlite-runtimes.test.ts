/** The SQLite saver on each runtime's own SQLite: the same answers, and one file for all of them at once. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockHolders, SqliteSaver, stuckHolders } from "../../adapters/sqlite/mod.ts";
import { type Child, start } from "../support/process.ts";
import { type RuntimeName, runtimes } from "../support/runtimes.ts";
import { until } from "../support/wait.ts";

const program = fileURLToPath(new URL("sqlite-child.ts", import.meta.url));
const names: RuntimeName[] = ["node", "deno", "bun"];

let folder: string;
let path: string;
let children: Child[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "agentmatic-sqlite-"));
  path = join(folder, "store.db");
  children = [];
});

afterEach(async () => {
  await Promise.all(children.map((child) => child.kill()));
  await rm(folder, { recursive: true, force: true });
});

async function child(runtime: RuntimeName, mode: string, name: string, ...args: string[]): Promise<Child> {
  const { cmd, args: all } = runtimes()
    .find((one) => one.name === runtime)!
    .command([program, mode, path, name, ...args]);
  const started = await start(cmd, all);
  children.push(started);
  return started;
}

test("a claim, writes, commits and reads answer the same on all three, byte for byte", async () => {
  const answers: string[] = [];
  for (const runtime of names) {
    const one = await child(runtime, "check", "thread");
    expect((await one.exited).code, one.output).toBe(0);
    answers.push(/^read (.*)$/m.exec(one.output)?.[1] ?? one.output);
    expect(one.output.split("\n").filter((line) => line !== "" && !line.startsWith("read "))).toEqual([]);
    await rm(path);
  }
  const [first, ...others] = answers;
  expect(JSON.parse(first!)).toMatchObject({
    results: ["ok", "ok", "FencedOut", "ok", "ok", "ok"],
    base: null,
    epoch: 1,
    read: {
      writes: [
        { taskId: "\uFFFD", data: { 0: 0, 1: 255 } },
        { taskId: "\u{1F600}", data: {} },
      ],
    },
  });
  expect(others).toEqual([first, first]);
});

test.runIf(process.platform === "linux")(
  "P20: all three write to one file, and one frozen inside a commit is found, whichever it is",
  async () => {
    const acks = (one: Child) => one.output.match(/^ack /gm)?.length ?? 0;
    const writers = await Promise.all(names.map((name) => child(name, "write", `w-${name}`)));
    for (const name of names) {
      const frozen = await child(name, "write", `frozen-${name}`, "pause-at", "5");
      await frozen.line(/inside frozen-\w+-5$/);
      frozen.signal("SIGSTOP");
      expect(await lockHolders(path)).toEqual([frozen.pid]);
      expect(await stuckHolders(path, [frozen.pid], { forMs: 200 })).toEqual([frozen.pid]);
      await frozen.kill();
      const before = writers.map(acks);
      await until(() => writers.every((one, index) => acks(one) > before[index]!), { what: "all writers going on" });
      expect(acks(frozen)).toBe(4);
    }
    await Promise.all(writers.map((one) => one.kill()));
    const store = new SqliteSaver({ path });
    for (const [index, name] of names.entries()) {
      const seq = (await store.head(`w-${name}`))!.seq;
      expect(seq - acks(writers[index]!)).toBeLessThanOrEqual(1);
      expect((await store.head(`frozen-${name}`))?.seq).toBe(4);
    }
    await store.close();
  },
  60_000,
);
