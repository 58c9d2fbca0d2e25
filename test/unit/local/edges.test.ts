/** Defects of running in this process, one test each. */
import { expect, test } from "vitest";
import type { Saver } from "../../../src/checkpoint/saver.ts";
import type { AgentmaticError } from "../../../src/errors.ts";
import { Annotation, MemorySaver, MemoryStore, START, StateGraph } from "../../../src/mod.ts";
import { systemPorts } from "../../../src/ports.ts";
import { makeSpec } from "../../../src/run/spec.ts";
import { end as endState } from "../../../src/run/transitions.ts";

const list = () => Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });

/** A store whose every call takes a moment, as one over a network does. */
function distant(saver: MemorySaver): Saver {
  return new Proxy<Saver>(saver, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown;
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        await new Promise((resolve) => setTimeout(resolve, 2));
        const result: unknown = await value.apply(target, args);
        await new Promise((resolve) => setTimeout(resolve, 2));
        return result;
      };
    },
  });
}

test("two calls on one thread take turns, and neither runs the other's run", async () => {
  const starts: string[] = [];
  const graph = new StateGraph({ name: Annotation<string>(), log: list() })
    .addNode("a", async (s, ctx) => {
      starts.push(`${s.name} ${ctx.attempt} ${ctx.epoch}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { log: [s.name] };
    })
    .addEdge(START, "a")
    .compile({ checkpointer: distant(new MemorySaver()) });
  const stream = async (name: string) => {
    const parts: unknown[] = [];
    for await (const part of graph.stream({ name }, { threadId: "t", streamMode: "updates" })) parts.push(part);
    return parts;
  };
  const all = await Promise.all(["x", "y", "z"].map(stream));
  expect(starts).toHaveLength(3);
  expect(all).toEqual(["x", "y", "z"].map((name) => [{ a: { log: [name] } }]));
});

function step(saver: Saver) {
  return new StateGraph({ log: list() })
    .addNode("a", () => ({ log: ["a"] }))
    .addEdge(START, "a")
    .compile({ name: "g", checkpointer: saver });
}

test("a thread held by a run of another graph version is an error that says so, not a wait without end", async () => {
  const saver = new MemorySaver();
  const { plan } = step(saver);
  const left = await makeSpec(
    {
      threadId: "t",
      graph: { name: "g", version: "v1" },
      kind: "input",
      input: new Uint8Array([1, 123, 125]),
      maxSteps: 9,
    },
    systemPorts,
  );
  await saver.admit({ spec: left, coordinator: null, whenBusy: "reject" });
  const late = new Promise<"late">((resolve) => setTimeout(resolve, 500, "late"));
  const result = await Promise.race([step(saver).invoke({}, { threadId: "t" }), late]).catch((thrown: Error) => thrown);
  expect(result).not.toBe("late");
  expect((result as Error).message).toMatch(/v1/);
  expect(plan.version).not.toBe("v1");
});

test("a run with a residency rule is refused here, where no region is known", async () => {
  const store = new MemoryStore();
  const graph = step(new MemorySaver({ store, region: "us-east-1" }));
  const residency = { regions: ["eu-west-1"] };
  await expect(graph.invoke({}, { threadId: "t", residency })).rejects.toMatchObject({ code: "ResidencyViolation" });
});

test("a run that takes its process down each time is dead-lettered in the end", async () => {
  let nowMs = 0;
  const store = new MemoryStore();
  let runs = 0;
  // A process that dies in the node: its node never returns, its lease stands still, the next process takes over.
  const incarnation = () => {
    const saver = new MemorySaver({ store });
    const dying = new Proxy<Saver>(saver, {
      get(target, name) {
        if (name === "renew") return () => new Promise(() => {});
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const ports = {
      ...systemPorts,
      clock: { monotonicMs: () => nowMs, wallMs: () => 0 },
      timers: {
        after(_ms: number, run: () => void) {
          const handle = setImmediate(() => {
            nowMs += 50;
            run();
          });
          return () => clearImmediate(handle);
        },
      },
    };
    return new StateGraph({ log: list() })
      .addNode("bad", () => {
        runs++;
        return new Promise<never>(() => {});
      })
      .addEdge(START, "bad")
      .compile({ name: "g", checkpointer: dying, ports });
  };
  const ends: unknown[] = [];
  for (let i = 0; i < 8; i++) {
    const before = runs;
    incarnation()
      .invoke({}, { threadId: "t", runId: "r", maxAttempts: 3 })
      .catch((thrown: AgentmaticError) => ends.push(thrown.code));
    for (let waited = 0; waited < 2_000 && runs === before && ends.length === 0; waited++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (ends.length > 0) break;
  }
  expect(runs).toBeLessThanOrEqual(4);
  expect((await new MemorySaver({ store }).getRun("r"))?.state.status).toBe("dead");
});

test("two calls with one runId are one run, and its node starts once", async () => {
  let ran = 0;
  let claims = 0;
  const near = distant(new MemorySaver());
  // The second call's claim is on its way for longer than the first one's.
  const saver = new Proxy<Saver>(near, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown;
      if (name !== "claim") return value;
      return async (request: Parameters<Saver["claim"]>[0]) => {
        if (claims++ > 0) await new Promise((resolve) => setTimeout(resolve, 40));
        return await target.claim(request);
      };
    },
  });
  const graph = new StateGraph({ log: list() })
    .addNode("a", async () => {
      ran++;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return { log: ["a"] };
    })
    .addEdge(START, "a")
    .compile({ checkpointer: saver });
  const call = () => graph.invoke({}, { threadId: "t", runId: "r" });
  expect(await Promise.all([call(), call()])).toEqual([{ log: ["a"] }, { log: ["a"] }]);
  expect(ran).toBe(1);
});

test("a run that a living coordinator has in its queue is waited for, whatever graph it is of", async () => {
  const saver = new MemorySaver();
  const before = await makeSpec(
    {
      threadId: "t",
      graph: { name: "other", version: "v1" },
      kind: "input",
      input: new Uint8Array([1, 123, 125]),
      maxSteps: 9,
    },
    systemPorts,
  );
  const { record } = await saver.admit({ spec: before, coordinator: "alive", whenBusy: "reject" });
  const beats = setInterval(() => void saver.beat("alive"), 20);
  const running = step(saver).invoke({}, { threadId: "t" });
  running.catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 600));
  await saver.updateRun(before.runId, endState(record, "cancelled", { checkpointId: null }));
  clearInterval(beats);
  expect((await running).log).toEqual(["a"]);
});

test("events that nobody reads do not pile up without bound within a step", { timeout: 30_000 }, async () => {
  const graph = new StateGraph({ n: Annotation<number>() })
    .addNode("talk", async (_s, ctx) => {
      for (let i = 0; i < 5_000; i++) {
        ctx.stream("x".repeat(20_000));
        if (i % 100 === 0) await new Promise((resolve) => setTimeout(resolve));
      }
      spoken.resolve();
      return { n: 1 };
    })
    .addEdge(START, "talk")
    .compile({ checkpointer: new MemorySaver() });
  const spoken = Promise.withResolvers<void>();
  const before = process.memoryUsage().arrayBuffers;
  const handle = await graph.start({ n: 0 }, { threadId: "t" }, ["custom"]);
  await spoken.promise;
  const kept = process.memoryUsage().arrayBuffers - before;
  for await (const _event of handle.events) break;
  expect(kept).toBeLessThan(50_000_000);
});

test("a run whose time is over before its turn ends then, whoever executes the one before it", async () => {
  const store = new MemoryStore();
  let release = () => {};
  const graph = () =>
    new StateGraph({ log: list() })
      .addNode("hold", async () => {
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return { log: ["held"] };
      })
      .addEdge(START, "hold")
      .compile({ name: "g", checkpointer: new MemorySaver({ store }) });
  const first = graph().invoke({}, { threadId: "t" });
  const late = graph().invoke({}, { threadId: "t", timeout: 100 });
  await expect(late).rejects.toMatchObject({ code: "DeadlineExceeded", message: /waited for another run/ });
  release();
  expect(await first).toEqual({ log: ["held"] });
});

test("ids are checked without a checkpointer as well", async () => {
  const graph = new StateGraph({ log: list() })
    .addNode("a", () => ({ log: ["a"] }))
    .addEdge(START, "a")
    .compile({ name: "g" });
  for (const id of [5, "", {}]) {
    await expect(graph.invoke({}, { runId: id as string })).rejects.toThrow(/^runId: must be a non-empty string/);
    await expect(graph.invoke({}, { threadId: id as string })).rejects.toThrow(/^threadId: must be a non-empty string/);
  }
});
