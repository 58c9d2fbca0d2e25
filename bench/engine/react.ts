/**
 * A ReAct agent of two model calls and one tool call between them; each model call takes 50 ms, the tool none.
 *
 * Measured: milliseconds from the first call of `invoke` to the last result, beyond the 100 ms that the model takes: of
 * one run, and of 100 runs that start at once in one process, each on a thread of its own. Each library by its own
 * `createReactAgent`. Not measured: models over HTTP, tokens, tools that work, long conversations.
 */
import { z } from "zod";
import { createReactAgent, MemorySaver, tool } from "../../src/mod.ts";
import { type Compiled, langgraph, load, runConfig } from "./libraries.ts";
import { chatModel, modelMs, type Script, scripted, wait } from "./model.ts";
import { type Contender, timed } from "./rounds.ts";
import type { Workload } from "./workload.ts";

const script: Script = { tool: "add", input: { a: 2, b: 3 }, answer: "It is 5." };
const question = "What is 2 and 3?";
const modelCalls = 2;

interface Sum {
  readonly a: number;
  readonly b: number;
}

const add = ({ a, b }: Sum) => String(a + b);

export const reactOne: Workload = {
  name: "react-1",
  title: "ReAct agent, 1 run",
  unit: "ms beyond the model's",
  contenders: () => contenders(1),
};

export const reactMany: Workload = {
  name: "react-100",
  title: "ReAct agent, 100 runs at once",
  unit: "ms beyond the model's",
  contenders: () => contenders(100),
};

async function contenders(atOnce: number): Promise<Contender[]> {
  const all: Contender[] = [];
  for (const agent of await agents()) {
    const sample = async () => {
      const run = await agent.make();
      return (
        (await timed(() => Promise.all(Array.from({ length: atOnce }, (_, index) => run(index))))) -
        modelCalls * modelMs
      );
    };
    all.push({ name: agent.name, sample });
  }
  return all;
}

interface BenchAgent {
  readonly name: string;
  /** A fresh agent, which answers with what its model said last. */
  readonly make: () => Promise<(thread: number) => Promise<string>>;
}

export async function agents(): Promise<BenchAgent[]> {
  return [
    { name: "plain calls", make: async () => plainAgent },
    { name: "agentmatic", make: async () => ours(false) },
    { name: "agentmatic, memory saver", make: async () => ours(true) },
    { name: "LangGraph.js", make: () => theirs(false) },
    { name: "LangGraph.js, memory saver", make: () => theirs(true) },
  ];
}

async function plainAgent(): Promise<string> {
  const messages: unknown[] = [{ role: "user", content: question }];
  await wait();
  messages.push({ role: "assistant", call: script.tool, input: script.input });
  messages.push({ role: "tool", content: await add(script.input as never) });
  await wait();
  messages.push({ role: "assistant", content: script.answer });
  return script.answer;
}

function ours(saves: boolean): (thread: number) => Promise<string> {
  const input = z.object({ a: z.number(), b: z.number() });
  const agent = createReactAgent({
    name: "bench",
    llm: scripted(script),
    tools: [tool({ name: "add", description: "Adds two numbers.", input, execute: add })],
    ...(saves ? { checkpointer: new MemorySaver() } : {}),
  });
  return async (thread) => {
    const messages = [{ role: "user" as const, content: [{ type: "text" as const, text: question }] }];
    const { messages: said } = await agent.invoke({ messages }, runConfig(thread));
    const last = said.at(-1)!.content[0];
    return typeof last === "object" && last.type === "text" ? last.text : "";
  };
}

async function theirs(saves: boolean): Promise<(thread: number) => Promise<string>> {
  const prebuilt = await load("langgraph", "dist", "prebuilt", "index.js");
  const { tool: toolOf } = await load("core", "dist", "tools", "index.js");
  const { message, MemorySaver: Saver } = await langgraph();
  const schema = z.object({ a: z.number(), b: z.number() });
  const agent: Compiled = prebuilt.createReactAgent({
    llm: await chatModel(script),
    tools: [toolOf(async (input: Sum) => add(input), { name: "add", description: "Adds two numbers.", schema })],
    ...(saves ? { checkpointSaver: new Saver() } : {}),
  });
  return async (thread) => {
    const { messages } = await agent.invoke({ messages: [message("m", question)] }, runConfig(thread));
    return (messages as { content: string }[]).at(-1)!.content;
  };
}
