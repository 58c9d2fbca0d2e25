/** Error handlers, keys and tries across a crash: one process dies, another one goes on from the store. */
import { describe, expect, it } from "vitest";
import { Command, MemorySaver, MemoryStore, type Ports, type Saver, Send, START, StateGraph } from "../../src/mod.ts";
import { doomed, hasty } from "../support/doomed.ts";
import { until } from "../support/wait.ts";
import { list } from "./stage.ts";

const at = { threadId: "t", runId: "r" };

/** What happened in which process, and the effects that a service made: one for each key. */
class Witness {
  readonly ran: string[] = [];
  readonly effects: Map<string, string> = new Map();

  count(what: string): number {
    return this.ran.filter((one) => one === what).length;
  }
}

/** Reserves, fails to pay, and gives back what was reserved. */
function saga(saver: Saver, ports: Ports, { ran, effects }: Witness) {
  return new StateGraph({ log: list() })
    .addNode("reserve", () => {
      ran.push("reserve");
      return { log: ["reserved"] };
    })
    .addNode(
      "pay",
      async () => {
        ran.push("pay");
        throw new Error("no funds");
      },
      {
        retryPolicy: { initialInterval: 0, maxAttempts: 2 },
        errorHandler: (_state, { attempts }, ctx) => {
          ran.push("handler");
          return new Command({ update: { log: [`failed ${attempts} times`] }, goto: new Send("release", ctx.runId) });
        },
        ends: ["release"],
      },
    )
    .addNode("release", async (_state, ctx) => {
      ran.push("release");
      effects.set(ctx.idempotencyKey, "released");
      return { log: ["released"] };
    })
    .addEdge(START, "reserve")
    .addEdge("reserve", "pay")
    .compile({ name: "saga", checkpointer: saver, ports });
}

describe("saga", () => {
  it("left alone: two tries, one handler, one compensation", async () => {
    const witness = new Witness();
    const { log } = await saga(new MemorySaver(), hasty(), witness).invoke({}, at);
    expect(log).toEqual(["reserved", "failed 2 times", "released"]);
    expect(witness.ran).toEqual(["reserve", "pay", "pay", "handler", "release"]);
  });

  it.each([
    ["the failure was stored", "putWrites", 1, { pay: 2, handler: 1, release: 1 }],
    ["the handler's answer was committed", "commit", 3, { pay: 2, handler: 1, release: 1 }],
    ["the compensation was committed", "commit", 4, { pay: 2, handler: 1, release: 1 }],
    ["the reservation was committed", "commit", 2, { pay: 2, handler: 1, release: 1 }],
  ] as const)(
    "killed once %s: another process ends it, and nothing is done twice",
    async (_when, kind, nth, counts) => {
      const store = new MemoryStore();
      const witness = new Witness();
      const first = doomed(store, kind, nth);
      void saga(first.saver, first.ports, witness).invoke({}, at);
      await until(first.isDead, { what: "the first process is dead" });
      const { log } = await saga(new MemorySaver({ store }), hasty(), witness).invoke({}, at);
      expect(log).toEqual(["reserved", "failed 2 times", "released"]);
      for (const [what, times] of Object.entries(counts)) expect([what, witness.count(what)]).toEqual([what, times]);
      expect(witness.count("reserve")).toBe(1);
      expect(witness.effects.size).toBe(1);
    },
  );
});

it("a task in flight at the crash runs again with the same idempotency key, side by side with one that had finished", async () => {
  const store = new MemoryStore();
  const keys: Record<string, Set<string>> = { quick: new Set(), slow: new Set() };
  const ran: string[] = [];
  const make = (process: string, saver: Saver, ports: Ports) =>
    new StateGraph({ log: list() })
      .addNode("quick", async (_state, ctx) => {
        ran.push(`quick ${process}`);
        keys.quick!.add(ctx.idempotencyKey);
        return { log: ["quick"] };
      })
      .addNode("slow", async (_state, ctx) => {
        ran.push(`slow ${process}, attempt ${ctx.attempt}`);
        keys.slow!.add(ctx.idempotencyKey);
        if (process === "first") await new Promise(() => undefined);
        return { log: ["slow"] };
      })
      .addEdge(START, "quick")
      .addEdge(START, "slow")
      .compile({ name: "keys", checkpointer: saver, ports });
  const first = doomed(store, "putWrites", 1);
  void make("first", first.saver, first.ports).invoke({}, at);
  await until(first.isDead, { what: "the finished task is stored and its process dead" });
  const { log } = await make("second", new MemorySaver({ store }), hasty()).invoke({}, at);
  expect(log).toEqual(["quick", "slow"]);
  expect(ran).toEqual(["quick first", "slow first, attempt 1", "slow second, attempt 2"]);
  expect([keys.quick!.size, keys.slow!.size]).toEqual([1, 1]);
  expect(keys.quick).not.toEqual(keys.slow);
});
