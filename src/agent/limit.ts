/** Rate limits of a model's service: an answer that says "later" is waited out, within the time that the run has. */
import { AgentmaticError, invalid } from "../errors.ts";
import type { NodeContext } from "../graph/context.ts";
import { sleep } from "../ports.ts";

export interface RateLimitPolicy {
  /** Calls in all, the first included. Default 6. */
  readonly maxTries?: number;
  /** Milliseconds before the second call where the service does not say; doubled for each further one. Default 1,000. */
  readonly initialMs?: number;
  /** What that grows to at most. Default 30,000. */
  readonly maxDelayMs?: number;
  /** Milliseconds that all waits of one call together may take. Default 300,000. */
  readonly maxWaitMs?: number;
}

type Waiting = Pick<NodeContext, "ports" | "signal" | "deadlineMs" | "heartbeat">;

const triesMax = 100;
const dayMs = 86_400_000;
/** Signs of life while waiting come this often. */
const heartbeatMs = 500;
/** Beyond what the service asks for, so that not all come back at once: a tenth of it, and at most this. */
const spreadMsMax = 1_000;
/** "Too many requests", "unavailable", "overloaded". */
const statuses: ReadonlySet<unknown> = new Set([429, 503, 529]);

/** Throws `InvalidArgument`, naming the field. */
export function checkRateLimit(policy: RateLimitPolicy | false | undefined, field: string): void {
  if (policy === undefined || policy === false) return;
  if (typeof policy !== "object" || policy === null) throw invalid(field, "must be a policy or false");
  const { maxTries, ...times } = policy;
  if (maxTries !== undefined && !(Number.isInteger(maxTries) && maxTries >= 1 && maxTries <= triesMax)) {
    throw invalid(`${field}.maxTries`, `must be a whole number from 1 to ${triesMax}`);
  }
  for (const key of ["initialMs", "maxDelayMs", "maxWaitMs"] as const) {
    const value: unknown = times[key];
    if (value !== undefined && !(typeof value === "number" && value >= 1 && value <= dayMs)) {
      throw invalid(`${field}.${key}`, `must be milliseconds from 1 to ${dayMs}`);
    }
  }
}

/**
 * Calls `run` again, with the number of the try, as long as the service says "later". Rejects with
 * `ResourceExhausted` and its `retryAfterMs` at once where the run's deadline would pass in the wait, or the policy's
 * bounds are reached; and with any other error as it is.
 */
export async function withinLimits<T>(
  context: Waiting,
  policy: RateLimitPolicy | false,
  run: (attempt: number) => Promise<T>,
): Promise<T> {
  if (policy === false) return await run(1);
  let waitedMs = 0;
  for (let attempt = 1; ; attempt++) {
    try {
      return await run(attempt);
    } catch (thrown) {
      const limit = limitOf(thrown, context.ports.clock.wallMs());
      if (!limit || context.signal.aborted) throw thrown;
      const delayMs = delayOf(context, policy, attempt, limit, waitedMs, thrown);
      waitedMs += delayMs;
      await pause(context, delayMs);
    }
  }
}

interface Limit {
  readonly status: number;
  /** What the service asks to wait; 0 where it does not say. */
  readonly askedMs: number;
}

/** Milliseconds to wait. Throws `ResourceExhausted` where that would be in vain. */
function delayOf(
  { ports, deadlineMs }: Waiting,
  policy: RateLimitPolicy,
  attempt: number,
  { status, askedMs }: Limit,
  waitedMs: number,
  cause: unknown,
): number {
  const { maxTries = 6, initialMs = 1_000, maxDelayMs = 30_000, maxWaitMs = 300_000 } = policy;
  const random = ports.random.next();
  const grownMs = Math.min(initialMs * 2 ** (attempt - 1), maxDelayMs) * (0.5 + random / 2);
  const leastMs = askedMs > 0 ? askedMs : grownMs;
  const leftMs = Math.min(
    maxWaitMs - waitedMs,
    deadlineMs === undefined ? Number.POSITIVE_INFINITY : deadlineMs - ports.clock.monotonicMs(),
  );
  if (attempt < maxTries && leastMs < leftMs) {
    const spreadMs = askedMs > 0 ? random * Math.min(askedMs / 10, spreadMsMax) : 0;
    return Math.min(leastMs + spreadMs, leftMs);
  }
  const asks = askedMs > 0 ? ` and asks to wait ${Math.ceil(askedMs)} ms` : "";
  const why =
    attempt >= maxTries
      ? `at each of ${attempt} tries`
      : `and ${Math.max(0, Math.floor(leftMs))} ms are left to wait within`;
  const text = `the model's service answered ${status}${asks}, ${why}`;
  throw new AgentmaticError("ResourceExhausted", text, {
    cause,
    retryAfterMs: Math.ceil(leastMs),
    details: { status },
  });
}

async function pause({ ports, signal, heartbeat }: Waiting, delayMs: number): Promise<void> {
  const { clock, timers } = ports;
  const endMs = clock.monotonicMs() + delayMs;
  for (let leftMs = delayMs; leftMs > 0; leftMs = endMs - clock.monotonicMs()) {
    heartbeat();
    await sleep(timers, Math.min(leftMs, heartbeatMs), signal);
  }
  heartbeat();
}

/** Undefined for any other error. The shape is that of the AI SDK's `APICallError`, whichever copy of it. */
export function limitOf(thrown: unknown, wallMs: number): Limit | undefined {
  const { statusCode, responseHeaders, responseBody } = fieldsOf(thrown);
  if (!statuses.has(statusCode)) return undefined;
  // An account without money answers 429 as well: no waiting ends that.
  if (typeof responseBody === "string" && responseBody.includes("insufficient_quota")) return undefined;
  const headers = new Map(
    Object.entries(fieldsOf(responseHeaders)).map(([name, value]) => [name.toLowerCase(), value] as const),
  );
  const exact = Number(headers.get("retry-after-ms") ?? Number.NaN);
  const askedMs = exact > 0 ? exact : readRetryAfter(headers.get("retry-after"), wallMs);
  return { status: statusCode as number, askedMs };
}

/** Seconds, or a date (RFC 9110, section 10.2.3). 0 for what says nothing. */
function readRetryAfter(value: unknown, wallMs: number): number {
  if (typeof value !== "string" || value.trim() === "") return 0;
  const seconds = Number(value);
  const askedMs = Number.isNaN(seconds) ? Date.parse(value) - wallMs : seconds * 1_000;
  return askedMs > 0 ? askedMs : 0;
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
