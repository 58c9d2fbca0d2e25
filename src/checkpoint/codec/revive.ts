/** Tags back to values. The input is data from a store: everything is checked, nothing is evaluated. */
import { AgentmaticError } from "../../errors.ts";
import { fromBase64 } from "./base64.ts";
import { regexpSourceMax, tagKey } from "./tags.ts";
import { depthMax, setOwn } from "./walk.ts";

/** A tag adds an object and an array to each level of the value. */
const jsonDepthMax = 2 * depthMax + 2;

/** Throws `DataLoss` where a tag is malformed. Changes `json` in place. */
export function revive(json: unknown, depth = 0): unknown {
  if (typeof json !== "object" || json === null) return json;
  if (depth > jsonDepthMax) throw damaged("nested too deep");
  if (Array.isArray(json)) {
    for (let index = 0; index < json.length; index++) json[index] = revive(json[index], depth + 1);
    return json;
  }
  if (Object.hasOwn(json, tagKey)) return untag(json, depth + 1);
  for (const [key, value] of Object.entries(json)) {
    if (typeof value === "object" && value !== null) setOwn(json, key, revive(value, depth + 1));
  }
  return json;
}

type Reader = (payload: readonly unknown[]) => unknown;

const readers: ReadonlyMap<unknown, Reader> = new Map<unknown, Reader>([
  ["undefined", () => undefined],
  ["number", ([name]) => numberOf(string(name))],
  ["bigint", ([digits]) => bigintOf(string(digits))],
  ["date", ([time]) => new Date(time === null ? Number.NaN : number(time))],
  ["map", (payload) => new Map(pairs(payload))],
  ["set", (payload) => new Set(payload)],
  ["bytes", ([base64]) => fromBase64(string(base64))],
  ["regexp", ([source, flags, lastIndex]) => regexpOf(string(source), string(flags), number(lastIndex))],
  ["url", ([href]) => new URL(string(href))],
  ["error", ([name, message, ...fields]) => errorOf(string(name), string(message), fields)],
  ["object", (payload) => withFields({}, payload)],
  ["bare", (payload) => withFields(Object.create(null), payload)],
]);

function untag(json: object, depth: number): unknown {
  const payload: unknown = Object.keys(json).length === 1 ? (json as Record<string, unknown>)[tagKey] : undefined;
  const reader = Array.isArray(payload) ? readers.get(payload[0]) : undefined;
  if (!Array.isArray(payload) || reader === undefined) throw damaged("unknown tag");
  const items = payload.slice(1).map((item) => revive(item, depth + 1));
  try {
    return reader(items);
  } catch (cause) {
    throw AgentmaticError.is(cause) ? cause : damaged(`malformed ${payload[0]}`, cause);
  }
}

function numberOf(name: string): number {
  if (name !== "NaN" && name !== "Infinity" && name !== "-Infinity" && name !== "-0") throw damaged("malformed number");
  return Number(name);
}

function bigintOf(digits: string): bigint {
  if (!/^-?[0-9a-f]+$/.test(digits)) throw damaged("malformed bigint");
  return digits.startsWith("-") ? -BigInt(`0x${digits.slice(1)}`) : BigInt(`0x${digits}`);
}

function regexpOf(source: string, flags: string, lastIndex: number): RegExp {
  if (source.length > regexpSourceMax || !/^[dgimsuvy]{0,8}$/.test(flags)) throw damaged("malformed regexp");
  const regexp = new RegExp(source, flags);
  regexp.lastIndex = lastIndex;
  return regexp;
}

const errorClasses: ReadonlyMap<string, new (message: string) => Error> = new Map(
  [TypeError, RangeError, SyntaxError, ReferenceError, URIError, EvalError].map((type) => [type.name, type]),
);

function errorOf(name: string, message: string, fields: readonly unknown[]): Error {
  const type = errorClasses.get(name);
  const error = name === "AggregateError" ? new AggregateError([], message) : new (type ?? Error)(message);
  if (error.name !== name) hide(error, "name", name);
  // The reader's own stack would lead astray.
  hide(error, "stack", `${name}: ${message}`);
  for (const [key, value] of pairs(fields)) {
    if (key === "cause" || key === "errors") hide(error, key, value);
    else setOwn(error, string(key), value);
  }
  return error;
}

function hide(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, writable: true, enumerable: false, configurable: true });
}

function withFields(target: object, payload: readonly unknown[]): object {
  for (const [key, value] of pairs(payload)) setOwn(target, string(key), value);
  return target;
}

function* pairs(flat: readonly unknown[]): Generator<[unknown, unknown]> {
  if (flat.length % 2 !== 0) throw damaged("a key without a value");
  for (let at = 0; at < flat.length; at += 2) yield [flat[at], flat[at + 1]];
}

function string(value: unknown): string {
  if (typeof value !== "string") throw damaged("a string was expected");
  return value;
}

function number(value: unknown): number {
  if (typeof value !== "number") throw damaged("a number was expected");
  return value;
}

function damaged(problem: string, cause?: unknown): AgentmaticError {
  return new AgentmaticError("DataLoss", `a stored value is damaged: ${problem}`, { cause });
}
