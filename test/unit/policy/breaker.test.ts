import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AgentmaticError } from "../../../src/errors.ts";
import {
  type BreakerPolicy,
  type BreakerStatus,
  Breakers,
  checkBreaker,
  servicesMax,
} from "../../../src/policy/breaker.ts";
import { type Deferred, deferred, settle, virtualPorts, watched } from "./clock.ts";

const down = new Error("down");
const stopped = new DOMException("stopped", "AbortError");

function setUp(figures: Partial<BreakerPolicy> = {}) {
  const breakers = new Breakers();
  const { clock, ports, lines } = virtualPorts();
  const policy = { service: "mail", failures: 3, resetMs: 1_000, ...figures };
  const call = <T>(work: () => Promise<T>, neutral?: (thrown: unknown) => boolean) =>
    breakers.run(policy, work, { ports, ...(neutral ? { neutral } : {}) });
  const fail = (thrown: unknown = down) => call(() => Promise.reject(thrown)).catch((error: unknown) => error);
  const state = () => breakers.states()[0]?.state;
  return { breakers, clock, ports, lines, policy, call, fail, state };
}

describe("closed", () => {
  test("opens after so many failures in a row, and then refuses at once, without a call", async () => {
    const { clock, call, fail, state } = setUp();
    for (let failure = 0; failure < 3; failure++) {
      expect(state()).not.toBe("open");
      expect(await fail()).toBe(down);
    }
    expect(state()).toBe("open");
    await clock.advance(400);
    let called = false;
    const refused = await call(async () => {
      called = true;
    }).catch((error: unknown) => error);
    expect(called).toBe(false);
    expect(refused).toMatchObject({
      code: "CircuitOpen",
      retryAfterMs: 600,
      message: 'service "mail" failed 3 times in a row and is not called for now',
      details: { service: "mail", state: "open" },
    });
  });

  test("a success in between starts the count anew", async () => {
    const { call, fail, state } = setUp();
    for (let round = 0; round < 5; round++) {
      await fail();
      await fail();
      await call(async () => "fine");
    }
    expect(state()).toBe("closed");
  });

  test("with a window it counts the failures of that time, whatever succeeded between them", async () => {
    const { clock, call, fail, state } = setUp({ windowMs: 100 });
    const step = async () => {
      await fail();
      await call(async () => "fine");
      await clock.advance(50);
    };
    for (let round = 0; round < 10; round++) await step();
    expect(state()).toBe("closed");
    await fail();
    await fail();
    expect(state()).toBe("open");
  });

  test("mistakes of the caller, aborts and what is neutral do not count", async () => {
    const { call, fail, state } = setUp({ failures: 1 });
    const interrupt = new Error("the graph waits");
    const innocent = [
      stopped,
      new TypeError("x is not a function"),
      Object.assign(new Error("not found"), { status: 404 }),
      new AgentmaticError("InvalidArgument", "x"),
      new AgentmaticError("Cancelled", "x"),
      new AgentmaticError("CircuitOpen", "another service", { retryAfterMs: 5 }),
      new AgentmaticError("NodeFailed", "x", { cause: new AgentmaticError("NodeFailed", "y", { cause: stopped }) }),
    ];
    for (const thrown of innocent) expect(await fail(thrown)).toBe(thrown);
    const isInterrupt = (thrown: unknown) => thrown === interrupt;
    await expect(call(() => Promise.reject(interrupt), isInterrupt)).rejects.toBe(interrupt);
    expect(state()).toBe("closed");
    await fail(Object.assign(new Error("overloaded"), { status: 503 }));
    expect(state()).toBe("open");
  });

  test("failOn decides instead, each node's for its own calls, given what the node threw", async () => {
    const { breakers, ports, policy } = setUp({ failures: 1 });
    const seen: unknown[] = [];
    const failOn = (thrown: unknown) => {
      seen.push(thrown);
      return thrown === down;
    };
    const wrapped = new AgentmaticError("NodeFailed", "x", { cause: down });
    const run = (own: BreakerPolicy, thrown: unknown) =>
      breakers.run(own, () => Promise.reject(thrown), { ports }).catch(() => undefined);
    await run({ ...policy, failOn: () => false }, wrapped);
    expect(breakers.states()[0]?.state).toBe("closed");
    await run({ ...policy, failOn }, wrapped);
    expect(breakers.states()[0]?.state).toBe("open");
    expect(seen).toEqual([down]);
  });

  test("a failOn that throws hides nothing, and counts", async () => {
    const failOn = () => {
      throw new Error("a mistake in failOn");
    };
    const { fail, state, lines } = setUp({ failures: 1, failOn });
    expect(await fail()).toBe(down);
    expect(state()).toBe("open");
    expect(lines).toMatchObject([{ level: "error" }]);
  });

  test("a failOn or a listener that gives a promise ends no process by its rejection; the failure counts", async () => {
    const late = async () => Promise.reject(new Error("too late"));
    const { breakers, fail, state, lines } = setUp({ failures: 1, failOn: late as unknown as () => boolean });
    breakers.onChange(late as unknown as () => void);
    expect(await fail()).toBe(down);
    expect(state()).toBe("open");
    expect(lines).toMatchObject([{ level: "error" }]);
  });

  test("work that throws before it made a promise counts, too", async () => {
    const { call, state } = setUp({ failures: 1 });
    const work = (): Promise<void> => {
      throw down;
    };
    await expect(call(work)).rejects.toBe(down);
    expect(state()).toBe("open");
  });
});

describe("half-open", () => {
  async function opened(figures: Partial<BreakerPolicy> = {}) {
    const set = setUp({ failures: 1, ...figures });
    await set.fail();
    await set.clock.advance(figures.resetMs ?? 1_000);
    return set;
  }

  test("lets exactly one probe through; its success closes the circuit for all", async () => {
    const { clock, call, state } = await opened();
    const probe = deferred<string>();
    const first = watched(call(() => probe.promise));
    expect(state()).toBe("half-open");
    await clock.advance(300);
    const others = await Promise.all(Array.from({ length: 20 }, () => call(async () => "in").catch((error) => error)));
    for (const refused of others) expect(refused).toMatchObject({ code: "CircuitOpen", retryAfterMs: 700 });
    probe.resolve("well again");
    await settle();
    expect([first.value, state()]).toEqual(["well again", "closed"]);
    await expect(call(async () => "in")).resolves.toBe("in");
  });

  test("its failure opens the circuit for twice as long, up to the bound", async () => {
    const { clock, call, fail } = await opened({ maxResetMs: 5_000 });
    const pauses: number[] = [];
    for (let probe = 0; probe < 5; probe++) {
      expect(await fail()).toBe(down);
      const refused = (await call(async () => "in").catch((error) => error)) as AgentmaticError;
      pauses.push(refused.retryAfterMs!);
      await clock.advance(refused.retryAfterMs!);
    }
    expect(pauses).toEqual([2_000, 4_000, 5_000, 5_000, 5_000]);
    await call(async () => "in");
    await fail();
    // Closed once, it begins with the first pause again.
    expect(await call(async () => "in").catch((error) => error.retryAfterMs)).toBe(1_000);
  });

  test("a probe that says nothing of the service makes room for the next at once", async () => {
    const { call, fail, state } = await opened();
    expect(await fail(stopped)).toBe(stopped);
    expect(state()).toBe("half-open");
    await call(async () => "in");
    expect(state()).toBe("closed");
  });

  test("a probe that never settles keeps nobody out for longer than its lease", async () => {
    const { clock, call, state } = await opened();
    void call(() => new Promise(() => {}));
    await clock.advance(999);
    expect(await call(async () => "in").catch((error) => error.retryAfterMs)).toBe(1);
    await clock.advance(1);
    await expect(call(async () => "in")).resolves.toBe("in");
    expect(state()).toBe("closed");
  });

  test("a service slower than the lease closes it all the same, though another probe is out", async () => {
    const { clock, call, state } = await opened();
    const slow = deferred<string>();
    void call(() => slow.promise);
    await clock.advance(1_500);
    void call(() => new Promise(() => {}));
    slow.resolve("slow, but well");
    await settle();
    expect(state()).toBe("closed");
  });

  test("an aborted probe whose lease ran out does not make room for a third beside the second", async () => {
    const { clock, call, state } = await opened();
    const first = deferred<string>();
    void call(() => first.promise).catch(() => undefined);
    await clock.advance(1_500);
    void call(() => new Promise(() => {}));
    first.reject(stopped);
    await settle();
    expect(state()).toBe("half-open");
    await expect(call(async () => "in")).rejects.toMatchObject({ code: "CircuitOpen" });
  });

  test("calls from before the circuit opened say nothing any more", async () => {
    const { clock, call, fail, state } = setUp({ failures: 1 });
    const early = [deferred<string>(), deferred<string>(), deferred<string>()];
    const calls = early.map(({ promise }) => watched(call(() => promise)));
    await fail();
    early[0]?.resolve("late");
    await settle();
    expect(state()).toBe("open");
    await clock.advance(1_000);
    void call(() => new Promise(() => {}));
    early[1]?.reject(down);
    await settle();
    expect(state()).toBe("half-open");
    await clock.advance(1_000);
    await call(async () => "in");
    early[2]?.reject(down);
    await settle();
    expect(state()).toBe("closed");
    expect(calls.map((one) => one.state)).toEqual(["resolved", "rejected", "rejected"]);
  });
});

describe("the registry", () => {
  test("two definitions of one service: an error that names both", async () => {
    const { breakers, ports, call } = setUp();
    await call(async () => 1);
    const other = { service: "mail", failures: 3, resetMs: 2_000, windowMs: 50 };
    await expect(breakers.run(other, async () => 1, { ports })).rejects.toMatchObject({
      code: "FailedPrecondition",
      message:
        'circuitBreaker: service "mail" has two definitions: (failures 3, windowMs none, resetMs 1000, maxResetMs 10000) and (failures 3, windowMs 50, resetMs 2000, maxResetMs 20000)',
    });
    // The defaults written out are the same figures.
    await breakers.run({ service: "mail", failures: 3, resetMs: 1_000, maxResetMs: 10_000 }, async () => 1, { ports });
  });

  test("shows the states and tells of each change; a listener that throws harms nobody", async () => {
    const { breakers, clock, call, fail, lines } = setUp({ failures: 2 });
    const seen: BreakerStatus[] = [];
    breakers.onChange(() => {
      throw new Error("a mistake in a listener");
    });
    const end = breakers.onChange((status) => seen.push(status));
    await fail();
    expect(breakers.states()).toEqual([{ service: "mail", state: "closed", failures: 1 }]);
    await fail();
    await clock.advance(1_000);
    await call(async () => 1);
    end();
    await fail();
    await fail();
    expect(seen).toEqual([
      { service: "mail", state: "open", failures: 2 },
      { service: "mail", state: "half-open", failures: 2 },
      { service: "mail", state: "closed", failures: 0 },
    ]);
    expect(lines.length).toBe(4);
  });

  test("is bounded", async () => {
    const { breakers, ports } = setUp();
    for (let index = 0; index < servicesMax; index++) {
      await breakers.run({ service: `service-${index}` }, async () => 1, { ports });
    }
    await expect(breakers.run({ service: "one more" }, async () => 1, { ports })).rejects.toMatchObject({
      code: "ResourceExhausted",
    });
    await expect(breakers.run({ service: "service-0" }, async () => 1, { ports })).resolves.toBe(1);
  });

  test("services do not share anything", async () => {
    const { breakers, ports, fail } = setUp({ failures: 1 });
    await fail();
    await expect(breakers.run({ service: "search" }, async () => "in", { ports })).resolves.toBe("in");
  });
});

const bad: [unknown, string][] = [
  [null, "b"],
  [{}, "b.service"],
  [{ service: "" }, "b.service"],
  [{ service: "s", failures: 0 }, "b.failures"],
  [{ service: "s", failures: 1.5 }, "b.failures"],
  [{ service: "s", failures: 1e9 }, "b.failures"],
  [{ service: "s", windowMs: 0 }, "b.windowMs"],
  [{ service: "s", resetMs: Number.NaN }, "b.resetMs"],
  [{ service: "s", maxResetMs: 1e12 }, "b.maxResetMs"],
  [{ service: "s", resetMs: 500, maxResetMs: 400 }, "b.maxResetMs"],
  [{ service: "s", failOn: true }, "b.failOn"],
];
test.each(bad)("checkBreaker refuses %j and names %s", (policy, field) => {
  expect(() => checkBreaker("b", policy)).toThrowError(
    expect.objectContaining({ code: "InvalidArgument", details: { field } }),
  );
});

/**
 * What a breaker is, said once more and more slowly: the model keeps every call that was ever made, and works out from
 * that history what comes next.
 */
class Model {
  state: "closed" | "open" | "half-open" = "closed";
  inRow: number[] = [];
  pauseMs: number;
  blockedUntilMs = 0;
  /** Calls that began in the present state's time, by number. */
  current: Set<number> = new Set();
  latestProbe = -1;
  readonly policy: Required<Pick<BreakerPolicy, "failures" | "resetMs" | "maxResetMs">> & { windowMs?: number };

  constructor(policy: Model["policy"]) {
    this.policy = policy;
    this.pauseMs = policy.resetMs;
  }

  enter(call: number, nowMs: number): boolean {
    if (this.state !== "closed") {
      if (nowMs < this.blockedUntilMs) return false;
      if (this.state === "open") this.become("half-open");
      this.latestProbe = call;
      this.blockedUntilMs = nowMs + this.policy.resetMs;
    }
    this.current.add(call);
    return true;
  }

  leave(call: number, how: "ok" | "down" | "stopped", nowMs: number): void {
    if (!this.current.delete(call)) return;
    const { failures, windowMs, maxResetMs, resetMs } = this.policy;
    if (this.state === "half-open") {
      if (how === "stopped" && call === this.latestProbe) this.blockedUntilMs = nowMs;
      if (how === "down") this.open(nowMs, Math.min(this.pauseMs * 2, maxResetMs));
      if (how === "ok") {
        this.inRow = [];
        this.pauseMs = resetMs;
        this.become("closed");
      }
      return;
    }
    if (how === "ok" && windowMs === undefined) this.inRow = [];
    if (how !== "down") return;
    this.inRow = [...this.inRow, nowMs].filter((atMs) => windowMs === undefined || nowMs - atMs < windowMs);
    if (this.inRow.length >= failures) this.open(nowMs, this.pauseMs);
  }

  open(nowMs: number, pauseMs: number): void {
    this.pauseMs = pauseMs;
    this.blockedUntilMs = nowMs + pauseMs;
    this.become("open");
  }

  become(state: Model["state"]): void {
    this.state = state;
    this.current.clear();
  }
}

type Action =
  | { readonly kind: "call" }
  | { readonly kind: "end"; readonly which: number; readonly how: "ok" | "down" | "stopped" }
  | { readonly kind: "wait"; readonly ms: number };

const action: fc.Arbitrary<Action> = fc.oneof(
  { arbitrary: fc.constant({ kind: "call" } as const), weight: 4 },
  {
    arbitrary: fc.record({
      kind: fc.constant("end" as const),
      which: fc.nat(),
      how: fc.constantFrom("ok" as const, "down" as const, "down" as const, "stopped" as const),
    }),
    weight: 4,
  },
  { arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 250 }) }), weight: 2 },
);

const figures = fc.record(
  {
    failures: fc.integer({ min: 1, max: 3 }),
    resetMs: fc.constantFrom(50, 100),
    maxResetMs: fc.constantFrom(100, 300),
    windowMs: fc.constantFrom(60, 200),
  },
  { requiredKeys: ["failures", "resetMs", "maxResetMs"] },
);

test("any history of calls goes as in the model, never lets two probes in at once, and never gets stuck", async () => {
  await fc.assert(
    fc.asyncProperty(figures, fc.array(action, { maxLength: 60, size: "max" }), async (policy, actions) => {
      const { breakers, clock, ports } = setUp();
      const model = new Model(policy);
      const running = new Map<number, Deferred<string>>();
      const probes = new Map<number, number>();
      let made = 0;
      const start = (): boolean => {
        const work = deferred<string>();
        const number = made++;
        let called = false;
        const begin = () => {
          called = true;
          return work.promise;
        };
        breakers.run({ service: "s", ...policy }, begin, { ports }).catch(() => undefined);
        const nowMs = clock.monotonicMs();
        expect(called).toBe(model.enter(number, nowMs));
        if (!called) return false;
        running.set(number, work);
        if (breakers.states()[0]?.state === "half-open") {
          const others = [...probes].filter(([other, atMs]) => running.has(other) && nowMs - atMs < policy.resetMs);
          expect(others).toEqual([]);
          probes.set(number, nowMs);
        }
        return true;
      };
      const end = async (number: number, how: "ok" | "down" | "stopped") => {
        const work = running.get(number)!;
        running.delete(number);
        if (how === "ok") work.resolve("ok");
        else work.reject(how === "down" ? down : stopped);
        await settle();
        model.leave(number, how, clock.monotonicMs());
      };
      for (const step of actions) {
        if (step.kind === "wait") await clock.advance(step.ms);
        else if (step.kind === "call") start();
        else if (running.size > 0) await end([...running.keys()][step.which % running.size]!, step.how);
        const status = breakers.states()[0];
        if (status) expect(status).toEqual({ service: "s", state: model.state, failures: model.inRow.length });
      }
      // Whatever was left hanging: once the longest pause is over, one good call mends it.
      await clock.advance(policy.maxResetMs);
      expect(start()).toBe(true);
      await end(made - 1, "ok");
      expect(breakers.states()[0]?.state).toBe("closed");
    }),
    { numRuns: 300 },
  );
});
