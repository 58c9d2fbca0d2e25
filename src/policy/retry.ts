/** When a failed node is tried again, and after how long. Names as in LangGraph.js. */
import { type ErrorCode, invalid } from "../errors.ts";
import { type Ports, sleep } from "../ports.ts";
import { askedMs, codeOf, isA, isPromised, mayPass, original, property } from "./thrown.ts";

type ErrorClass = abstract new (...args: never[]) => unknown;
/** A code of this package, or the `name` or `code` of an error. */
type ErrorName = ErrorCode | (string & {});

export interface RetryPolicy {
  /** Milliseconds before the first retry. Default 500. */
  readonly initialInterval?: number;
  /** Each wait is this many times the one before. Default 2. */
  readonly backoffFactor?: number;
  /** Milliseconds that a wait is at most, but where the error itself asks for more. Default 128,000. */
  readonly maxInterval?: number;
  /** Tries in all, the first included. Default 3. */
  readonly maxAttempts?: number;
  /** Waits a random part, from a half to the whole of it, so that many do not come back at once. Default true. */
  readonly jitter?: boolean;
  /**
   * Which errors are tried again: a function, or a list of error classes and names (`"Timeout"`, `"ECONNRESET"`).
   * Default: all but mistakes of the program or the caller (TypeError and its like, HTTP 4xx but 408, 409, 425, 429),
   * aborts, and codes of this package that no waiting mends.
   */
  readonly retryOn?: ((error: unknown) => boolean) | readonly (ErrorClass | ErrorName)[];
  /** Logs each retry as a warning, without content. Default true. */
  readonly logWarning?: boolean;
}

const attemptsMax = 1_000;
/** No wait is longer, whatever an error asks for; a timer of over 24.8 days would fire at once. */
const dayMs = 86_400_000;
const maxAttemptsDefault = 3;

/** Throws `InvalidArgument`, naming the field. */
export function checkRetry(field: string, policy: unknown): asserts policy is RetryPolicy {
  if (typeof policy !== "object" || policy === null) throw invalid(field, "must be a retry policy");
  const { initialInterval, backoffFactor, maxInterval, maxAttempts, retryOn, ...flags } = policy as RetryPolicy;
  checkNumber(`${field}.initialInterval`, initialInterval, 0, dayMs);
  checkNumber(`${field}.backoffFactor`, backoffFactor, 1, 1_000);
  checkNumber(`${field}.maxInterval`, maxInterval, 0, dayMs);
  checkNumber(`${field}.maxAttempts`, maxAttempts, 1, attemptsMax);
  if (maxAttempts !== undefined && !Number.isInteger(maxAttempts)) {
    throw invalid(`${field}.maxAttempts`, "must be a whole number");
  }
  for (const name of ["jitter", "logWarning"] as const) {
    const flag: unknown = flags[name];
    if (flag !== undefined && typeof flag !== "boolean") throw invalid(`${field}.${name}`, "must be true or false");
  }
  if (retryOn === undefined || typeof retryOn === "function") return;
  if (Array.isArray(retryOn) && retryOn.every(isWanted)) return;
  throw invalid(`${field}.retryOn`, "must be a function, or a list of error classes and names");
}

/** An arrow function has no prototype: in a list it is a mistake, and no class. */
function isWanted(entry: unknown): boolean {
  if (typeof entry === "string") return entry !== "";
  return typeof entry === "function" && typeof entry.prototype === "object";
}

function checkNumber(field: string, value: unknown, min: number, max: number): void {
  if (value === undefined || (typeof value === "number" && value >= min && value <= max)) return;
  throw invalid(field, `must be a number from ${min} to ${max}`);
}

/** Milliseconds to wait after try `attempt` (from 1), given a random number in [0, 1). */
export function retryDelayMs(policy: RetryPolicy, attempt: number, random: number): number {
  const { initialInterval = 500, backoffFactor = 2, maxInterval = 128_000, jitter = true } = policy;
  if (initialInterval === 0) return 0;
  const grown = Math.min(initialInterval * backoffFactor ** (attempt - 1), maxInterval);
  return jitter ? grown * (0.5 + random / 2) : grown;
}

/** True where the policy tries again after this error. A `retryOn` function is given what the node threw. */
export function retryable({ retryOn }: RetryPolicy, error: unknown): boolean {
  if (retryOn === undefined) return mayPass(error);
  if (typeof retryOn === "function") {
    const answer: unknown = retryOn(original(error));
    if (isPromised(answer)) throw new TypeError("retryOn gave a promise, and must answer at once");
    return answer === true;
  }
  return retryOn.some((wanted) => matches(wanted, error));
}

function matches(wanted: ErrorClass | ErrorName, error: unknown): boolean {
  const own = original(error);
  if (typeof wanted === "function") return isA(error, wanted) || isA(own, wanted);
  // `fetch` hides the system's code in the cause of its TypeError.
  const named = [own, property(own, "cause")];
  if (codeOf(error) === wanted) return true;
  return named.some((one) => property(one, "name") === wanted || property(one, "code") === wanted);
}

export interface RetryOptions {
  readonly ports: Pick<Ports, "timers" | "random" | "clock"> & Partial<Pick<Ports, "logger">>;
  readonly signal: AbortSignal;
  /** What the log calls it. */
  readonly name?: string;
  /** Monotonic milliseconds: where the wait would end after it, the error is thrown at once. */
  readonly deadlineMs?: number;
  /** True for what is never tried again. */
  readonly final?: (error: unknown) => boolean;
  readonly onRetry?: (error: unknown, attempt: number, delayMs: number) => void;
}

/**
 * The first policy that wants an error decides; waits at least as long as the error itself asks for (`retryAfterMs`).
 * Rejects with the last try's error, or with the signal's reason where it aborts in a wait.
 */
export async function withRetry<T>(
  policies: readonly RetryPolicy[],
  run: (attempt: number) => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run(attempt);
    } catch (thrown) {
      const delayMs = waitMs(policies, attempt, thrown, options);
      if (delayMs === undefined) throw thrown;
      await sleep(options.ports.timers, delayMs, options.signal);
    }
  }
}

/** Undefined where there is no other try. */
function waitMs(
  policies: readonly RetryPolicy[],
  attempt: number,
  thrown: unknown,
  { ports, signal, name, deadlineMs, final, onRetry }: RetryOptions,
): number | undefined {
  if (signal.aborted || final?.(thrown)) return undefined;
  const policy = policies.find((candidate) => wants(candidate, thrown, ports));
  if (!policy || attempt >= (policy.maxAttempts ?? maxAttemptsDefault)) return undefined;
  const delayMs = Math.max(retryDelayMs(policy, attempt, ports.random.next()), askedMs(thrown));
  // To come back earlier than asked would be in vain.
  if (delayMs > dayMs || (deadlineMs !== undefined && ports.clock.monotonicMs() + delayMs > deadlineMs))
    return undefined;
  onRetry?.(thrown, attempt, delayMs);
  if (policy.logWarning !== false) {
    const code = codeOf(thrown) ?? "NodeFailed";
    ports.logger?.log("warn", "a try failed, another one follows", { name, code, attempt, delayMs });
  }
  return delayMs;
}

/** A `retryOn` that throws must not hide the error that it was asked about. */
function wants(policy: RetryPolicy, thrown: unknown, { logger }: RetryOptions["ports"]): boolean {
  try {
    return retryable(policy, thrown);
  } catch {
    logger?.log("error", "retryOn of a retry policy threw or gave a promise: no other try");
    return false;
  }
}
