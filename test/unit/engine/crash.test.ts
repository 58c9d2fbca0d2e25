/** A run is cut off before or after every single write to the store, and another owner goes on. */
import { expect, test } from "vitest";
import { Annotation, Send, START, StateGraph } from "../../../src/mod.ts";
import { checkCrashes } from "../../../src/testing/mod.ts";

const list = () => Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
const executions = new Map<string, number>();

function ran<T>(taskId: string, update: T): T {
  executions.set(taskId, (executions.get(taskId) ?? 0) + 1);
  return update;
}

const graph = new StateGraph({ log: list(), items: Annotation<string[]>(), total: Annotation<number>() })
  .addNode("split", (_s, ctx) => ran(ctx.taskId, { items: ["x", "y", "z"], log: ["split"] }))
  .addNode("left", async (_s, ctx) => ran(ctx.taskId, { log: ["left"] }))
  .addNode("right", async (_s, ctx) => {
    await Promise.resolve();
    return ran(ctx.taskId, { log: ["right"] });
  })
  .addNode<string>("work", async (item, ctx) => {
    for (let i = 0; i < item.charCodeAt(0) - 119; i++) await new Promise((resolve) => setTimeout(resolve, 1));
    return ran(ctx.taskId, { log: [item] });
  })
  .addNode("join", (s, ctx) => ran(ctx.taskId, { total: s.log.length }))
  .addEdge(START, "split")
  .addEdge("split", "left")
  .addEdge("split", "right")
  .addConditionalEdges("left", (s) => s.items.map((item) => new Send("work", item)), ["work"])
  .addEdge(["left", "right"], "join")
  .compile({ name: "crash" });

test("at each write in turn: same state, same checkpoints, no stored task run again", async () => {
  const most: number[] = [];
  const report = await checkCrashes({
    graph,
    input: { log: ["in"] },
    reset: () => executions.clear(),
    effects: () => {
      // Only tasks of the superstep that was cut off may have run twice.
      const twice = [...executions].filter(([, count]) => count > 1);
      most.push(Math.max(...executions.values()));
      return {
        tasks: [...executions.keys()].sort(),
        supersteps: new Set(twice.map(([id]) => id.split("|")[0])).size <= 1,
      };
    },
  });
  expect(report.values).toMatchObject({ log: ["in", "split", "left", "right", "x", "y", "z"], total: 4 });
  expect(report).toMatchObject({ status: "succeeded", checkpoints: 4, tasks: 7 });
  expect(report.cuts).toBeGreaterThanOrEqual(8);
  expect(Math.max(...most)).toBe(2);
});
