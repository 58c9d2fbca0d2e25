// The two libraries behind one face.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as ours from "../../src/mod.ts";
import { root } from "../support/imports.ts";
import type { Library, State } from "./build.ts";

const concat = (a: string[], b: string[]) => [...a, ...b];
const add = (a: number, b: number) => a + b;

export const agentmatic: Library = {
  START: ours.START,
  END: ours.END,
  Send: ours.Send,
  Command: ours.Command as Library["Command"],
  StateGraph: ours.StateGraph as Library["StateGraph"],
  state: () => stateOf(ours.Annotation),
  ask: (question, context) => (context as ours.NodeContext).interrupt(question),
  saver: () => new ours.MemorySaver(),
  limit: (count) => count,
  isExtra: () => false,
};

export async function langgraph(): Promise<Library> {
  const folder = join(root, "tools", "langgraph", "node_modules", "@langchain", "langgraph");
  const theirs = await import(pathToFileURL(join(folder, "dist", "index.js")).href);
  return {
    START: theirs.START,
    END: theirs.END,
    Send: theirs.Send,
    Command: theirs.Command,
    StateGraph: theirs.StateGraph,
    state: () => stateOf(theirs.Annotation),
    ask: (question) => theirs.interrupt(question),
    saver: () => new theirs.MemorySaver(),
    // Going on takes two supersteps more than the limit says, a fork one.
    limit: (count, action) => (action === "input" ? count : action === "fork" ? count - 1 : count - 2),
    isExtra: (source) => source === "input",
  };
}

interface Annotate {
  Root(spec: object): unknown;
  (): unknown;
  (options: object): unknown;
}

function stateOf(annotation: unknown): unknown {
  const annotate = annotation as Annotate;
  const spec: Record<keyof State, unknown> = {
    log: annotate({ reducer: concat, default: () => [] }),
    sum: annotate({ reducer: add, default: () => 0 }),
    last: annotate(),
    mark: annotate(),
  };
  return annotate.Root(spec);
}
