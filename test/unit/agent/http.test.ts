/** Agents and a model behind real HTTP, by a provider of the AI SDK. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { Agent, type AgentBuilder, createReactAgent, MemorySaver, tool } from "../../../src/mod.ts";
import { byTurn, ModelServer, type Script } from "../../support/model-server.ts";
import { until } from "../../support/wait.ts";

const servers: ModelServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]();
});

async function serve(script: Script, name = "agent"): Promise<{ server: ModelServer; agent: AgentBuilder }> {
  const server = await ModelServer.listen(script);
  servers.push(server);
  const provider = createOpenAICompatible({
    name: "test",
    baseURL: server.url,
    apiKey: "none",
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
  return { server, agent: Agent.builder(name).llm(provider("small")) };
}

const weather = tool({
  name: "weather",
  description: "The weather of a city",
  input: z.object({ city: z.string() }),
  execute: ({ city }) => ({ city, degrees: city.length }),
});
const clock = tool({
  name: "clock",
  description: "The time of a city",
  input: z.object({ city: z.string(), zone: z.string().optional() }),
  execute: ({ city }) => `noon in ${city}`,
});
const twoTools = byTurn([
  {
    text: "Let me look.",
    calls: [
      { id: "c1", name: "weather", arguments: { city: "Oslo" } },
      { id: "c2", name: "clock", arguments: { city: "Oslo" } },
    ],
    tokens: { input: 100, output: 20 },
  },
  { text: "It is 4 degrees, and noon.", tokens: { input: 150, output: 10, cached: 100 } },
]);

for (const streamed of [false, true]) {
  test(`two tools, their results and the usage go over the wire, ${streamed ? "streamed" : "in one piece"}`, async () => {
    const { server, agent } = await serve(twoTools);
    const price = { inputPerMillion: 10, outputPerMillion: 100, cachedInputPerMillion: 1 };
    const built = agent.tools([weather, clock]).system("Be brief.").price(price).checkpoint(new MemorySaver()).build();
    let said = "";
    const tools: unknown[] = [];
    if (streamed) {
      for await (const part of built.stream("Oslo?", { threadId: "t", streamMode: "messages" })) {
        const [chunk] = part as [{ type: string; delta: string; toolName: string }];
        if (chunk.type === "text-delta") said += chunk.delta;
        if (chunk.type === "tool-input-start") tools.push(chunk.toolName);
      }
      expect(said).toBe("Let me look.It is 4 degrees, and noon.");
      expect(tools).toEqual(["weather", "clock"]);
    } else {
      expect((await built.invoke("Oslo?", { threadId: "t" })).text).toBe("It is 4 degrees, and noon.");
    }
    const { messages, usage } = (await built.graph.getState({ threadId: "t" }))!.values;
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "tool", "assistant"]);
    expect(usage).toMatchObject({ calls: 2, inputTokens: 250, outputTokens: 30 });
    expect(usage.cost).toBeCloseTo((150 * 10 + 100 * 1 + 30 * 100) / 1e6, 12);
    expect(server.asked.map(({ body }) => body.stream === true)).toEqual([streamed, streamed]);
    const last = server.asked[1]!.body;
    expect(last.messages.map(({ role }) => role)).toEqual(["system", "user", "assistant", "tool", "tool"]);
    expect(last.messages.slice(3)).toMatchObject([
      { tool_call_id: "c1", content: '{"city":"Oslo","degrees":4}' },
      { tool_call_id: "c2", content: "noon in Oslo" },
    ]);
    expect(last.tools?.map((one) => one.function.name)).toEqual(["weather", "clock"]);
  });
}

test("tokens reach the follower while the model still speaks", async () => {
  const heard = Promise.withResolvers<void>();
  const { agent } = await serve([{ text: "one two", between: (piece) => (piece === 1 ? heard.promise : undefined) }]);
  const words: string[] = [];
  for await (const part of agent.build().stream("go", { streamMode: "messages" })) {
    const [chunk, metadata] = part as [{ delta: string }, Record<string, unknown>];
    words.push(chunk.delta);
    expect(metadata).toMatchObject({ node: "agent", graph: "agent", model: "small" });
    // Were they kept until the answer is whole, nobody would ever let it go on.
    heard.resolve();
  }
  expect(words).toEqual(["one ", "two"]);
});

test("an answer that says later is waited out for as long as the service asks", async () => {
  const { server, agent } = await serve([
    { status: 429, headers: { "retry-after-ms": "40" } },
    { status: 529, headers: { "retry-after": "0.04" } },
    { text: "at last" },
  ]);
  const began = performance.now();
  expect((await agent.build().invoke("go", { timeout: 60_000 })).text).toBe("at last");
  expect(performance.now() - began).toBeGreaterThanOrEqual(79);
  expect(server.asked).toHaveLength(3);
});

test("a 429 that asks to wait longer than the run has fails at once, and says how long", async () => {
  const { server, agent } = await serve([{ status: 429, headers: { "retry-after": "60" } }]);
  const failed = agent.build().invoke("go", { timeout: 20_000 });
  await expect(failed).rejects.toMatchObject({
    code: "NodeFailed",
    message: expect.stringMatching(
      /^graph "agent", node "agent": .* 429 and asks to wait 60000 ms, and \d+ ms are left/,
    ),
    cause: { code: "ResourceExhausted", retryAfterMs: 60_000 },
  });
  expect(server.asked).toHaveLength(1);
});

test("without waits, a 429 is an error like another", async () => {
  const { server, agent } = await serve([{ status: 429 }]);
  await expect(agent.rateLimit(false).build().invoke("go")).rejects.toMatchObject({ cause: { statusCode: 429 } });
  expect(server.asked).toHaveLength(1);
});

test("the budget stops a run before the call that would pass it, with a status of its own", async () => {
  const { server, agent } = await serve(twoTools);
  const saver = new MemorySaver();
  const built = agent.tools([weather, clock]).budget({ tokens: 200 }).checkpoint(saver).build();
  // 120 are used, and the next prompt is no shorter than the 100 of the last.
  await expect(built.invoke("Oslo?", { threadId: "t", runId: "r" })).rejects.toMatchObject({
    code: "BudgetExceeded",
    details: { node: "agent", kind: "tokens", used: 120, allowed: 200 },
  });
  expect(server.asked).toHaveLength(1);
  expect(await saver.getRun("r")).toMatchObject({
    state: { status: "failed", outcome: { error: { code: "BudgetExceeded" } } },
  });
  // What a run is given counts before the agent's own; the thread goes on where it stood.
  expect((await built.invoke(null, { threadId: "t", budget: { tokens: 1_000 } })).text).toMatch(/^It is/);
});

test("a budget of cost counts by the price; without a price it is refused", async () => {
  const { agent } = await serve(twoTools);
  const saver = new MemorySaver();
  const built = agent.tools([weather, clock]).checkpoint(saver).build();
  const call = (threadId: string) => built.invoke("Oslo?", { threadId, budget: { cost: 0.002 } });
  await expect(call("t")).rejects.toMatchObject({ message: expect.stringMatching(/budget\.cost: needs the price/) });
  const priced = await serve(twoTools);
  const other = priced.agent.tools([weather, clock]).price({ inputPerMillion: 10, outputPerMillion: 50 }).build();
  await expect(other.invoke("Oslo?", { budget: { cost: 0.002 } })).rejects.toMatchObject({
    code: "BudgetExceeded",
    details: { kind: "cost", used: 0.002, allowed: 0.002 },
  });
});

test("a service that fails again and again is not asked for a while, by no run of this process", async () => {
  const { server, agent } = await serve(() => ({ status: 500 }));
  const built = agent.circuitBreaker({ service: `model ${crypto.randomUUID()}`, failures: 2, resetMs: 60_000 }).build();
  for (let run = 0; run < 2; run++) {
    await expect(built.invoke("go")).rejects.toMatchObject({ code: "NodeFailed", cause: { statusCode: 500 } });
  }
  await expect(built.invoke("go")).rejects.toMatchObject({
    code: "CircuitOpen",
    message: expect.stringMatching(/failed 2 times in a row/),
    retryAfterMs: expect.any(Number),
  });
  expect(server.asked).toHaveLength(2);
});

for (const streamed of [false, true]) {
  test(`an answer that breaks off is an error that a retry policy mends, ${streamed ? "streamed" : "in one piece"}`, async () => {
    const text = "one two three";
    const script: Script = (_request, index) => (index === 0 ? { text, breakAfter: 2 } : { text });
    const { server, agent } = await serve(script);
    const plain = agent.build();
    const once = streamed ? drain(plain.stream("go", { streamMode: "messages" })) : plain.invoke("go");
    await expect(once).rejects.toMatchObject({ code: "NodeFailed" });
    expect(server.asked.splice(0)).toHaveLength(1);
    const llm = createOpenAICompatible({ name: "test", baseURL: server.url })("small");
    const retryPolicy = { maxAttempts: 2, initialInterval: 1 };
    const graph = createReactAgent({ name: "a", llm, retryPolicy });
    const input = { messages: { role: "user", content: "go" } } as const;
    const seen: [string, number][] = [];
    if (streamed) {
      for await (const part of graph.stream(input, { streamMode: "messages" })) {
        const [{ delta }, { retryAttempt }] = part as [{ delta: string }, { retryAttempt: number }];
        seen.push([delta, retryAttempt]);
      }
      expect(seen[0]).toEqual(["one ", 1]);
      // The second try begins anew, and says so.
      expect(seen.filter(([, attempt]) => attempt === 2).map(([word]) => word)).toEqual(["one ", "two ", "three"]);
    } else {
      const { messages } = await graph.invoke(input);
      expect(messages.at(-1)).toMatchObject({ content: [{ type: "text", text: "one two three" }] });
    }
    expect(server.asked).toHaveLength(2);
  });
}

for (const streamed of [false, true]) {
  test(`a cancelled run closes its request, ${streamed ? "streamed" : "in one piece"}`, async () => {
    const never = new Promise<never>(() => undefined);
    const { server, agent } = await serve([
      streamed ? { text: "one two", between: (piece) => (piece === 1 ? never : undefined) } : { before: never },
    ]);
    const cancel = new AbortController();
    const built = agent.build();
    const config = { signal: cancel.signal };
    const run = streamed
      ? drain(built.stream("go", { ...config, streamMode: "messages" }))
      : built.invoke("go", config);
    run.catch(() => undefined);
    await until(() => server.asked.length === 1, { what: "the request" });
    expect(server.asked[0]!.aborted).toBe(false);
    cancel.abort();
    await expect(run).rejects.toMatchObject({ code: "Cancelled" });
    await until(() => server.asked[0]!.aborted, { what: "the end of the request" });
  });
}

test("the final answer as a value: the schema goes to the service, what does not fit goes back to the model", async () => {
  const schema = z.object({ city: z.string(), degrees: z.number().min(-90) });
  const call = { calls: [{ id: "c", name: "weather", arguments: { city: "Oslo" } }] };
  const wrong = { text: '{"city":"Oslo","degrees":"four"}' };
  const right = { text: '{"city":"Oslo","degrees":4}' };
  const { server, agent } = await serve([call, wrong, right]);
  const { output, messages, usage } = await agent.tools([weather]).output(schema).build().invoke("Oslo?");
  expect(output).toEqual({ city: "Oslo", degrees: 4 });
  // Of the type of the schema.
  expect(output?.degrees.toFixed(1)).toBe("4.0");
  expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
  expect(usage.calls).toBe(3);
  expect(server.asked[0]!.body.response_format).toMatchObject({
    type: "json_schema",
    json_schema: { schema: { type: "object", required: ["city", "degrees"], additionalProperties: false } },
  });
  const again = server.asked[2]!.body.messages;
  expect(again.slice(-2)).toMatchObject([
    { role: "assistant", content: wrong.text },
    { role: "user", content: expect.stringMatching(/output\.degrees: .*number/) },
  ]);
});

test("a model that does not come to the form ends the run, after three tries, with what was wrong", async () => {
  const { server, agent } = await serve(() => ({ text: "It is 4 degrees." }));
  const built = agent.output(z.object({ degrees: z.number() })).build();
  await expect(built.invoke("Oslo?")).rejects.toMatchObject({
    code: "NodeFailed",
    message: expect.stringMatching(/does not fit at any of 3 tries: output: is not JSON: /),
  });
  expect(server.asked).toHaveLength(3);
});

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}
