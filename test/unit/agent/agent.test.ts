import { expect, test } from "vitest";
import { z } from "zod";
import { plansOf } from "../../../adapters/_shared/graphs.ts";
import { Agent, Command, MemorySaver, tool } from "../../../src/mod.ts";
import type { RunRequest } from "../../../src/run/runner.ts";
import { callOf, scripted } from "./model.ts";

const add = tool({
  name: "add",
  description: "Adds two numbers",
  input: z.object({ a: z.number(), b: z.number() }),
  execute: ({ a, b }) => a + b,
});

test("reads as in the product's text, and answers with text", async () => {
  const llm = scripted([[callOf("1", "add", { a: 2, b: 3 })], "5"]);
  const agent = Agent.builder("prod").llm(llm).tools([add]).system("You add.").maxSteps(4).build();
  const { text, messages } = await agent.invoke("2 + 3?");
  expect(text).toBe("5");
  expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
  expect(llm.calls[1]!.prompt[0]).toEqual({ role: "system", content: "You add." });
  expect(agent.graph.plan).toMatchObject({ name: "prod", maxSteps: 4 });
});

test("a thread keeps its history over two calls and over two instances", async () => {
  const saver = new MemorySaver();
  const build = (llm = scripted(["I am Ada's.", "Ada's."])) => ({
    llm,
    agent: Agent.builder("prod").llm(llm).checkpoint(saver).build(),
  });
  const first = build();
  await first.agent.invoke("I am Ada. Whose are you?", { threadId: "t" });
  const { llm, agent } = build();
  const { text, messages } = await agent.invoke({ messages: [{ role: "user", content: "Again?" }] }, { threadId: "t" });
  expect(text).toBe("Ada's.");
  expect(llm.calls).toHaveLength(1);
  expect(llm.calls[0]!.prompt.map(({ role }) => role)).toEqual(["user", "assistant", "user"]);
  expect(messages).toHaveLength(4);
  expect((await agent.graph.getState({ threadId: "t" }))?.values.messages).toEqual(messages);
});

test("the same runId is the same run: the model is asked once", async () => {
  const llm = scripted(["hello"]);
  const agent = Agent.builder("prod").llm(llm).checkpoint(new MemorySaver()).build();
  const first = await agent.invoke("hi", { threadId: "t", runId: "r" });
  expect(await agent.invoke("hi", { threadId: "t", runId: "r" })).toEqual(first);
  expect(llm.calls).toHaveLength(1);
  await expect(agent.invoke("ho", { threadId: "t", runId: "r" })).rejects.toMatchObject({ code: "AlreadyExists" });
});

test("streams the graph's events, and is resumed with a Command", async () => {
  const ask = tool({
    name: "ask",
    description: "Asks",
    input: z.object({}),
    execute: (_input, context) => {
      context.stream({ asking: true });
      return context.interrupt("sure?");
    },
  });
  const llm = scripted([[{ type: "text", text: "Let me ask." }, callOf("1", "ask", {})], "done"]);
  const agent = Agent.builder("prod").llm(llm).tools([ask]).checkpoint(new MemorySaver()).build();
  const seen: unknown[] = [];
  for await (const part of agent.stream("go", { threadId: "t", streamMode: ["updates", "custom"] })) seen.push(part);
  expect(seen).toMatchObject([
    ["updates", { agent: { messages: { role: "assistant" } } }],
    ["custom", { asking: true }],
    ["updates", { __interrupt__: [{ value: "sure?" }] }],
  ]);
  const end = await agent.invoke(new Command({ resume: "yes" }), { threadId: "t" });
  expect(end.text).toBe("done");
  expect(end.messages[2]).toMatchObject({ content: [{ output: { type: "text", value: "yes" } }] });
});

test("a worker's module may export it: it is served under its name", () => {
  const agent = Agent.builder("prod").llm(scripted([])).build();
  expect(plansOf({ agent })).toEqual([agent.graph.plan]);
  expect(plansOf({ default: { graphs: [agent] } })[0]?.name).toBe("prod");
  const versioned = Agent.builder("prod").llm(scripted([])).version("v2").build();
  expect(versioned.graph.plan.version).toBe("v2");
});

test("on a cluster its runs go to the cluster's runner, under the agent's name", async () => {
  const requests: RunRequest[] = [];
  const saver = new MemorySaver();
  const cluster = {
    runner: () => ({
      start: (request: RunRequest) => {
        requests.push(request);
        return Promise.reject(new Error("no workers here"));
      },
    }),
  };
  const agent = Agent.builder("prod").llm(scripted([])).checkpoint(saver).cluster(cluster).build();
  await expect(agent.invoke("hi", { threadId: "t" })).rejects.toThrow("no workers here");
  expect(requests).toMatchObject([{ threadId: "t", kind: "input", graph: { name: "prod" } }]);
});

test("stops before and after nodes, and where a function of the state says so", async () => {
  const calls = [callOf("1", "add", { a: 2, b: 3 })];
  const build = () =>
    Agent.builder("prod")
      .llm(scripted([calls, "5"]))
      .tools([add])
      .checkpoint(new MemorySaver());
  const at = { threadId: "t" };
  const before = build().interruptBefore(["tools"]).build();
  await before.invoke("2 + 3?", at);
  expect((await before.graph.getState(at))?.next).toEqual(["tools"]);
  expect((await before.invoke(null, at)).text).toBe("5");
  const after = build().interruptAfter(["tools"]).build();
  expect((await after.invoke("2 + 3?", at)).messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool"]);
  expect((await after.invoke(null, at)).text).toBe("5");
  const long = build()
    .interruptBeforeWhen(({ messages }, next) => messages.length > 2 && next.includes("agent"))
    .build();
  expect((await long.invoke("2 + 3?", at)).messages).toHaveLength(3);
  expect((await long.graph.getState(at))?.next).toEqual(["agent"]);
});

test("the system prompt may be a function of the state and the run's context", async () => {
  const llm = scripted(["hi", "hi"]);
  const agent = Agent.builder("prod")
    .llm(llm)
    .system(async ({ messages }, { context }) => `${context.user} has said ${messages.length}.`)
    .build();
  await agent.invoke("hello", { context: { user: "Ada" } });
  expect(llm.calls[0]!.prompt[0]).toEqual({ role: "system", content: "Ada has said 1." });
  const none = Agent.builder("prod")
    .llm(llm)
    .system((() => undefined) as never)
    .build();
  await expect(none.invoke("hello")).rejects.toThrow(/system: the function must give text; it gave undefined/);
});

test("the final answer as a value: kept with the thread until its next run begins", async () => {
  const saver = new MemorySaver();
  const ask = tool({
    name: "ask",
    description: "Asks",
    input: z.object({}),
    execute: (_input, { interrupt }) => interrupt("sure?"),
  });
  const llm = scripted(['```json\n{"sum":"5"}\n```', [callOf("1", "ask", {})], "7"]);
  const sum = z.object({ sum: z.coerce.number() });
  const agent = Agent.builder("prod").llm(llm).tools([ask]).checkpoint(saver).output(sum).build();
  const at = { threadId: "t" };
  expect((await agent.invoke("2 + 3?", at)).output).toEqual({ sum: 5 });
  expect((await agent.graph.getState(at))?.values.output).toEqual({ sum: 5 });
  const stopped = await agent.invoke("and more?", at);
  expect(stopped.__interrupt__).toHaveLength(1);
  expect(stopped.output).toBeUndefined();
  expect(llm.calls[0]!.responseFormat).toMatchObject({ type: "json", schema: { type: "object" } });
});

test("bad builder calls name the method", () => {
  const llm = scripted([]);
  const refused = (call: () => unknown, message: RegExp) =>
    expect(call).toThrow(expect.objectContaining({ code: "InvalidArgument", message: expect.stringMatching(message) }));
  refused(() => Agent.builder(""), /^builder: /);
  refused(() => Agent.builder("a").build(), /^llm: is needed/);
  refused(() => Agent.builder("a").llm("gpt-5" as never), /^llm: "gpt-5" is only a name/);
  refused(() => Agent.builder("a").llm({} as never), /^llm: must be a language model/);
  refused(
    () => Agent.builder("a").llm({ ...llm, specificationVersion: "v2" } as never),
    /^llm: .*version v2 .*v3 and v4/,
  );
  refused(() => Agent.builder("a").tools(add as never), /^tools: must be a list/);
  refused(() => Agent.builder("a").tools([add, {} as never]), /^tools\[1\]: must be made by tool/);
  refused(() => Agent.builder("a").tools([add, add]), /^tools\[1\]\.name: another tool is named "add"/);
  refused(() => Agent.builder("a").system(1 as never), /^system: /);
  refused(() => Agent.builder("a").checkpoint({} as never), /^checkpoint: must be a saver/);
  refused(() => Agent.builder("a").cluster({} as never), /^cluster: must be a ClusterConfig/);
  refused(() => Agent.builder("a").maxSteps(0), /^maxSteps: /);
  refused(() => Agent.builder("a").version(""), /^version: /);
  refused(() => Agent.builder("a").interruptBefore("tools" as never), /^interruptBefore: must be a list/);
  refused(() => Agent.builder("a").interruptBefore(["tool"]), /^interruptBefore: .*"tool"; there are agent and tools/);
  refused(() => Agent.builder("a").interruptAfter([]), /^interruptAfter: /);
  refused(() => Agent.builder("a").interruptBeforeWhen(true as never), /^interruptBeforeWhen: /);
  refused(() => Agent.builder("a").circuitBreaker({} as never), /^circuitBreaker\.service: /);
  refused(() => Agent.builder("a").circuitBreaker({ service: "s", failures: 0 }), /^circuitBreaker\.failures: /);
  refused(() => Agent.builder("a").budget(5 as never), /^budget: must be an object/);
  refused(() => Agent.builder("a").budget({ tokens: -1 }), /^budget\.tokens: /);
  refused(() => Agent.builder("a").price({ inputPerMillion: 1 } as never), /^price\.outputPerMillion: /);
  refused(() => Agent.builder("a").rateLimit({ maxTries: 0 }), /^rateLimit\.maxTries: /);
  refused(() => Agent.builder("a").rateLimit(true as never), /^rateLimit: /);
  refused(() => Agent.builder("a").output({} as never), /^output: must be a Standard Schema/);
  refused(() => Agent.builder("a").output(z.object({ at: z.date() })), /^outputJsonSchema: is needed: zod cannot/);
  const cluster = { runner: () => Promise.reject() as never };
  refused(() => Agent.builder("a").llm(llm).cluster(cluster).build(), /^checkpoint: is needed with cluster/);
});

test("bad input is refused before a run is stored", async () => {
  const saver = new MemorySaver();
  const agent = Agent.builder("a").llm(scripted([])).checkpoint(saver).build();
  const at = { threadId: "t", runId: "r" };
  const refused = async (input: unknown, message: RegExp) => {
    await expect(agent.invoke(input as never, at)).rejects.toMatchObject({
      code: "InvalidArgument",
      message: expect.stringMatching(message),
    });
    expect(await saver.getRun("r")).toBeUndefined();
  };
  await refused("", /^input: is empty/);
  await refused(7, /^input: must be text/);
  await refused({ messages: [{ role: "user", content: "x" }, { role: "boss" }] }, /^messages\[1\]\.role: /);
  await refused({ messages: [], other: 1 }, /^input\.other: .* no such channel/);
});
