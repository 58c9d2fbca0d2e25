import { expect, test } from "vitest";
import { Annotation, MemorySaver, START, StateGraph, systemPorts } from "../../../src/mod.ts";

test("after the last run no timer is left that would keep the process up", async () => {
  const waiting = new Set<() => void>();
  const timers = {
    after(_delayMs: number, run: () => void) {
      waiting.add(run);
      return () => void waiting.delete(run);
    },
  };
  const release = Promise.withResolvers<void>();
  const graph = new StateGraph({ n: Annotation<number>() })
    .addNode("wait", async ({ n }) => {
      if (n === 1) await release.promise;
      return { n: n + 1 };
    })
    .addEdge(START, "wait")
    .compile({ checkpointer: new MemorySaver(), ports: { ...systemPorts, timers } });
  const slow = graph.invoke({ n: 1 }, { threadId: "slow" });
  await graph.invoke({ n: 0 }, { threadId: "fast" });
  expect(waiting.size).toBe(1);
  release.resolve();
  await slow;
  expect(waiting.size).toBe(0);
  await graph.invoke({ n: 0 }, { threadId: "again" });
  expect(waiting.size).toBe(0);
});
