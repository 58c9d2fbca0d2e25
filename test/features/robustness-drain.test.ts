/** A drain with a store: from the boundary where a run stopped it is gone on with. */
import { describe, expect, it } from "vitest";
import { Annotation, MemorySaver, RunControl, START, StateGraph } from "../../src/mod.ts";
import { settle } from "../unit/policy/clock.ts";
import { list, thread } from "./stage.ts";

describe("drain, with a store", () => {
  /** A sequence in a subgraph beside a plain node, drained when `at` runs. */
  function make(at: string) {
    const ran: string[] = [];
    const control = new RunControl();
    const step = (name: string) => async () => {
      ran.push(name);
      if (name === at) control.requestDrain();
      await settle();
      return { log: [name] };
    };
    const inner = new StateGraph({ log: Annotation<string[]>({ reducer: (_a, b) => b }) })
      .addSequence({ inner1: step("inner1"), inner2: step("inner2") })
      .addEdge(START, "inner1")
      .compile();
    const graph = new StateGraph({ log: list() })
      .addNode({ inner, beside: step("beside"), after: step("after") })
      .addEdge(START, "inner")
      .addEdge(START, "beside")
      .addEdge(["inner", "beside"], "after")
      .compile({ checkpointer: new MemorySaver() });
    return { graph, control, ran };
  }

  it.each(["inner1", "beside", "inner2"])("drained while %s runs, null goes on, and each node ran once", async (at) => {
    const { graph, control, ran } = make(at);
    await expect(graph.invoke({}, { ...thread, control })).rejects.toMatchObject({ code: "Unavailable" });
    expect(ran).not.toContain("after");
    expect((await graph.getState(thread))?.next.length).toBeGreaterThan(0);
    expect((await graph.invoke(null, thread)).log).toEqual(["beside", "inner2", "after"]);
    expect(ran.toSorted()).toEqual(["after", "beside", "inner1", "inner2"]);
  });

  it("a stream is told as well", async () => {
    const { graph, control } = make("beside");
    const read = async () => {
      for await (const _part of graph.stream({}, { ...thread, control }));
    };
    await expect(read()).rejects.toMatchObject({ code: "Unavailable" });
  });

  it("a run that waits for an answer says so, drained or not", async () => {
    const control = new RunControl();
    const graph = new StateGraph({ log: list() })
      .addNode("ask", (_state, ctx) => {
        control.requestDrain();
        return { log: [ctx.interrupt<string>("?")] };
      })
      .addEdge(START, "ask")
      .compile({ checkpointer: new MemorySaver() });
    expect((await graph.invoke({}, { ...thread, control })).__interrupt__).toHaveLength(1);
    expect(control.drained).toBe(false);
  });

  it("what is no RunControl is refused", async () => {
    const { graph } = make("never");
    await expect(graph.invoke({}, { ...thread, control: {} as RunControl })).rejects.toThrow("control");
  });
});
