import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { countTickets, openTicket } from "../ticket.ts";

let folder = "";
const fresh = () => {
  folder = mkdtempSync(join(tmpdir(), "mail-triage-"));
  return folder;
};
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("openTicket", () => {
  it("opens one ticket a key and gives it again when called again", () => {
    const dir = fresh();
    const first = openTicket(dir, "run 1|draft", { unit: "support", urgent: false, subject: "Printer" });
    const again = openTicket(dir, "run 1|draft", { unit: "sales", urgent: true, subject: "other" });
    const other = openTicket(dir, "run 2|draft", { unit: "support", urgent: true, subject: "Printer" });
    expect(first).toEqual({
      number: expect.stringMatching(/^T-[0-9a-f]{10}$/),
      unit: "support",
      subject: "Printer",
      dueHours: 8,
    });
    expect(again).toEqual(first);
    expect(other).toMatchObject({ dueHours: 2 });
    expect(countTickets(dir)).toEqual({ calls: 3, effects: 2, keys: 2 });
  });

  it("has one effect where three processes race for each key", async () => {
    const dir = fresh();
    const script = `import { openTicket } from ${JSON.stringify(new URL("../ticket.ts", import.meta.url).href)};
      for (let i = 0; i < 200; i++) openTicket(${JSON.stringify(dir)}, "key " + i, { unit: "hr", urgent: false, subject: String(process.pid) });`;
    const children = [1, 2, 3].map(() =>
      spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "ignore", "inherit"] }),
    );
    expect(await Promise.all(children.map(async (child) => (await once(child, "exit"))[0]))).toEqual([0, 0, 0]);
    expect(countTickets(dir)).toEqual({ calls: 600, effects: 200, keys: 200 });
  }, 30_000);

  it("counts nothing where nothing was called", () => {
    expect(countTickets(fresh())).toEqual({ calls: 0, effects: 0, keys: 0 });
  });
});
