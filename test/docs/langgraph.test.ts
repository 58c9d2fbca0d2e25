/** What docs/langgraph.md says of LangGraph.js's names is complete, and what it says of ours is so. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { install } from "../../adapters/node/mod.ts";
import * as ours from "../../src/mod.ts";
import { CompiledGraph, type NodeContext, StateGraph } from "../../src/mod.ts";
import { root } from "../support/imports.ts";
import { programs } from "./langgraph-programs.ts";

const folder = join(root, "tools", "langgraph", "node_modules", "@langchain", "langgraph", "dist");
const page = readFileSync(join(root, "docs", "langgraph.md"), "utf8");
const sections = { same: "The same", other: "Another name", absent: "Not here" } as const;

type Section = keyof typeof sections;

/** By section the names in the first column, each once. */
const named = Object.fromEntries(
  Object.entries(sections).map(([key, title]) => [key, rows(title).flatMap(([first = ""]) => codes(first))]),
) as Record<Section, string[]>;

let theirs: Record<string, unknown>;
let theirNames: string[];

beforeAll(async () => {
  install();
  theirs = await import(pathToFileURL(join(folder, "index.js")).href);
  const [, list = ""] = /export \{([^}]*)\};?\s*$/.exec(readFileSync(join(folder, "index.d.ts"), "utf8").trim()) ?? [];
  const declared = list.split(",").map((name) => name.trim().split(" as ").at(-1)!);
  theirNames = [...new Set([...declared, ...Object.keys(theirs)])];
}, 60_000);

function rows(title: string): string[][] {
  const text = page.split(`\n## ${title}\n`)[1]?.split("\n## ")[0] ?? "";
  const lines = text.split("\n").filter((line) => line.startsWith("|"));
  return lines.slice(2).map((line) => line.split(/(?<!\\)\|/).slice(1, -1));
}

function codes(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);
}

/** `graph.addNode` of all that begin with `graph.`. */
function members(prefix: string, section?: Section): string[] {
  const names = section ? named[section] : Object.values(named).flat();
  return names
    .filter((name) => new RegExp(`^${prefix}\\.\\w+$`).test(name))
    .map((name) => name.slice(prefix.length + 1));
}

function isBare(name: string): boolean {
  return /^\w+$/.test(name);
}

/** Public methods and accessors, those of the classes above included. */
function methodsOf(type: unknown): string[] {
  const names = new Set<string>();
  for (let at = (type as { prototype: object }).prototype; at !== Object.prototype; at = Object.getPrototypeOf(at))
    for (const name of Object.getOwnPropertyNames(at)) if (!/^_|^constructor$/.test(name)) names.add(name);
  return [...names].sort();
}

/** Names that the source of the package's front door exports, types included. */
function ourNames(): Set<string> {
  const read = (path: string): string => readFileSync(join(root, "src", path), "utf8");
  const names = new Set<string>();
  const mod = read("mod.ts");
  for (const [, list = ""] of mod.matchAll(/export (?:type )?\{([^}]*)\}/g))
    for (const name of list.split(","))
      names.add(
        name
          .trim()
          .replace(/^type /, "")
          .split(" as ")
          .at(-1)!,
      );
  for (const [, path = ""] of mod.matchAll(/export (?:type )?\* from "\.\/([^"]+)"/g))
    for (const [, name = ""] of read(path).matchAll(
      /^export (?:abstract )?(?:interface|type|class|function|const) (\w+)/gm,
    ))
      names.add(name);
  return names;
}

describe("docs/langgraph.md", () => {
  it("names everything once", () => {
    const all = Object.values(named).flat();
    expect(all.length).toBeGreaterThan(250);
    expect(all.filter((name, at) => all.indexOf(name) !== at)).toEqual([]);
  });

  it("has every export of LangGraph.js in one of its tables", () => {
    const all = new Set(Object.values(named).flat());
    expect(theirNames.length).toBeGreaterThan(200);
    expect(theirNames.filter((name) => !all.has(name))).toEqual([]);
  });

  it("names no export that LangGraph.js does not have", () => {
    const known = new Set([...theirNames, "ToolNode", "toolsCondition", "RemoteGraph", "drawMermaidPng"]);
    expect(
      Object.values(named)
        .flat()
        .filter((name) => isBare(name) && !known.has(name)),
    ).toEqual([]);
  });

  it("has every method of its graphs and compiled graphs", () => {
    expect(members("graph").sort()).toEqual(methodsOf(theirs.StateGraph));
    expect(members("compiled").sort()).toEqual(methodsOf(theirs.CompiledStateGraph));
  });

  it("says of no name that it is the same which is not exported here", () => {
    const known = ourNames();
    expect(named.same.filter((name) => isBare(name) && !known.has(name))).toEqual([]);
    const values = named.same.filter((name) => isBare(name) && name in theirs);
    expect(values.filter((name) => !(name in ours))).toEqual([]);
    expect(values.filter((name) => typeof theirs[name] !== typeof (ours as Record<string, unknown>)[name])).toEqual([]);
    expect(members("graph", "same").filter((name) => !(name in StateGraph.prototype))).toEqual([]);
    expect(members("compiled", "same").filter((name) => !(name in CompiledGraph.prototype))).toEqual([]);
  });

  it("says of no name that it is another or not here which is exported here with that meaning", () => {
    const known = ourNames();
    // The stored form of a checkpoint has the same name.
    expect([...named.other, ...named.absent].filter((name) => isBare(name) && known.has(name))).toEqual(["Checkpoint"]);
    expect(members("compiled", "absent").filter((name) => name in CompiledGraph.prototype)).toEqual([]);
  });

  it("gives other names that are there", async () => {
    let context: NodeContext | undefined;
    const compiled = new StateGraph({ x: ours.Annotation<number> })
      .addNode("a", (_state, ctx) => {
        context = ctx;
      })
      .addEdge("__start__", "a")
      .compile();
    await compiled.invoke({});
    const known = ourNames();
    const given = rows(sections.other).flatMap(([, second = ""]) => codes(second));
    const errors = new Set<string>(Object.keys(ours.errorCodes));
    const options = new Set(
      "retryPolicy errorHandler durability correlationId caller trace output input debug code compile addEdge metadata commit clear drained catch subgraph drawMermaid".split(
        " ",
      ),
    );
    const wrong = given.filter((code) => {
      if (code.startsWith("ctx.")) return !(code.slice(4) in context!);
      if (/^compiled\.\w+/.test(code)) return !(/^compiled\.(\w+)/.exec(code)![1]! in compiled);
      return isBare(code) && !known.has(code) && !errors.has(code) && !options.has(code);
    });
    expect(wrong).toEqual([]);
    const same = members("config", "same");
    expect(same.filter((name) => !(name in context!))).toEqual([]);
    expect(same).toHaveLength(6);
  });
});

describe("programs of LangGraph.js's users", () => {
  it.each(Object.entries(programs))("%s", async (_name, program) => {
    const there = await program(theirs);
    expect(await program(ours)).toEqual(there);
    expect(there).toBeDefined();
  });
});

describe("same name, another meaning", () => {
  const { Annotation, MemorySaver, StateGraph, START } = ours;
  // biome-ignore lint/suspicious/noExplicitAny: what the other library would take, and this one refuses
  const graph = (node: (state: any) => any, checkpointer?: ours.Saver) =>
    new StateGraph({ x: Annotation<unknown> })
      .addNode("x", node)
      .addEdge(START, "x")
      .compile(checkpointer ? { checkpointer } : {});
  const thread = { configurable: { thread_id: "1" } };

  it("is had by errors of nodes", async () => {
    const boom = new TypeError("boom");
    const fails = graph(() => {
      throw boom;
    });
    const error = await fails.invoke({}).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ours.AgentmaticError);
    expect(error).toMatchObject({ code: "NodeFailed", cause: boom, message: 'graph "graph", node "x": boom' });
  });

  it("is had by unknown channels, targets and values", async () => {
    await expect(graph(() => ({ y: 1 })).invoke({})).rejects.toThrow('wrote "y"');
    await expect(graph(() => ({})).invoke({ y: 1 } as never)).rejects.toThrow("input.y");
    await expect(graph(() => new ours.Command({ goto: "nowhere" })).invoke({})).rejects.toThrow('"nowhere"');
    await expect(graph(() => ({ x: () => 1 }), new MemorySaver()).invoke({}, thread)).rejects.toThrow("x: a function");
  });

  it("is had by threads", async () => {
    const order: string[] = [];
    const slow = graph(async ({ x }) => {
      order.push(`${x} begins`);
      await Promise.resolve();
      order.push(`${x} ends`);
    }, new MemorySaver());
    expect(await slow.getState(thread)).toBeUndefined();
    await Promise.all([slow.invoke({ x: 1 }, thread), slow.invoke({ x: 2 }, thread)]);
    expect(order).toEqual(["1 begins", "1 ends", "2 begins", "2 ends"]);
    const steps: number[] = [];
    for await (const { step } of slow.getStateHistory(thread)) steps.unshift(step);
    expect(steps).toEqual([0, 1, 2, 3]);
  });

  it("is had by messages", async () => {
    const chat = new StateGraph(ours.MessagesAnnotation)
      .addNode("answer", () => ({ messages: { role: "assistant", content: "hi" } }))
      .addEdge(START, "answer")
      .compile();
    const question = { role: "user", content: "hello" };
    expect(await chat.invoke({ messages: [question] })).toEqual({
      messages: [question, { role: "assistant", content: "hi" }],
    });
    await expect(chat.invoke({ messages: "hello" } as never)).rejects.toThrow("must be a message");
  });
});
