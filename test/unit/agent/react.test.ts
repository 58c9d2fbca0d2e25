import { expect, test } from "vitest";
import { z } from "zod";
import { AgentmaticError, Command, createReactAgent, MemorySaver, type Tool, tool } from "../../../src/mod.ts";
import { callOf, resultOf, resultsOf, scripted } from "./model.ts";

const city = z.object({ city: z.string() });
const weather = tool({
  name: "weather",
  description: "The weather of a city",
  input: city,
  execute: ({ city }) => ({ city, degrees: city.length }),
});

/** An agent that makes `calls` at once and is then done; what its model was told of them. */
async function told(tools: readonly Tool[], ...calls: Parameters<typeof callOf>[]) {
  const llm = scripted([calls.map((call) => callOf(...call)), "done"]);
  const end = await createReactAgent({ name: "a", llm, tools }).invoke({ messages: { role: "user", content: "go" } });
  expect(end.messages.at(-1)).toMatchObject({ role: "assistant", content: [{ type: "text", text: "done" }] });
  return resultsOf(llm.calls[1]!.prompt).map(({ toolCallId, output }) => [toolCallId, output]);
}

test("the model sees the system prompt, the conversation and the tools as JSON Schema", async () => {
  const llm = scripted(["hello"]);
  const agent = createReactAgent({ name: "a", llm, tools: [weather], system: "Be brief." });
  const end = await agent.invoke({ messages: [{ role: "user", content: "hi", id: "m1" }] });
  expect(end.messages).toEqual([
    { role: "user", content: [{ type: "text", text: "hi" }], id: "m1" },
    { role: "assistant", content: [{ type: "text", text: "hello" }], id: expect.stringMatching(/\|agent$/) },
  ]);
  expect(llm.calls).toHaveLength(1);
  expect(llm.calls[0]!.prompt).toEqual([
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "hi" }] },
  ]);
  expect(llm.calls[0]!.tools).toMatchObject([
    {
      type: "function",
      name: "weather",
      description: "The weather of a city",
      inputSchema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  ]);
});

test("without tools none are offered", async () => {
  const llm = scripted(["hello"]);
  await createReactAgent({ name: "a", llm }).invoke({ messages: { role: "user", content: "hi" } });
  expect(llm.calls[0]).not.toHaveProperty("tools");
  expect(llm.calls[0]).not.toHaveProperty("toolChoice");
});

test("tool calls of one answer run side by side, and their results stand in the order of the calls", async () => {
  const both = Promise.withResolvers<void>();
  const order: string[] = [];
  const slow = tool({
    name: "slow",
    description: "Waits for the other",
    input: z.object({}),
    execute: async () => {
      await both.promise;
      order.push("slow");
      return "slow";
    },
  });
  const quick = tool({
    name: "quick",
    description: "Lets the other go",
    input: z.object({}),
    execute: () => {
      order.push("quick");
      both.resolve();
      return "quick";
    },
  });
  expect(await told([slow, quick], ["1", "slow", {}], ["2", "quick", {}])).toEqual([
    ["1", { type: "text", value: "slow" }],
    ["2", { type: "text", value: "quick" }],
  ]);
  expect(order).toEqual(["quick", "slow"]);
});

test("what a tool throws is told to the model", async () => {
  const fail = tool({
    name: "fail",
    description: "Fails",
    input: z.object({ how: z.string() }),
    execute: ({ how }) => {
      if (how === "string") throw "just text";
      if (how === "long") throw new Error("x".repeat(10_000));
      // The store's own words must not be taken for the store's: such an error is a tool's like any other.
      throw new AgentmaticError("FencedOut", "out of stock");
    },
  });
  const results = await told(
    [fail],
    ["1", "fail", { how: "" }],
    ["2", "fail", { how: "string" }],
    ["3", "fail", { how: "long" }],
  );
  expect(results.slice(0, 2)).toEqual([
    ["1", { type: "error-text", value: "out of stock" }],
    ["2", { type: "error-text", value: expect.stringMatching(/non-error.*just text/) }],
  ]);
  expect((results[2]![1] as { value: string }).value).toHaveLength(2_001);
});

test("an input that does not fit is told with its path, and the tool is not run", async () => {
  let runs = 0;
  const nested = tool({
    name: "nested",
    description: "Takes a list",
    input: z.object({ items: z.array(z.object({ n: z.number() })) }),
    execute: () => {
      runs++;
    },
  });
  const results = await told(
    [nested],
    ["1", "nested", { items: [{ n: 1 }, { n: "two" }] }],
    ["2", "nested", '{"items": [}'],
    ["3", "nested", ""],
    ["4", "nested", '"text"'],
  );
  expect(results.map(([, output]) => output)).toEqual([
    { type: "error-text", value: expect.stringMatching(/^input\.items\[1\]\.n: .*number/) },
    { type: "error-text", value: expect.stringMatching(/^input: is not JSON: /) },
    { type: "error-text", value: expect.stringMatching(/^input\.items: /) },
    { type: "error-text", value: expect.stringMatching(/^input: .*object/) },
  ]);
  expect(runs).toBe(0);
});

test("a broken input stays in the state as it was said, and the model is shown an object", async () => {
  const llm = scripted([[callOf("1", "weather", "{oops")], "done"]);
  const end = await createReactAgent({ name: "a", llm, tools: [weather] }).invoke({
    messages: { role: "user", content: "go" },
  });
  expect(end.messages[1]).toMatchObject({ content: [{ type: "tool-call", input: "{oops" }] });
  expect(llm.calls[1]!.prompt[1]).toEqual({
    role: "assistant",
    content: [{ type: "tool-call", toolCallId: "1", toolName: "weather", input: {} }],
  });
});

test("a tool that is not there is told with those that are", async () => {
  expect(await told([weather], ["1", "wether", {}])).toEqual([
    ["1", { type: "error-text", value: 'there is no tool named "wether"; there are weather' }],
  ]);
  expect(await told([], ["1", "weather", {}])).toEqual([
    ["1", { type: "error-text", value: 'there is no tool named "weather"; there are none' }],
  ]);
});

test("a tool gets the validated input and a context of its call", async () => {
  const seen: unknown[] = [];
  const spy = tool({
    name: "spy",
    description: "Looks around",
    input: z.object({ n: z.string().transform(Number) }),
    jsonSchema: { type: "object" },
    execute: (input, { runId, threadId, toolCallId, idempotencyKey, signal }) => {
      seen.push([input, runId, threadId, toolCallId, idempotencyKey, signal.aborted]);
    },
  });
  const llm = scripted([[callOf("1", "spy", { n: "7" }), callOf("2", "spy", { n: "8" })], "done"]);
  const agent = createReactAgent({ name: "a", llm, tools: [spy], checkpointer: new MemorySaver() });
  await agent.invoke({ messages: { role: "user", content: "go" } }, { threadId: "t", runId: "r" });
  expect(seen).toEqual([
    [{ n: 7 }, "r", "t", "1", "t/r.1|tools#0/1", false],
    [{ n: 8 }, "r", "t", "2", "t/r.1|tools#1/2", false],
  ]);
  expect(resultsOf(llm.calls[1]!.prompt).map(({ output }) => output)).toEqual([
    { type: "json", value: null },
    { type: "json", value: null },
  ]);
});

test("a result that JSON would change in silence ends the run with its path", async () => {
  const bad = tool({
    name: "bad",
    description: "Returns a Map",
    input: z.object({}),
    execute: () => ({ rows: [{ at: new Date(0), missing: undefined }, { tags: new Map() }] }),
  });
  const error = await told([bad], ["1", "bad", {}]).catch((thrown: Error) => thrown);
  expect(error).toMatchObject({ code: "NodeFailed", details: { node: "tools" } });
  expect((error as Error).message).toContain('tool "bad": result.rows[1].tags: is of type Map');
});

test("a model that never stops is stopped by the step limit", async () => {
  const llm = scripted(Array.from({ length: 10 }, (_, turn) => [callOf(`c${turn}`, "weather", { city: "Oslo" })]));
  const agent = createReactAgent({ name: "a", llm, tools: [weather], maxSteps: 5 });
  await expect(agent.invoke({ messages: { role: "user", content: "go" } })).rejects.toMatchObject({
    code: "StepLimit",
  });
  expect(llm.calls).toHaveLength(3);
});

test("more tool calls at once than the bound are an error that names the node", async () => {
  const calls = Array.from({ length: 129 }, (_, index) => callOf(String(index), "weather", { city: "Oslo" }));
  const agent = createReactAgent({ name: "a", llm: scripted([calls]), tools: [weather] });
  await expect(agent.invoke({ messages: { role: "user", content: "go" } })).rejects.toMatchObject({
    code: "NodeFailed",
    message: 'graph "a", node "agent": the model asked for 129 tool calls at once; 128 is the most',
  });
});

test("a model's error ends the run, and its name is in the message", async () => {
  const llm = scripted([]);
  const agent = createReactAgent({ name: "a", llm });
  await expect(agent.invoke({ messages: { role: "user", content: "go" } })).rejects.toMatchObject({
    code: "NodeFailed",
    message: expect.stringMatching(/^graph "a", node "agent": .* the script has 0 answers/),
  });
});

test("a cancel reaches the model", async () => {
  const asked = Promise.withResolvers<AbortSignal>();
  const llm = scripted(["never"], async ({ abortSignal }) => {
    asked.resolve(abortSignal!);
    await new Promise((_, reject) => abortSignal!.addEventListener("abort", () => reject(new Error("aborted"))));
  });
  const cancel = new AbortController();
  const running = createReactAgent({ name: "a", llm }).invoke(
    { messages: { role: "user", content: "go" } },
    { signal: cancel.signal },
  );
  running.catch(() => undefined);
  const signal = await asked.promise;
  cancel.abort();
  await expect(running).rejects.toMatchObject({ code: "Cancelled" });
  expect(signal.aborted).toBe(true);
});

test("a tool waits for a person: what finished beside it does not run again, and the answer reaches it", async () => {
  const ran: string[] = [];
  const pay = tool({
    name: "pay",
    description: "Pays a sum",
    input: z.object({ sum: z.number() }),
    execute: ({ sum }, context) => {
      ran.push(`pay ${context.idempotencyKey}`);
      const { approved } = context.interrupt<{ approved: boolean }>({ approve: `pay ${sum}?` });
      return approved ? `paid ${sum}` : "the user refused";
    },
  });
  const look = tool({
    name: "look",
    description: "Looks",
    input: z.object({}),
    execute: () => {
      ran.push("look");
      return "seen";
    },
  });
  const saver = new MemorySaver();
  const answers = [[callOf("1", "pay", { sum: 5 }), callOf("2", "look", {})], "all done"];
  const make = (llm = scripted(answers)) => ({
    llm,
    graph: createReactAgent({ name: "a", llm, tools: [pay, look], checkpointer: saver }),
  });
  const stopped = await make().graph.invoke({ messages: { role: "user", content: "go" } }, { threadId: "t" });
  expect(stopped.__interrupt__).toMatchObject([{ value: { approve: "pay 5?" } }]);
  expect(stopped.messages).toHaveLength(2);
  // Another instance over the same store, as in another process.
  const { llm, graph } = make();
  const end = await graph.invoke(new Command({ resume: { approved: true } }), { threadId: "t" });
  expect(llm.calls).toHaveLength(1);
  expect(resultsOf(llm.calls[0]!.prompt).map(({ toolCallId, output }) => [toolCallId, output])).toEqual([
    ["1", { type: "text", value: "paid 5" }],
    ["2", { type: "text", value: "seen" }],
  ]);
  expect(end.messages.at(-1)).toMatchObject({ content: [{ text: "all done" }] });
  expect(ran.filter((entry) => entry === "look")).toHaveLength(1);
  const payments = ran.filter((entry) => entry.startsWith("pay"));
  expect(payments).toHaveLength(2);
  expect(new Set(payments).size).toBe(1);
});

test("a new question in place of an answer leaves no call without a result in the prompt", async () => {
  const ask = tool({
    name: "ask",
    description: "Asks a person",
    input: z.object({}),
    execute: (_input, context) => context.interrupt("sure?"),
  });
  const llm = scripted([[callOf("1", "ask", {})], "as you like"]);
  const agent = createReactAgent({ name: "a", llm, tools: [ask], checkpointer: new MemorySaver() });
  await agent.invoke({ messages: { role: "user", content: "go" } }, { threadId: "t" });
  const end = await agent.invoke({ messages: { role: "user", content: "never mind" } }, { threadId: "t" });
  expect(llm.calls[1]!.prompt.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "user"]);
  expect(llm.calls[1]!.prompt[2]).toMatchObject({
    content: [{ toolCallId: "1", output: { type: "error-text", value: "this call was not run" } }],
  });
  expect(end).not.toHaveProperty("__interrupt__");
});

test("tools that the provider runs are its own; reasoning and what the provider said of it go back to it", async () => {
  const llm = scripted([
    [
      { type: "reasoning", text: "hm", providerMetadata: { test: { signature: "s" } } },
      { ...callOf("p", "search", { q: "x" }), providerExecuted: true } as never,
      { type: "tool-result", toolCallId: "p", toolName: "search", result: { hits: 1 } },
      { type: "source", sourceType: "url", id: "s", url: "https://example.org" },
      callOf("1", "weather", { city: "Oslo" }),
    ],
    "done",
  ]);
  await createReactAgent({ name: "a", llm, tools: [weather] }).invoke({ messages: { role: "user", content: "go" } });
  expect(llm.calls[1]!.prompt.slice(1)).toEqual([
    {
      role: "assistant",
      content: [
        { type: "reasoning", text: "hm", providerOptions: { test: { signature: "s" } } },
        { type: "tool-call", toolCallId: "p", toolName: "search", input: { q: "x" }, providerExecuted: true },
        { type: "tool-result", toolCallId: "p", toolName: "search", output: { type: "json", value: { hits: 1 } } },
        { type: "tool-call", toolCallId: "1", toolName: "weather", input: { city: "Oslo" } },
      ],
    },
    {
      role: "tool",
      content: [
        {
          type: "tool-result",
          toolCallId: "1",
          toolName: "weather",
          output: { type: "json", value: { city: "Oslo", degrees: 4 } },
        },
      ],
    },
  ]);
});

test.each<[unknown, string]>([
  [undefined, "content"],
  [{ ...resultOf([]), content: "hello" }, "content"],
  [{ ...resultOf([]), content: [null] }, "content[0]"],
  [resultOf([{ ...callOf("1", "weather", {}), input: { city: "Rome" } } as never]), "content[0].input"],
  [{ ...resultOf([]), finishReason: undefined }, "finishReason"],
  [{ ...resultOf([]), usage: undefined }, "usage"],
])("an answer that is none ends the run with what is wrong with it: %j", async (answer, place) => {
  const llm = { ...scripted([]), doGenerate: async () => answer as never };
  const run = createReactAgent({ name: "a", llm }).invoke({ messages: { role: "user", content: "go" } });
  await expect(run).rejects.toMatchObject({
    code: "NodeFailed",
    message: `graph "a", node "agent": the model's answer does not have the form of its interface: ${place}`,
  });
});

test("limits that are none are refused when the agent is made", () => {
  const made = (options: object) => () => createReactAgent({ name: "a", llm: scripted([]), ...options });
  expect(made({ budget: 5 })).toThrow(/^budget: must be/);
  expect(made({ budget: null })).toThrow(/^budget: must be/);
  expect(made({ price: null })).toThrow(/^price: must be/);
  expect(made({ timeout: null })).toThrow(/^timeout: must be/);
});

test("a model that ends with an error fails the run; one that says nothing ends it", async () => {
  const broken = {
    ...scripted([]),
    doGenerate: async () => ({ ...resultOf([]), finishReason: { unified: "error", raw: "overloaded" } as const }),
  };
  await expect(
    createReactAgent({ name: "a", llm: broken }).invoke({ messages: { role: "user", content: "go" } }),
  ).rejects.toMatchObject({ code: "NodeFailed", message: expect.stringMatching(/overloaded/) });
  const llm = scripted([[], "unused"]);
  const agent = createReactAgent({ name: "a", llm, checkpointer: new MemorySaver() });
  expect((await agent.invoke({ messages: { role: "user", content: "go" } }, { threadId: "t" })).messages).toHaveLength(
    2,
  );
  await agent.invoke({ messages: { role: "user", content: "well?" } }, { threadId: "t" });
  expect(llm.calls[1]!.prompt.map(({ role }) => role)).toEqual(["user", "user"]);
});

test("a tool's time is bounded, and it is tried again before the model is told", async () => {
  let tries = 0;
  const signals: AbortSignal[] = [];
  const slow = tool({
    name: "slow",
    description: "Never returns",
    input: z.object({}),
    timeoutMs: 5,
    execute: (_input, { signal }) => {
      signals.push(signal);
      return new Promise(() => undefined);
    },
  });
  const shaky = tool({
    name: "shaky",
    description: "Works at the third try",
    input: z.object({}),
    retryPolicy: { maxAttempts: 3, initialInterval: 0 },
    execute: () => {
      if (++tries < 3) throw new Error("not yet");
      return `try ${tries}`;
    },
  });
  const results = await told([slow, shaky], ["1", "slow", {}], ["2", "shaky", {}]);
  expect(results).toMatchObject([
    ["1", { type: "error-text", value: expect.stringMatching(/slow.* 5 ms/) }],
    ["2", { type: "text", value: "try 3" }],
  ]);
  expect(signals).toHaveLength(1);
  expect(signals[0]!.aborted).toBe(true);
});
