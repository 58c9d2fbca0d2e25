/**
 * The one error class, its closed set of codes, and the one table that maps a code to Connect and to HTTP.
 *
 * The code says what the caller can do; the message says what happened and names the field, node or path.
 */

/** What a caller may do about an error of a code: try again as it is, or only after changing something. */
export interface CodeInfo {
  /** Connect/gRPC status number (https://connectrpc.com/docs/protocol#error-codes). */
  readonly connect: number;
  /** HTTP status of the JSON routes. */
  readonly http: number;
  /** True where the same call may succeed later without any change by the caller. */
  readonly retryable: boolean;
}

export type ErrorCode =
  | "InvalidArgument"
  | "InvalidGraph"
  | "StateNotSerializable"
  | "NotFound"
  | "AlreadyExists"
  | "PermissionDenied"
  | "Unauthenticated"
  | "ResidencyViolation"
  | "ResourceExhausted"
  | "FailedPrecondition"
  | "ThreadBusy"
  | "StaleAttempt"
  | "FencedOut"
  | "Conflict"
  | "StepLimit"
  | "Unsupported"
  | "NodeFailed"
  | "Timeout"
  | "CircuitOpen"
  | "BudgetExceeded"
  | "DeadLettered"
  | "Internal"
  | "Unavailable"
  | "DataLoss"
  | "DeadlineExceeded"
  | "Cancelled";

const codes: Readonly<Record<ErrorCode, CodeInfo>> = {
  /** The input or an option is wrong; the message names the field. */
  InvalidArgument: { connect: 3, http: 400, retryable: false },
  /** A graph's structure is wrong; the message names the node. */
  InvalidGraph: { connect: 3, http: 400, retryable: false },
  /** A value in the state cannot be stored faithfully; the message names its path. */
  StateNotSerializable: { connect: 3, http: 400, retryable: false },
  NotFound: { connect: 5, http: 404, retryable: false },
  /** The id is taken by something else (a `runId` with another input). */
  AlreadyExists: { connect: 6, http: 409, retryable: false },
  PermissionDenied: { connect: 7, http: 403, retryable: false },
  Unauthenticated: { connect: 16, http: 401, retryable: false },
  /** A rule on where a run may be computed or kept forbids this. */
  ResidencyViolation: { connect: 7, http: 403, retryable: false },
  /** A queue, a worker's slots or a size limit is full; `retryAfterMs` says when to try again. */
  ResourceExhausted: { connect: 8, http: 429, retryable: true },
  /** Settings do not fit together (another store, another graph version, a store that is not set up). */
  FailedPrecondition: { connect: 9, http: 412, retryable: false },
  /** The thread has a run that is not finished. */
  ThreadBusy: { connect: 9, http: 409, retryable: true },
  /** The claim's attempt is not the one the run record holds. The epoch was not raised. */
  StaleAttempt: { connect: 10, http: 409, retryable: false },
  /** A newer owner holds the thread: stop at once, nothing was written. */
  FencedOut: { connect: 10, http: 409, retryable: false },
  /** A compare-and-set lost: read again, decide again. */
  Conflict: { connect: 10, http: 409, retryable: true },
  /** The run took more supersteps than its limit. */
  StepLimit: { connect: 11, http: 422, retryable: false },
  /** Not built, or not possible on this runtime or store; the message says which. */
  Unsupported: { connect: 12, http: 501, retryable: false },
  /** A node of the graph threw; `cause` (never on the wire) has the original. */
  NodeFailed: { connect: 2, http: 500, retryable: false },
  /** A node's own time, or its time without a heartbeat, is over; the message names both. */
  Timeout: { connect: 4, http: 504, retryable: true },
  /** A service failed too often and is not called now; `retryAfterMs` says when the next try is let through. */
  CircuitOpen: { connect: 14, http: 503, retryable: true },
  /** The run has used up its budget of tokens or cost. */
  BudgetExceeded: { connect: 8, http: 402, retryable: false },
  /** Attempts that lost their worker without progress reached the bound. */
  DeadLettered: { connect: 10, http: 500, retryable: false },
  Internal: { connect: 13, http: 500, retryable: false },
  /** A worker or store cannot be reached now. */
  Unavailable: { connect: 14, http: 503, retryable: true },
  /** Stored state is damaged, or was kept only in a process that is gone. */
  DataLoss: { connect: 15, http: 500, retryable: false },
  DeadlineExceeded: { connect: 4, http: 504, retryable: true },
  Cancelled: { connect: 1, http: 499, retryable: false },
};

export const errorCodes: Readonly<Record<ErrorCode, CodeInfo>> = codes;

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(codes, value);
}

export interface ErrorOptions {
  /** The original error. Stays in this process: it is never sent, stored or logged with content. */
  cause?: unknown;
  /** For `ResourceExhausted` and `Unavailable`: milliseconds after which a retry makes sense. */
  retryAfterMs?: number;
  /** Small facts for programs (field, node, path, filter): no state content, no secrets. */
  details?: Readonly<Record<string, string | number | boolean>>;
}

/** Every error this package throws on purpose. */
export class AgentmaticError extends Error {
  readonly code: ErrorCode;
  readonly retryAfterMs: number | undefined;
  readonly details: Readonly<Record<string, string | number | boolean>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "AgentmaticError";
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.details = options.details ?? {};
  }

  get retryable(): boolean {
    return codes[this.code].retryable;
  }

  /** The one funnel for caught values: an `AgentmaticError` stays itself, all else gets the fallback code. */
  static from(thrown: unknown, fallback: ErrorCode = "Internal"): AgentmaticError {
    if (thrown instanceof AgentmaticError) return thrown;
    if (isErrorLike(thrown)) {
      // Another copy of this package in the same process: same shape, other class.
      if (thrown.name === "AgentmaticError" && isErrorCode(thrown.code)) {
        return new AgentmaticError(thrown.code, thrown.message, { cause: thrown });
      }
      return new AgentmaticError(fallback, thrown.message || thrown.name, { cause: thrown });
    }
    return new AgentmaticError(fallback, `a non-error was thrown: ${describe(thrown)}`, { cause: thrown });
  }

  static is(thrown: unknown, ...wanted: ErrorCode[]): thrown is AgentmaticError {
    if (!isErrorLike(thrown) || thrown.name !== "AgentmaticError" || !isErrorCode(thrown.code)) return false;
    return wanted.length === 0 || wanted.includes(thrown.code);
  }
}

/** The fields of an error that may be stored in a run record and sent to a client. */
export interface ErrorValue {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details?: Readonly<Record<string, string | number | boolean>>;
}

export function errorValue(error: AgentmaticError): ErrorValue {
  return { code: error.code, message: error.message, details: error.details };
}

export function fromErrorValue(value: ErrorValue): AgentmaticError {
  return new AgentmaticError(value.code, value.message, value.details ? { details: value.details } : {});
}

export function invalid(field: string, problem: string): AgentmaticError {
  return new AgentmaticError("InvalidArgument", `${field}: ${problem}`, { details: { field } });
}

function isErrorLike(value: unknown): value is Error & { code?: unknown } {
  return typeof value === "object" && value !== null && "message" in value && "name" in value;
}

function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 200));
  return value === null ? "null" : typeof value;
}
