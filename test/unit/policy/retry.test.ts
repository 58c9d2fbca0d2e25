import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AgentmaticError, type ErrorCode, errorCodes } from "../../../src/errors.ts";
import { checkRetry, type RetryPolicy, retryable, retryDelayMs, withRetry } from "../../../src/policy/retry.ts";
import { settle, virtualPorts, watched } from "./clock.ts";

const never = new AbortController().signal;
const policies = fc.record(
  {
    initialInterval: fc.double({ min: 0, max: 86_400_000, noNaN: true }),
    backoffFactor: fc.double({ min: 1, max: 1_000, noNaN: true }),
    maxInterval: fc.double({ min: 0, max: 86_400_000, noNaN: true }),
    jitter: fc.boolean(),
  },
  { requiredKeys: [] },
);
const attempts = fc.integer({ min: 1, max: 1_000 });
const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("the wait", () => {
  test("is never longer than the bound, nor below half of it without jitter", () => {
    fc.assert(
      fc.property(policies, attempts, randoms, (policy, attempt, random) => {
        checkRetry("retryPolicy", policy);
        const whole = retryDelayMs({ ...policy, jitter: false }, attempt, random);
        const wait = retryDelayMs(policy, attempt, random);
        expect(whole).toBeLessThanOrEqual(policy.maxInterval ?? 128_000);
        expect(whole).toBeGreaterThanOrEqual(0);
        if (policy.jitter === false) expect(wait).toBe(whole);
        else {
          expect(wait).toBeGreaterThanOrEqual(whole / 2);
          expect(wait).toBeLessThanOrEqual(whole);
        }
      }),
    );
  });

  test("never shrinks from one try to the next, and grows by the factor until the bound", () => {
    fc.assert(
      fc.property(policies, attempts, (policy, attempt) => {
        const steady = { ...policy, jitter: false };
        const wait = retryDelayMs(steady, attempt, 0);
        const next = retryDelayMs(steady, attempt + 1, 0);
        expect(next).toBeGreaterThanOrEqual(wait);
        const bound = policy.maxInterval ?? 128_000;
        if (next < bound && wait > 1e-300) expect(next / wait).toBeCloseTo(policy.backoffFactor ?? 2, 6);
      }),
    );
  });

  test("has the defaults of LangGraph.js, also for fields that are there and undefined", () => {
    const none: Record<string, unknown> = {
      initialInterval: undefined,
      backoffFactor: undefined,
      maxInterval: undefined,
    };
    for (const policy of [{}, none] as RetryPolicy[]) {
      const waits = [1, 2, 3, 9, 10].map((attempt) => retryDelayMs({ ...policy, jitter: false }, attempt, 0));
      expect(waits).toEqual([500, 1_000, 2_000, 128_000, 128_000]);
      expect(retryDelayMs(policy, 1, 0)).toBe(250);
    }
  });
});

test("no interval is no wait, however often it is multiplied", () => {
  expect(retryDelayMs({ initialInterval: 0, backoffFactor: 1_000 }, 1_000, 0.5)).toBe(0);
});

describe("checkRetry", () => {
  const bad: [unknown, string][] = [
    [null, "p"],
    [3, "p"],
    [{ initialInterval: -1 }, "p.initialInterval"],
    [{ initialInterval: Number.NaN }, "p.initialInterval"],
    [{ initialInterval: "500" }, "p.initialInterval"],
    [{ backoffFactor: 0.5 }, "p.backoffFactor"],
    [{ maxInterval: Number.POSITIVE_INFINITY }, "p.maxInterval"],
    [{ maxAttempts: 0 }, "p.maxAttempts"],
    [{ maxAttempts: 2.5 }, "p.maxAttempts"],
    [{ jitter: "yes" }, "p.jitter"],
    [{ logWarning: 1 }, "p.logWarning"],
    [{ retryOn: 5 }, "p.retryOn"],
    [{ retryOn: [() => true] }, "p.retryOn"],
    [{ retryOn: [""] }, "p.retryOn"],
  ];
  test.each(bad)("refuses %j and names the field %s", (policy, field) => {
    const thrown = caught(() => checkRetry("p", policy));
    expect(thrown).toMatchObject({ code: "InvalidArgument", details: { field } });
  });

  test("takes what its users write", () => {
    checkRetry("p", {});
    checkRetry("p", { maxAttempts: 5, retryOn: [Error, "Timeout", "ECONNRESET"], jitter: false, logWarning: false });
    checkRetry("p", { retryOn: () => true });
  });
});

class Http extends Error {
  readonly status: number;
  constructor(status: number) {
    super(`answered ${status}`);
    this.status = status;
  }
}

function nodeFailed(cause: unknown): AgentmaticError {
  return new AgentmaticError("NodeFailed", "a node failed", { cause });
}

describe("by default", () => {
  const again: [string, unknown][] = [
    ["a plain error", new Error("no answer")],
    ["a string", "no answer"],
    ["undefined", undefined],
    ["null", null],
    ["an object", { oops: true }],
    ["500", new Http(500)],
    ["503", { statusCode: 503 }],
    ["axios 502", { name: "AxiosError", message: "m", response: { status: 502 } }],
    ["408", new Http(408)],
    ["409", new Http(409)],
    ["425", new Http(425)],
    ["429", new Http(429)],
    ["a timeout of a signal", new DOMException("late", "TimeoutError")],
    ["a broken network, Node", new TypeError("fetch failed", { cause: new Error("ECONNREFUSED") })],
    ["a broken network, Chromium", new TypeError("Failed to fetch")],
    ["a broken network, Firefox", new TypeError("NetworkError when attempting to fetch resource.")],
    ["a broken network, Safari", new TypeError("Load failed")],
    ["a broken network, Deno", new TypeError("error reading a body from connection")],
    ["a broken network, Bun", Object.assign(new TypeError("getaddrinfo ENOTFOUND x"), { code: "ENOTFOUND" })],
    ["a broken body, Node", new TypeError("terminated", { cause: new Error("other side closed") })],
    ["one of several that may pass", new AggregateError([new ReferenceError("x"), new Http(500)])],
    ["a node's error of a subgraph's", nodeFailed(nodeFailed(new Http(500)))],
    ["a frozen error", Object.freeze(new Error("frozen"))],
    ["a getter that throws", hostile()],
    ["a revoked proxy", revoked()],
  ];
  test.each(again)("tries again after %s", (_name, thrown) => {
    expect(retryable({}, thrown)).toBe(true);
    expect(retryable({}, nodeFailed(thrown))).toBe(true);
  });

  const notAgain: [string, unknown][] = [
    ["TypeError", caught(() => (undefined as unknown as { x: number }).x)],
    ["a fetch that is none", new TypeError("fetch is not a function")],
    ["TypeError of a name that looks like it", new TypeError("x.fetch is not a function")],
    ["a wrong argument", Object.assign(new TypeError("bad"), { code: "ERR_INVALID_ARG_TYPE" })],
    ["a bad URL", new TypeError("Failed to parse URL from nope", { cause: new TypeError("Invalid URL") })],
    ["ReferenceError", new ReferenceError("x is not defined")],
    ["SyntaxError", caught(() => JSON.parse("{"))],
    ["RangeError", new RangeError("Maximum call stack size exceeded")],
    ["a TypeError of another realm", { name: "TypeError", message: "x is not a function" }],
    ["400", new Http(400)],
    ["401", { statusCode: 401 }],
    ["404", { response: { status: "404" } }],
    ["422", new Http(422)],
    ["a quota that is spent", Object.assign(new Http(429), { error: { code: "insufficient_quota" } })],
    ["an abort", new DOMException("stopped", "AbortError")],
    ["an abort of axios", Object.assign(new Error("canceled"), { name: "CanceledError" })],
    ["several, none of which passes", new AggregateError([new ReferenceError("x"), new Http(404)])],
    ["a mistake in a subgraph", nodeFailed(nodeFailed(new TypeError("x is not a function")))],
  ];
  test.each(notAgain)("does not after %s", (_name, thrown) => {
    expect(retryable({}, thrown)).toBe(false);
    expect(retryable({}, nodeFailed(thrown))).toBe(false);
  });

  test("goes by the code of this package's own errors", () => {
    const never: ErrorCode[] = [
      "Cancelled",
      "FencedOut",
      "InvalidArgument",
      "InvalidGraph",
      "StateNotSerializable",
      "BudgetExceeded",
      "StepLimit",
      "PermissionDenied",
      "DataLoss",
    ];
    const always: ErrorCode[] = [
      "Timeout",
      "CircuitOpen",
      "Unavailable",
      "ResourceExhausted",
      "NodeFailed",
      "Internal",
    ];
    for (const code of never) expect([code, retryable({}, new AgentmaticError(code, "x"))]).toEqual([code, false]);
    for (const code of always) expect([code, retryable({}, new AgentmaticError(code, "x"))]).toEqual([code, true]);
    // Nothing is left to chance: every code has an answer, the same as the table of codes gives.
    for (const code of Object.keys(errorCodes) as ErrorCode[]) {
      const expected = errorCodes[code].retryable || code === "NodeFailed" || code === "Internal";
      expect([code, retryable({}, new AgentmaticError(code, "x"))]).toEqual([code, expected]);
    }
  });

  test("knows what this runtime's fetch throws", async () => {
    const server = createServer((request, response) => {
      if (request.url === "/cut") {
        response.writeHead(200, { "content-length": "1000" });
        response.write("x", () => response.destroy());
      } else request.socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      for (const path of ["/cut", "/reset"]) {
        const thrown = await fetch(url + path)
          .then((response) => response.text())
          .catch((error: unknown) => error);
        expect(thrown).toBeInstanceOf(TypeError);
        expect(retryable({}, thrown)).toBe(true);
      }
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
    const refused = await fetch(url).catch((error: unknown) => error);
    expect(retryable({}, refused)).toBe(true);
    // Deno tells the system's code in the text only.
    expect(retryable({ retryOn: ["ECONNREFUSED"] }, refused)).toBe(!("Deno" in globalThis));
    const badUrl = await fetch("nope").catch((error: unknown) => error);
    expect(badUrl).toBeInstanceOf(TypeError);
    expect(retryable({}, badUrl)).toBe(false);
  });
});

describe("retryOn", () => {
  test("a function is given what the node threw, and must say true", () => {
    const thrown = new Http(404);
    const seen: unknown[] = [];
    const retryOn = (error: unknown) => {
      seen.push(error);
      return (error as Http).status === 404;
    };
    expect(retryable({ retryOn }, nodeFailed(nodeFailed(thrown)))).toBe(true);
    expect(seen).toEqual([thrown]);
    expect(retryable({ retryOn: () => "yes" as unknown as boolean }, thrown)).toBe(false);
  });

  test("a list of classes, codes and names", () => {
    const policy: RetryPolicy = { retryOn: [Http, "Timeout", "ECONNRESET", "RateLimitError"] };
    expect(retryable(policy, nodeFailed(new Http(404)))).toBe(true);
    expect(retryable(policy, new AgentmaticError("Timeout", "x"))).toBe(true);
    expect(retryable(policy, nodeFailed(Object.assign(new Error("x"), { code: "ECONNRESET" })))).toBe(true);
    expect(retryable(policy, Object.assign(new Error("x"), { name: "RateLimitError" }))).toBe(true);
    expect(retryable(policy, new AgentmaticError("CircuitOpen", "x"))).toBe(false);
    expect(retryable(policy, new Error("x"))).toBe(false);
    expect(retryable(policy, undefined)).toBe(false);
    expect(retryable({ retryOn: [Http] }, revoked())).toBe(false);
    expect(retryable({ retryOn: [] }, new Error("x"))).toBe(false);
  });
});

describe("withRetry", () => {
  test("waits between tries and gives the first result", async () => {
    const { clock, ports, lines } = virtualPorts(() => 0.999_999);
    const tries: [number, number][] = [];
    const run = async (attempt: number) => {
      tries.push([attempt, clock.monotonicMs()]);
      if (attempt < 3) throw new Error("secret of the state");
      return "done";
    };
    const seen = watched(withRetry([{ jitter: false }], run, { ports, signal: never, name: "pay" }));
    await clock.advance(499);
    expect(tries.length).toBe(1);
    await clock.advance(1);
    expect(tries.length).toBe(2);
    await clock.advance(1_000);
    expect(seen).toMatchObject({ state: "resolved", value: "done" });
    expect(tries).toEqual([
      [1, 1_000],
      [2, 1_500],
      [3, 2_500],
    ]);
    expect(lines.map(({ level, fields }) => [level, fields])).toEqual([
      ["warn", { name: "pay", code: "NodeFailed", attempt: 1, delayMs: 500 }],
      ["warn", { name: "pay", code: "NodeFailed", attempt: 2, delayMs: 1_000 }],
    ]);
    expect(clock.pending).toBe(0);
  });

  test("sets no timer and reads no signal where the first try succeeds", async () => {
    const { clock, ports } = virtualPorts();
    const options = {
      ports,
      get signal(): AbortSignal {
        throw new Error("one costs as much as a superstep");
      },
    };
    await expect(withRetry([{}], async () => 7, options)).resolves.toBe(7);
    expect(clock.made).toBe(0);
  });

  test("makes maxAttempts tries in all and throws the last error itself", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 20 }), async (maxAttempts) => {
        const { clock, ports, lines } = virtualPorts();
        const errors: Error[] = [];
        const run = async (attempt: number) => {
          errors.push(new Error(`try ${attempt}`));
          throw errors.at(-1);
        };
        const policy = { maxAttempts, initialInterval: 10, maxInterval: 10, logWarning: false };
        const seen = watched(withRetry([policy], run, { ports, signal: never }));
        await clock.advance(10 * maxAttempts);
        expect(seen).toEqual({ state: "rejected", reason: errors.at(-1) });
        expect(errors.length).toBe(maxAttempts);
        expect(lines).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });

  test("an error that is thrown at once counts, too", async () => {
    const { ports } = virtualPorts();
    let tries = 0;
    const run = (): Promise<number> => {
      tries++;
      if (tries < 3) throw new Error("not even a promise");
      return Promise.resolve(tries);
    };
    await expect(withRetry([{ initialInterval: 0 }], run, { ports: real(ports), signal: never })).resolves.toBe(3);
  });

  test("of several policies the first that wants the error decides", async () => {
    const { clock, ports } = virtualPorts();
    const list: RetryPolicy[] = [
      { retryOn: ["Timeout"], maxAttempts: 2, initialInterval: 10, jitter: false },
      { maxAttempts: 5, initialInterval: 1_000, jitter: false, backoffFactor: 1 },
    ];
    const waits: number[] = [];
    const onRetry = (_error: unknown, _attempt: number, delayMs: number) => waits.push(delayMs);
    const failing = (errors: readonly unknown[]) => async (attempt: number) => {
      if (attempt <= errors.length) throw errors[attempt - 1];
      return attempt;
    };
    const timeout = new AgentmaticError("Timeout", "late");
    const first = watched(withRetry(list, failing([timeout, timeout]), { ports, signal: never, onRetry }));
    await clock.advance(10_000);
    // The second policy would have allowed it, but the first one speaks for timeouts.
    expect(first).toMatchObject({ state: "rejected", reason: timeout });
    const second = watched(withRetry(list, failing([timeout, new Error("x")]), { ports, signal: never, onRetry }));
    await clock.advance(10_000);
    expect(second).toMatchObject({ state: "resolved", value: 3 });
    expect(waits).toEqual([10, 10, 1_000]);
    await expect(withRetry([], failing([timeout]), { ports, signal: never })).rejects.toBe(timeout);
  });

  test("waits as long as the error asks for: a circuit's, a server's", async () => {
    const { clock, ports } = virtualPorts();
    const asking: [unknown, number][] = [
      [new AgentmaticError("CircuitOpen", "x", { retryAfterMs: 7_000 }), 7_000],
      [nodeFailed(Object.assign(new Error("x"), { retryAfterMs: 3_000 })), 3_000],
      [{ statusCode: 429, responseHeaders: { "retry-after": "4" } }, 4_000],
      [{ status: 429, headers: new Headers({ "Retry-After": "2" }) }, 2_000],
      [{ status: 429, headers: { "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT" } }, 500],
      [{ status: 429, headers: { "retry-after": "0" } }, 500],
      [new AgentmaticError("CircuitOpen", "x", { retryAfterMs: 3 }), 500],
    ];
    for (const [thrown, waitMs] of asking) {
      const waits: number[] = [];
      const onRetry = (_error: unknown, _attempt: number, delayMs: number) => waits.push(delayMs);
      const run = async (attempt: number) => {
        if (attempt === 1) throw thrown;
      };
      const seen = watched(withRetry([{ jitter: false }], run, { ports, signal: never, onRetry }));
      await clock.advance(waitMs);
      expect([waits, seen.state]).toEqual([[waitMs], "resolved"]);
    }
  });

  test("throws at once where an error asks for more than a day, or for more than the run has", async () => {
    const { clock, ports } = virtualPorts();
    const days = new AgentmaticError("ResourceExhausted", "x", { retryAfterMs: 3e9 });
    const fails = (thrown: unknown) => async () => {
      throw thrown;
    };
    await expect(withRetry([{}], fails(days), { ports, signal: never })).rejects.toBe(days);
    const soon = new Error("x");
    const deadlineMs = clock.monotonicMs() + 499;
    await expect(withRetry([{ jitter: false }], fails(soon), { ports, signal: never, deadlineMs })).rejects.toBe(soon);
    expect(clock.made).toBe(0);
  });

  test("a run that is stopped waits no longer, and tries no more", async () => {
    const { clock, ports } = virtualPorts();
    const stop = new AbortController();
    let tries = 0;
    const run = async () => {
      tries++;
      throw new Error("x");
    };
    const waiting = watched(withRetry([{}], run, { ports, signal: stop.signal }));
    await settle();
    const reason = new Error("cancelled by its caller");
    stop.abort(reason);
    await settle();
    expect(waiting).toEqual({ state: "rejected", reason });
    expect(clock.pending).toBe(0);
    const own = new Error("x");
    const later = withRetry([{}], () => Promise.reject(own), { ports, signal: stop.signal });
    await expect(later).rejects.toBe(own);
    expect(tries).toBe(1);
  });

  test("what is final is thrown as it is, without a question to the policies", async () => {
    const { ports } = virtualPorts();
    const interrupt = new Error("the graph waits");
    let asked = false;
    const retryOn = () => {
      asked = true;
      return true;
    };
    const options = { ports, signal: never, final: (thrown: unknown) => thrown === interrupt };
    await expect(withRetry([{ retryOn }], () => Promise.reject(interrupt), options)).rejects.toBe(interrupt);
    expect(asked).toBe(false);
  });

  test("a retryOn that throws hides nothing: the node's own error comes out", async () => {
    const { ports, lines } = virtualPorts();
    const retryOn = () => {
      throw new Error("a mistake in retryOn");
    };
    const own = new Error("the node's");
    await expect(withRetry([{ retryOn }], () => Promise.reject(own), { ports, signal: never })).rejects.toBe(own);
    expect(lines).toMatchObject([{ level: "error" }]);
  });

  test("a retryOn that gives a promise is no other try, and its rejection ends no process", async () => {
    const { ports, lines } = virtualPorts();
    const retryOn = (async () => Promise.reject(new Error("too late"))) as unknown as () => boolean;
    const own = new Error("the node's");
    await expect(withRetry([{ retryOn }], () => Promise.reject(own), { ports, signal: never })).rejects.toBe(own);
    expect(lines).toMatchObject([{ level: "error" }]);
  });
});

function real(ports: ReturnType<typeof virtualPorts>["ports"]): typeof ports {
  const after = (_delayMs: number, run: () => void) => {
    queueMicrotask(run);
    return () => {};
  };
  return { ...ports, timers: { after } };
}

function caught(run: () => unknown): unknown {
  try {
    run();
  } catch (thrown) {
    return thrown;
  }
  throw new Error("nothing was thrown");
}

function hostile(): object {
  const fails = (): never => {
    throw new Error("read me not");
  };
  const names = ["name", "message", "code", "cause", "status", "statusCode", "response", "errors", "retryAfterMs"];
  return Object.defineProperties({}, Object.fromEntries(names.map((name) => [name, { get: fails }])));
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}
