import { describe, expect, it } from "vitest";
import { MemorySaver } from "../../../src/checkpoint/memory.ts";
import { Annotation } from "../../../src/graph/channels.ts";
import { Command } from "../../../src/graph/command.ts";
import { END, START } from "../../../src/graph/plan.ts";
import { StateGraph } from "../../../src/local/state-graph.ts";
import { marksOf, type PictureState } from "../../../src/picture/marks.ts";
import { drawMermaid, drawSvg } from "../../../src/picture/mod.ts";
import { graphOf, nestedGraph } from "./charts.ts";

const state = { x: Annotation<unknown> };

function marks(picture: PictureState): Record<string, string> {
  return Object.fromEntries(marksOf(nestedGraph().plan, picture).all);
}

describe("marks", () => {
  it("come from lists of names, those of graphs inside with the way there", () => {
    expect(marks({ next: ["math"], finished: ["supervisor"], failed: ["research:search:query"] })).toEqual({
      math: "current",
      supervisor: "finished",
      "research:search:query": "failed",
    });
  });

  it("are the gravest of what is said of a node", () => {
    const tasks = [{ name: "math", result: {} }, { name: "math" }, { name: "math", interrupts: [1] }];
    expect(marks({ next: [], tasks: tasks.slice(0, 1) })).toEqual({ math: "finished" });
    expect(marks({ next: ["math"], tasks: tasks.slice(0, 2) })).toEqual({ math: "current" });
    expect(marks({ next: ["math"], tasks })).toEqual({ math: "interrupted" });
    expect(marks({ next: ["math"], tasks: [...tasks, { name: "math", error: "no" }] })).toEqual({ math: "failed" });
  });

  it("of graphs that are not drawn show on the node that they are in", () => {
    const picture = { next: ["research:search:query"] };
    expect(drawMermaid(nestedGraph(), { state: picture })).toContain("class research current");
    const deep = drawMermaid(nestedGraph(), { state: picture, xray: true });
    expect(deep).not.toContain("class research current");
    expect(deep).toContain("class research_search_query current");
  });

  it("follow a real thread: its failure, its question in a graph inside, its end", async () => {
    let fails = true;
    const inner = new StateGraph(state)
      .addNode("check", () => ({}))
      .addNode("ask", (_state, ctx) => ({ x: ctx.interrupt("sure?") }))
      .addEdge(START, "check")
      .addEdge("check", "ask")
      .addEdge("ask", END)
      .compile();
    const graph = new StateGraph(state)
      .addNode("quick", () => ({}))
      .addNode("flaky", () => {
        if (fails) throw new Error("no");
        return {};
      })
      .addNode("approve", inner)
      .addEdge(START, "quick")
      .addEdge(START, "flaky")
      .addEdge(["quick", "flaky"], "approve")
      .addEdge("approve", END)
      .compile({ checkpointer: new MemorySaver() });
    const thread = { configurable: { thread_id: "t" } };
    const seen = async (): Promise<Record<string, string>> => {
      const snapshot = await graph.getState(thread, { subgraphs: true });
      return Object.fromEntries(marksOf(graph.plan, snapshot!).all);
    };

    await graph.invoke({ x: 0 }, thread).catch(() => undefined);
    expect(await seen()).toEqual({ quick: "finished", flaky: "failed" });

    fails = false;
    await graph.invoke(null, thread);
    expect(await seen()).toEqual({ approve: "interrupted", "approve:ask": "interrupted" });
    const svg = drawSvg(graph, { state: (await graph.getState(thread, { subgraphs: true }))!, xray: true });
    expect(svg.match(/class="agm-box[^"]* agm-interrupted"/g)).toHaveLength(2);

    await graph.invoke(new Command({ resume: "yes" }), thread);
    expect(await seen()).toEqual({});
  });

  it.each([
    [{ next: ["nowhere"] }, 'state.next: graph "team" has no node "nowhere"'],
    [{ next: ["research:nowhere"] }, 'state.next: graph "team" has no node "research:nowhere"'],
    [{ next: ["math:x"] }, "state.next"],
    [{ next: "math" }, "state: must be an object with `next`"],
    [{ next: [1] }, "state.next: must be a list of nodes"],
    [{ next: [], failed: "math" }, "state.failed: must be a list of nodes"],
    [{ next: [], tasks: [{ name: "nowhere", error: 1 }] }, "state.tasks"],
    [{ next: [], tasks: [null] }, "state.tasks: must be a list of tasks"],
    [{ next: [], tasks: "math" }, "state.tasks: must be a list of tasks"],
    [null, "state: must be an object"],
    ["math", "state: must be an object"],
  ])("refuse %j", (given, message) => {
    expect(() => marks(given as unknown as PictureState)).toThrow(
      expect.objectContaining({ code: "InvalidArgument", message: expect.stringContaining(message) }),
    );
  });
});

describe("options", () => {
  it.each([
    [{ direction: "UP" }, "direction"],
    [{ title: 1 }, "title"],
    [{ xray: -1 }, "xray"],
    [{ xray: "yes" }, "xray"],
    [{ xray: 1.5 }, "xray"],
  ])("refuse %j", (options, field) => {
    const wrong = expect.objectContaining({ code: "InvalidArgument", message: expect.stringContaining(field) });
    expect(() => drawSvg(nestedGraph(), options as never)).toThrow(wrong);
    expect(() => drawMermaid(nestedGraph(), options as never)).toThrow(wrong);
  });

  it.each([undefined, null, "graph", {}, { plan: 1 }])("refuse %j as a graph", (graph) => {
    expect(() => drawSvg(graph as never)).toThrow("graph: must be a compiled graph");
  });
});

describe("getGraphAsync", () => {
  it("has nodes and edges as data, and both pictures", async () => {
    const graph = nestedGraph();
    const drawable = await graph.getGraphAsync();
    expect(Object.keys(drawable.nodes)).toEqual(["__start__", "supervisor", "research", "math", "__end__"]);
    expect(drawable.edges).toContainEqual({ source: "supervisor", target: "math", conditional: true });
    expect(drawable.drawMermaid()).toBe(drawMermaid(graph));
    expect(drawable.drawSvg({ direction: "LR" })).toBe(drawSvg(graph, { direction: "LR" }));
    expect(JSON.parse(JSON.stringify(drawable)).edges).toHaveLength(drawable.edges.length);
  });

  it("looks into graphs with xray", async () => {
    const drawable = await nestedGraph().getGraphAsync({ xray: true });
    expect(drawable.nodes["research:search:query"]).toEqual({
      id: "research:search:query",
      name: "query",
      kind: "node",
    });
    expect(drawable.edges).toContainEqual({
      source: "research:cite",
      target: "research:search",
      data: "more",
      conditional: true,
    });
    expect(drawable.drawMermaid()).toContain("subgraph research_search");
    await expect(graphOf([[START, "a"]]).getGraphAsync({ xray: -1 })).rejects.toThrow("xray");
  });
});
