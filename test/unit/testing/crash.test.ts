/** The crash check lets good graphs pass, and finds what is wrong with bad ones. */
import { describe, expect, test } from "vitest";
import { Annotation, entrypoint, type NodeContext, Send, START, StateGraph } from "../../../src/mod.ts";
import { checkCrashes, virtualPorts } from "../../../src/testing/mod.ts";

const list = () => Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });

function fanOut() {
  return new StateGraph({ log: list(), items: Annotation<string[]>(), total: Annotation<number>() })
    .addNode("split", () => ({ items: ["x", "y", "z"], log: ["split"] }))
    .addNode("left", async () => ({ log: ["left"] }))
    .addNode("right", async () => {
      await Promise.resolve();
      return { log: ["right"] };
    })
    .addNode<string>("work", async (item, ctx) => {
      await new Promise<void>((resolve) => void ctx.ports.timers.after(item.charCodeAt(0) - 119, resolve));
      return { log: [item] };
    })
    .addNode("join", (s) => ({ total: s.log.length }))
    .addEdge(START, "split")
    .addEdge("split", "left")
    .addEdge("split", "right")
    .addConditionalEdges("left", (s) => s.items.map((item) => new Send("work", item)), ["work"])
    .addEdge(["left", "right"], "join");
}

/** Two questions, the second one inside a graph that is a node. */
function asking() {
  const inner = new StateGraph({ log: list() })
    .addNode("first", () => ({ log: ["inner"] }))
    .addNode("ask", (_s, ctx) => ({ log: [`b: ${ctx.interrupt<string>("b")}`] }))
    .addEdge(START, "first")
    .addEdge("first", "ask")
    .compile();
  return new StateGraph({ log: list() })
    .addNode("ask", (_s, ctx) => ({ log: [`a: ${ctx.interrupt<string>("a")}`] }))
    .addNode("sub", async (_s, ctx) => {
      const { log } = (await ctx.invoke(inner, {})) as { log: string[] };
      return { log };
    })
    .addEdge(START, "ask")
    .addEdge("ask", "sub");
}

describe("a graph that survives", () => {
  test.each(["sync", "async", "exit"] as const)("fan-out and join, durability %s", async (durability) => {
    const report = await checkCrashes({
      graph: fanOut().compile({ name: "fan" }),
      input: { log: ["in"] },
      durability,
      ports: () => virtualPorts(),
    });
    expect(report).toMatchObject({ status: "succeeded", checkpoints: durability === "exit" ? 1 : 4, tasks: 7 });
    expect(report.values).toMatchObject({ log: ["in", "split", "left", "right", "x", "y", "z"], total: 4 });
    expect(report.cuts).toBe(report.writes * 2);
    expect(report.begunAgain).toBeGreaterThan(0);
    if (durability === "sync") expect(report.writes).toBeGreaterThan(4);
  });

  test("questions, also of graphs inside, with answers as a list and as a function", async () => {
    const graph = asking().compile({ name: "ask" });
    const listed = await checkCrashes({ graph, input: { log: [] }, answers: ["one", "two"] });
    expect(listed.values).toEqual({ log: ["a: one", "inner", "b: two"] });
    const asked: unknown[] = [];
    const told = await checkCrashes({
      graph,
      input: { log: [] },
      answers: ([question], round) => {
        asked.push(question?.value);
        return { [question!.id]: `${question!.value}${round}` };
      },
    });
    expect(told.values).toEqual({ log: ["a: a0", "inner", "b: b1"] });
    expect(new Set(asked)).toEqual(new Set(["a", "b"]));
  });

  test("answers that run out leave the thread waiting, at the same place each time", async () => {
    const report = await checkCrashes({ graph: asking().compile(), input: { log: [] }, answers: ["one"] });
    expect(report).toMatchObject({ status: "interrupted", values: { log: ["a: one"] } });
  });

  test("breakpoints, and a graph that fails", async () => {
    const stops = fanOut().compile({ name: "stops", interruptBefore: ["join"], interruptAfter: ["split"] });
    expect(await checkCrashes({ graph: stops, input: {}, ports: () => virtualPorts() })).toMatchObject({
      status: "succeeded",
      values: { total: 3 },
    });
    const fails = new StateGraph({ log: list() })
      .addNode("a", () => ({ log: ["a"] }))
      .addNode("b", () => {
        throw new Error("no");
      })
      .addEdge(START, "a")
      .addEdge("a", "b")
      .compile();
    expect(await checkCrashes({ graph: fails, input: {} })).toMatchObject({ status: "failed", values: { log: ["a"] } });
  });

  test("an effect that is made once for each idempotency key", async () => {
    const charges = new Map<string, number>();
    const graph = new StateGraph({ paid: Annotation<number>(), sent: Annotation<boolean>() })
      .addNode("pay", (_s, ctx) => {
        charges.set(ctx.idempotencyKey, 5);
        return { paid: 5 };
      })
      .addNode("send", () => ({ sent: true }))
      .addEdge(START, "pay")
      .addEdge("pay", "send")
      .compile();
    const report = await checkCrashes({
      graph,
      input: {},
      reset: () => charges.clear(),
      effects: () => [...charges.values()],
    });
    expect(report.cuts).toBeGreaterThanOrEqual(6);
  });
});

const failure = async (work: Promise<unknown>) => (await work.catch((thrown: unknown) => thrown)) as Error;

describe("a graph that does not", () => {
  const effectful = (effect: (ctx: NodeContext) => void) =>
    new StateGraph({ n: Annotation<number>() })
      .addNode("first", () => ({ n: 1 }))
      .addNode("pay", (_s, ctx) => {
        effect(ctx);
        return { n: 2 };
      })
      .addEdge(START, "first")
      .addEdge("first", "pay")
      .compile({ name: "shop" });

  test("an effect outside of keys is found at the write that the process did not live to make", async () => {
    let charges = 0;
    const error = await failure(
      checkCrashes({
        graph: effectful(() => charges++),
        input: {},
        reset: () => {
          charges = 0;
        },
        effects: () => ({ charges }),
      }),
    );
    expect(error.message).toBe(
      'graph "shop": killed before write 3 (checkpoint run-1.2, the end as succeeded), what effects() gives.charges is 2, and 1 when left alone',
    );
  });

  test("a node that counts its runs in the process", async () => {
    let runs = 0;
    const graph = new StateGraph({ n: Annotation<number>() })
      .addNode("count", () => ({ n: ++runs }))
      .addEdge(START, "count")
      .compile({ name: "counts" });
    const reset = () => {
      runs = 0;
    };
    const error = await failure(checkCrashes({ graph, input: {}, reset }));
    expect(error.message).toMatch(/^graph "counts": killed before write 2 .*its state\.n is 2, and 1 when left alone$/);
  });

  test("one that is another each time, without any crash", async () => {
    const graph = new StateGraph({ at: Annotation<number>(), n: Annotation<number>() })
      .addNode("now", (_s, ctx) => ({ at: ctx.ports.random.next(), n: 1 }))
      .addEdge(START, "now")
      .compile({ name: "luck" });
    const error = await failure(checkCrashes({ graph, input: {} }));
    expect(error.message).toMatch(/^graph "luck": left alone twice, its state\.at is .* the first time; take time/);
    const select = (values: unknown) => (values as { n: number }).n;
    expect(await checkCrashes({ graph, input: {}, select })).toMatchObject({ status: "succeeded", values: 1 });
  });

  test("calls that come in another order when the function runs again", async () => {
    let runs = 0;
    const graph = entrypoint("order", async (_input: number, ctx) => {
      runs++;
      const names = runs % 2 === 1 ? ["a", "b"] : ["b", "a"];
      for (const name of names) await ctx.task(name, async () => name);
      return names.length;
    });
    const reset = () => {
      runs = 0;
    };
    const error = await failure(checkCrashes({ graph, input: 1, reset }));
    expect(error.message).toMatch(/killed before write 3 .*its status is "failed NodeFailed", and "succeeded "/);
  });

  test("a store that forgets what it has said it keeps", async () => {
    const { MemorySaver, MemoryStore } = await import("../../../src/mod.ts");
    const graph = fanOut().compile({ name: "fan" });
    const forgetful = () => {
      const store = new MemoryStore();
      return () =>
        new Proxy(new MemorySaver({ store }), {
          get(target, key) {
            const value = Reflect.get(target, key, target) as unknown;
            if (key === "putWrites") return async (batch: readonly unknown[]) => batch.map(() => ({ ok: true }));
            return typeof value === "function" ? value.bind(target) : value;
          },
        });
    };
    const error = await failure(checkCrashes({ graph, input: {}, store: forgetful, ports: () => virtualPorts() }));
    expect(error.message).toMatch(
      /killed (before|after) write \d+ \(done of .*\), task ".*" \(.*\) began again, though its result was stored/,
    );
  });

  test("options that cannot be", async () => {
    const graph = effectful(() => {});
    await expect(checkCrashes({ graph: {} as never, input: {} })).rejects.toThrow("graph: must be a compiled graph");
    await expect(checkCrashes({ graph, input: {}, writesMax: 0 })).rejects.toThrow("writesMax");
    let ran = 0;
    const few = { graph, input: {}, writesMax: 2, reset: () => void ran++ };
    await expect(checkCrashes(few)).rejects.toThrow('graph "shop": over 2 writes');
    expect(ran).toBe(1);
    const { writes } = await checkCrashes({ graph, input: {} });
    expect(await checkCrashes({ graph, input: {}, writesMax: writes })).toMatchObject({ cuts: 2 * writes });
    await expect(checkCrashes({ graph, input: { m: 1 } as never })).rejects.toThrow("input.m");
  });
});
