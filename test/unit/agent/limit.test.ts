import { expect, test } from "vitest";
import { checkRateLimit, limitOf, type RateLimitPolicy, withinLimits } from "../../../src/agent/limit.ts";
import { systemPorts } from "../../../src/mod.ts";

/** Time that passes only in waits, and at once. */
function virtual(options: { deadlineMs?: number; random?: number } = {}) {
  const time = { ms: 0, beats: 0 };
  const abort = new AbortController();
  const ports = {
    ...systemPorts,
    clock: { monotonicMs: () => time.ms, wallMs: () => 1_000_000 + time.ms },
    random: { next: () => options.random ?? 0 },
    timers: {
      after: (delayMs: number, run: () => void) => {
        let live = true;
        queueMicrotask(() => {
          if (!live) return;
          time.ms += delayMs;
          run();
        });
        return () => {
          live = false;
        };
      },
    },
  };
  const heartbeat = () => {
    time.beats++;
  };
  const context = { ports, signal: abort.signal, deadlineMs: options.deadlineMs, heartbeat };
  return { time, context, abort };
}

const busy = (headers: Record<string, string> = {}, statusCode = 429, responseBody = "") =>
  Object.assign(new Error("busy"), { statusCode, responseHeaders: headers, responseBody });

/** Fails with `errors`, one for each try, then succeeds; the times of the tries. */
function failing(time: { ms: number }, errors: readonly unknown[]) {
  const at: number[] = [];
  const run = async (attempt: number): Promise<string> => {
    at.push(time.ms);
    if (attempt <= errors.length) throw errors[attempt - 1];
    return `try ${attempt}`;
  };
  return { at, run };
}

test("waits for what the service asks: seconds, a date, or milliseconds, which count most", async () => {
  const { time, context } = virtual();
  const date = new Date(1_000_000 + 1_000 + 4_000).toUTCString();
  const errors = [busy({ "Retry-After": "1" }), busy({ "retry-after": date }, 503), busy({ "retry-after-ms": "250" })];
  const { at, run } = failing(time, errors);
  expect(await withinLimits(context, {}, run)).toBe("try 4");
  expect(at).toEqual([0, 1_000, 5_000, 5_250]);
  // Signs of life on the way, so that no idle timeout takes a wait for a standstill.
  expect(time.beats).toBeGreaterThan(10);
});

test("without a word of the service each wait is twice the one before, up to a bound, and a random part of it", async () => {
  for (const [random, expected] of [
    [0, [0, 50, 150, 350, 600]],
    [1, [0, 100, 300, 700, 1_200]],
  ] as const) {
    const { time, context } = virtual({ random });
    const { at, run } = failing(time, [busy(), busy({ "retry-after": "soon" }), busy(), busy()]);
    await withinLimits(context, { initialMs: 100, maxDelayMs: 500 }, run);
    expect(at).toEqual(expected);
  }
});

test("fails at once where the wait would pass the deadline, the policy's time or its tries", async () => {
  const cases: [RateLimitPolicy, number | undefined, number, RegExp][] = [
    [{}, 4_000, 1, /429 and asks to wait 5000 ms, and 4000 ms are left/],
    [{ maxWaitMs: 12_000 }, undefined, 3, /and 2000 ms are left to wait within/],
    [{ maxTries: 2 }, undefined, 2, /at each of 2 tries/],
  ];
  for (const [policy, deadlineMs, tries, message] of cases) {
    const { time, context } = virtual(deadlineMs === undefined ? {} : { deadlineMs });
    const error = busy({ "retry-after": "5" });
    const { at, run } = failing(time, Array(9).fill(error));
    await expect(withinLimits(context, policy, run)).rejects.toMatchObject({
      code: "ResourceExhausted",
      retryAfterMs: 5_000,
      message: expect.stringMatching(message),
      details: { status: 429 },
      cause: error,
    });
    expect(at).toHaveLength(tries);
  }
});

test("other errors, a spent quota and a policy of false are no limits", async () => {
  for (const error of [new Error("plain"), busy({}, 500), busy({}, 429, '{"code":"insufficient_quota"}'), "text"]) {
    const { time, context } = virtual();
    await expect(withinLimits(context, {}, failing(time, [error]).run)).rejects.toBe(error);
  }
  const { time, context } = virtual();
  const error = busy();
  await expect(withinLimits(context, false, failing(time, [error]).run)).rejects.toBe(error);
  expect(limitOf(busy({}, 529), 0)).toEqual({ status: 529, askedMs: 0 });
});

test("an abort ends the wait", async () => {
  const { time, context, abort } = virtual();
  const run = async (): Promise<never> => {
    if (time.ms > 5_000) abort.abort(new Error("stop"));
    throw busy({ "retry-after": "3" });
  };
  await expect(withinLimits(context, { maxTries: 100 }, run)).rejects.toThrow("busy");
  expect(time.ms).toBe(6_000);
});

test("bad policies name the field", () => {
  expect(() => checkRateLimit({ maxTries: 1.5 }, "rateLimit")).toThrow(/^rateLimit\.maxTries: .* 1 to 100/);
  expect(() => checkRateLimit({ maxWaitMs: 0 }, "rateLimit")).toThrow(/^rateLimit\.maxWaitMs: /);
  expect(() => checkRateLimit("fast" as never, "rateLimit")).toThrow(/^rateLimit: must be a policy or false/);
  expect(() => checkRateLimit(false, "rateLimit")).not.toThrow();
});
