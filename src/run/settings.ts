/** What a caller sets for one run alone; stored with the run's record, so that every attempt sees the same. */
import { AgentmaticError, invalid } from "../errors.ts";
import { checkCount, isObject } from "./check.ts";

/**
 * When a superstep is durable. `sync`: before the next one begins: never again, whatever is killed. `async`: soon, while
 * the next one runs. `exit`: when the run ends or waits. See docs/guide/durability.md.
 */
export type Durability = "sync" | "async" | "exit";

export interface RunSettings {
  readonly context?: Readonly<Record<string, unknown>>;
  readonly durability?: Durability;
  readonly maxConcurrency?: number;
  readonly budget?: { readonly tokens?: number; readonly cost?: number };
  /** Node names, besides the graph's own. */
  readonly interruptBefore?: readonly string[];
  readonly interruptAfter?: readonly string[];
  /** True where followers want the events of subgraphs too. */
  readonly subgraphs?: boolean;
}

const concurrencyMax = 100_000;

/** Throws `InvalidArgument`, naming the field. */
export function checkSettings(settings: RunSettings): void {
  const { context, durability, maxConcurrency, budget, subgraphs } = settings;
  if (context !== undefined && !isObject(context)) throw invalid("context", "must be an object");
  if (durability !== undefined && !["sync", "async", "exit"].includes(durability)) {
    throw invalid("durability", "must be one of sync, async, exit");
  }
  if (maxConcurrency !== undefined) checkCount("maxConcurrency", maxConcurrency, 1, concurrencyMax);
  for (const field of ["interruptBefore", "interruptAfter"] as const) {
    const names: unknown = settings[field];
    if (names === undefined) continue;
    if (!Array.isArray(names) || names.some((name) => typeof name !== "string")) {
      throw invalid(field, "must be a list of node names");
    }
  }
  if (subgraphs !== undefined && typeof subgraphs !== "boolean") throw invalid("subgraphs", "must be true or false");
  if (budget === undefined) return;
  if (!isObject(budget)) throw invalid("budget", "must be an object with tokens or cost");
  for (const field of ["tokens", "cost"] as const) {
    const value: unknown = budget[field];
    if (value !== undefined && !(typeof value === "number" && Number.isFinite(value) && value >= 0)) {
      throw invalid(`budget.${field}`, "must be a number from 0");
    }
  }
}

/** Throws `DataLoss` for what is no settings object. */
export function readSettings(value: unknown): RunSettings {
  if (isObject(value)) return value as RunSettings;
  throw new AgentmaticError("DataLoss", "a run's stored settings are not an object");
}
