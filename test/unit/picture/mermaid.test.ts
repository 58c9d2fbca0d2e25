import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { Annotation } from "../../../src/graph/channels.ts";
import { END, START } from "../../../src/graph/plan.ts";
import { StateGraph } from "../../../src/local/state-graph.ts";
import { drawMermaid } from "../../../src/picture/mod.ts";
import { shorten } from "../../../src/picture/text.ts";
import { graphOf, nestedGraph, nodeNames, oddNames } from "./charts.ts";
import { loadPeer, type Peer } from "./peer.ts";

const state = { x: Annotation<unknown> };
const nothing = (): object => ({});

let peer: Peer;

beforeAll(async () => {
  peer = await loadPeer();
}, 60_000);

describe("Mermaid text", () => {
  it("is short for a short graph", () => {
    const graph = new StateGraph(state)
      .addNode("agent", nothing)
      .addNode("tools", nothing, { defer: true })
      .addEdge(START, "agent")
      .addConditionalEdges("agent", () => END, { "call tools": "tools", __end__: END })
      .addEdge("tools", "agent")
      .compile({ name: "weather", interruptBefore: ["tools"] });
    expect(drawMermaid(graph, { state: { next: ["tools"] } })).toBe(`flowchart TB
  accDescr: Graph "weather", 2 nodes. Next: tools.
  __start__(["start"])
  agent("agent")
  tools("tools<br/><small>next · deferred · stops before</small>")
  __end__(["end"])
  __start__ --> agent
  agent -.->|"call tools"| tools
  agent -.-> __end__
  tools --> agent
  classDef current fill:#ddf4ff,stroke:#0969da,stroke-width:3px,color:#1f2328
  class tools current
`);
  });

  it("has joins, and graphs as nodes with a double border", () => {
    const graph = new StateGraph(state)
      .addNode("a", nothing)
      .addNode("b", graphOf([[START, "inner"]]) as never)
      .addNode("c", nothing)
      .addEdge(START, "a")
      .addEdge(START, "b")
      .addEdge(["a", "b"], "c")
      .compile();
    const text = drawMermaid(graph, { direction: "LR" });
    expect(text).toContain("flowchart LR\n");
    expect(text).toContain('  b[["b"]]\n');
    expect(text).toContain('  join_0(("all"))\n  join_0 --> c\n');
    expect(text).toContain("  a --- join_0\n  b --- join_0\n");
    expect(text).not.toContain("inner");
  });

  it("leaves out colours where it is asked to", () => {
    const graph = graphOf([[START, "a"]]);
    const options = { state: { next: ["a"] } };
    expect(drawMermaid(graph, options)).toContain("class a current");
    expect(drawMermaid(graph, { ...options, withStyles: false })).not.toContain("class");
    expect(drawMermaid(graph)).not.toContain("class");
  });

  it("is large where the graph is", () => {
    const edges = Array.from({ length: 5_000 }, (_, at) => [at === 0 ? START : `n ${at - 1}`, `n ${at}`] as const);
    expect(drawMermaid(graphOf(edges)).split("\n")).toHaveLength(2 + 5_002 + 5_001 + 1);
  });
});

/** Mermaid takes no notice of blanks at either end. */
function asShown(text: string): string {
  return shorten(text, 60).trim();
}

describe("Mermaid's parser", () => {
  it("finds nodes, labels and edges, whatever they are called", async () => {
    await fc.assert(
      fc.asyncProperty(nodeNames, fc.infiniteStream(fc.nat()), async (names, numbers) => {
        fc.pre(names.length > 0);
        const pick = (): string => names[numbers.next().value! % names.length]!;
        const graph = new StateGraph(state);
        const edges: { from: string; to: string; label: string }[] = [];
        for (const name of names) graph.addNode(name, nothing, { ends: [] });
        for (const [at, name] of names.entries()) graph.addEdge((names[at - 1] ?? START) as never, name as never);
        const targets = new Map<string, Record<string, string>>();
        for (const name of new Set([pick(), pick(), pick()])) {
          const answers = Object.fromEntries([[`if ${pick()}`, pick()]]);
          targets.set(name, answers);
          graph.addConditionalEdges(name as never, (() => END) as never, answers as never);
        }
        for (const [from, answers] of targets)
          for (const [label, to] of Object.entries(answers)) edges.push({ from, to, label });
        const read = await peer.readMermaid(drawMermaid(graph.compile()));
        const texts = [...read.vertices.values()].map(({ text }) => text);
        const last = names.at(-1)!;
        const ends = targets.has(last) ? [] : [END];
        expect(texts).toEqual(["start", ...names.map(asShown), ...ends.map(() => "end")]);
        const nameOf = new Map([...read.vertices.keys()].map((id, at) => [id, [START, ...names, ...ends][at]!]));
        const dotted = read.edges.filter(({ stroke }) => stroke === "dotted");
        expect(dotted.map(({ from, to, text }) => ({ from: nameOf.get(from), to: nameOf.get(to), text }))).toEqual(
          names
            .flatMap((name) => edges.filter(({ from }) => from === name))
            .map((edge) => ({
              from: edge.from,
              to: edge.to,
              text: asShown(edge.label),
            })),
        );
        expect(read.edges.length - dotted.length).toBe(names.length + ends.length);
      }),
      { numRuns: 60 },
    );
  });

  it.each(oddNames)("takes a node and a title that are called %j", async (name) => {
    const graph = graphOf([[START, name.replace(/[|#:\n]/g, " ")]]);
    const read = await peer.readMermaid(
      drawMermaid(graph, { title: name, state: { next: [...graph.plan.nodes.keys()] } }),
    );
    expect(read.vertices.size).toBe(3);
    expect([...read.vertices.values()][1]).toMatchObject({ classes: ["current"] });
    expect(read.description).toMatch(/^Graph "graph", 1 node. Next: /);
  });

  it("finds graphs inside graphs, and marks on them", async () => {
    const waits = { next: ["search"], tasks: [{ name: "search", interrupts: [{ value: 1 }] }] };
    const text = drawMermaid(nestedGraph(), {
      xray: true,
      state: { next: ["research"], tasks: [{ name: "research", state: waits }] },
    });
    const { groups, vertices, edges } = await peer.readMermaid(text);
    const byId = new Map(groups.map(({ id, ...group }) => [id, group]));
    expect([...byId.keys()].sort()).toEqual(["research", "research_search"]);
    expect(byId.get("research_search")!.members.toSorted()).toEqual([
      "research_search___end__",
      "research_search___start__",
      "research_search_query",
      "research_search_rerank",
    ]);
    expect(byId.get("research")!.members).toContain("research_search");
    expect(vertices.get("research")).toEqual({ text: "research<br><small>next</small>", classes: ["current"] });
    expect(vertices.get("research_search")!.classes).toEqual(["interrupted"]);
    expect(edges).toContainEqual({ from: "supervisor", to: "research", text: "", stroke: "dotted" });
    expect(edges).toContainEqual({ from: "research_cite", to: "research_search", text: "more", stroke: "dotted" });
  });
});
