import { join } from "node:path";
import { expect, it } from "vitest";
import { run, start } from "../support/process.ts";
import { generator, replayable } from "../support/seed.ts";
import { until } from "../support/wait.ts";

const forever = "setInterval(() => {}, 1_000)";

it("finds a line in either stream, before or after it was written, and says what it got instead", async () => {
  await using child = await start(process.execPath, [
    "-e",
    `console.log("port 1"); console.error("port 2"); ${forever}`,
  ]);
  expect((await child.line(/port (2)/))[1]).toBe("2");
  expect((await child.line(/^port (1)$/))[1]).toBe("1");
  await expect(child.line(/port 3/, { timeoutMs: 20 })).rejects.toThrow(/no line like \/port 3\/.*port 1/s);
});

it("says at once that a child ended without the line", async () => {
  const child = await start(process.execPath, ["-e", `console.log("half"); process.exitCode = 3`]);
  await expect(child.line(/whole/, { timeoutMs: 20_000 })).rejects.toThrow(/ended \(3\) without.*half/s);
  expect(child.ending).toEqual({ code: 3, signal: null });
});

it("kills a frozen child", async () => {
  const child = await start(process.execPath, ["-e", `console.log("up"); ${forever}`]);
  await child.line(/up/);
  child.signal("SIGSTOP");
  expect(await child.stop(50)).toEqual({ code: null, signal: "SIGKILL" });
});

it.each(["process.exit(0)", "process.kill(process.pid, 'SIGTERM')", "throw new Error('x')"])(
  "leaves no child behind after %s",
  async (ending) => {
    const support = JSON.stringify(join(import.meta.dirname, "..", "support", "process.ts"));
    const program = `const { start } = await import(${support});
      const child = await start(process.execPath, ["-e", ${JSON.stringify(`console.log("up"); ${forever}`)}]);
      await child.line(/up/);
      console.log("child", child.pid);
      ${ending}`;
    const { output } = await run(process.execPath, ["--input-type=module", "-e", program]);
    const pid = Number(/child (\d+)/.exec(output)?.[1]);
    expect(pid).toBeGreaterThan(0);
    await until(() => !isAlive(pid), { what: `the end of ${pid}` });
  },
);

it("waits for a condition and names it when it does not come", async () => {
  let calls = 0;
  expect(await until(() => ++calls === 3 && "third", { what: "three calls", everyMs: 1 })).toBe("third");
  await expect(until(() => 0, { what: "a moon", timeoutMs: 5, everyMs: 1 })).rejects.toThrow(/5 ms for a moon.*0/);
});

it("tells how to replay a failing seed, and replays it", async () => {
  let failed = "";
  const test = (wanted?: string) => (random: () => number) => {
    failed = String(random());
    if (failed !== wanted) throw new Error("bad luck");
  };
  const error = await replayable(test()).catch((reason: Error) => reason);
  const seed = Number(/AGENTMATIC_TEST_SEED=(\d+)/.exec(String(error))?.[1]);
  expect(String(generator(seed)())).toBe(failed);
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
