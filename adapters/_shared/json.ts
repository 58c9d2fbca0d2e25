/** State as JSON for clients that know nothing of the state codec: what JSON cannot say is written as text. */
import { Buffer } from "node:buffer";
import { decodeValue } from "../../src/checkpoint/codec.ts";
import { type Json, jsonDepthMax } from "../../src/rpc/json.ts";

export function valueToJson(bytes: Uint8Array): Json {
  return toJson(decodeValue(bytes), 0);
}

export function toJson(value: unknown, depth: number): Json {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value !== "object") return value === undefined ? null : String(value);
  const text = asText(value);
  if (text !== undefined) return text;
  // The wire has a limit of its own: what lies deeper still arrives, as the text of its JSON.
  if (depth === jsonDepthMax) return JSON.stringify(toJson(value, Number.NEGATIVE_INFINITY));
  if (Array.isArray(value)) return value.map((item) => toJson(item, depth + 1));
  if (value instanceof Set) return [...value].map((item) => toJson(item, depth + 1));
  if (value instanceof Map) return [...value].map((pair) => pair.map((item: unknown) => toJson(item, depth + 1)));
  const entries: [string, unknown][] =
    value instanceof Error
      ? [["name", value.name], ["message", value.message], ...Object.entries(value)]
      : Object.entries(value);
  return Object.fromEntries(
    entries.filter(([, item]) => item !== undefined).map(([key, item]) => [key, toJson(item, depth + 1)]),
  );
}

function asText(value: object): string | undefined {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
  if (value instanceof Uint8Array) return base64(value);
  if (value instanceof RegExp || value instanceof URL) return String(value);
  return undefined;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
