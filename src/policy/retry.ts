/** When a failed node is tried again, and after how long. Names as in LangGraph.js. */
import { AgentmaticError, type ErrorCode, errorCodes, invalid, isErrorCode } from "../errors.ts";
import { type Ports, sleep } from "../ports.ts";

type ErrorClass = abstract new (...args: never[]) => unknown;

export interface RetryPolicy {
  /** Milliseconds before the first retry. Default 500. */
  readonly initialInterval?: number;
  /** Each wait is this many times the one before. Default 2. */
  readonly backoffFactor?: number;
  /** Milliseconds that a wait is at most. Default 128,000. */
  readonly maxInterval?: number;
  /** Tries in all, the first included. Default 3. */
  readonly maxAttempts?: number;
  /** Waits a random part, from a half to the whole of it, so that many do not come back at once. Default true. */
  readonly jitter?: boolean;
  /** Which errors are tried again: a function, or classes of errors and codes. Default: those that may pass. */
  readonly retryOn?: ((error: unknown) => boolean) | readonly (ErrorClass | ErrorCode)[];
}

const attemptsMax = 1_000;
const dayMs = 86_400_000;

const defaults = { initialInterval: 500, backoffFactor: 2, maxInterval: 128_000, maxAttempts: 3, jitter: true };

/** Throws `InvalidArgument`, naming the field. */
export function checkRetry(field: string, policy: unknown): asserts policy is RetryPolicy {
  if (typeof policy !== "object" || policy === null) throw invalid(field, "must be a retry policy");
  const { initialInterval, backoffFactor, maxInterval, maxAttempts, jitter, retryOn } = policy as RetryPolicy;
  number(`${field}.initialInterval`, initialInterval, 0, dayMs);
  number(`${field}.backoffFactor`, backoffFactor, 1, 1_000);
  number(`${field}.maxInterval`, maxInterval, 0, dayMs);
  number(`${field}.maxAttempts`, maxAttempts, 1, attemptsMax);
  if (maxAttempts !== undefined && !Number.isInteger(maxAttempts)) {
    throw invalid(`${field}.maxAttempts`, "must be a whole number");
  }
  if (jitter !== undefined && typeof jitter !== "boolean") throw invalid(`${field}.jitter`, "must be true or false");
  if (retryOn === undefined || typeof retryOn === "function") return;
  const known = (entry: unknown) => typeof entry === "function" || isErrorCode(entry);
  if (Array.isArray(retryOn) && retryOn.every(known)) return;
  throw invalid(`${field}.retryOn`, "must be a function, or a list of error classes and codes");
}

function number(field: string, value: unknown, min: number, max: number): void {
  if (value === undefined || (typeof value === "number" && value >= min && value <= max)) return;
  throw invalid(field, `must be a number from ${min} to ${max}`);
}

/** Milliseconds to wait after try `attempt` (from 1); no less than what the error itself asks for. */
export function retryDelayMs(policy: RetryPolicy, attempt: number, random: number, error?: unknown): number {
  const { initialInterval, backoffFactor, maxInterval, jitter } = { ...defaults, ...policy };
  const grown = Math.min(initialInterval * backoffFactor ** (attempt - 1), maxInterval);
  const own = jitter ? grown * (0.5 + random / 2) : grown;
  const asked = AgentmaticError.is(error) ? (error.retryAfterMs ?? 0) : 0;
  return Math.max(own, asked);
}

/** True where the policy tries again after this error. */
export function retryable({ retryOn }: RetryPolicy, error: unknown): boolean {
  if (typeof retryOn === "function") return retryOn(original(error)) === true;
  if (retryOn) return retryOn.some((wanted) => matches(wanted, error));
  return mayPass(original(error)) && mayPass(error);
}

function matches(wanted: ErrorClass | ErrorCode, error: unknown): boolean {
  if (typeof wanted === "string")
    return AgentmaticError.is(error, wanted) || AgentmaticError.is(original(error), wanted);
  return error instanceof wanted || original(error) instanceof wanted;
}

/** What the node threw: the engine wraps it before a policy sees it. */
function original(error: unknown): unknown {
  return AgentmaticError.is(error, "NodeFailed") && error.cause !== undefined ? error.cause : error;
}

const statusesThatPass = new Set([408, 409, 425, 429]);

/** Mistakes of the program or of the caller are the same the next time; so is what a person has stopped. */
function mayPass(error: unknown): boolean {
  if (AgentmaticError.is(error)) return error.code === "NodeFailed" || errorCodes[error.code].retryable;
  if (error instanceof TypeError) return isNetworkError(error);
  if (error instanceof ReferenceError || error instanceof SyntaxError || error instanceof RangeError) return false;
  const name = property(error, "name");
  if (name === "AbortError") return false;
  const status = Number(
    property(error, "statusCode") ?? property(error, "status") ?? property(property(error, "response"), "status"),
  );
  if (status >= 400 && status < 500) return statusesThatPass.has(status);
  return true;
}

/** `fetch` tells of a broken network with a TypeError that has a cause. */
function isNetworkError(error: TypeError): boolean {
  return error.cause !== undefined || /fetch|network/i.test(error.message);
}

function property(value: unknown, key: string): unknown {
  try {
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
  } catch {
    return undefined;
  }
}

export interface RetryOptions {
  readonly ports: Pick<Ports, "timers" | "random" | "clock">;
  readonly signal: AbortSignal;
  /** Monotonic milliseconds: where the wait would end after it, the error is thrown at once. */
  readonly deadlineMs?: number;
  /** True for what is never tried again. */
  readonly final?: (error: unknown) => boolean;
  readonly onRetry?: (error: unknown, attempt: number, delayMs: number) => void;
}

/** The first policy that wants an error decides. Rejects with the last try's error. */
export async function withRetry<T>(
  policies: readonly RetryPolicy[],
  run: (attempt: number) => Promise<T>,
  { ports, signal, deadlineMs, final, onRetry }: RetryOptions,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run(attempt);
    } catch (thrown) {
      if (signal.aborted || final?.(thrown)) throw thrown;
      const policy = policies.find((candidate) => retryable(candidate, thrown));
      if (!policy || attempt >= (policy.maxAttempts ?? defaults.maxAttempts)) throw thrown;
      const delayMs = retryDelayMs(policy, attempt, ports.random.next(), thrown);
      if (deadlineMs !== undefined && ports.clock.monotonicMs() + delayMs > deadlineMs) throw thrown;
      onRetry?.(thrown, attempt, delayMs);
      await sleep(ports.timers, delayMs, signal);
    }
  }
}
