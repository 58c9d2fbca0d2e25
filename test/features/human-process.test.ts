/** A question that one process asks, and others answer: the first is gone by then. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { run } from "../support/process.ts";

const child = join(import.meta.dirname, "approval-child.ts");
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "agentmatic-human-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function inProcess(path: string, command: object = {}) {
  const args = ["--disable-warning=ExperimentalWarning", child, path, JSON.stringify(command)];
  const { code, output } = await run(process.execPath, args, { timeoutMs: 30_000 });
  expect(code, output).toBe(0);
  const lines = output.trim().split("\n");
  const result = JSON.parse(lines.pop()!.replace(/^result /, "")) as {
    log: string[];
    __interrupt__?: { id: string; value: string }[];
  };
  return { lines, result };
}

it("interrupted in one process, answered in two others, the subgraph's question as well", {
  timeout: 100_000,
}, async () => {
  const path = join(folder, "approval.db");
  const first = await inProcess(path);
  expect(first.lines.sort()).toEqual(["read left", "right, attempt 1"]);
  expect(first.result.log).toEqual([]);
  const open = first.result.__interrupt__ ?? [];
  expect(open.map(({ value }) => value).sort()).toEqual(["go right?", "publish left?"]);
  const idOf = (question: string) => open.find(({ value }) => value === question)!.id;

  const second = await inProcess(path, { resume: { [idOf("publish left?")]: "yes" } });
  expect(second.result.__interrupt__).toEqual([{ id: idOf("go right?"), value: "go right?" }]);
  // What the subgraph had done before it asked is not done again.
  expect(second.lines).not.toContain("read left");

  const third = await inProcess(path, { resume: { [idOf("go right?")]: "no" } });
  expect(third.result).toEqual({ log: ["left yes", "right no", "after 2"] });
  expect(third.lines).toEqual(["right, attempt 1"]);
});
