/** What survives a process that is killed, for each durability: a real process, SIGKILL, and another one that goes on. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SqliteSaver } from "../../adapters/sqlite/mod.ts";
import { decodeBody } from "../../src/checkpoint/body.ts";
import { decodeValues } from "../../src/checkpoint/ended.ts";
import type { Saver } from "../../src/mod.ts";
import { run, start } from "../support/process.ts";
import type { Task } from "./durability-child.ts";

const file = join(import.meta.dirname, "durability-child.ts");
/** Supersteps that `async` may be ahead of its store. */
const aheadMax = 16;
let folder = "";
let files = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "agentmatic-durability-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const argsOf = (path: string, task: Task) => [
  "--disable-warning=ExperimentalWarning",
  file,
  path,
  JSON.stringify(task),
];

/** Starts by node, with the key that each was given. */
function startsIn(output: string): { readonly node: string; readonly key: string }[] {
  return output
    .split("\n")
    .filter((line) => line.startsWith("start "))
    .map((line) => ({ node: line.split(" ")[1]!, key: line.split(" ")[2]! }));
}

interface Seen {
  readonly saver: Saver;
  readonly first: ReturnType<typeof startsIn>;
  readonly second: ReturnType<typeof startsIn>;
  /** The states of the thread's checkpoints as the killed process left them, oldest first. */
  readonly left: readonly Readonly<Record<string, unknown>>[];
  readonly result: unknown;
}

/** Runs until the process stands still in `stopIn`, kills it, looks at the store, and lets another process end the run. */
async function killedIn(task: Task): Promise<Seen> {
  const path = join(folder, `${files++}.db`);
  await using child = await start(process.execPath, argsOf(path, task));
  await child.line(new RegExp(`^in ${task.stopIn}$`), { timeoutMs: 20_000 });
  expect(await child.kill()).toEqual({ code: null, signal: "SIGKILL" });
  const saver = new SqliteSaver({ path });
  await saver.setup();
  const left = await statesOf(saver);
  expect((await saver.getRun("r"))?.state.status).toBe("running");
  const { stopIn: _stopIn, ...rest } = task;
  const { output, code } = await run(process.execPath, argsOf(path, rest), { timeoutMs: 20_000 });
  expect(code, output).toBe(0);
  const result: unknown = JSON.parse(/^result (.*)$/m.exec(output)?.[1] ?? "null");
  expect((await saver.getRun("r"))?.state).toMatchObject({ status: "succeeded", attempt: 2 });
  return { saver, left, first: startsIn(child.output), second: startsIn(output), result };
}

async function statesOf(saver: Saver, ns = ""): Promise<Record<string, unknown>[]> {
  const stored = await saver.list({ threadId: "t", ns, limit: 1_000 });
  return stored.map(({ checkpoint }) => decodeValues(checkpoint)).reverse();
}

const steps = (from: number, to: number) =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => `step-${from + index}`);
const nodes = (starts: Seen["first"]) => starts.map(({ node }) => node);
const counts = (states: Seen["left"]) => states.map(({ n }) => n ?? 0);

describe("sync", () => {
  test.each([1, 7, 40])("killed in step %i: every finished step survives and none runs again", async (k) => {
    const { saver, left, first, second, result } = await killedIn({
      graph: "count",
      durability: "sync",
      stopIn: `step-${k}`,
    });
    expect(counts(left)).toEqual(Array.from({ length: k }, (_, n) => n));
    expect(nodes(first)).toEqual(steps(1, k));
    expect(nodes(second)).toEqual(steps(k, 40));
    expect(second[0]!.key).toBe(first.at(-1)!.key);
    expect(result).toEqual({ n: 40 });
    expect(counts(await statesOf(saver))).toEqual(Array.from({ length: 41 }, (_, n) => n));
    await saver.close();
  });

  test("a task that finished beside the one that was killed survives as well", async () => {
    const { saver, first, second, result } = await killedIn({ graph: "wide", durability: "sync", stopIn: "slow" });
    expect(nodes(first)).toEqual(["quick", "slow"]);
    expect(nodes(second)).toEqual(["slow", "join"]);
    expect(second[0]!.key).toBe(first[1]!.key);
    expect(result).toEqual({ log: ["quick", "slow", "join"] });
    await saver.close();
  });

  test("so do the steps of a graph inside", async () => {
    const { saver, second, result } = await killedIn({ graph: "nested", durability: "sync", stopIn: "two" });
    expect(nodes(second)).toEqual(["two"]);
    expect(result).toEqual({ log: ["before", "one", "two"] });
    await saver.close();
  });
});

describe("async", () => {
  test.each([3, 30])(
    "killed in step %i: a prefix survives, a bounded number of steps behind, without a hole",
    async (k) => {
      const { saver, left, first, second, result } = await killedIn({
        graph: "count",
        durability: "async",
        stopIn: `step-${k}`,
      });
      expect(counts(left)).toEqual(left.map((_, n) => n));
      expect(left.length).toBeLessThanOrEqual(k);
      expect(left.length).toBeGreaterThanOrEqual(k - aheadMax);
      expect(nodes(first)).toEqual(steps(1, k));
      const again = Math.max(1, left.length);
      expect(nodes(second)).toEqual(steps(again, 40));
      // What is taken again is the same work: it has the same keys.
      const keys = new Map(first.map(({ node, key }) => [node, key]));
      for (const { node, key } of second) if (left.length > 0 && keys.has(node)) expect(key).toBe(keys.get(node));
      expect(result).toEqual({ n: 40 });
      expect(counts(await statesOf(saver))).toEqual(Array.from({ length: 41 }, (_, n) => n));
      await saver.close();
    },
  );

  test("a task whose end was stored does not run again", async () => {
    const { saver, second, result } = await killedIn({ graph: "wide", durability: "async", stopIn: "slow" });
    expect(nodes(second)).toEqual(["slow", "join"]);
    expect(result).toEqual({ log: ["quick", "slow", "join"] });
    await saver.close();
  });
});

describe("exit", () => {
  test("killed in a step: nothing is stored but the run itself, which begins again from its input", async () => {
    const { saver, left, first, second, result } = await killedIn({
      graph: "count",
      durability: "exit",
      stopIn: "step-30",
    });
    expect(left).toEqual([]);
    expect(nodes(first)).toEqual(steps(1, 30));
    expect(nodes(second)).toEqual(steps(1, 40));
    expect(second.map(({ key }) => key).slice(0, 30)).toEqual(first.map(({ key }) => key));
    expect(result).toEqual({ n: 40 });
    expect(counts(await statesOf(saver))).toEqual([40]);
    await saver.close();
  });

  test("tasks side by side and graphs inside begin again, too", async () => {
    const wide = await killedIn({ graph: "wide", durability: "exit", stopIn: "join" });
    expect(nodes(wide.second).sort()).toEqual(["join", "quick", "slow"]);
    const nested = await killedIn({ graph: "nested", durability: "exit", stopIn: "two" });
    expect(nodes(nested.second)).toEqual(["before", "one", "two"]);
    expect(nested.result).toEqual({ log: ["before", "one", "two"] });
    for (const { saver } of [wide, nested]) await saver.close();
  });

  test.each([
    ["waits", { interruptBefore: ["step"] }, /^result/m, [0], "interrupted"],
    ["fails", { failIn: "step-5" }, /^error .*step-5 fails/m, [4], "failed"],
  ] as const)("a run that %s is stored as it stands", async (_what, more, line, expected, status) => {
    const path = join(folder, `${files++}.db`);
    const task: Task = { graph: "count", durability: "exit", ...more };
    const { output } = await run(process.execPath, argsOf(path, task), { timeoutMs: 20_000 });
    expect(output).toMatch(line);
    const saver = new SqliteSaver({ path });
    await saver.setup();
    expect(counts(await statesOf(saver))).toEqual(expected);
    expect((await saver.getRun("r"))?.state.status).toBe(status);
    const stored = (await saver.get("t", ""))!;
    expect(decodeBody(stored.checkpoint).next).toEqual(["step"]);
    await saver.close();
  });
});
