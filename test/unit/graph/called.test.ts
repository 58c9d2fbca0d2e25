/** Graphs that a node's function calls, and that are known for being looked into: `subgraphs`. */
import { expect, test } from "vitest";
import { Annotation, MemorySaver, START, StateGraph } from "../../../src/mod.ts";

const inner = (name: string, node = "ask") =>
  new StateGraph({ given: Annotation<string> })
    .addNode(node, ({ given }, context) => ({ given: `${given}, ${context.interrupt("sure?")}` }))
    .addEdge(START, node)
    .compile({ name });

const outer = (called: unknown) =>
  new StateGraph({ all: Annotation<string> })
    .addNode(
      "call",
      async (_state, context) => {
        const { given } = (await context.invoke(inner("inner"), { given: "x" })) as { given: string };
        return { all: `<${given}>` };
      },
      called === undefined ? {} : { subgraphs: called as never },
    )
    .addEdge(START, "call");

test("the function runs, and the state of the graph that it called can be looked into", async () => {
  const graph = outer([inner("inner")]).compile({ checkpointer: new MemorySaver() });
  await graph.invoke({}, { threadId: "t" });
  const [task] = (await graph.getState({ threadId: "t" }, { subgraphs: true }))!.tasks;
  expect(task?.state).toMatchObject({ values: { given: "x" }, next: ["ask"] });
});

test("the called graph counts to the version", () => {
  const versions = [[inner("inner")], [inner("other")], [inner("inner", "tell")], [], undefined].map(
    (called) => outer(called).compile({ name: "outer" }).plan.version,
  );
  expect(new Set(versions).size).toBe(4);
  expect(versions[3]).toBe(versions[4]);
});

test("what is no list of one graph is refused", () => {
  const refused = (called: unknown, message: RegExp) =>
    expect(() => outer(called)).toThrow(
      expect.objectContaining({ code: "InvalidGraph", message: expect.stringMatching(message) }),
    );
  refused({}, /^node "call": subgraphs must be a list of graphs/);
  refused([() => 1], /^node "call": subgraphs must be a list of graphs/);
  refused([inner("a"), inner("b")], /^node "call": subgraphs may have one graph/);
});
