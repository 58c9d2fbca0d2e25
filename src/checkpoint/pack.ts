/**
 * Many named values in one blob, for the stores that keep a checkpoint's changed channels in one column.
 *
 * Layout: format byte 1; then for each value four bytes of name length, four of value length, the name in UTF-8, the
 * value. Lengths are unsigned and little-endian. The blob's end ends the list.
 */
import { AgentmaticError, invalid } from "../errors.ts";
import type { EncodedValues } from "./saver.ts";

const format = 1;
const headerBytes = 8;
/** Most bytes that one blob may have: SQLite's and Postgres' own limits are near 1 GB. */
export const packedBytesMax: number = 512 * 1024 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Throws `InvalidArgument` for a name that UTF-8 cannot carry, `ResourceExhausted` beyond `packedBytesMax`. */
export function packValues(values: EncodedValues): Uint8Array {
  const entries = Object.entries(values).map(([name, value]) => ({ name: encodeName(name), value }));
  const size = entries.reduce((sum, { name, value }) => sum + headerBytes + name.length + value.length, 1);
  if (size > packedBytesMax) {
    throw new AgentmaticError("ResourceExhausted", `values: ${size} bytes, a commit may have ${packedBytesMax}`);
  }
  const packed = new Uint8Array(size);
  const view = new DataView(packed.buffer);
  packed[0] = format;
  let at = 1;
  for (const { name, value } of entries) {
    view.setUint32(at, name.length, true);
    view.setUint32(at + 4, value.length, true);
    packed.set(name, at + headerBytes);
    packed.set(value, at + headerBytes + name.length);
    at += headerBytes + name.length + value.length;
  }
  return packed;
}

/**
 * The values are views into `packed`, not copies. Throws `DataLoss` for bytes that `packValues` cannot have made, and
 * `FailedPrecondition` for a newer format.
 */
export function unpackValues(packed: Uint8Array): EncodedValues {
  if (packed.length === 0) throw damaged("is empty");
  if (packed[0] !== format) {
    if (packed[0] === 0) throw damaged("begins with 0");
    throw new AgentmaticError(
      "FailedPrecondition",
      `packed values have format ${packed[0]}, this version reads ${format}`,
    );
  }
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const entries = new Map<string, Uint8Array>();
  for (let at = 1; at < packed.length; ) {
    if (packed.length - at < headerBytes) throw damaged("ends inside a header");
    const nameAt = at + headerBytes;
    const valueAt = nameAt + view.getUint32(at, true);
    const end = valueAt + view.getUint32(at + 4, true);
    if (end > packed.length) throw damaged("ends inside a value");
    const name = decodeName(packed.subarray(nameAt, valueAt));
    if (entries.has(name)) throw damaged("names a value twice");
    entries.set(name, packed.subarray(valueAt, end));
    at = end;
  }
  // Not by assignment: a channel may be called `__proto__`.
  return Object.fromEntries(entries);
}

function encodeName(name: string): Uint8Array {
  if (!name.isWellFormed()) throw invalid("values", `the name ${JSON.stringify(name)} has an unpaired surrogate`);
  return encoder.encode(name);
}

function decodeName(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw damaged("has a name that is not UTF-8", cause);
  }
}

function damaged(how: string, cause?: unknown): AgentmaticError {
  return new AgentmaticError("DataLoss", `a stored blob of values ${how}`, { cause });
}

/** What one commit changed: full values, and pieces of others. */
export interface Changed {
  readonly values: EncodedValues;
  readonly changes: EncodedValues;
}

/** Format 2: its byte, four bytes of length, the values as a blob of format 1, the pieces as another. */
const formatWithPieces = 2;
const none: EncodedValues = {};

/** As `packValues` where there are no pieces. */
export function packChanged(values: EncodedValues, changes: EncodedValues = none): Uint8Array {
  const first = packValues(values);
  if (Object.keys(changes).length === 0) return first;
  const second = packValues(changes);
  const packed = new Uint8Array(headerBytes + first.length + second.length);
  packed[0] = formatWithPieces;
  new DataView(packed.buffer).setUint32(4, first.length, true);
  packed.set(first, headerBytes);
  packed.set(second, headerBytes + first.length);
  return packed;
}

/** Throws as `unpackValues`. */
export function unpackChanged(packed: Uint8Array): Changed {
  if (packed[0] !== formatWithPieces) return { values: unpackValues(packed), changes: none };
  if (packed.length < headerBytes) throw damaged("ends inside a header");
  const middle = headerBytes + new DataView(packed.buffer, packed.byteOffset, packed.byteLength).getUint32(4, true);
  if (middle > packed.length) throw damaged("ends inside its values");
  return { values: unpackValues(packed.subarray(headerBytes, middle)), changes: unpackValues(packed.subarray(middle)) };
}
