/**
 * The tags for what JSON loses, on the way in: `{"$am":[kind, …]}`. `revive.ts` has the way back, in the same order.
 * A released kind is never given another meaning.
 */
import { toBase64 } from "./base64.ts";
import { readOwn, refusal, type Segment, type Walk } from "./walk.ts";

export const tagKey = "$am";

/** Characters of a regular expression's source that are stored, and read back, at most. */
export const regexpSourceMax = 4096;

const keyShownMax = 40;

export function tag(kind: string, ...payload: readonly unknown[]): object {
  return { [tagKey]: [kind, ...payload] };
}

/** Of undefined, BigInt and the numbers that JSON has no word for. */
export function leafTag(value: undefined | bigint | number): object {
  if (value === undefined) return tag("undefined");
  if (typeof value === "number") return tag("number", Object.is(value, -0) ? "-0" : String(value));
  // Base 16 is linear in both directions; decimal digits are quadratic.
  return tag("bigint", value < 0n ? `-${(-value).toString(16)}` : value.toString(16));
}

/** Of the built-in classes that are kept; undefined for any other object, their subclasses included. */
export function special(value: object, walk: Walk): object | undefined {
  switch (Object.getPrototypeOf(value)) {
    case Date.prototype:
      return isBrand(value, "Date") ? dateTag(value as Date, walk) : undefined;
    case Map.prototype:
      return isBrand(value, "Map") ? mapTag(value as Map<unknown, unknown>, walk) : undefined;
    case Set.prototype:
      return isBrand(value, "Set") ? setTag(value as Set<unknown>, walk) : undefined;
    case Uint8Array.prototype:
      return ArrayBuffer.isView(value) ? bytesTag(value as Uint8Array, walk) : undefined;
    case RegExp.prototype:
      return isBrand(value, "RegExp") ? regexpTag(value as RegExp, walk) : undefined;
    case URL.prototype:
      return urlTag(value as URL, walk);
    default:
      return isError(value) ? errorTag(value, walk) : undefined;
  }
}

function dateTag(date: Date, walk: Walk): object {
  noExtras(date, walk);
  const time = Date.prototype.getTime.call(date);
  return tag("date", Number.isNaN(time) ? null : time);
}

function mapTag(map: Map<unknown, unknown>, walk: Walk): object {
  noExtras(map, walk);
  const payload: unknown[] = [];
  let index = 0;
  for (const [key, value] of Map.prototype.entries.call(map)) {
    payload.push(walk.visit(key, { text: `.keys()[${index}]` }, walk), walk.visit(value, getter(key, index), walk));
    index += 1;
  }
  return tag("map", ...payload);
}

function getter(key: unknown, index: number): Segment {
  if (typeof key === "string") return { text: `.get(${JSON.stringify(key.slice(0, keyShownMax))})` };
  return { text: typeof key === "number" ? `.get(${key})` : `.values()[${index}]` };
}

function setTag(set: Set<unknown>, walk: Walk): object {
  noExtras(set, walk);
  const payload: unknown[] = [];
  for (const value of Set.prototype.values.call(set)) {
    payload.push(walk.visit(value, { text: `.values()[${payload.length}]` }, walk));
  }
  return tag("set", ...payload);
}

function bytesTag(bytes: Uint8Array, walk: Walk): object {
  walk.size += Math.ceil(bytes.length / 3) * 4;
  if (walk.size > walk.maxBytes) throw refusal(walk, undefined, `takes more than the bound of ${walk.maxBytes} bytes`);
  return tag("bytes", toBase64(bytes));
}

function regexpTag(regexp: RegExp, walk: Walk): object {
  noExtras(regexp, walk, 1);
  const { source, flags, lastIndex } = regexp;
  if (source.length > regexpSourceMax)
    throw refusal(walk, undefined, `its source is over ${regexpSourceMax} characters`);
  if (!Number.isSafeInteger(lastIndex) || lastIndex < 0) throw refusal(walk, "lastIndex", "must be a whole number");
  return tag("regexp", source, flags, lastIndex);
}

function urlTag(url: URL, walk: Walk): object {
  // Deno keeps its own parts of a URL under symbols.
  if (Object.keys(url).length > 0) noExtras(url, walk);
  return tag("url", url.href);
}

/** Fields that an error has by being one: written apart, or left behind (`stack`). */
const errorOwn: ReadonlySet<string> = new Set(["name", "message", "stack", "cause", "errors"]);

function errorTag(error: Error, walk: Walk): object {
  const name = text(error, "name", walk);
  const message = text(error, "message", walk);
  const keys = Object.keys(error).filter((key) => !errorOwn.has(key));
  // `cause` and an AggregateError's `errors` are hidden properties.
  for (const key of ["cause", "errors"]) if (Object.hasOwn(error, key)) keys.push(key);
  const fields = keys.flatMap((key) => [key, walk.visit(readOwn(error, key, walk), key, walk)]);
  return tag("error", name, message, ...fields);
}

function text(error: Error, key: "name" | "message", walk: Walk): string {
  // Inherited ones may be accessors of the platform (DOMException); own ones may not.
  const value: unknown = Object.hasOwn(error, key) ? readOwn(error, key, walk) : error[key];
  if (typeof value !== "string") throw refusal(walk, key, "of an error must be a string");
  walk.size += value.length;
  return value;
}

/** Errors of another realm too: some test runners hand them in. */
function isError(value: object): value is Error {
  return value instanceof Error || isBrand(value, "Error");
}

function isBrand(value: object, brand: string): boolean {
  return Object.prototype.toString.call(value) === `[object ${brand}]`;
}

function noExtras(value: object, walk: Walk, allowed = 0): void {
  if (Reflect.ownKeys(value).length > allowed) {
    throw refusal(walk, undefined, "a built-in object with properties of its own cannot be stored");
  }
}
