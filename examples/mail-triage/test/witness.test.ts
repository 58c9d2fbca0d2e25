import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parseWitness } from "../report.ts";
import { monotonicMs, type TaskContext, type TrailEntry, WITNESS_VARIABLE, witnessed } from "../witness.ts";

const folder = mkdtempSync(join(tmpdir(), "mail-triage-"));
afterAll(() => rmSync(folder, { recursive: true }));

const context: TaskContext = {
  runId: "r1",
  threadId: "t1",
  taskId: "r1|1|parse",
  checkpointId: "c0",
  step: 1,
  node: "parse",
  attempt: 1,
  epoch: 3,
};

function linesIn(dir: string) {
  return readdirSync(dir).map((name) => parseWitness(readFileSync(join(dir, name), "utf8")));
}

describe("witnessed", () => {
  it("writes start and end of each execution and adds it to the trail", async () => {
    const dir = join(folder, "plain");
    process.env[WITNESS_VARIABLE] = dir;
    const state = { trail: [{ taskId: "r1|0|x", exec: "e0" }] as TrailEntry[], index: 5 };
    const double = witnessed(async ({ index }: typeof state, _: TaskContext) => ({ doubled: index * 2 }));
    const fail = witnessed(async (_state: typeof state, _: TaskContext): Promise<object> => {
      throw new Error("no");
    });
    const before = monotonicMs();
    const update = await double(state, context);
    await expect(fail(state, { ...context, node: "fail" })).rejects.toThrow("no");
    delete process.env[WITNESS_VARIABLE];

    const [lines] = linesIn(dir);
    const exec = update.trail[0]!.exec;
    expect(update).toEqual({ doubled: 10, trail: [{ taskId: "r1|1|parse", exec }] });
    expect(lines).toMatchObject([
      { kind: "process", pid: process.pid },
      { kind: "start", exec, ...context, seen: ["e0"] },
      { kind: "end", exec, ok: true },
      { kind: "start", node: "fail" },
      { kind: "end", ok: false },
    ]);
    const times = lines!.map((line) => line.t);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times[1]).toBeGreaterThanOrEqual(before);
  });

  it("loses nothing to a SIGKILL", async () => {
    const dir = join(folder, "killed");
    const script = `import { witnessed } from ${JSON.stringify(new URL("../witness.ts", import.meta.url).href)};
      const run = witnessed(async (state) => { if (state.index === 500) process.kill(process.pid, "SIGKILL"); return {}; });
      for (let i = 0; ; i++) await run({ index: i, trail: [] }, { ...${JSON.stringify(context)}, step: i });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      env: { ...process.env, [WITNESS_VARIABLE]: dir },
      stdio: ["ignore", "ignore", "inherit"],
    });
    const [, signal] = await once(child, "exit");
    expect(signal).toBe("SIGKILL");
    const [lines] = linesIn(dir);
    expect(lines!.filter((line) => line.kind === "start")).toHaveLength(501);
    expect(lines!.filter((line) => line.kind === "end")).toHaveLength(500);
  }, 30_000);
});
