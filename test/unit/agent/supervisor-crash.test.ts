/** A supervisor and its agents are cut off before or after every single write to the store; another owner goes on. */
import { expect, test } from "vitest";
import { z } from "zod";
import { createSupervisor } from "../../../src/agent/supervisor.ts";
import { createReactAgent, tool } from "../../../src/mod.ts";
import { checkCrashes } from "../../../src/testing/mod.ts";
import { type Answer, callOf, scripted } from "./model.ts";

/** What models and tools did, over all processes. */
type Log = Map<string, number>;

/** Two agents with a tool each, one of them under a supervisor of its own; of this process. */
function build(log: Log) {
  const count = (what: string) => log.set(what, (log.get(what) ?? 0) + 1);
  const model = (name: string, answers: readonly Answer[]) =>
    scripted(
      answers,
      ({ prompt }) => void count(`${name} ${prompt.filter(({ role }) => role === "assistant").length}`),
    );
  const agent = (name: string) => {
    const work = tool({
      name: "work",
      description: "Works",
      input: z.object({}),
      execute: (_input, { idempotencyKey }) => {
        count(`${name} works ${idempotencyKey}`);
        return `${name}'s work`;
      },
    });
    return createReactAgent({ name, llm: model(name, [[callOf("w", "work", {})], `${name} is done`]), tools: [work] });
  };
  const hand = (name: string) => callOf(name, `transfer_to_${name}`, { task: `work, ${name}` });
  const inner = createSupervisor({
    name: "inner",
    llm: model("inner", [[hand("right")], "inner is done"]),
    agents: [agent("right")],
  });
  const llm = model("outer", [[hand("left"), hand("inner")], "all is done"]);
  return createSupervisor({ name: "outer", llm, agents: [agent("left"), inner] });
}

test("at each write in turn: the same state and usage, and what was stored is not done again", async () => {
  const log: Log = new Map();
  const logs: number[][] = [];
  const report = await checkCrashes({
    graph: () => build(log),
    input: { messages: { role: "user", content: "go" } },
    reset: () => log.clear(),
    effects: () => {
      logs.push([...log.values()]);
      return [...log.keys()].sort();
    },
  });
  expect(report).toMatchObject({ status: "succeeded", checkpoints: 4 });
  expect(report.cuts).toBeGreaterThanOrEqual(24);
  expect(report.values).toMatchObject({
    usage: { calls: 8, inputTokens: 8, outputTokens: 8 },
    messages: [
      { role: "user" },
      { role: "assistant" },
      { role: "tool", content: [{ toolCallId: "left", output: { value: "left is done" } }] },
      { role: "tool", content: [{ toolCallId: "inner", output: { value: "inner is done" } }] },
      { role: "assistant", content: [{ text: "all is done" }] },
    ],
  });
  // Left alone, each model is asked once for each answer and each tool is called once.
  const [alone, ...cut] = logs;
  expect(alone).toEqual(Array(10).fill(1));
  for (const counts of cut) {
    // At most one step of each of the two agents was in flight.
    const again = counts.map((times) => times - 1);
    expect(Math.max(...again)).toBeLessThanOrEqual(1);
    expect(again.reduce((sum, times) => sum + times, 0)).toBeLessThanOrEqual(2);
  }
});
