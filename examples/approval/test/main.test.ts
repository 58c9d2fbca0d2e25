import { join } from "node:path";
import { expect, it } from "vitest";
import { run } from "../../../test/support/process.ts";
import type { Report } from "../report.ts";

const main = join(import.meta.dirname, "..", "main.ts");

it("is killed in the middle of a tool call, goes on in another process, and is answered in a third", async () => {
  const { code, output } = await run(process.execPath, ["--disable-warning=ExperimentalWarning", main], {
    timeoutMs: 90_000,
  });
  const last = output.trimEnd().split("\n").at(-1)!;
  expect(last, output).toMatch(/^RESULT \{/);
  const { calls, modelCalls, asked, answer } = JSON.parse(last.slice("RESULT ".length)) as Report["result"];
  expect(calls).toEqual([
    // Its result was stored: not begun again.
    { call: "search_flights(Oslo)", started: [1], finished: [1], keys: [expect.stringContaining("call-1")] },
    // In flight at the kill: begun again, with the same key.
    { call: "search_flights(Bergen)", started: [1, 2], finished: [2], keys: [expect.stringContaining("call-2")] },
    // Not before a person had said so.
    { call: "book_flight(Bergen)", started: [3], finished: [3], keys: [expect.stringContaining("call-3")] },
  ]);
  expect(asked).toEqual([
    { type: "approval", tool: "book_flight", input: { city: "Bergen", fare: 95 }, toolCallId: "call-3" },
  ]);
  // One for each turn of the conversation, over all three processes.
  expect(modelCalls).toBe(3);
  expect(answer).toBe("Bergen is booked for 95.");
  expect(code).toBe(0);
});
