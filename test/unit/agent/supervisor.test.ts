/** A supervisor that hands work to agents: side by side, inside each other, with their questions and their costs. */
import { expect, test } from "vitest";
import { z } from "zod";
import { createRetrievalAgent } from "../../../src/agent/retrieval.ts";
import { keywordRetriever } from "../../../src/agent/retrieval-keyword.ts";
import { createSupervisor, type SupervisorOptions } from "../../../src/agent/supervisor.ts";
import {
  Agent,
  Command,
  createReactAgent,
  MemorySaver,
  MemoryStore,
  messagesChannel,
  START,
  StateGraph,
  tool,
  type WithId,
} from "../../../src/mod.ts";
import { type Answer, callOf, resultsOf, scripted } from "./model.ts";

interface Said<Content = unknown> extends WithId {
  readonly role: string;
  readonly content: Content;
}

const question = { messages: { role: "user", content: "go" } } as const;
const task = (text: string) => ({ task: text });

/** An agent whose model says these things. */
function worker(name: string, answers: readonly Answer[], tools: NonNullable<SupervisorOptions["tools"]> = []) {
  const llm = scripted(answers);
  return { llm, graph: createReactAgent({ name, llm, tools }) };
}

/** What the supervisor's model was told at the end of its n-th prompt. */
function toldAt(llm: ReturnType<typeof scripted>, call: number): unknown[] {
  return resultsOf(llm.calls[call]!.prompt).map(({ output }) => output);
}

test("hands a task to an agent, which sees nothing else, is told its last message, and answers", async () => {
  const add = tool({
    name: "add",
    description: "Adds",
    input: z.object({ a: z.number(), b: z.number() }),
    execute: ({ a, b }) => a + b,
  });
  const mathematician = worker("mathematician", [[callOf("1", "add", { a: 2, b: 3 })], "It is 5."], [add]);
  const llm = scripted([[callOf("c", "transfer_to_mathematician", task("2 + 3?"))], "Five."]);
  const graph = createSupervisor({
    name: "lead",
    llm,
    system: "You lead.",
    agents: [{ graph: mathematician.graph, description: "Good at sums." }],
  });
  const result = await graph.invoke(question);
  expect(llm.calls[0]!.prompt[0]).toEqual({ role: "system", content: "You lead." });
  expect(llm.calls[0]!.tools).toMatchObject([
    {
      name: "transfer_to_mathematician",
      description: "Good at sums.",
      inputSchema: { properties: { task: { type: "string" } }, required: ["task"] },
    },
  ]);
  expect(mathematician.llm.calls[0]!.prompt).toEqual([{ role: "user", content: [{ type: "text", text: "2 + 3?" }] }]);
  expect(toldAt(llm, 1)).toEqual([{ type: "text", value: "It is 5." }]);
  expect(result.messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
  expect(result.messages.at(-1)).toMatchObject({ content: [{ text: "Five." }] });
  expect(result.usage).toMatchObject({ calls: 4, inputTokens: 4, outputTokens: 4 });
});

test("four agents that one answer names work side by side, and report in the order of the calls", async () => {
  const names = ["north", "east", "south", "west"];
  let there = 0;
  let open: () => void = () => undefined;
  const all = new Promise<void>((resolve) => {
    open = resolve;
  });
  const agents = names.map((name) => {
    // Nobody goes on before all of them are at work.
    const llm = scripted([`${name} is done`], async () => {
      if (++there === names.length) open();
      await all;
    });
    return createReactAgent({ name, llm });
  });
  const llm = scripted([names.map((name) => callOf(name, `transfer_to_${name}`, task(name))), "done"]);
  const result = await createSupervisor({ name: "lead", llm, agents }).invoke(question);
  expect(toldAt(llm, 1)).toEqual(names.map((name) => ({ type: "text", value: `${name} is done` })));
  expect(result.usage).toMatchObject({ calls: 6, inputTokens: 6 });
});

test("the same agent may have several tasks at once", async () => {
  const llm = scripted([[callOf("1", "transfer_to_echo", task("a")), callOf("2", "transfer_to_echo", task("b"))], "."]);
  const echo = new StateGraph({ messages: messagesChannel<Said<string>>() })
    .addNode("echo", ({ messages }) => ({ messages: { role: "ai", content: `${messages.at(-1)!.content}!` } }))
    .addEdge(START, "echo")
    .compile({ name: "echo" });
  await createSupervisor({ name: "lead", llm, agents: [echo] }).invoke(question);
  expect(toldAt(llm, 1)).toEqual([
    { type: "text", value: "a!" },
    { type: "text", value: "b!" },
  ]);
});

test("with full_history it is told all that was said and done", async () => {
  const look = tool({
    name: "look",
    description: "Looks",
    input: z.object({ at: z.string() }),
    execute: () => ({ n: 1 }),
  });
  const steps: Answer[] = [[{ type: "text", text: "I look." }, callOf("1", "look", { at: "x" })], "It is one."];
  const { graph } = worker("scout", steps, [look]);
  const llm = scripted([[callOf("c", "transfer_to_scout", task("look at x"))], "done"]);
  await createSupervisor({ name: "lead", llm, agents: [graph], outputMode: "full_history" }).invoke(question);
  expect(toldAt(llm, 1)).toEqual([
    {
      type: "text",
      value: 'assistant: I look.\n\ncalls look: {"at":"x"}\n\nlook gave: {"n":1}\n\nassistant: It is one.',
    },
  ]);
});

test("an unknown agent, a call without a task and an agent that fails are told to the model, which goes on", async () => {
  const broken = createReactAgent({ name: "broken", llm: scripted([]) });
  const clock = tool({ name: "clock", description: "Tells the time", input: z.object({}), execute: () => "noon" });
  const llm = scripted([
    [
      callOf("1", "transfer_to_nobody", task("x")),
      callOf("2", "transfer_to_broken", {}),
      callOf("3", "transfer_to_broken", task("x")),
      callOf("4", "clock", {}),
    ],
    "I give up.",
  ]);
  const result = await createSupervisor({ name: "lead", llm, agents: [broken], tools: [clock] }).invoke(question);
  expect(toldAt(llm, 1)).toEqual([
    {
      type: "error-text",
      value: 'there is no tool named "transfer_to_nobody"; there are transfer_to_broken, clock',
    },
    { type: "error-text", value: "input.task: must say what the agent is to do" },
    { type: "error-text", value: expect.stringMatching(/^graph "broken", node "agent": .* the script has 0 answers/) },
    { type: "text", value: "noon" },
  ]);
  expect(result.messages.at(-1)).toMatchObject({ content: [{ text: "I give up." }] });
});

test("an Agent, a retrieval agent and an agent under another name are agents as well", async () => {
  const plain = Agent.builder("plain")
    .llm(scripted(["plain words"]))
    .build();
  const retriever = keywordRetriever([{ id: "tea", text: "Tea is hot." }]);
  const library = createRetrievalAgent({ name: "library", llm: scripted(["Hot [1]."]), retriever });
  const { graph } = worker("original", ["renamed"]);
  const llm = scripted([
    [
      callOf("1", "transfer_to_plain", task("x")),
      callOf("2", "transfer_to_library", task("Is tea hot?")),
      callOf("3", "transfer_to_the_other_one", task("x")),
    ],
    "done",
  ]);
  const agents = [plain, library, { graph, name: "the other one" }];
  const result = await createSupervisor({ name: "lead", llm, agents }).invoke(question);
  expect(toldAt(llm, 1)).toEqual(["plain words", "Hot [1].", "renamed"].map((value) => ({ type: "text", value })));
  expect(result.usage.calls).toBe(5);
});

/** Supervisors inside supervisors, the innermost over one agent that answers "bottom". */
function tower(depth: number, options: Partial<SupervisorOptions> = {}) {
  let graph: SupervisorOptions["agents"][number] = worker("digger", ["bottom"]).graph;
  let name = "digger";
  for (let level = depth; level >= 1; level--) {
    const llm = scripted([[callOf(`c${level}`, `transfer_to_${name}`, task("dig"))], `level ${level}`]);
    const maxDepth = level === 1 ? {} : { maxDepth: 32 };
    graph = createSupervisor({ name: `boss${level}`, llm, agents: [graph], ...maxDepth, ...options });
    name = `boss${level}`;
  }
  return graph as ReturnType<typeof createSupervisor>;
}

test("supervisors stand inside supervisors, and one usage counts them all", async () => {
  const result = await tower(3).invoke(question);
  expect(result.messages.at(-1)).toMatchObject({ content: [{ text: "level 1" }] });
  expect(result.messages[2]).toMatchObject({ content: [{ output: { type: "text", value: "level 2" } }] });
  expect(result.usage).toMatchObject({ calls: 7, inputTokens: 7, outputTokens: 7 });
});

test("deeper than maxDepth is refused when it is built, with the path", async () => {
  const refused = (make: () => unknown, message: RegExp) =>
    expect(make).toThrow(expect.objectContaining({ code: "InvalidArgument", message: expect.stringMatching(message) }));
  refused(
    () => tower(4),
    /^agents\[0\]: supervisors inside supervisors, 4 deep: boss1 > boss2 > boss3 > boss4; maxDepth is 3/,
  );
  refused(() => tower(2, { maxDepth: 1 }), /2 deep: boss1 > boss2; maxDepth is 1/);
  // A supervisor inside a graph of one's own counts, too.
  const around = new StateGraph({ messages: messagesChannel<Said>() })
    .addNode("inner", tower(1))
    .addEdge(START, "inner")
    .compile({ name: "around" });
  const llm = scripted([]);
  refused(
    () => createSupervisor({ name: "lead", llm, agents: [worker("a", []).graph, around], maxDepth: 1 }),
    /^agents\[1\]: supervisors inside supervisors, 2 deep: lead > inner; maxDepth is 1/,
  );
  expect(() => tower(4, { maxDepth: 4 })).not.toThrow();
});

test("an agent that calls its own supervisor goes in circles so far, and is then told so", async () => {
  const told: unknown[] = [];
  const llm = scripted([[callOf("c", "transfer_to_loop", task("again"))], "enough"], ({ prompt }) => {
    const [first] = resultsOf(prompt);
    if (first) told.push(first.output);
  });
  const loop = new StateGraph({ messages: messagesChannel<Said>() })
    .addNode("call", async (_state, context) => {
      const { messages } = (await context.invoke(lead, question)) as { messages: Said[] };
      return { messages: { role: "assistant", content: messages.at(-1)!.content } };
    })
    .addEdge(START, "call")
    .compile({ name: "loop" });
  const lead = createSupervisor({ name: "lead", llm, agents: [loop] });
  const result = await lead.invoke(question);
  expect(told[0]).toEqual({
    type: "error-text",
    value: "delegation goes in circles (loop > call > loop > call > loop > call), and maxDepth is 3: do this yourself",
  });
  expect(told.slice(1)).toEqual(Array(3).fill({ type: "text", value: "enough" }));
  expect(result.messages.at(-1)).toMatchObject({ content: [{ text: "enough" }] });
});

test("a node around it that has an agent's name by chance is no circle", async () => {
  const llm = scripted([[callOf("c", "transfer_to_digger", task("dig"))], "done"]);
  const lead = createSupervisor({ name: "lead", llm, agents: [worker("digger", ["dug"]).graph], maxDepth: 1 });
  const around = new StateGraph({ messages: messagesChannel<Said>() })
    .addNode("digger", lead)
    .addEdge(START, "digger")
    .compile();
  await around.invoke({ messages: [{ role: "user", content: "go" }] });
  expect(toldAt(llm, 1)).toEqual([{ type: "text", value: "dug" }]);
});

test("a model that only hands out work is told to answer, and then stopped", async () => {
  const hand = (id: number) => [callOf(String(id), "transfer_to_helper", task("more"))];
  const helper = new StateGraph({ messages: messagesChannel<Said<string>>() })
    .addNode("help", () => ({ messages: { role: "assistant", content: "helped" } }))
    .addEdge(START, "help")
    .compile({ name: "helper" });
  const build = (answers: readonly Answer[], more = {}) => {
    const llm = scripted(answers);
    return { llm, graph: createSupervisor({ name: "lead", llm, agents: [helper], maxRounds: 2, ...more }) };
  };
  const good = build([hand(1), hand(2), hand(3), "well then"]);
  const { messages } = await good.graph.invoke(question);
  expect(messages.at(-1)).toMatchObject({ content: [{ text: "well then" }] });
  expect([1, 2, 3].map((call) => toldAt(good.llm, call))).toEqual([
    [{ type: "text", value: "helped" }],
    [{ type: "text", value: "helped" }],
    [{ type: "error-text", value: "no more work in this run, after 2 rounds: answer with what you have" }],
  ]);
  await expect(build([hand(1), hand(2), hand(3), hand(4)]).graph.invoke(question)).rejects.toMatchObject({
    code: "NodeFailed",
    message: expect.stringMatching(/supervisor "lead" asked for work in 4 rounds without an answer; maxRounds is 2/),
  });
  // Rounds are of a question, not of the thread; and there are steps enough for them.
  const thread = build([hand(1), hand(2), "one", hand(3), hand(4), "two"], { checkpointer: new MemorySaver() });
  await thread.graph.invoke(question, { threadId: "t" });
  const second = await thread.graph.invoke(question, { threadId: "t" });
  expect(second.messages.at(-1)).toMatchObject({ content: [{ text: "two" }] });
  const long = build([...Array.from({ length: 20 }, (_, id) => hand(id)), "done"], { maxRounds: 20 });
  await expect(long.graph.invoke(question)).resolves.toBeDefined();
});

/** Two agents that ask a person, and one that does not; each process has models and tools of its own. */
function team(store: MemoryStore) {
  const ran: string[] = [];
  const buy = tool({
    name: "buy",
    description: "Buys",
    input: z.object({ what: z.string() }),
    approval: true,
    execute: ({ what }) => {
      ran.push(what);
      return `bought ${what}`;
    },
  });
  const buyer = (name: string, what: string) =>
    worker(name, [[callOf(name, "buy", { what })], `${name} has it`], [buy]);
  const [baker, butcher, clerk] = [buyer("baker", "bread"), buyer("butcher", "meat"), worker("clerk", ["noted"])];
  const names = ["baker", "butcher", "clerk"];
  const llm = scripted([names.map((name) => callOf(name, `transfer_to_${name}`, task("work"))), "all done"]);
  const saver = new MemorySaver({ store });
  const agents = [baker.graph, butcher.graph, clerk.graph];
  const graph = createSupervisor({ name: "shop", llm, agents, checkpointer: saver });
  return { ran, llm, graph, models: [baker.llm, butcher.llm, clerk.llm] };
}

test("questions of agents come up together, and are answered by id, one after the other, in other processes", async () => {
  const store = new MemoryStore();
  const first = team(store);
  const stopped = await first.graph.invoke(question, { threadId: "t" });
  const open = stopped.__interrupt__!;
  expect(open.map(({ value }) => value)).toMatchObject([
    { type: "approval", tool: "buy", input: { what: "bread" } },
    { type: "approval", tool: "buy", input: { what: "meat" } },
  ]);
  const second = team(store);
  const half = await second.graph.invoke(new Command({ resume: { [open[1]!.id]: true } }), { threadId: "t" });
  expect(half.__interrupt__).toMatchObject([{ id: open[0]!.id }]);
  expect(second.ran).toEqual(["meat"]);
  const third = team(store);
  const refusal = { approved: false, reason: "no bread today" };
  const end = await third.graph.invoke(new Command({ resume: { [open[0]!.id]: refusal } }), { threadId: "t" });
  expect(end.messages.at(-1)).toMatchObject({ content: [{ text: "all done" }] });
  expect(third.ran).toEqual([]);
  expect(resultsOf(third.models[0]!.calls[0]!.prompt)).toMatchObject([{ output: { reason: "no bread today" } }]);
  // What was finished before was not asked for again.
  expect([first, second, third].map(({ models }) => models.map(({ calls }) => calls.length))).toEqual([
    [1, 1, 1],
    [0, 1, 0],
    [1, 0, 0],
  ]);
  expect(third.llm.calls).toHaveLength(1);
});

test("one budget bounds supervisor and agents, across levels", async () => {
  const build = () => {
    const digger = worker("digger", ["bottom"]);
    const inner = scripted([[callOf("b", "transfer_to_digger", task("dig"))], "inner"]);
    const lead = createSupervisor({ name: "inner", llm: inner, agents: [digger.graph] });
    const outer = scripted([[callOf("a", "transfer_to_inner", task("dig"))], "outer"]);
    return { graph: createSupervisor({ name: "outer", llm: outer, agents: [lead] }), inner, outer, digger };
  };
  // Two tokens a call: three calls are within six of them, the fourth is not.
  const { graph, inner, outer, digger } = build();
  await expect(graph.invoke(question, { budget: { tokens: 6 } })).rejects.toMatchObject({
    code: "BudgetExceeded",
    details: { kind: "tokens", used: 6, allowed: 6 },
  });
  expect([outer, inner, digger.llm].map(({ calls }) => calls.length)).toEqual([1, 1, 1]);
  await expect(build().graph.invoke(question, { budget: { tokens: 11 } })).resolves.toMatchObject({
    usage: { inputTokens: 5, outputTokens: 5 },
  });
});

test("what agents do is streamed with the graph they are in, and can be looked into while they wait", async () => {
  const { graph } = team(new MemoryStore());
  const seen: unknown[] = [];
  for await (const [path, update] of graph.stream(question, {
    threadId: "t",
    streamMode: "updates",
    subgraphs: true,
  }) as AsyncIterable<[string[], Record<string, unknown>]>) {
    seen.push([path.map((segment) => segment.replace(/:.*/, "")), Object.keys(update)]);
  }
  expect(seen).toEqual(
    expect.arrayContaining([
      [[], ["supervisor"]],
      [["baker"], ["agent"]],
      [["clerk"], ["agent"]],
      [[], ["__interrupt__"]],
    ]),
  );
  const state = await graph.getState({ threadId: "t" }, { subgraphs: true });
  const inside = state!.tasks.map(({ name, state: inner }) => [name, inner && "values" in inner && inner.next]);
  expect(inside).toEqual([
    ["baker", ["tools"]],
    ["butcher", ["tools"]],
    ["clerk", expect.anything()],
  ]);
});

test("an agent that remembers takes one task at a time, and has its earlier ones before it", async () => {
  const memory = createReactAgent({ name: "memory", llm: scripted(["first", "second"]), checkpointer: true });
  const llm = scripted([
    [callOf("1", "transfer_to_memory", task("a")), callOf("2", "transfer_to_memory", task("b"))],
    [callOf("3", "transfer_to_memory", task("a"))],
    "done",
  ]);
  const checkpointer = new MemorySaver();
  const options = { name: "lead", llm, agents: [memory], outputMode: "full_history", checkpointer } as const;
  await createSupervisor(options).invoke(question, { threadId: "t" });
  expect(toldAt(llm, 1)).toEqual([
    { type: "text", value: "assistant: first" },
    { type: "error-text", value: expect.stringMatching(/^"memory" remembers its tasks and takes one at a time/) },
  ]);
  expect(toldAt(llm, 2)).toEqual([{ type: "text", value: "assistant: second" }]);
});

test("what an agent says is cut where it is too long, and told where it says nothing", async () => {
  const say = (name: string, content: unknown) =>
    new StateGraph({ messages: messagesChannel<Said>() })
      .addNode("say", () => ({ messages: { role: "assistant", content } }))
      .addEdge(START, "say")
      .compile({ name });
  const agents = [say("long", `${"x".repeat(300_000)}end`), say("mute", [])];
  const llm = scripted([[callOf("1", "transfer_to_long", task("x")), callOf("2", "transfer_to_mute", task("x"))], "."]);
  await createSupervisor({ name: "lead", llm, agents }).invoke(question);
  const [long, mute] = toldAt(llm, 1) as { value: string }[];
  expect([long!.value.length, long!.value.slice(0, 2), long!.value.slice(-3)]).toEqual([200_001, "…x", "end"]);
  expect(mute!.value).toBe("(the agent ended without a word)");
});

test("bad options name the field", () => {
  const llm = scripted([]);
  const a = worker("a", []).graph;
  const refused = (options: object, message: RegExp) =>
    expect(() => createSupervisor({ name: "lead", llm, agents: [a], ...options } as SupervisorOptions)).toThrow(
      expect.objectContaining({ code: "InvalidArgument", message: expect.stringMatching(message) }),
    );
  const unnamed = new StateGraph({ messages: messagesChannel() })
    .addNode("n", () => ({}))
    .addEdge(START, "n")
    .compile();
  const wordless = new StateGraph({ n: messagesChannel() }).addNode("n", () => ({})).addEdge(START, "n");
  refused({ name: "" }, /^name: /);
  refused({ llm: "gpt" }, /^llm: /);
  refused({ agents: [] }, /^agents: must be a list of at least one agent/);
  refused({ agents: undefined }, /^agents: must be a list/);
  refused({ agents: [a, {}] }, /^agents\[1\]: must be a compiled graph, an Agent, or \{ graph, description \}/);
  refused({ agents: [a, unnamed] }, /^agents\[1\]\.name: is needed/);
  refused({ agents: [a, { graph: worker("a", []).graph }] }, /^agents\[1\]\.name: another agent is named "a" already/);
  refused(
    {
      agents: [
        { graph: a, name: "x y" },
        { graph: a, name: "x_y" },
      ],
    },
    /^agents\[1\]\.name: another agent/,
  );
  refused({ agents: [{ graph: a, name: "tools" }] }, /^agents\[0\]\.name: "tools" is a node/);
  refused({ agents: [{ graph: a, name: "x".repeat(60) }] }, /^agents\[0\]\.name: must be 1 to 64 letters/);
  refused({ agents: [{ graph: a, description: "" }] }, /^agents\[0\]\.description: must be text/);
  refused({ agents: [wordless.compile({ name: "w" })] }, /^agents\[0\]: graph "w" has no channel "messages"/);
  refused({ outputMode: "all" }, /^outputMode: /);
  refused({ maxDepth: 0 }, /^maxDepth: /);
  refused({ maxRounds: 0 }, /^maxRounds: /);
  refused({ tools: [{}] }, /^tools\[0\]: must be made by tool/);
  refused({ budget: { cost: -1 } }, /^budget\.cost: /);
  const clash = tool({ name: "transfer_to_a", description: "x", input: z.object({}), execute: () => "" });
  refused({ tools: [clash] }, /^tools\[0\]\.name: "transfer_to_a" is how work is handed to the agent "a"/);
});
