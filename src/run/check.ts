/** Checks of what callers hand in, for those who write JavaScript: each error names the field. */
import { invalid } from "../errors.ts";
import { type EventKind, eventKinds } from "./events.ts";
import type { RunContext } from "./link.ts";

/** Throws `InvalidArgument` unless the value is a whole number within the bounds. */
export function checkCount(field: string, value: unknown, min: number, max: number): void {
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return;
  throw invalid(field, `must be a whole number from ${min} to ${max}`);
}

/** Throws `InvalidArgument` unless the value is a time above 0 and below a day; absent is fine. */
export function checkMs(field: string, value: unknown): void {
  if (value === undefined) return;
  if (typeof value === "number" && value > 0 && value <= dayMs) return;
  throw invalid(field, `must be milliseconds above 0, at most ${dayMs}`);
}

const dayMs = 86_400_000;

export function checkOneOf(field: string, value: unknown, allowed: readonly string[]): void {
  if (value === undefined || (typeof value === "string" && allowed.includes(value))) return;
  throw invalid(field, `must be one of ${allowed.join(", ")}`);
}

export function checkSignal(field: string, value: unknown): void {
  if (value === undefined || value instanceof AbortSignal) return;
  throw invalid(field, "must be an AbortSignal");
}

export function checkKinds(field: string, kinds: unknown): asserts kinds is readonly EventKind[] {
  const allowed = eventKinds.filter((kind) => kind !== "retract");
  if (!Array.isArray(kinds)) throw invalid(field, "must be a list");
  for (const kind of kinds) if (kind === undefined || !allowed.includes(kind)) checkOneOf(field, kind ?? "", allowed);
}

/** Throws `InvalidArgument` for a part of the context that is of another type than it should be. */
export function checkContext(context: unknown): asserts context is Partial<RunContext> {
  if (!isObject(context)) throw invalid("context", "must be an object");
  for (const field of ["caller", "correlationId"] as const) {
    const value = context[field];
    if (value !== undefined && typeof value !== "string") throw invalid(field, "must be a string");
  }
  const { trace, residency } = context;
  if (trace !== undefined && !(isObject(trace) && typeof trace.traceparent === "string")) {
    throw invalid("trace", "must be an object with a traceparent");
  }
  if (residency === undefined) return;
  const regions: unknown = isObject(residency) ? residency.regions : undefined;
  if (!Array.isArray(regions) || regions.some((region) => typeof region !== "string" || region === "")) {
    throw invalid("residency.regions", "must be a list of region names");
  }
  if (regions.length === 0) throw invalid("residency.regions", "is empty, which allows no region at all");
}

export function checkObject(field: string, value: unknown): void {
  if (!isObject(value)) throw invalid(field, "must be an object");
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A literal's object: no list, no class's instance. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (!isObject(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}
