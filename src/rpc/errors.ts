/**
 * `AgentmaticError` ↔ `ConnectError`. The status is the one of the table in src/errors.ts; the code itself travels as a
 * `RunError` detail, which every protocol carries, so that both sides throw the same error. `cause` stays at home.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { AgentmaticError, type ErrorCode, errorCodes, isErrorCode } from "../errors.ts";
import { RunErrorSchema } from "./gen/agentmatic/v1/run_pb.ts";

/** How long to wait before trying again, in milliseconds. */
export const retryAfterHeader = "agentmatic-retry-after-ms";
/** The error's `details`, as percent-encoded JSON. */
export const detailsHeader = "agentmatic-error-details";

/** Details longer than this are left out: headers have limits of their own. */
const detailsCharsMax = 2048;

/**
 * What a status means that came without a code of ours: from the transport, a proxy or another server. Those that stand
 * for a broken stream (a reset, a missing trailer, a 502) are `Unavailable`: the call may be made elsewhere.
 */
const foreignCodes: Readonly<Record<Code, ErrorCode>> = {
  [Code.Canceled]: "Cancelled",
  [Code.Unknown]: "Unavailable",
  [Code.InvalidArgument]: "InvalidArgument",
  [Code.DeadlineExceeded]: "DeadlineExceeded",
  [Code.NotFound]: "NotFound",
  [Code.AlreadyExists]: "AlreadyExists",
  [Code.PermissionDenied]: "PermissionDenied",
  [Code.ResourceExhausted]: "ResourceExhausted",
  [Code.FailedPrecondition]: "FailedPrecondition",
  [Code.Aborted]: "Unavailable",
  [Code.OutOfRange]: "InvalidArgument",
  [Code.Unimplemented]: "Unsupported",
  [Code.Internal]: "Unavailable",
  [Code.Unavailable]: "Unavailable",
  [Code.DataLoss]: "Unavailable",
  [Code.Unauthenticated]: "Unauthenticated",
};

/**
 * What a server answers. Errors that were not thrown on purpose tell the client nothing but that they happened: their
 * messages may hold state.
 */
export function toConnectError(thrown: unknown): ConnectError {
  if (thrown instanceof ConnectError) return thrown;
  const error = AgentmaticError.is(thrown)
    ? AgentmaticError.from(thrown)
    : new AgentmaticError("Internal", "internal error");
  const value = { code: error.code, message: error.message };
  return new ConnectError(error.message, errorCodes[error.code].connect, metadataOf(error), [
    { desc: RunErrorSchema, value },
  ]);
}

/** What a client throws. `signal` is the caller's: where it aborted, its reason is the cause of whatever came after. */
export function fromConnectError(thrown: unknown, signal?: AbortSignal): AgentmaticError {
  if (signal?.aborted) return abortError(signal.reason);
  if (AgentmaticError.is(thrown)) return AgentmaticError.from(thrown);
  if (!(thrown instanceof ConnectError)) return AgentmaticError.from(thrown);
  const [sent] = thrown.findDetails(RunErrorSchema);
  const code = sent && isErrorCode(sent.code) ? sent.code : foreignCodes[thrown.code];
  const message = sent?.message ?? thrown.rawMessage;
  const details = detailsOf(thrown.metadata);
  const retryAfterMs = retryAfterOf(thrown.metadata);
  return new AgentmaticError(code, message, {
    cause: thrown,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(details ? { details } : {}),
  });
}

/** The error of a call whose signal aborted: `DeadlineExceeded` where a time limit did it, else `Cancelled`. */
export function abortError(reason: unknown): AgentmaticError {
  if (AgentmaticError.is(reason)) return AgentmaticError.from(reason);
  const late =
    (reason instanceof ConnectError && reason.code === Code.DeadlineExceeded) ||
    (reason instanceof Error && reason.name === "TimeoutError");
  return late
    ? new AgentmaticError("DeadlineExceeded", "the call's deadline has passed", { cause: reason })
    : new AgentmaticError("Cancelled", "the call was cancelled", { cause: reason });
}

function metadataOf(error: AgentmaticError): Headers {
  const metadata = new Headers();
  if (error.retryAfterMs !== undefined) metadata.set(retryAfterHeader, String(Math.ceil(error.retryAfterMs)));
  if (Object.keys(error.details).length > 0) {
    const text = encodeURIComponent(JSON.stringify(error.details));
    if (text.length <= detailsCharsMax) metadata.set(detailsHeader, text);
  }
  return metadata;
}

function retryAfterOf(metadata: Headers): number | undefined {
  const text = metadata.get(retryAfterHeader);
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

function detailsOf(metadata: Headers): AgentmaticError["details"] | undefined {
  const text = metadata.get(detailsHeader);
  if (text === null || text.length > detailsCharsMax) return undefined;
  try {
    const value: unknown = JSON.parse(decodeURIComponent(text));
    if (typeof value !== "object" || value === null) return undefined;
    return Object.fromEntries(Object.entries(value).filter(([, item]) => isScalar(item)));
  } catch {
    // Facts for programs beside an error that is told anyway: unreadable ones are left out.
    return undefined;
  }
}

function isScalar(value: unknown): boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}
