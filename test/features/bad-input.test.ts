/** What cannot be right: each an error that names graph, node and path, and leaves the thread usable. */
import { describe, expect, it } from "vitest";
import {
  type AgentmaticError,
  Annotation,
  Command,
  END,
  MemorySaver,
  type Node,
  Send,
  START,
  StateGraph,
  type StateOf,
} from "../../src/mod.ts";
import { until } from "../support/wait.ts";
import { list, thread, ways } from "./stage.ts";

const spec = { value: Annotation<unknown>(), log: list() };
type Spec = typeof spec;

/** A graph `g` whose node `work` does what is given. */
function working(run: unknown, more: object = {}, options: object = {}) {
  return new StateGraph(spec)
    .addNode("work", run as Node<Spec, StateOf<Spec>>, options)
    .addNode("other", () => undefined)
    .addConditionalEdges("work", () => END, ["other", END])
    .addEdge(START, "work")
    .compile({ name: "g", ...more });
}

const place = 'graph "g", node "work"';

async function failure(work: Promise<unknown>): Promise<AgentmaticError> {
  return await work.then(
    (value) => expect.fail(`it succeeded with ${JSON.stringify(value)}`),
    (thrown: AgentmaticError) => thrown,
  );
}

describe.each(ways)("$way", ({ kept }) => {
  it("a cycle without an exit ends at the step limit, naming graph, node and limit", async () => {
    const graph = new StateGraph(spec)
      .addNode({ ping: () => undefined, pong: () => undefined })
      .addEdge(START, "ping")
      .addEdge("ping", "pong")
      .addEdge("pong", "ping")
      .compile({ name: "g", ...kept() });
    expect(await failure(graph.invoke({}, thread))).toMatchObject({
      code: "StepLimit",
      message: expect.stringMatching(/graph "g".*25.*"?p[io]ng/),
    });
  });

  it.each([
    ["a condition", undefined, () => "nowhere", undefined],
    ["a condition with targets", undefined, () => "nowhere", ["other", END]],
    ["a condition's Send", undefined, () => new Send("nowhere", 1), undefined],
    ["a condition that answers nothing", undefined, () => undefined, undefined],
    ["a Command", () => new Command({ goto: "nowhere" }), undefined, undefined],
    ["a Command's Send", () => new Command({ goto: new Send("nowhere", 1) }), undefined, undefined],
    ["a Send that a node returns", () => new Send("nowhere", 1), undefined, undefined],
  ])("an unknown target from %s", async (_what, run, path, targets) => {
    const graph = new StateGraph(spec)
      .addNode("work", (run ?? (() => undefined)) as () => undefined)
      .addNode("other", () => undefined)
      .addConditionalEdges("work", (path ?? (() => END)) as () => string, targets as string[])
      .addEdge(START, "work")
      .compile({ name: "g", ...kept() });
    const error = await failure(graph.invoke({}, thread));
    expect(error.code).toBe("InvalidGraph");
    expect(error.message).toContain(place);
    expect(error.message).toMatch(/"nowhere"|"undefined"/);
  });

  class Money {}
  it.each([
    ["a number", 5, "a number"],
    ["a string", "done", "a string"],
    ["true", true, "a boolean"],
    ["a list of numbers", [1, 2], "a number"],
    ["a list of lists", [[["log"]]], "a list"],
    ["a class instance", new Money(), "a Money"],
    ["a date", new Date(0), "a Date"],
    ["a map", new Map([["log", ["x"]]]), "a Map"],
    ["a function", () => ({}), "a function"],
    ["a symbol", Symbol("x"), "a symbol"],
    ["a bigint", 5n, "a bigint"],
  ])("a node that returns %s", async (_what, returned, described) => {
    const error = await failure(working(() => returned, kept()).invoke({}, thread));
    expect(error).toMatchObject({ code: "NodeFailed", details: { node: "work" } });
    expect(error.message).toContain(`${place}: returned ${described}`);
  });

  it("a node that writes what is no channel", async () => {
    const error = await failure(working(() => ({ typo: 1 }), kept()).invoke({}, thread));
    expect(error).toMatchObject({ code: "InvalidGraph", details: { node: "work", channel: "typo" } });
    expect(error.message).toContain(`${place}: wrote "typo"`);
  });

  it("a Command with an update that is no object", async () => {
    const error = await failure(working(() => new Command({ update: 5 as never }), kept()).invoke({}, thread));
    expect(error.message).toContain(`${place}: returned a number`);
  });

  const trap = Object.defineProperty({ name: "Trap" }, "message", {
    get() {
      throw new Error("getter");
    },
  });
  const proxied = new Proxy(
    {},
    {
      get() {
        throw new Error("trap");
      },
      has() {
        throw new Error("trap");
      },
      getPrototypeOf() {
        throw new Error("trap");
      },
    },
  );
  it.each([
    ["a string", "no", '"no"'],
    ["undefined", undefined, "undefined"],
    ["null", null, "null"],
    ["a number", 5, "number"],
    ["a frozen object", Object.freeze({ reason: "no" }), "object"],
    ["a frozen error", Object.freeze(new Error("cold")), "cold"],
    ["an object whose getters throw", trap, "cannot be read"],
    ["an error whose message is a symbol", Object.assign(new Error(), { message: Symbol("m") }), "cannot be read"],
    ["a proxy whose traps throw", proxied, "cannot be read"],
    ["a revoked proxy", revoked(), "cannot be read"],
    ["a revoked function", revoked(() => undefined), "cannot be read"],
    ["an object with a message", { message: "oh" }, "object"],
    ["a function", () => undefined, "function"],
  ])("a node that throws %s, at once, later, and after a retry", async (_what, thrown, described) => {
    const throws = () => {
      throw thrown;
    };
    const options = { retryPolicy: { initialInterval: 0, maxAttempts: 2, retryOn: () => true } };
    for (const graph of [
      working(throws, kept()),
      working(async () => throws(), kept()),
      working(throws, kept(), options),
    ]) {
      const error = await failure(graph.invoke({}, thread));
      expect(error).toMatchObject({ code: "NodeFailed", details: { node: "work" } });
      expect(error.message).toContain(`${place}: `);
      expect(error.message).toContain(described);
    }
    const handled = working(throws, kept(), { errorHandler: () => ({ log: ["handled"] }) });
    expect((await handled.invoke({}, { threadId: "handled" })).log).toEqual(["handled"]);
  });

  it("a node that returns what throws when it is waited for", async () => {
    const bad = {
      // biome-ignore lint/suspicious/noThenProperty: that is what is tried here
      then() {
        throw new Error("no promise");
      },
    };
    expect((await failure(working(() => bad, kept()).invoke({}, thread))).message).toBe(`${place}: no promise`);
    const worse = {
      // biome-ignore lint/suspicious/noThenProperty: as above
      get then() {
        throw new Error("not even asked");
      },
    };
    expect((await failure(working(() => worse, kept()).invoke({}, thread))).message).toBe(`${place}: not even asked`);
  });

  it("a condition that throws is told as its node's error", async () => {
    const graph = new StateGraph(spec)
      .addNode("work", () => undefined)
      .addConditionalEdges("work", () => {
        throw null;
      })
      .addEdge(START, "work")
      .compile({ name: "g", ...kept() });
    expect((await failure(graph.invoke({}, thread))).message).toContain(`${place}: a non-error was thrown: null`);
  });

  it("a node that never returns: its timeout ends it, and so does a cancel of the run", async () => {
    const hangs = async () => await new Promise(() => undefined);
    const late = await failure(working(hangs, kept(), { timeout: 20 }).invoke({}, thread));
    expect(late).toMatchObject({
      code: "Timeout",
      message: expect.stringContaining(`${place} did not end within 20 ms`),
    });

    let begun = false;
    const graph = working(() => {
      begun = true;
      return hangs();
    }, kept());
    const controller = new AbortController();
    const end = failure(graph.invoke({}, { threadId: "other", signal: controller.signal }));
    await until(() => begun, { what: "the node has begun" });
    controller.abort();
    expect(await end).toMatchObject({ code: "Cancelled" });
  });

  it("a node that floods the stream: its reader is told, the memory is bounded, and the run is not hurt", async () => {
    const chunk = "x".repeat(100_000);
    let said = 0;
    let ended = false;
    const graph = working(async (_state: unknown, ctx: { stream(data: unknown): void }) => {
      // Far more than may wait for a reader, without giving it a turn.
      for (let i = 0; i < 2_000; i++) {
        ctx.stream(chunk);
        said++;
      }
      await Promise.resolve();
      ended = true;
    }, kept());
    const read = async () => {
      let got = 0;
      for await (const _part of graph.stream({}, { ...thread, streamMode: "custom" })) got++;
      return got;
    };
    const error = await failure(read());
    expect(error).toMatchObject({ code: "ResourceExhausted", message: expect.stringContaining("events") });
    await until(() => ended, { what: "the node has ended" });
    expect(said).toBe(2_000);
  });

  it("a node that says more than its reader takes is slowed down from step to step", async () => {
    let steps = 0;
    const graph = new StateGraph(spec)
      .addNode("work", (_state, ctx) => {
        steps++;
        for (let i = 0; i < 100; i++) ctx.stream(`${steps}.${i}`);
      })
      .addConditionalEdges("work", () => (steps < 60 ? "work" : END), ["work", END])
      .addEdge(START, "work")
      .compile({ name: "g", ...kept() });
    const parts = graph.stream({}, { ...thread, streamMode: "custom", maxSteps: 100 })[Symbol.asyncIterator]();
    expect((await parts.next()).value).toBe("1.0");
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    // Nobody has read on: about a thousand words wait, and the run with them.
    expect(steps).toBeLessThan(20);
    let count = 1;
    for (let part = await parts.next(); !part.done; part = await parts.next()) count++;
    expect([count, steps]).toEqual([6_000, 60]);
  });
});

function revoked(target: object = {}): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

describe("what cannot be stored", () => {
  class Point {
    readonly x = 1;
  }
  const circular: Record<string, unknown> = {};
  circular.self = circular;

  it.each([
    ["a function", { a: [1, { run: () => undefined }] }, "value.a[1].run"],
    ["a symbol", { key: Symbol("x") }, "value.key"],
    ["a class instance", [new Point()], "value[0]"],
    ["itself", circular, "value.self"],
    ["a promise", { later: Promise.resolve(1) }, "value.later"],
    ["a map with a function in it", new Map([["k", () => undefined]]), "value"],
    ["a getter", Object.defineProperty({}, "g", { enumerable: true, get: () => 1 }), "value.g"],
  ])(
    "%s in the state is refused with graph, node and path, and the thread stands where it was",
    async (_what, value, path) => {
      let bad = true;
      const graph = working(() => ({ value: bad ? value : "fine", log: ["worked"] }), {
        checkpointer: new MemorySaver(),
      });
      const error = await failure(graph.invoke({ log: ["in"] }, thread));
      expect(error).toMatchObject({ code: "StateNotSerializable" });
      expect(error.message).toContain(`${place}: ${path}`);
      expect(error.details).toMatchObject({ graph: "g", node: "work" });
      expect((await graph.getState(thread))?.values).toEqual({ log: ["in"] });
      bad = false;
      expect(await graph.invoke(null, thread)).toEqual({ value: "fine", log: ["in", "worked"] });
    },
  );

  it("in an input, a Send, a question and the writes of a parallel task", async () => {
    const checkpointer = new MemorySaver();
    const fn = () => undefined;
    expect((await failure(working(fn, { checkpointer }).invoke({ value: { fn } }, thread))).message).toContain(
      "value.fn",
    );

    const sends = new StateGraph(spec)
      .addNode("work", fn)
      .addConditionalEdges(START, () => new Send("work", { deep: [fn] }), ["work"])
      .compile({ name: "g", checkpointer });
    expect((await failure(sends.invoke({}, { threadId: "send" }))).message).toContain('graph "g": ');
    const sending = new StateGraph(spec)
      .addNode("work", () => undefined)
      .addNode("then", fn)
      .addEdge(START, "work")
      .addConditionalEdges("work", () => new Send("then", { deep: [fn] }), ["then"])
      .compile({ name: "g", checkpointer });
    const sent = await failure(sending.invoke({}, { threadId: "sending" }));
    expect(sent.message).toBe(`${place}: Send("then").args.deep[0]: a function cannot be stored`);

    const asks = working((_state: unknown, ctx: { interrupt(value: unknown): unknown }) => void ctx.interrupt({ fn }), {
      checkpointer,
    });
    const asked = await failure(asks.invoke({}, { threadId: "ask" }));
    expect(asked.message).toBe(`${place}: interrupt.fn: a function cannot be stored`);

    const both = new StateGraph(spec)
      .addNode({ work: () => ({ value: { fn } }), other: async () => ({ log: ["other"] }) })
      .addEdge(START, "work")
      .addEdge(START, "other")
      .compile({ name: "g", checkpointer });
    const error = await failure(both.invoke({}, { threadId: "both" }));
    expect(error).toMatchObject({ code: "StateNotSerializable" });
    expect(error.message).toContain(`${place}`);
    expect(error.message).toContain("value.fn");
  });

  it("is no matter where nothing is stored", async () => {
    const graph = working(() => ({ value: new Point() }));
    expect((await graph.invoke({})).value).toBeInstanceOf(Point);
  });
});

describe("a reducer or default that gives a promise", () => {
  const later = async <T>(value: T): Promise<T> => value;
  const specs = {
    reducer: { value: Annotation<unknown>({ reducer: (_a, b) => later(b), default: () => 0 }) },
    default: { value: Annotation<unknown>({ reducer: (_a, b) => b, default: () => later(0) }) },
    "reducer that rejects": {
      value: Annotation<unknown>({ reducer: () => Promise.reject(new Error("no")), default: () => 0 }),
    },
  };

  it.each(Object.entries(specs))(
    "%s: is an error that names the channel, with a store and without",
    async (_what, own) => {
      const graph = new StateGraph(own).addNode("work", () => ({ value: 1 })).addEdge(START, "work");
      for (const checkpointer of [undefined, new MemorySaver()]) {
        const run = graph.compile({ name: "g", ...(checkpointer ? { checkpointer } : {}) }).invoke({}, thread);
        const thrown = await run.then(
          () => undefined,
          (error: AgentmaticError) => error,
        );
        expect(thrown).toMatchObject({ code: "InvalidGraph", details: { channel: "value" } });
        expect(thrown?.message).toContain("promise");
      }
    },
  );
});
