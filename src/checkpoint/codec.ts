/**
 * The state codec: values to bytes and back, faithfully or not at all.
 *
 * Shape of the bytes: one byte with the format number, then UTF-8 JSON. What JSON loses is written as a tag, an object
 * with the single key `$am` (`codec/tags.ts` lists them); plain data therefore looks like plain JSON.
 *
 * Kept beyond JSON: undefined, NaN, ±Infinity, -0, BigInt, Date (invalid ones too), Map, Set, Uint8Array, RegExp, URL,
 * objects without prototype, and Error as its name, message, cause and own enumerable fields (its class becomes the
 * built-in one of that name, else `Error`; its stack stays behind, as it speaks of files on another machine).
 * Everything else is refused by its path; object identity is not kept, a value that stands in two places comes back twice.
 */
import { AgentmaticError, invalid } from "../errors.ts";
import { plain } from "./codec/plain.ts";
import { revive } from "./codec/revive.ts";
import { tagKey } from "./codec/tags.ts";
import { Slab } from "./slab.ts";

/** The stored format that this version writes, and the only one that it reads. */
export const formatNumber = 1;

/** Bytes that one encoded value may take where the caller sets no other bound. */
export const valueBytesMax: number = 16 * 1024 * 1024;

export interface EncodeOptions {
  /** Bytes that the encoded value may take at most. */
  readonly maxBytes?: number;
}

const slab = new Slab();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const tagMark = JSON.stringify(tagKey);

/**
 * Encodes `value`. Throws `StateNotSerializable` for what cannot be stored faithfully, naming the place under `path`
 * as in `messages[3].createdAt`. Reads no accessor and calls no method of the value.
 */
export function encodeValue(value: unknown, path = "", options: EncodeOptions = {}): Uint8Array {
  const maxBytes = options.maxBytes ?? valueBytesMax;
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 1) throw invalid("maxBytes", "must be a whole number of bytes");
  return encodeJson(JSON.stringify(plain(value, path, maxBytes)), path, maxBytes);
}

/** The JSON of a value, to be put together with others. Throws as `encodeValue`. */
export function jsonOf(value: unknown, path: string): string {
  return JSON.stringify(plain(value, path, valueBytesMax));
}

/** As `encodeValue`, from JSON that was put together of plain data and of what `jsonOf` gave. */
export function encodeJson(json: string, path: string, maxBytes: number = valueBytesMax): Uint8Array {
  const bytes = slab.encode(formatNumber, json);
  if (bytes.length > maxBytes) {
    const problem = `takes ${bytes.length} bytes, more than the bound of ${maxBytes}`;
    throw new AgentmaticError("StateNotSerializable", `${path || "value"}: ${problem}`, { details: { path } });
  }
  return bytes;
}

/**
 * Decodes what `encodeValue` made. Throws `FailedPrecondition` for another format and `DataLoss` for damaged bytes.
 * Evaluates nothing; a key `__proto__` stays an ordinary key.
 */
export function decodeValue(bytes: Uint8Array): unknown {
  const format = bytes[0];
  if (format === undefined) throw new AgentmaticError("DataLoss", "a stored value is empty");
  if (format !== formatNumber) {
    throw new AgentmaticError(
      "FailedPrecondition",
      `a stored value has format ${format}, this version reads format ${formatNumber}`,
      { details: { format, reads: formatNumber } },
    );
  }
  let text: string;
  let parsed: unknown;
  try {
    text = decoder.decode(bytes.subarray(1));
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new AgentmaticError("DataLoss", "a stored value is damaged: not UTF-8 JSON", { cause });
  }
  // A tag cannot be spelt otherwise, and a string that holds these characters has its quotes escaped: no walk for plain data.
  return text.includes(tagMark) ? revive(parsed) : parsed;
}
