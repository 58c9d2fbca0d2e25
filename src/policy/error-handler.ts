/** What an error handler is told of a node that failed for good. */
import { AgentmaticError, type ErrorCode } from "../errors.ts";

export interface NodeErrorInfo {
  readonly node: string;
  readonly error: { readonly code: ErrorCode; readonly message: string };
  /** Tries that were made. */
  readonly attempts: number;
  /** What the node was given. */
  readonly input: unknown;
}

export function failureOf(node: string, thrown: unknown, attempts: number, input: unknown): NodeErrorInfo {
  const { code, message } = AgentmaticError.from(thrown, "NodeFailed");
  return { node, error: { code, message }, attempts, input };
}
