/** What a node's policies make of its failures, through a graph and in virtual time. */
import { describe, expect, it } from "vitest";
import {
  type AgentmaticError,
  Annotation,
  Command,
  defaultBreakers,
  InMemoryCache,
  type NodeContext,
  type NodeErrorInfo,
  type NodeOptions,
  type Ports,
  RunControl,
  Send,
  START,
  StateGraph,
  systemPorts,
} from "../../src/mod.ts";
import { until } from "../support/wait.ts";
import { settle, virtualPorts, watched } from "../unit/policy/clock.ts";
import { list, thread, ways } from "./stage.ts";

/** Ports whose time stands still but in `advance`. */
function virtual(random?: () => number) {
  const { clock, ports, lines } = virtualPorts(random);
  return { clock, lines, ports: { ...systemPorts, ...ports } satisfies Ports };
}

/** A graph of one node `work`. */
function one(
  run: (state: { n: number; log: string[] }, ctx: NodeContext) => unknown,
  options: NodeOptions,
  more: object,
) {
  return new StateGraph({ n: Annotation<number>(), log: list() })
    .addNode("work", run as () => undefined, options as object)
    .addEdge(START, "work")
    .compile({ name: "g", ...more });
}

const down = () => {
  throw new Error("down");
};

let services = 0;
/** Breakers are of the process: each test has a service of its own. */
const service = () => `robustness-${++services}`;

describe.each(ways)("$way", ({ kept }) => {
  describe("retryPolicy", () => {
    it("waits longer each time, a random part of it, up to the bound, and gives up with the last error", async () => {
      const { clock, ports, lines } = virtual(() => 0);
      const triedMs: number[] = [];
      const graph = one(
        (_state, ctx) => {
          triedMs.push(clock.monotonicMs() - 1_000);
          throw new Error(`try ${ctx.retryAttempt}`);
        },
        { retryPolicy: { initialInterval: 100, backoffFactor: 3, maxInterval: 600, maxAttempts: 5 } },
        { ports, ...kept() },
      );
      const end = watched(graph.invoke({}, thread));
      await clock.advance(10_000);
      // Half of 100, 300, 600, 600: jitter takes from a half to the whole.
      expect(triedMs).toEqual([0, 50, 200, 500, 800]);
      expect(end.reason).toMatchObject({ code: "NodeFailed", message: 'graph "g", node "work": try 5' });
      expect(lines.filter(({ level }) => level === "warn")).toHaveLength(4);
    });

    it("retryOn decides which errors: classes, names, or a function", async () => {
      class RateLimited extends Error {}
      let calls = 0;
      const make = (error: Error, retryOn: readonly (typeof RateLimited | string)[] | ((error: unknown) => boolean)) =>
        one(
          () => {
            calls++;
            throw error;
          },
          { retryPolicy: { retryOn, initialInterval: 0, maxAttempts: 3 } },
          kept(),
        );
      const callsOf = async (...args: Parameters<typeof make>) => {
        calls = 0;
        await expect(make(...args).invoke({}, thread)).rejects.toMatchObject({ code: "NodeFailed" });
        return calls;
      };
      expect(await callsOf(new RateLimited("slow down"), [RateLimited])).toBe(3);
      expect(await callsOf(new Error("other"), [RateLimited])).toBe(1);
      expect(await callsOf(Object.assign(new Error("gone"), { code: "ECONNRESET" }), ["ECONNRESET"])).toBe(3);
      expect(await callsOf(new Error("yes"), (error) => (error as Error).message === "yes")).toBe(3);
      expect(await callsOf(new TypeError("a mistake"), () => false)).toBe(1);
    });

    it("the state that a failed try wrote in place is not the next one's, and the key is the same", async () => {
      const keys = new Set<string>();
      const seen: unknown[] = [];
      const graph = one(
        (state, ctx) => {
          keys.add(ctx.idempotencyKey);
          seen.push(state.n);
          state.n++;
          if (ctx.retryAttempt < 3) throw new Error("once more");
          return { n: state.n };
        },
        { retryPolicy: { initialInterval: 0 } },
        kept(),
      );
      expect(await graph.invoke({ n: 1 }, thread)).toMatchObject({ n: 2 });
      expect(seen).toEqual([1, 1, 1]);
      expect(keys.size).toBe(1);
    });
  });

  describe("timeout", () => {
    it("runTimeout: ends a node that never does, at its time, naming graph, node and limit; its signal aborts", async () => {
      const { clock, ports } = virtual();
      let signal: AbortSignal | undefined;
      const graph = one(
        async (_state, ctx) => {
          signal = ctx.signal;
          await new Promise(() => undefined);
        },
        { timeout: { runTimeout: 5_000 } },
        { ports, ...kept() },
      );
      const end = watched(graph.invoke({}, thread));
      await clock.advance(4_999);
      expect([end.state, signal?.aborted]).toEqual(["pending", false]);
      await clock.advance(1);
      expect(end.reason).toMatchObject({
        code: "Timeout",
        message: expect.stringMatching(/graph "g", node "work".*5000/),
      });
      expect(signal?.aborted).toBe(true);
    });

    it("idleTimeout: heartbeats and streamed words keep it alive, silence ends it", async () => {
      const { clock, ports } = virtual();
      const graph = one(
        async (_state, ctx) => {
          for (const sign of [ctx.heartbeat, () => ctx.stream("word"), ctx.heartbeat]) {
            await new Promise<void>((resolve) => void clock.after(800, resolve));
            sign();
          }
          await new Promise(() => undefined);
        },
        { timeout: { idleTimeout: 1_000 } },
        { ports, ...kept() },
      );
      const end = watched(graph.invoke({}, thread));
      await clock.advance(3_399);
      expect(end.state).toBe("pending");
      await clock.advance(1);
      expect(end.reason).toMatchObject({ code: "Timeout", message: expect.stringContaining("1000") });
    });

    it("a try that is over begins no call any more: the next one makes it, once", async () => {
      const { clock, ports } = virtual();
      const made: string[] = [];
      const pause = (ms: number) => new Promise<void>((resolve) => void clock.after(ms, resolve));
      const graph = one(
        async (_state, ctx) => {
          if (ctx.retryAttempt === 1) await pause(1_150);
          await ctx.task("effect", async () => {
            made.push(`try ${ctx.retryAttempt}`);
            await pause(100);
          });
          return { log: [`try ${ctx.retryAttempt}`] };
        },
        { timeout: 1_000, retryPolicy: { retryOn: ["Timeout"], initialInterval: 100, jitter: false } },
        { ports, ...kept() },
      );
      const end = watched(graph.invoke({}, thread));
      await clock.advance(2_000);
      expect(end.value).toMatchObject({ log: ["try 2"] });
      expect(made).toEqual(["try 2"]);
    });

    it("each try has its own time, and a retry policy tries again after one", async () => {
      const { clock, ports } = virtual();
      const graph = one(
        async (_state, ctx) => {
          if (ctx.retryAttempt === 1) await new Promise(() => undefined);
          return { log: [`try ${ctx.retryAttempt}`] };
        },
        { timeout: 1_000, retryPolicy: { retryOn: ["Timeout"], initialInterval: 100, jitter: false } },
        { ports, ...kept() },
      );
      const end = watched(graph.invoke({}, thread));
      await clock.advance(1_100);
      expect(end.value).toMatchObject({ log: ["try 2"] });
    });
  });

  describe("errorHandler", () => {
    it("runs once after the last try, is told what happened, and its answer stands in for the node", async () => {
      const told: NodeErrorInfo[] = [];
      const graph = new StateGraph({ log: list() })
        .addNode("book", down, {
          retryPolicy: { initialInterval: 0, maxAttempts: 3 },
          errorHandler: (_state, failure) => {
            told.push(failure);
            return new Command({ update: { log: [`undo after ${failure.attempts}`] }, goto: "refund" });
          },
          ends: ["refund"],
        })
        .addNode("next", () => ({ log: ["next"] }))
        .addNode("refund", () => ({ log: ["refund"] }))
        .addEdge(START, "book")
        .addEdge("book", "next")
        .compile({ name: "g", ...kept() });
      // The node's own edges are not followed: compensation is another way through the graph.
      expect((await graph.invoke({ log: ["in"] }, thread)).log).toEqual(["in", "undo after 3", "refund"]);
      expect(told).toEqual([
        {
          node: "book",
          attempts: 3,
          input: { log: ["in"] },
          error: { code: "NodeFailed", message: 'graph "g", node "book": down', details: { node: "book" } },
        },
      ]);
    });

    it("one that throws ends the run with its own error", async () => {
      const graph = one(
        down,
        {
          errorHandler: () => {
            throw new Error("and the handler, too");
          },
        },
        kept(),
      );
      await expect(graph.invoke({}, thread)).rejects.toThrow('graph "g", node "work": and the handler, too');
    });
  });

  describe("cachePolicy", () => {
    it("keeps results by input for the time of its ttl, on the clock", async () => {
      const { clock, ports } = virtual();
      let calls = 0;
      const graph = one(
        ({ n }) => {
          calls++;
          return { log: [`${n}`] };
        },
        { input: ["n"], cachePolicy: { ttl: 60 } },
        { ports, cache: new InMemoryCache({ clock }), ...kept() },
      );
      const ask = async (n: number, threadId: string) => (await graph.invoke({ n }, { threadId })).log;
      expect(await ask(1, "a")).toEqual(["1"]);
      expect(await ask(1, "b")).toEqual(["1"]);
      expect(await ask(2, "c")).toEqual(["2"]);
      expect(calls).toBe(2);
      await clock.advance(59_999);
      await ask(1, "d");
      expect(calls).toBe(2);
      await clock.advance(1);
      await ask(1, "e");
      expect(calls).toBe(3);
    });
  });

  describe("circuitBreaker", () => {
    it("closed, open, half-open with one probe, open for longer, closed: by the clock", async () => {
      const { clock, ports } = virtual();
      const name = service();
      const states: string[] = [];
      const stop = defaultBreakers.onChange((status) => {
        if (status.service === name) states.push(status.state);
      });
      let calls = 0;
      let ask: () => Promise<void> = async () => down();
      const graph = one(
        async () => {
          calls++;
          await ask();
        },
        { circuitBreaker: { service: name, failures: 2, resetMs: 1_000 } },
        { ports, ...kept() },
      );
      let threads = 0;
      const codeOf = async () =>
        await graph.invoke({}, { threadId: `t${threads++}` }).then(
          () => "fine",
          (error: AgentmaticError) => error.code,
        );
      expect([await codeOf(), await codeOf()]).toEqual(["NodeFailed", "NodeFailed"]);
      expect([await codeOf(), calls]).toEqual(["CircuitOpen", 2]);

      await clock.advance(1_000);
      // The probe takes its time; what comes meanwhile is refused, not tried.
      const gate = Promise.withResolvers<void>();
      ask = () => gate.promise;
      const probe = watched(codeOf());
      await settle();
      expect(await Promise.all([codeOf(), codeOf(), codeOf()])).toEqual(["CircuitOpen", "CircuitOpen", "CircuitOpen"]);
      expect([calls, probe.state]).toEqual([3, "pending"]);
      gate.reject(new Error("still down"));
      await clock.advance(0);
      expect(probe.value).toBe("NodeFailed");

      // Twice as long now.
      await clock.advance(1_999);
      expect([await codeOf(), calls]).toEqual(["CircuitOpen", 3]);
      await clock.advance(1);
      ask = async () => undefined;
      expect(await codeOf()).toBe("fine");
      expect(await codeOf()).toBe("fine");
      expect(states).toEqual(["open", "half-open", "open", "half-open", "closed"]);
      stop();
    });

    it("an open circuit names service, graph and node, and when to come back", async () => {
      const { ports } = virtual();
      const name = service();
      const graph = one(down, { circuitBreaker: { service: name, failures: 1, resetMs: 5_000 } }, { ports, ...kept() });
      await expect(graph.invoke({}, { threadId: "a" })).rejects.toMatchObject({ code: "NodeFailed" });
      await expect(graph.invoke({}, { threadId: "b" })).rejects.toMatchObject({
        code: "CircuitOpen",
        message: expect.stringMatching(new RegExp(`graph "g", node "work".*"${name}"`)),
      });
    });
  });

  describe("cancel", () => {
    it("reaches every node that runs, and waits between tries end at once", async () => {
      const stopped: string[] = [];
      const begun: string[] = [];
      const graph = new StateGraph({ log: list() })
        .addNode<string>("work", async (item, ctx) => {
          ctx.signal.addEventListener("abort", () => stopped.push(item));
          begun.push(item);
          await new Promise(() => undefined);
        })
        .addNode("retries", () => down(), { retryPolicy: { initialInterval: 3_600_000 } })
        .addConditionalEdges(START, () => [new Send("work", "a"), new Send("work", "b"), "retries"], [
          "work",
          "retries",
        ])
        .compile(kept());
      const controller = new AbortController();
      const end = graph.invoke({}, { ...thread, signal: controller.signal });
      end.catch(() => undefined);
      await until(() => begun.length === 2, { what: "both calls are at work" });
      controller.abort();
      await expect(end).rejects.toMatchObject({ code: "Cancelled" });
      expect(stopped).toEqual(["a", "b"]);
    });

    it("a run's own deadline ends it with DeadlineExceeded", async () => {
      const { clock, ports } = virtual();
      const graph = one(async () => await new Promise(() => undefined), {}, { ports, ...kept() });
      const end = watched(graph.invoke({}, { ...thread, timeout: 700 }));
      await clock.advance(699);
      expect(end.state).toBe("pending");
      await clock.advance(1);
      expect(end.reason).toMatchObject({ code: "DeadlineExceeded", message: expect.stringContaining("700 ms") });
    });
  });

  describe("drain", () => {
    it("stops at the next boundary: what runs comes to its end, what follows does not begin", async () => {
      const control = new RunControl();
      const graph = new StateGraph({ log: list() })
        .addSequence({
          first: async () => {
            control.requestDrain("deploy");
            await settle();
            return { log: ["first"] };
          },
          second: () => ({ log: ["second"] }),
        })
        .addEdge(START, "first")
        .compile({ name: "g", ...kept() });
      await expect(graph.invoke({}, { ...thread, control })).rejects.toMatchObject({
        code: "Unavailable",
        message: expect.stringMatching(/graph "g".*deploy/),
      });
      expect(control).toMatchObject({ drainRequested: true, drainReason: "deploy", drained: true });
    });

    it("a run that ends by itself in that superstep has ended", async () => {
      const control = new RunControl();
      const graph = one(
        () => {
          control.requestDrain();
          return { log: ["done"] };
        },
        {},
        kept(),
      );
      expect(await graph.invoke({}, { ...thread, control })).toEqual({ log: ["done"] });
      expect(control.drained).toBe(false);
    });
  });
});
