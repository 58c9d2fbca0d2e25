// The two libraries behind one face.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { decodeBody } from "../../src/checkpoint/body.ts";
import type { Commit, Saver } from "../../src/checkpoint/saver.ts";
import * as ours from "../../src/mod.ts";
import { root } from "../support/imports.ts";
import type { Boundary, Library, State } from "./build.ts";

/** A subgraph's whole log goes into that of the graph around it: without a bound it would double at every turn. */
const logMax = 40;
const concat = (a: string[], b: string[]) => [...a, ...b].slice(-logMax);
const add = (a: number, b: number) => a + b;

export const agentmatic: Library = {
  START: ours.START,
  END: ours.END,
  Send: ours.Send,
  Command: ours.Command as Library["Command"],
  Overwrite: ours.Overwrite,
  StateGraph: ours.StateGraph as Library["StateGraph"],
  state: () => stateOf(ours.Annotation),
  ask: (question, context) => (context as ours.NodeContext).interrupt(question),
  saver: () => recording(new ours.MemorySaver()),
  limit: (count) => count,
  isExtra: () => false,
  commits: (saver) => recorded.get(saver as Saver)?.splice(0) ?? [],
};

export async function langgraph(): Promise<Library> {
  const folder = join(root, "tools", "langgraph", "node_modules", "@langchain", "langgraph");
  if (!existsSync(folder)) throw new Error("LangGraph.js is not there to compare with: run npm run tools");
  const theirs = await import(pathToFileURL(join(folder, "dist", "index.js")).href);
  return {
    START: theirs.START,
    END: theirs.END,
    Send: theirs.Send,
    Command: theirs.Command,
    Overwrite: theirs.Overwrite,
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
  const spec: Record<Exclude<keyof State, "nested">, unknown> = {
    log: annotate({ reducer: concat, default: () => [] }),
    sum: annotate({ reducer: add, default: () => 0 }),
    last: annotate(),
    mark: annotate(),
  };
  return annotate.Root(spec);
}

const recorded: WeakMap<Saver, Boundary[]> = new WeakMap();

/** A saver that tells what was committed: the view from inside that says whether a difference may be put down to a cause. */
function recording(inner: Saver): Saver {
  const boundaries: Boundary[] = [];
  const known = new Map<string, Boundary>();
  const note = ({ checkpoint }: Commit) => {
    if (!checkpoint) return;
    const { source, updates, next, sends, deferred = [], joins, taken } = decodeBody(checkpoint);
    const boundary: Boundary = {
      path: checkpoint.ns === "" ? [] : checkpoint.ns.split("|").map((part) => Number(/^n(\d+):/.exec(part)?.[1])),
      source,
      ran: (updates ?? []).map(([node]) => node),
      due: next,
      sends: sends.map(({ node }) => node),
      deferred,
      joins,
      taken,
      before: checkpoint.parentId === null ? undefined : known.get(`${checkpoint.ns}@${checkpoint.parentId}`),
    };
    known.set(`${checkpoint.ns}@${checkpoint.checkpointId}`, boundary);
    boundaries.push(boundary);
  };
  const saver = new Proxy(inner, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (key === "commit") for (const commit of args[0] as readonly Commit[]) note(commit);
        return value.apply(target, args);
      };
    },
  });
  recorded.set(saver, boundaries);
  return saver;
}
