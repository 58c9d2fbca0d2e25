/** What a tool returns, as the JSON that a model can be told. */
import type { JSONValue } from "@ai-sdk/provider";
import { AgentmaticError } from "../errors.ts";

/** Deeper values are taken for ones that contain themselves. */
const depthMax = 100;
/** An object that stands at many places is told at each: few of them, inside each other, can come to millions. */
const valuesMax = 1_000_000;

/**
 * As `JSON.stringify` sees a value: `toJSON` is asked (a Date becomes its ISO text), `undefined` fields are left out.
 * Throws `StateNotSerializable` with the path for what JSON would change in silence: Map, Set, bytes, bigint, NaN,
 * functions and symbols.
 */
export function toJson(value: unknown, path: string, depth = 0, told = { values: 0 }): JSONValue {
  if (++told.values > valuesMax) throw refused(path, `is told after ${valuesMax} other values`);
  if (value === null || value === undefined) return null;
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") {
    if (Number.isFinite(value)) return value;
    throw refused(path, `is ${value}`);
  }
  if (typeof value !== "object") throw refused(path, `is a ${typeof value}`);
  if (depth > depthMax) throw refused(path, `is nested deeper than ${depthMax} levels, or contains itself`);
  if ("toJSON" in value && typeof value.toJSON === "function") return toJson(value.toJSON(), path, depth + 1, told);
  // Holes as well, which become null.
  if (Array.isArray(value))
    return Array.from(value, (item, index) => toJson(item, `${path}[${index}]`, depth + 1, told));
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (kind !== "Object") throw refused(path, `is of type ${kind}`);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(fields.map(([key, field]) => [key, toJson(field, `${path}.${key}`, depth + 1, told)]));
}

function refused(path: string, problem: string): AgentmaticError {
  const message = `${path}: ${problem}, which a model cannot be told as JSON; return plain values`;
  return new AgentmaticError("StateNotSerializable", message, { details: { path } });
}
