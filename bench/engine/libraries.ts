// The graph libraries behind one face. They have the same names, so each workload is written once.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as ours from "../../src/mod.ts";

export type State = Record<string, unknown>;

export interface Compiled {
  invoke(input: unknown, config?: object): Promise<State>;
}

export interface Builder {
  addNode(name: string, run: (state: never) => unknown): Builder;
  addEdge(from: string | readonly string[], to: string): Builder;
  addConditionalEdges(from: string, path: (state: never) => unknown, targets?: readonly string[]): Builder;
  compile(options?: object): Compiled;
}

export interface Annotate {
  Root(spec: object): unknown;
  (): unknown;
  <Value, Update = Value>(options: {
    reducer: (current: Value, update: Update) => Value;
    default: () => Value;
  }): unknown;
}

export interface GraphLibrary {
  readonly name: string;
  readonly START: string;
  readonly END: string;
  readonly Send: new (node: string, args: unknown) => object;
  readonly Annotation: Annotate;
  readonly StateGraph: new (state: unknown) => Builder;
  readonly MemorySaver: new () => object;
  /** The reducer for conversations, and a message that it takes. */
  readonly messages: (current: readonly unknown[], update: never) => readonly unknown[];
  readonly message: (id: string, text: string) => unknown;
}

const folder = join(import.meta.dirname, "..", "..", "tools", "langgraph", "node_modules", "@langchain");

export const agentmatic: GraphLibrary = {
  name: "agentmatic",
  START: ours.START,
  END: ours.END,
  Send: ours.Send,
  Annotation: ours.Annotation as Annotate,
  StateGraph: ours.StateGraph as unknown as GraphLibrary["StateGraph"],
  MemorySaver: ours.MemorySaver,
  messages: ours.messagesReducer as GraphLibrary["messages"],
  message: (id, text) => ({ role: "user", content: text, id }),
};

/** Throws where it is not installed. */
export async function langgraph(): Promise<GraphLibrary> {
  const theirs = await load("langgraph", "dist", "index.js");
  const { HumanMessage } = await load("core", "dist", "messages", "index.js");
  return {
    name: "LangGraph.js",
    START: theirs.START,
    END: theirs.END,
    Send: theirs.Send,
    Annotation: theirs.Annotation,
    StateGraph: theirs.StateGraph,
    MemorySaver: theirs.MemorySaver,
    messages: theirs.messagesStateReducer,
    message: (id, text) => new HumanMessage({ id, content: text }),
  };
}

/** A module of LangChain's, without types of its own here: it is no dependency of the package. */
// biome-ignore lint/suspicious/noExplicitAny: the types lie outside of what this project installs
export async function load(...path: readonly string[]): Promise<any> {
  if (!existsSync(folder)) throw new Error("LangGraph.js is not there to compare with: run npm run tools");
  return await import(pathToFileURL(join(folder, ...path)).href);
}

/** Both libraries, each without and with its memory saver. */
export interface Mode {
  readonly name: string;
  readonly library: GraphLibrary;
  readonly saves: boolean;
}

export async function modes(): Promise<Mode[]> {
  return [agentmatic, await langgraph()].flatMap((library) => [
    { name: library.name, library, saves: false },
    { name: `${library.name}, memory saver`, library, saves: true },
  ]);
}

/** What a graph is compiled with, and what a run is given, in a mode. */
export function compiled(builder: Builder, { library, saves }: Mode): Compiled {
  return builder.compile(saves ? { checkpointer: new library.MemorySaver() } : {});
}

export function runConfig(thread: number | string, stepsMax = 25): object {
  return { configurable: { thread_id: `thread-${thread}` }, recursionLimit: stepsMax };
}
