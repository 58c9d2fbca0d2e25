import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readTimeout, type TimeoutScope, withTimeout } from "../../../src/policy/timeout.ts";
import { deferred, settle, virtualPorts, watched } from "./clock.ts";

const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown) => unhandled.push(reason);
beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", onUnhandled);
});
afterEach(() => {
  process.off("unhandledRejection", onUnhandled);
});

/** An AbortSignal that knows how many listen to it. */
function counted(): { readonly controller: AbortController; readonly listeners: () => number } {
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<AbortSignal["addEventListener"]>) => {
    listeners++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<AbortSignal["removeEventListener"]>) => {
    listeners--;
    remove(...args);
  };
  return { controller, listeners: () => listeners };
}

function setUp() {
  const { clock, ports } = virtualPorts();
  const { controller, listeners } = counted();
  return { clock, controller, listeners, options: { ports, signal: controller.signal, name: "pay" } };
}

describe("runTimeout", () => {
  test("ends a node that never does, at its time, and aborts its signal", async () => {
    const { clock, options, listeners } = setUp();
    let scope: TimeoutScope | undefined;
    const seen = watched(
      withTimeout({ runTimeout: 500 }, options, (given) => {
        scope = given;
        return new Promise(() => {});
      }),
    );
    await clock.advance(499);
    expect([seen.state, scope?.signal.aborted]).toEqual(["pending", false]);
    scope?.heartbeat();
    await clock.advance(1);
    expect(seen.reason).toMatchObject({
      code: "Timeout",
      message: '"pay" did not end within 500 ms (500 ms after its start)',
      details: { kind: "run", limitMs: 500, elapsedMs: 500 },
    });
    expect(scope?.signal.reason).toBe(seen.reason);
    expect([clock.pending, listeners()]).toEqual([0, 0]);
  });

  test.each(["resolves", "rejects"])("what %s in time comes out, and leaves nothing behind", async (how) => {
    const { clock, options, listeners } = setUp();
    const own = new Error("its own");
    const run = () => (how === "resolves" ? Promise.resolve("done") : Promise.reject(own));
    const seen = watched(withTimeout({ runTimeout: 500, idleTimeout: 100 }, options, run));
    await settle();
    expect(seen).toEqual(
      how === "resolves" ? { state: "resolved", value: "done" } : { state: "rejected", reason: own },
    );
    expect([clock.pending, listeners()]).toEqual([0, 0]);
  });

  test("what throws before it made a promise leaves nothing behind either", async () => {
    const { clock, options, listeners } = setUp();
    const own = new Error("its own");
    const run = (): Promise<void> => {
      throw own;
    };
    await expect(withTimeout({ runTimeout: 500 }, options, run)).rejects.toBe(own);
    await expect(withTimeout({}, options, run)).rejects.toBe(own);
    expect([clock.pending, listeners()]).toEqual([0, 0]);
  });

  test.each(["resolve", "reject"] as const)("a late %s is dropped in silence", async (how) => {
    const { clock, options } = setUp();
    const late = deferred<string>();
    let scope: TimeoutScope | undefined;
    const seen = watched(
      withTimeout({ runTimeout: 50, idleTimeout: 30 }, options, (given) => {
        scope = given;
        given.signal.addEventListener("abort", () => late.reject(new Error("stopped")));
        return late.promise;
      }),
    );
    await clock.advance(60);
    late[how]("late" as never);
    scope?.heartbeat();
    scope?.progress();
    await clock.advance(1_000);
    expect(seen).toMatchObject({ state: "rejected", reason: { code: "Timeout", details: { kind: "idle" } } });
    expect(clock.pending).toBe(0);
    expect(unhandled).toEqual([]);
  });
});

describe("idleTimeout", () => {
  test("ends what gives no sign of life; a heartbeat starts it anew", async () => {
    const { clock, options } = setUp();
    let scope: TimeoutScope | undefined;
    const seen = watched(
      withTimeout({ idleTimeout: 100 }, options, (given) => {
        scope = given;
        return new Promise(() => {});
      }),
    );
    for (let beat = 0; beat < 10; beat++) {
      await clock.advance(99);
      scope?.heartbeat();
    }
    await clock.advance(99);
    expect(seen.state).toBe("pending");
    await clock.advance(1);
    expect(seen.reason).toMatchObject({
      code: "Timeout",
      message: '"pay" gave no sign of life within 100 ms (1090 ms after its start)',
      details: { kind: "idle", limitMs: 100, elapsedMs: 1_090 },
    });
  });

  test.each([
    ["auto", "pending"],
    ["heartbeat", "rejected"],
  ] as const)("with refreshOn %s what it streams leaves it %s", async (refreshOn, state) => {
    const { clock, options } = setUp();
    let scope: TimeoutScope | undefined;
    const seen = watched(
      withTimeout({ idleTimeout: 100, refreshOn }, options, (given) => {
        scope = given;
        return new Promise(() => {});
      }),
    );
    await clock.advance(60);
    scope?.progress();
    await clock.advance(60);
    expect(seen.state).toBe(state);
  });

  test("a sign of life sets no timer: a stream of tokens has thousands", async () => {
    const { clock, options } = setUp();
    const end = deferred<void>();
    const work = withTimeout({ idleTimeout: 100 }, options, (scope) => {
      for (let token = 0; token < 10_000; token++) scope.progress();
      return end.promise;
    });
    expect(clock.made).toBe(1);
    end.resolve();
    await work;
  });

  test("ends exactly one limit after the last sign of life, or at the run's limit, whichever is first", async () => {
    const gaps = fc.array(fc.integer({ min: 1, max: 150 }), { maxLength: 12, size: "max" });
    await fc.assert(
      fc.asyncProperty(
        gaps,
        fc.option(fc.integer({ min: 1, max: 900 }), { nil: undefined }),
        async (beats, runTimeout) => {
          const { clock, options } = setUp();
          let scope: TimeoutScope | undefined;
          let endedMs: number | undefined;
          const policy = { idleTimeout: 100, ...(runTimeout === undefined ? {} : { runTimeout }) };
          const work = withTimeout(policy, options, (given) => {
            scope = given;
            return new Promise<never>(() => {});
          });
          const startMs = clock.monotonicMs();
          const kind = work.catch((thrown) => {
            endedMs = clock.monotonicMs() - startMs;
            return thrown.details.kind as string;
          });
          let lastMs = 0;
          let atMs = 0;
          for (const gap of beats) {
            await clock.advance(gap);
            atMs += gap;
            scope?.heartbeat();
            if (gap >= 100) break;
            lastMs = atMs;
          }
          await clock.advance(2_000);
          const idleMs = lastMs + 100;
          expect(endedMs).toBe(Math.min(idleMs, runTimeout ?? idleMs));
          if (idleMs !== runTimeout) expect(await kind).toBe(idleMs < (runTimeout ?? Infinity) ? "idle" : "run");
          expect(clock.pending).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("the run's own signal", () => {
  test("ends the try with its reason, whatever the node does, and reaches the node", async () => {
    const { clock, controller, options, listeners } = setUp();
    let scope: TimeoutScope | undefined;
    const seen = watched(
      withTimeout({ runTimeout: 500, idleTimeout: 100 }, options, (given) => {
        scope = given;
        return new Promise(() => {});
      }),
    );
    await settle();
    const reason = new Error("cancelled");
    controller.abort(reason);
    await settle();
    expect(seen).toEqual({ state: "rejected", reason });
    expect(scope?.signal.reason).toBe(reason);
    expect([clock.pending, listeners()]).toEqual([0, 0]);
  });

  test("aborted before, starts neither node nor timer", async () => {
    const { clock, controller, options, listeners } = setUp();
    const reason = new Error("cancelled");
    controller.abort(reason);
    let called = false;
    const work = withTimeout({ runTimeout: 500 }, options, async () => {
      called = true;
    });
    await expect(work).rejects.toBe(reason);
    expect([called, clock.made, listeners()]).toEqual([false, 0, 0]);
  });
});

test("without a limit there is no timer, and the signal is the run's own", async () => {
  const { clock, options, listeners } = setUp();
  const given = await withTimeout({ refreshOn: "auto" }, options, async (scope) => {
    scope.heartbeat();
    scope.progress();
    return scope.signal;
  });
  expect(given).toBe(options.signal);
  expect([clock.made, listeners()]).toEqual([0, 0]);
});

describe("readTimeout", () => {
  const bad: [unknown, string][] = [
    [0, "t"],
    [-5, "t"],
    [Number.NaN, "t"],
    ["5s", "t"],
    [null, "t"],
    [{ runTimeout: 0 }, "t.runTimeout"],
    [{ runTimeout: "5" }, "t.runTimeout"],
    [{ idleTimeout: Number.POSITIVE_INFINITY }, "t.idleTimeout"],
    [{ refreshOn: "never" }, "t.refreshOn"],
  ];
  test.each(bad)("refuses %j and names %s", (given, field) => {
    expect(() => readTimeout("t", given as number)).toThrowError(
      expect.objectContaining({ code: "InvalidArgument", details: { field } }),
    );
  });

  test("a number is the run's", () => {
    expect(readTimeout("t", 5_000)).toEqual({ runTimeout: 5_000 });
    expect(readTimeout("t", { idleTimeout: 1, refreshOn: "heartbeat" })).toEqual({
      idleTimeout: 1,
      refreshOn: "heartbeat",
    });
  });
});
