/** Agents inside tools of other agents: one budget, one account, and questions that come up to the caller. */
import { expect, test } from "vitest";
import { z } from "zod";
import { Command, type CompiledGraph, createReactAgent, MemorySaver, type Tool, tool } from "../../../src/mod.ts";
import { type Answer, callOf, resultsOf, scripted } from "./model.ts";

const go = { messages: { role: "user", content: "go" } } as const;
const price = { inputPerMillion: 1e6, outputPerMillion: 1e6 };

/** A tool that has another agent do the work and tells what that says in the end. */
function delegate(name: string, graph: Pick<CompiledGraph, "plan" | "subgraphState">, runs: string[] = []): Tool {
  return tool({
    name,
    description: "Has another agent do it",
    input: z.object({ task: z.string() }),
    execute: async ({ task }, context) => {
      runs.push(task);
      const said = (await context.invoke(graph, { messages: [{ role: "user", content: task }] })) as {
        messages: { content: { text: string }[] }[];
      };
      return said.messages.at(-1)!.content[0]!.text;
    },
  });
}

function inner(answers: readonly Answer[], tools: readonly Tool[] = []) {
  const llm = scripted(answers);
  return { llm, graph: createReactAgent({ name: "inner", llm, tools, price }) };
}

test("what agents inside tools use is on the account of the run", async () => {
  const look = tool({ name: "look", description: "Looks", input: z.object({}), execute: () => "seen" });
  const helper = inner([[callOf("i", "look", {})], "found"], [look]);
  const llm = scripted([
    [callOf("1", "help", { task: "a" }), callOf("2", "help", { task: "b" }), callOf("3", "look", {})],
    "done",
  ]);
  const outer = createReactAgent({ name: "outer", llm, tools: [delegate("help", helper.graph), look], price });
  const end = await outer.invoke(go);
  expect(resultsOf(llm.calls[1]!.prompt).map(({ output }) => output)).toMatchObject([
    { value: "found" },
    { value: "found" },
    { value: "seen" },
  ]);
  // Two calls of its own, and two of each helper; one token in and one out for each.
  expect(end.usage).toMatchObject({ calls: 6, inputTokens: 6, outputTokens: 6, cost: 12 });
  // What the helpers said to themselves stays with them.
  expect(end.messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "tool", "tool", "assistant"]);
});

test("one budget bounds them all, and its end is the run's, not a tool's error", async () => {
  const look = tool({ name: "look", description: "Looks", input: z.object({}), execute: () => "seen" });
  const helper = inner([[callOf("i", "look", {})], "never said"], [look]);
  const llm = scripted([[callOf("1", "help", { task: "a" })], "never asked"]);
  const outer = createReactAgent({ name: "outer", llm, tools: [delegate("help", helper.graph)] });
  // Two tokens for each call: the outer one's, the helper's, and then it is used up.
  await expect(outer.invoke(go, { budget: { tokens: 4 } })).rejects.toMatchObject({
    code: "BudgetExceeded",
    details: { used: 4, allowed: 4 },
  });
  expect([llm.calls.length, helper.llm.calls.length]).toEqual([1, 1]);
  expect((await outer.invoke(go, { budget: { tokens: 8 } })).usage).toMatchObject({ calls: 4 });
});

test("a second run of a thread has its own account", async () => {
  const llm = scripted(["one", "two"]);
  const agent = createReactAgent({ name: "a", llm, checkpointer: new MemorySaver(), budget: { tokens: 2 } });
  for (let run = 0; run < 2; run++) expect((await agent.invoke(go, { threadId: "t" })).usage.calls).toBe(1);
});

test("a question inside comes up to the caller, and the answer goes down; nothing is asked twice", async () => {
  const paid: string[] = [];
  const pay = tool({
    name: "pay",
    description: "Pays",
    input: z.object({ sum: z.number() }),
    approval: true,
    execute: ({ sum }, { idempotencyKey }) => {
      paid.push(idempotencyKey);
      return `paid ${sum}`;
    },
  });
  const helper = inner([[callOf("i", "pay", { sum: 5 })], "it is paid"], [pay]);
  const llm = scripted([[callOf("1", "help", { task: "a" })], "done"]);
  const runs: string[] = [];
  const saver = new MemorySaver();
  const make = () =>
    createReactAgent({ name: "outer", llm, tools: [delegate("help", helper.graph, runs)], checkpointer: saver, price });
  const { __interrupt__: asked } = await make().invoke(go, { threadId: "t" });
  expect(asked).toMatchObject([{ value: { type: "approval", tool: "pay", input: { sum: 5 } } }]);
  // An answer of another form is refused, and heard of by no model.
  await expect(make().invoke(new Command({ resume: "yes" }), { threadId: "t" })).rejects.toMatchObject({
    code: "InvalidArgument",
    message: expect.stringMatching(/must be true, false or/),
  });
  runs.length = 1;
  const end = await make().invoke(new Command({ resume: true }), { threadId: "t" });
  expect(end.messages.at(-1)).toMatchObject({ content: [{ text: "done" }] });
  expect(paid).toHaveLength(1);
  // The tool begins anew, the agent inside goes on where it stood.
  expect(runs).toEqual(["a", "a"]);
  expect(helper.llm.calls).toHaveLength(2);
  expect(llm.calls).toHaveLength(2);
  expect(resultsOf(llm.calls[1]!.prompt)).toMatchObject([{ output: { value: "it is paid" } }]);
});

test("an error inside is told to the outer model as the tool's", async () => {
  const helper = inner([]);
  const llm = scripted([[callOf("1", "help", { task: "a" })], "done"]);
  await createReactAgent({ name: "outer", llm, tools: [delegate("help", helper.graph)] }).invoke(go);
  expect(resultsOf(llm.calls[1]!.prompt)).toMatchObject([
    {
      output: {
        type: "error-text",
        value: expect.stringMatching(/^graph "inner", node "agent": .* the script has 0 answers/),
      },
    },
  ]);
});

test("a tool that does not wait for a graph inside does not end the process with its error", async () => {
  const broken = createReactAgent({ name: "broken", llm: { ...scripted([]), doGenerate: () => Promise.reject("no") } });
  const heard: unknown[] = [];
  const hear = (reason: unknown) => void heard.push(reason);
  process.on("unhandledRejection", hear);
  try {
    let later: Promise<unknown> = Promise.resolve();
    const forget = tool({
      name: "forget",
      description: "Forgets what it began",
      input: z.object({}),
      execute: (_input, context) => {
        void context.invoke(broken, go);
        later = new Promise((resolve) => setImmediate(() => resolve(void context.invoke(broken, go))));
        return "began";
      },
    });
    const llm = scripted([[callOf("1", "forget", {})], "done"]);
    expect((await createReactAgent({ name: "a", llm, tools: [forget] }).invoke(go)).messages).toHaveLength(4);
    await later;
    // Node tells of what nobody handles once all that is ready has run.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(heard).toEqual([]);
  } finally {
    process.off("unhandledRejection", hear);
  }
});
