/** What a graph may do to the engine: each case broke it once. */
import { expect, test } from "vitest";
import type { Saver } from "../../../src/checkpoint/saver.ts";
import { AgentmaticError } from "../../../src/errors.ts";
import { Annotation, Command, END, MemorySaver, Send, START, StateGraph, systemPorts } from "../../../src/mod.ts";

const list = () => Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });

/** A saver one of whose methods is replaced. */
function changed<K extends keyof Saver>(saver: MemorySaver, key: K, method: Saver[K]): Saver {
  return new Proxy<Saver>(saver, {
    get(target, name) {
      if (name === key) return method;
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** "late" where nothing came of it within `ms`. */
function within<T>(promise: Promise<T>, ms = 1_000): Promise<T | "late"> {
  return Promise.race([promise, new Promise<"late">((resolve) => setTimeout(resolve, ms, "late"))]);
}

test("a superstep of too many tasks ends the run instead of being tried for ever", async () => {
  const saver = new MemorySaver();
  const graph = new StateGraph({ n: Annotation<number>() })
    .addNode("split", () => ({ n: 1 }))
    .addNode("work", () => undefined)
    .addEdge(START, "split")
    .addConditionalEdges("split", () => Array.from({ length: 10_001 }, () => new Send("work", 1)), ["work"])
    .compile({ checkpointer: saver });
  await expect(graph.invoke({ n: 0 }, { threadId: "t", runId: "r" })).rejects.toThrow(/10001 tasks/);
  expect((await saver.getRun("r"))?.state.status).toBe("failed");
});

test("a finished task whose writes are under way when another fails is not run again", async () => {
  let tries = 0;
  const memory = new MemorySaver();
  const under = Promise.withResolvers<void>();
  const saver = changed(memory, "putWrites", async (batch) => {
    under.resolve();
    if (tries++ === 0) throw new AgentmaticError("Unavailable", "once");
    return await memory.putWrites(batch);
  });
  let quick = 0;
  let fails = true;
  const graph = new StateGraph({ log: list() })
    .addNode("quick", () => {
      quick++;
      return { log: ["quick"] };
    })
    .addNode("slow", async () => {
      await under.promise;
      await Promise.resolve();
      if (fails) throw new Error("no");
      return { log: ["slow"] };
    })
    .addEdge(START, "quick")
    .addEdge(START, "slow")
    .compile({ checkpointer: saver });
  await expect(graph.invoke({}, { threadId: "t" })).rejects.toMatchObject({ code: "NodeFailed" });
  fails = false;
  expect((await graph.invoke(null, { threadId: "t" })).log).toEqual(["quick", "slow"]);
  expect(quick).toBe(1);
});

test("a cancel reaches a conditional edge of START that never answers", async () => {
  const abort = new AbortController();
  const begun = Promise.withResolvers<void>();
  const graph = new StateGraph({ log: list() })
    .addNode("a", () => ({ log: ["a"] }))
    .addConditionalEdges(START, () => {
      begun.resolve();
      return new Promise<string>(() => {});
    }, ["a"])
    .compile({ checkpointer: new MemorySaver() });
  const running = graph.invoke({}, { threadId: "t", signal: abort.signal }).catch((thrown) => thrown);
  await begun.promise;
  abort.abort();
  expect(await within(running)).toMatchObject({ code: "Cancelled" });
});

test("a cancel reaches a run that waits for a reader of its events", async () => {
  const abort = new AbortController();
  const spoken = Promise.withResolvers<void>();
  const graph = new StateGraph({ log: list() })
    .addNode("talk", (_s, ctx) => {
      for (let i = 0; i < 1_100; i++) ctx.stream(i);
      spoken.resolve();
      return { log: ["talk"] };
    })
    .addNode("next", () => ({ log: ["next"] }))
    .addEdge(START, "talk")
    .addEdge("talk", "next")
    .compile({ checkpointer: new MemorySaver() });
  const handle = await graph.start({}, { threadId: "t", signal: abort.signal }, ["custom"]);
  await spoken.promise;
  await new Promise((resolve) => setTimeout(resolve, 20));
  abort.abort();
  expect(await within(handle.end)).toMatchObject({ status: "cancelled" });
});

test("who follows `updates` does not make a run fail that ends well without followers", async () => {
  const graph = new StateGraph({
    n: Annotation<number, (n: number) => number>({ reducer: (n, change) => change(n), default: () => 1 }),
  })
    .addNode("add", () => ({ n: (n) => n + 1 }))
    .addNode("again", () => ({ n: (n) => n + 1 }))
    .addEdge(START, "add")
    .addEdge("add", "again")
    .compile({ checkpointer: new MemorySaver() });
  const invoked = await graph.invoke({}, { threadId: "a" }).catch((thrown: AgentmaticError) => thrown.code);
  const streamed = await (async () => {
    for await (const _part of graph.stream({}, { threadId: "b", streamMode: "updates" }));
    return (await graph.getState({ threadId: "b" }))?.values;
  })().catch((thrown: AgentmaticError) => thrown.code);
  expect(streamed).toEqual(invoked);
});

test("a default that throws ends the run with an error that names the channel", async () => {
  const saver = new MemorySaver();
  const graph = new StateGraph({
    log: Annotation<string[]>({
      reducer: (a, b) => [...a, ...b],
      default: () => {
        throw new Error("no default");
      },
    }),
  })
    .addNode("a", () => ({ log: ["a"] }))
    .addEdge(START, "a")
    .compile({ checkpointer: saver });
  await expect(graph.invoke({}, { threadId: "t", runId: "r" })).rejects.toThrow(/log.*no default/);
  expect((await saver.getRun("r"))?.state.status).toBe("failed");
});

test("a reducer that throws is an error of the graph that names the channel, whatever it throws", async () => {
  const saver = new MemorySaver();
  const graph = new StateGraph({
    log: Annotation<string[], string>({
      reducer: () => {
        throw new AgentmaticError("Unavailable", "a price list cannot be reached");
      },
      default: () => [],
    }),
  })
    .addNode("a", () => ({ log: "a" }))
    .addEdge(START, "a")
    .compile({ checkpointer: saver });
  await expect(graph.invoke({}, { threadId: "t", runId: "r" })).rejects.toThrow(/"log"/);
  expect((await saver.getRun("r"))?.state.status).toBe("failed");
});

function asking() {
  return new StateGraph({ log: list() })
    .addNode("ask", (_s, ctx) => ({ log: [ctx.interrupt<string>("well?")] }))
    .addEdge(START, "ask")
    .compile({ checkpointer: new MemorySaver() });
}

test("a fork from an interrupted checkpoint can be answered otherwise", async () => {
  const graph = asking();
  await graph.invoke({}, { threadId: "t" });
  const asked = await graph.getState({ threadId: "t" });
  expect((await graph.invoke(new Command({ resume: "yes" }), { threadId: "t" })).log).toEqual(["yes"]);
  const fork = { threadId: "t", checkpointId: asked!.checkpointId };
  expect((await graph.invoke(new Command({ resume: "no" }), fork)).log).toEqual(["no"]);
});

test("a fork runs its first superstep anew, whether that has one task or several", async () => {
  const ran: string[] = [];
  const graph = new StateGraph({ log: list() })
    .addNode("a", () => {
      ran.push("a");
      return { log: ["a"] };
    })
    .addNode("b", async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      ran.push("b");
      return { log: ["b"] };
    })
    .addEdge(START, "a")
    .addEdge(START, "b")
    .compile({ checkpointer: new MemorySaver() });
  await graph.invoke({}, { threadId: "t", runId: "r" });
  const fork = { threadId: "t", checkpointId: "r.0" };
  expect((await graph.invoke(null, fork)).log).toEqual(["a", "b"]);
  expect(ran).toEqual(["a", "b", "a", "b"]);
});

test("an update beside an answer is written or refused, not dropped", async () => {
  const graph = asking();
  await graph.invoke({}, { threadId: "t" });
  const answer = new Command({ resume: "yes", update: { log: ["noted"] } });
  const result = await graph.invoke(answer, { threadId: "t" }).catch((thrown: AgentmaticError) => thrown);
  if (result instanceof AgentmaticError) expect(result.message).toMatch(/update/);
  else expect(result.log).toContain("noted");
});

test("a join that is drawn twice fires once for each round", async () => {
  const graph = new StateGraph({ log: list(), rounds: Annotation<number>() })
    .addNode("start", (s) => ({ rounds: s.rounds + 1 }))
    .addNode("a", () => ({ log: ["a"] }))
    .addNode("b1", () => undefined)
    .addNode("b", () => ({ log: ["b"] }))
    .addNode("join", () => ({ log: ["join"] }))
    .addEdge(START, "start")
    .addEdge("start", "a")
    .addEdge("start", "b1")
    .addEdge("b1", "b")
    .addEdge(["a", "b"], "join")
    .addEdge(["a", "b"], "join")
    .addConditionalEdges("join", (s) => (s.rounds < 2 ? "start" : END))
    .compile();
  expect((await graph.invoke({ rounds: 0 })).log).toEqual(["a", "b", "join", "a", "b", "join"]);
});

test("what is no object of channels is refused before the run is accepted", async () => {
  const saver = new MemorySaver();
  const graph = new StateGraph({ log: list() })
    .addNode("a", () => ({ log: ["a"] }))
    .addEdge(START, "a")
    .compile({ checkpointer: saver });
  for (const input of [[], new Map([["log", ["x"]]]), new Date(0), "text", 1, undefined]) {
    await expect(graph.invoke(input as never, { threadId: "t" })).rejects.toMatchObject({ code: "InvalidArgument" });
  }
  expect(await saver.listRuns({ limit: 10 })).toEqual([]);
});

test("after a pause one fence check serves all tasks of a superstep", async () => {
  let renewals = 0;
  const memory = new MemorySaver();
  const saver = changed(memory, "renew", async (batch) => {
    renewals++;
    await new Promise((resolve) => setTimeout(resolve, 5));
    return await memory.renew(batch);
  });
  let nowMs = 0;
  const ports = {
    ...systemPorts,
    clock: {
      // Never twice the same, as with a real clock.
      monotonicMs: () => (nowMs += 0.001),
      wallMs: () => 0,
    },
  };
  const graph = new StateGraph({ n: Annotation<number>() })
    .addNode("split", () => {
      // The process stands still for longer than its credit.
      nowMs += 8_000;
      return { n: 1 };
    })
    .addNode("work", () => undefined)
    .addEdge(START, "split")
    .addConditionalEdges("split", () => Array.from({ length: 1_000 }, () => new Send("work", 1)), ["work"])
    .compile({ checkpointer: saver, ports });
  await graph.invoke({ n: 0 }, { threadId: "t" });
  expect(renewals).toBeLessThan(10);
});

test("every event of the last superstep reaches its reader", async () => {
  const graph = new StateGraph({ n: Annotation<number>() })
    .addNode("talk", (_s, ctx) => {
      for (let i = 0; i < 3_000; i++) ctx.stream(i);
      return { n: 1 };
    })
    .addEdge(START, "talk")
    .compile({ checkpointer: new MemorySaver() });
  const seen: unknown[] = [];
  for await (const part of graph.stream({ n: 0 }, { threadId: "t", streamMode: ["custom", "values"] })) seen.push(part);
  expect(seen.length).toBe(3_002);
  expect(seen.at(-1)).toEqual(["values", { n: 1 }]);
});

test("threads and runs of any name have idempotency keys of their own", async () => {
  const keys: string[] = [];
  const graph = new StateGraph({ n: Annotation<number>() })
    .addNode("work", (_s, { idempotencyKey }) => void keys.push(idempotencyKey))
    .addEdge(START, "work");
  for (const [threadId, runId] of [
    ["a", "b/c"],
    ["a/b", "c"],
    ["a%2Fb", "c"],
  ]) {
    await graph.compile({ checkpointer: new MemorySaver() }).invoke({ n: 0 }, { threadId: threadId!, runId: runId! });
  }
  expect(new Set(keys).size).toBe(3);
});

test("single calls beyond ten thousand keep their order", async () => {
  const order = Annotation<number[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
  const count = 12_000;
  const graph = new StateGraph({ order, done: Annotation<number>() })
    .addNode("split", () => undefined)
    .addNode<number>("work", (n) => (n % 1_000 === 0 ? { order: [n] } : undefined))
    .addEdge(START, "split")
    .addConditionalEdges("split", () => Array.from({ length: count }, (_, n) => new Send("work", n)), ["work"])
    .compile({ fanOutMax: count });
  const result = await graph.invoke({ done: 0 });
  expect(result.order).toEqual([...result.order].sort((a, b) => a - b));
  expect(() =>
    new StateGraph({ n: order })
      .addNode("a", () => undefined)
      .addEdge(START, "a")
      .compile({ fanOutMax: 100_001 }),
  ).toThrow("fanOutMax");
});
