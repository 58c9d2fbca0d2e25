/**
 * JSON values ↔ google.protobuf.Value, strictly: what JSON cannot say is refused with its path instead of being dropped
 * or turned into something else.
 */
import { create } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { AgentmaticError, invalid } from "../errors.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Levels of lists and objects in one value. Readers of protobuf give up at 100 nested messages, and a level takes two or three. */
export const jsonDepthMax = 32;

/** Throws `StateNotSerializable`, naming the path below `path`, for anything that is not a JSON value. */
export function jsonToWire(path: string, value: unknown, depth = 0): Value {
  if (depth > jsonDepthMax) throw refused(path, `is nested deeper than ${jsonDepthMax} levels`);
  if (value === null) return wire({ case: "nullValue", value: 0 });
  if (typeof value === "boolean") return wire({ case: "boolValue", value });
  if (typeof value === "string") return wire({ case: "stringValue", value });
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw refused(path, `is ${value}, which JSON cannot say`);
    return wire({ case: "numberValue", value });
  }
  if (Array.isArray(value)) {
    const values = Array.from(value, (item, index) => jsonToWire(`${path}[${index}]`, item, depth + 1));
    return create(ValueSchema, { kind: { case: "listValue", value: { values } } });
  }
  if (!isPlainObject(value)) throw refused(path, `is ${describe(value)}, which JSON cannot say`);
  const fields = Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, jsonToWire(`${path}.${key}`, item, depth + 1)]),
  );
  return create(ValueSchema, { kind: { case: "structValue", value: { fields } } });
}

/** Throws `InvalidArgument`, naming the path below `path`, for a value that is not set or not finite. */
export function jsonFromWire(path: string, value: Value, depth = 0): Json {
  if (depth > jsonDepthMax) throw invalid(path, `is nested deeper than ${jsonDepthMax} levels`);
  const { kind } = value;
  switch (kind.case) {
    case "nullValue":
      return null;
    case "boolValue":
    case "stringValue":
      return kind.value;
    case "numberValue":
      if (!Number.isFinite(kind.value)) throw invalid(path, `is ${kind.value}, which JSON cannot say`);
      return kind.value;
    case "listValue":
      return kind.value.values.map((item, index) => jsonFromWire(`${path}[${index}]`, item, depth + 1));
    case "structValue":
      return Object.fromEntries(
        Object.entries(kind.value.fields).map(([key, item]) => [key, jsonFromWire(`${path}.${key}`, item, depth + 1)]),
      );
    case undefined:
      throw invalid(path, "is a value without a kind");
  }
}

function wire(kind: Value["kind"]): Value {
  return create(ValueSchema, { kind });
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function describe(value: unknown): string {
  if (typeof value !== "object" || value === null) return typeof value;
  return value.constructor?.name ?? "an object";
}

function refused(path: string, problem: string): AgentmaticError {
  return new AgentmaticError("StateNotSerializable", `${path} ${problem}`, { details: { path } });
}
