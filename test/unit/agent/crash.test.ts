/** An agent whose process dies between or within its steps, and another one that goes on from the store. */
import { expect, test } from "vitest";
import { z } from "zod";
import { createReactAgent, MemorySaver, MemoryStore, type Ports, tool } from "../../../src/mod.ts";
import { checkCrashes } from "../../../src/testing/mod.ts";
import { doomed, hasty } from "../../support/doomed.ts";
import { until } from "../../support/wait.ts";
import { callOf, scripted } from "./model.ts";

const question = { messages: { role: "user", content: "go" } } as const;
const at = { threadId: "t", runId: "r" };

test("killed after the model's answer was committed: the model is not asked again, and its tool calls are made", async () => {
  const store = new MemoryStore();
  const ran: string[] = [];
  const make = (process: string, saver: MemorySaver, ports: Ports) => {
    const llm = scripted([[callOf("1", "work", {})], "done"]);
    const work = tool({
      name: "work",
      description: "Works",
      input: z.object({}),
      execute: () => {
        ran.push(process);
        return process;
      },
    });
    return { llm, graph: createReactAgent({ name: "a", llm, tools: [work], checkpointer: saver, ports }) };
  };
  // The first commit is the input's, the second the model's answer.
  const { saver, ports, isDead } = doomed(store, "commit", 2);
  const first = make("first", saver, ports);
  void first.graph.invoke(question, at);
  await until(isDead, { what: "the first process is dead" });
  const second = make("second", new MemorySaver({ store }), hasty());
  const end = await second.graph.invoke(question, at);
  expect(end.messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
  expect(first.llm.calls).toHaveLength(1);
  // Only the question that follows the tool's result.
  expect(second.llm.calls.map(({ prompt }) => prompt.length)).toEqual([3]);
  expect(ran).toEqual(["second"]);
});

test("killed between two tool calls: the finished one is not made again, the other one has the same key", async () => {
  const store = new MemoryStore();
  const ran: string[] = [];
  const make = (process: string, saver: MemorySaver, ports: Ports) => {
    const llm = scripted([[callOf("1", "hang", {}), callOf("2", "quick", {})], "done"]);
    const input = z.object({});
    const hang = tool({
      name: "hang",
      description: "Hangs in the first process",
      input,
      execute: async (_input, { idempotencyKey }) => {
        ran.push(`${process} ${idempotencyKey}`);
        if (process === "first") await new Promise(() => undefined);
        return process;
      },
    });
    const quick = tool({
      name: "quick",
      description: "Is quick",
      input,
      execute: (_input, { idempotencyKey }) => {
        ran.push(`${process} ${idempotencyKey}`);
        return process;
      },
    });
    return { llm, graph: createReactAgent({ name: "a", llm, tools: [hang, quick], checkpointer: saver, ports }) };
  };
  const { saver, ports, isDead } = doomed(store, "putWrites", 1);
  const first = make("first", saver, ports);
  void first.graph.invoke(question, at);
  await until(isDead, { what: "the quick tool's result is stored" });
  const second = make("second", new MemorySaver({ store }), hasty());
  const end = await second.graph.invoke(question, at);
  expect(end.messages.slice(2, 4)).toMatchObject([
    { content: [{ toolCallId: "1", output: { value: "second" } }] },
    { content: [{ toolCallId: "2", output: { value: "first" } }] },
  ]);
  expect(first.llm.calls.length + second.llm.calls.length).toBe(2);
  expect(ran.sort()).toEqual(["first t/r.1|tools#0/1", "first t/r.1|tools#1/2", "second t/r.1|tools#0/1"]);
});

test("killed after whatever write, in an agent and in one inside its tool: the same conversation and account", async () => {
  const done: string[] = [];
  let calls = 0;
  const asked: number[] = [];
  const make = () => {
    const look = tool({
      name: "look",
      description: "Looks",
      input: z.object({}),
      execute: (_input, { idempotencyKey }) => {
        done.push(idempotencyKey);
        return "seen";
      },
    });
    const count = () => void calls++;
    const inside = scripted([[callOf("i", "look", {})], "found"], count);
    const inner = createReactAgent({ name: "inner", llm: inside, tools: [look] });
    const help = tool({
      name: "help",
      description: "Has another agent do it",
      input: z.object({}),
      execute: async (_input, context) => {
        const end = (await context.invoke(inner, question)) as { messages: readonly { content: unknown }[] };
        return { said: end.messages.at(-1)!.content };
      },
    });
    const llm = scripted([[callOf("1", "help", {}), callOf("2", "look", {})], "done"], count);
    return createReactAgent({ name: "outer", llm, tools: [help, look] });
  };
  const report = await checkCrashes({
    graph: make,
    input: question,
    reset: () => {
      done.length = 0;
      calls = 0;
    },
    effects: () => {
      asked.push(calls);
      // What was in flight ran again under its key; there is no other.
      return [...new Set(done)].sort();
    },
  });
  expect(report.values).toMatchObject({ usage: { calls: 4, inputTokens: 4 } });
  expect(report.cuts).toBeGreaterThan(10);
  expect(asked[0]).toBe(4);
  // At most one model call of each agent was in flight.
  expect(Math.max(...asked)).toBeLessThanOrEqual(6);
});
