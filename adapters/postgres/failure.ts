/** What a thrown driver error means: nobody knows what happened, try once more, or somebody's mistake. */
import { AgentmaticError, type ErrorCode } from "../../src/errors.ts";

/** Of the driver and of sockets: the answer, if there was one, is lost. */
const lostCodes: ReadonlySet<string> = new Set([
  "CONNECTION_CLOSED",
  "CONNECTION_DESTROYED",
  "CONNECTION_ENDED",
  "CONNECT_TIMEOUT",
  "ERR_SOCKET_CLOSED",
  "ERR_STREAM_DESTROYED",
  "ERR_STREAM_WRITE_AFTER_END",
]);

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const lostStates = /^(08|57P0[1235]|53300|25006)/;
const collisionStates: ReadonlySet<string> = new Set(["40001", "40P01", "55P03"]);
const byState: readonly [RegExp, ErrorCode, string][] = [
  [/^(3F000|42P01|42703)$/, "FailedPrecondition", "the schema is not set up for this version: call setup() once"],
  [/^3D000$/, "FailedPrecondition", "the database does not exist"],
  [/^28/, "Unauthenticated", "the user or password was refused"],
  [/^42501$/, "PermissionDenied", "the user lacks a privilege"],
  [/^53/, "ResourceExhausted", "the server is out of disk, memory or connections"],
  [/^54/, "ResourceExhausted", "a limit of the server was passed"],
  [/^57014$/, "DeadlineExceeded", "the statement took longer than its limit"],
];

/** True where the statement may or may not have been carried out, or could not be sent: issue the very same again. */
export function isLost(thrown: unknown): boolean {
  const { code, syscall } = fields(thrown);
  if (sqlState(thrown) !== undefined) return lostStates.test(String(code));
  return typeof syscall === "string" || (typeof code === "string" && lostCodes.has(code));
}

/** True where the server undid the statement because of another one: alone, it may go through the next time. */
export function isCollision(thrown: unknown): boolean {
  return collisionStates.has(sqlState(thrown) ?? "");
}

/** The server's five-character code; undefined where the error is not the server's. */
export function sqlState(thrown: unknown): string | undefined {
  const { code, severity } = fields(thrown);
  return typeof severity === "string" && typeof code === "string" ? code : undefined;
}

/**
 * The error that a caller of the saver sees. The server's message names tables and constraints; values stand only in its
 * detail, which is left out. `details.sqlstate` is set where the server itself refused the statement.
 */
export function failure(thrown: unknown): AgentmaticError {
  if (thrown instanceof AgentmaticError) return thrown;
  const { code, message } = fields(thrown);
  if (isLost(thrown)) {
    return new AgentmaticError("Unavailable", `Postgres cannot be reached now (${String(code)})`, {
      cause: bare(thrown),
    });
  }
  const state = sqlState(thrown);
  if (state === undefined) {
    return new AgentmaticError("Internal", `Postgres driver: ${String(code ?? "error")}`, { cause: bare(thrown) });
  }
  const [, errorCode, meaning] = byState.find(([pattern]) => pattern.test(state)) ?? [];
  const collided = collisionStates.has(state);
  return new AgentmaticError(
    errorCode ?? (collided ? "Unavailable" : "Internal"),
    `Postgres: ${meaning ?? (collided ? "the statement collided with others" : String(message))} (${state})`,
    { cause: bare(thrown), details: { sqlstate: state } },
  );
}

/** The driver hangs statement and parameters on its errors, and the server values: state, which must not reach a log. */
function bare(thrown: unknown): Error {
  const { code, message, constraint_name, table_name, routine } = fields(thrown);
  const safe = Object.entries({ code, constraint_name, table_name, routine }).filter(
    ([, value]) => value !== undefined,
  );
  return Object.assign(new Error(String(message)), Object.fromEntries(safe));
}

function fields(thrown: unknown): Partial<Record<string, unknown>> {
  return typeof thrown === "object" && thrown !== null ? (thrown as Record<string, unknown>) : {};
}
