/**
 * Postgres array literals (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO), written here and not by the
 * driver: it knows array types only after a query of its own on every new connection, and each batch is a row of arrays.
 */
import { Buffer } from "node:buffer";
import { invalid } from "../../src/errors.ts";

export function textArray(values: readonly (string | null)[]): string {
  return `{${values.map((value) => (value === null ? "NULL" : quote(value))).join(",")}}`;
}

/** Numbers must be safe integers. */
export function intArray(values: readonly (number | null)[]): string {
  return `{${values.map((value) => (value === null ? "NULL" : String(value))).join(",")}}`;
}

export function byteArray(values: readonly (Uint8Array | null)[]): string {
  return `{${values.map((value) => (value === null ? "NULL" : `"\\\\x${hex(value)}"`)).join(",")}}`;
}

export function byteLiteral(value: Uint8Array): string {
  return `\\x${hex(value)}`;
}

/** Throws `InvalidArgument`, naming the field, for a string that Postgres' text cannot hold as it is. */
export function checkText(field: string, value: string): void {
  if (value.includes("\0")) throw invalid(field, "has a NUL character, which Postgres cannot store");
  if (!value.isWellFormed()) throw invalid(field, "has an unpaired surrogate");
}

function quote(value: string): string {
  return `"${value.replaceAll(/["\\]/g, "\\$&")}"`;
}

function hex(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex");
}
