/** What an error handler is told of a node that failed for good. */
import type { ErrorCode } from "../errors.ts";
import { codeOf, property, textOf } from "./thrown.ts";

export interface NodeErrorInfo {
  readonly node: string;
  /** `details` has small facts, as `kind` and `limitMs` of a `Timeout`. */
  readonly error: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly details?: Readonly<Record<string, string | number | boolean>>;
  };
  /** Tries that were made. */
  readonly attempts: number;
  /** What the node was given. */
  readonly input: unknown;
}

/** Takes anything that can be thrown, and never throws itself. */
export function failureOf(node: string, thrown: unknown, attempts: number, input: unknown): NodeErrorInfo {
  const details = detailsOf(thrown);
  const error = { code: codeOf(thrown) ?? "NodeFailed", message: textOf(thrown), ...(details ? { details } : {}) };
  return { node, error, attempts, input };
}

function detailsOf(thrown: unknown): NodeErrorInfo["error"]["details"] | undefined {
  const details = codeOf(thrown) === undefined ? undefined : property(thrown, "details");
  if (typeof details !== "object" || details === null) return undefined;
  const facts = Object.entries(details).filter(([, fact]) => ["string", "number", "boolean"].includes(typeof fact));
  return facts.length > 0 ? Object.fromEntries(facts) : undefined;
}
