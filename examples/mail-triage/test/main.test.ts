import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createDatabase } from "../../../test/support/postgres.ts";
import { run } from "../../../test/support/process.ts";

const main = join(import.meta.dirname, "..", "main.ts");

/** Runs the command as a user does. */
function triage(...args: string[]) {
  return run(process.execPath, ["--disable-warning=ExperimentalWarning", main, ...args], { timeoutMs: 100_000 });
}

function resultOf(output: string): Record<string, unknown> {
  const last = output.trimEnd().split("\n").at(-1)!;
  expect(last).toMatch(/^RESULT \{/);
  return JSON.parse(last.slice("RESULT ".length)) as Record<string, unknown>;
}

const kept = { lost: 0, committedTwice: 0, finishedTasksRerun: 0, vanished: 0 };

describe("the main job", () => {
  it("keeps every run over SQLite while workers are killed and frozen", async () => {
    const { code, output } = await triage("--mails", "600", "--kills", "2", "--freezes", "1");
    expect(output).toMatch(/is killed with SIGKILL/);
    expect(output).toMatch(/is frozen with SIGSTOP/);
    const result = resultOf(output);
    expect(result).toMatchObject({ ...kept, accepted: 600, finished: 600, store: "sqlite" });
    expect(result.killHandoffs).toBeGreaterThan(0);
    expect(result.ticketEffects).toBe(result.tickets);
    expect(code).toBe(0);
  });

  it("keeps every run over Postgres", async () => {
    const store = await createDatabase();
    const { code, output } = await triage("--mails", "300", "--workers", "2", "--freezes", "0", "--store", store);
    expect(resultOf(output)).toMatchObject({ ...kept, accepted: 300, finished: 300, store: "postgres" });
    expect(output).not.toContain(new URL(store).password);
    expect(code).toBe(0);
  });

  it("says which option is wrong in one line", async () => {
    expect(await triage("--mails", "none")).toMatchObject({
      code: 2,
      output: expect.stringMatching(/^--mails: [^\n]+\n$/),
    });
    expect(await triage("--help")).toMatchObject({ code: 0, output: expect.stringContaining("--kills N") });
  });
});
