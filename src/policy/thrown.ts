/**
 * What a thrown value says of itself: whether another try may help, and after how long. Whatever a node threw is read
 * here as if it were hostile: strings, undefined, objects whose getters throw, revoked proxies.
 */
import { type ErrorCode, errorCodes, isErrorCode } from "../errors.ts";

/** Wrappers that are looked through: a node's error comes out of each graph around it in another one. */
const depthMax = 16;

/** A property of anything; undefined where it is not there, or cannot be read. */
export function property(value: unknown, key: string): unknown {
  try {
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
  } catch {
    return undefined;
  }
}

/** The code of this package's errors, of whichever copy of it. */
export function codeOf(thrown: unknown): ErrorCode | undefined {
  const code = property(thrown, "name") === "AgentmaticError" ? property(thrown, "code") : undefined;
  return isErrorCode(code) ? code : undefined;
}

/** What the node itself threw: the engine wraps it before a policy sees it. */
export function original(thrown: unknown): unknown {
  let inner = thrown;
  for (let depth = 0; depth < depthMax && codeOf(inner) === "NodeFailed"; depth++) {
    const cause = property(inner, "cause");
    if (cause === undefined) break;
    inner = cause;
  }
  return inner;
}

/**
 * True for a promise where an answer was to come at once. Nobody waits for it, so its rejection, which would end the
 * process, is taken in hand here.
 */
export function isPromised(answer: unknown): boolean {
  if (typeof property(answer, "then") !== "function") return false;
  Promise.resolve(answer).catch(() => undefined);
  return true;
}

/** `instanceof`, which throws for a revoked proxy and for what is no class. */
export function isA(thrown: unknown, kind: abstract new (...args: never[]) => unknown): boolean {
  try {
    return thrown instanceof kind;
  } catch {
    return false;
  }
}

/** As `fetch`, axios and the AI SDK say that somebody stopped it. */
const aborts: ReadonlySet<unknown> = new Set(["AbortError", "CanceledError"]);
/** By name, as an error may come from another realm. A model's broken JSON is a `SyntaxError`, too: see `retryOn`. */
const mistakes: ReadonlySet<unknown> = new Set([
  "ReferenceError",
  "SyntaxError",
  "RangeError",
  "EvalError",
  "URIError",
]);
const statusesThatPass: ReadonlySet<number> = new Set([408, 409, 425, 429]);

/** Mistakes of the program or of the caller are the same the next time; so is what somebody has stopped. */
export function mayPass(thrown: unknown): boolean {
  return passes(original(thrown), 0);
}

function passes(thrown: unknown, depth: number): boolean {
  const code = codeOf(thrown);
  // Nothing more is known of these two; as with an HTTP status of 500, the next try may go better.
  if (code) return errorCodes[code].retryable || code === "NodeFailed" || code === "Internal";
  const name = property(thrown, "name");
  if (aborts.has(name) || mistakes.has(name)) return false;
  if (name === "TypeError" || isA(thrown, TypeError)) return isNetworkError(thrown);
  if (isA(thrown, SyntaxError) || isA(thrown, RangeError) || isA(thrown, ReferenceError)) return false;
  const { status, quota } = answerOf(thrown);
  if (quota) return false;
  if (status >= 400 && status < 500) return statusesThatPass.has(status);
  const several = property(thrown, "errors");
  if (name === "AggregateError" && Array.isArray(several) && several.length > 0 && depth < depthMax) {
    return several.some((one) => passes(original(one), depth + 1));
  }
  return true;
}

/** What an HTTP client has put into its error: `fetch` wrappers, axios, the AI SDK and OpenAI's client differ. */
function answerOf(thrown: unknown): { readonly status: number; readonly quota: boolean } {
  const response = property(thrown, "response");
  const status = property(thrown, "statusCode") ?? property(thrown, "status") ?? property(response, "status");
  // A 429 that no waiting ends.
  const quota = [thrown, property(thrown, "error")].some((part) => property(part, "code") === "insufficient_quota");
  return { status: typeof status === "number" || typeof status === "string" ? Number(status) : Number.NaN, quota };
}

const systemCode = /^(?:E(?!RR_)[A-Z0-9_]+|UND_ERR_\w+)$/;
const networkText =
  /^(?:fetch failed$|failed to fetch|networkerror when|network error|load failed|terminated$|error reading a body|error sending request)/i;

/**
 * `fetch` tells of a broken network with a TypeError. Seen: Node and Deno `fetch failed` (with a cause that is no
 * TypeError, as that would be a bad URL) and `terminated`, Bun a `code` like ECONNRESET, Deno `error reading a body from
 * connection`, browsers `Failed to fetch`, `NetworkError when attempting …`, `Load failed`.
 */
function isNetworkError(thrown: unknown): boolean {
  const code = property(thrown, "code");
  if (typeof code === "string" && systemCode.test(code)) return true;
  const message = property(thrown, "message");
  return typeof message === "string" && networkText.test(message);
}

/** Milliseconds that the error asks to wait: `retryAfterMs`, or a `Retry-After` header in seconds. 0 where it does not. */
export function askedMs(thrown: unknown): number {
  for (const one of [thrown, original(thrown)]) {
    const own = property(one, "retryAfterMs");
    if (typeof own === "number" && own > 0) return own;
    const seconds = header(one, "retry-after");
    if (seconds > 0) return seconds * 1_000;
  }
  return 0;
}

function header(thrown: unknown, name: string): number {
  const all =
    property(thrown, "responseHeaders") ??
    property(thrown, "headers") ??
    property(property(thrown, "response"), "headers");
  const get = property(all, "get");
  try {
    const text = typeof get === "function" ? get.call(all, name) : property(all, name);
    return typeof text === "string" && text !== "" ? Number(text) : 0;
  } catch {
    return 0;
  }
}

/** Characters of a message that are kept. */
const textMax = 4_000;
const partsMax = 5;

/** A message for people, of whatever was thrown; of an object without one its kind only, as its fields may be state. */
export function textOf(thrown: unknown): string {
  return cut(plainText(thrown, 0));
}

function plainText(thrown: unknown, depth: number): string {
  if (typeof thrown === "string") return `a string was thrown: ${thrown}`;
  if (typeof thrown === "function") return "a non-error was thrown: a function";
  if (thrown === null || typeof thrown !== "object") return `a non-error was thrown: ${String(thrown)}`;
  const message = property(thrown, "message");
  const name = property(thrown, "name");
  const own = typeof message === "string" && message !== "" ? message : typeof name === "string" ? name : "";
  const several = property(thrown, "errors");
  if (!Array.isArray(several) || several.length === 0 || depth > 0)
    return own || "an object without a message was thrown";
  const parts = several.slice(0, partsMax).map((one) => plainText(one, depth + 1));
  if (several.length > partsMax) parts.push(`and ${several.length - partsMax} more`);
  return `${own || "several errors"} (${parts.join("; ")})`;
}

function cut(text: string): string {
  return text.length <= textMax ? text : `${text.slice(0, textMax)}…`;
}
