/** A functional graph: one node, whose input and output are single values of whatever kind. */
import { END, PREVIOUS } from "./plan.ts";

/** What a run gives back, and what it saves for the next one on its thread. */
export interface EntrypointFinal<Value, Save> {
  readonly value: Value;
  readonly save: Save;
  /** LangGraph.js's mark. */
  readonly __lg_type: "__pregel_final";
}

export function isFinal(value: unknown): value is EntrypointFinal<unknown, unknown> {
  return typeof value === "object" && value !== null && "__lg_type" in value && value.__lg_type === "__pregel_final";
}

/** The channels that a functional graph's return value is written to. */
export function finalWrites(returned: unknown): Readonly<Record<string, unknown>> {
  return isFinal(returned)
    ? { [END]: returned.value, [PREVIOUS]: returned.save }
    : { [END]: returned, [PREVIOUS]: returned };
}
