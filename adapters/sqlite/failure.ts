/** What a thrown SQLite error means: come back later, the disk's fault, damage, or a mistake of ours. */
import { AgentmaticError, type ErrorCode } from "../../src/errors.ts";

// https://www.sqlite.org/rescode.html
const busy = 5;
const locked = 6;
const protocol = 15;
const byPrimaryCode: Readonly<Record<number, ErrorCode>> = {
  8: "Unavailable", // READONLY
  10: "Unavailable", // IOERR
  11: "DataLoss", // CORRUPT
  13: "Unavailable", // FULL
  14: "Unavailable", // CANTOPEN
  18: "ResourceExhausted", // TOOBIG
  26: "FailedPrecondition", // NOTADB
};

// Deno 2.9's node:sqlite gives no result code, only SQLite's message.
const byMessage: readonly [RegExp, number][] = [
  [/database is locked/, busy],
  [/database table is locked/, locked],
  [/locking protocol/, protocol],
  [/disk is full/, 13],
  [/disk I\/O error/, 10],
  [/malformed/, 11],
  [/unable to open database/, 14],
  [/readonly database/, 8],
  [/too big/, 18],
  [/not a database/, 26],
];

/** SQLite's primary result code, undefined where the error is none of SQLite's. */
export function resultCode(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { errcode, errno, code, message } = error as Record<string, unknown>;
  if (typeof code !== "string" || !(code.startsWith("ERR_SQLITE") || code.startsWith("SQLITE_"))) return undefined;
  const number = typeof errcode === "number" ? errcode : errno;
  if (typeof number === "number") return number & 0xff;
  return byMessage.find(([pattern]) => pattern.test(String(message)))?.[1];
}

/** True where another process holds a lock: the same statement may go through a moment later. */
export function isBusy(error: unknown): boolean {
  const code = resultCode(error);
  return code === busy || code === locked || code === protocol;
}

/** The error that a caller of the saver sees. SQLite's messages name tables and columns, never values. */
export function failure(path: string, error: unknown): AgentmaticError {
  if (error instanceof AgentmaticError) return error;
  const code = resultCode(error);
  const problem = error instanceof Error ? error.message : String(error);
  return new AgentmaticError((code !== undefined && byPrimaryCode[code]) || "Internal", `SQLite ${path}: ${problem}`, {
    cause: error,
  });
}
