/**
 * Turns a value into data that `JSON.stringify` writes without loss: the value itself where it is plain already (nothing
 * is copied then: the hot path), else with the parts that need a tag replaced.
 */
import type { AgentmaticError } from "../../errors.ts";
import { leafTag, special, tag, tagKey } from "./tags.ts";
import { depthMax, nameCharsMax, readOwn, refusal, type Segment, setOwn, type Walk } from "./walk.ts";

/** Throws `StateNotSerializable`, naming the place under `root`. */
export function plain(value: unknown, root: string, maxBytes: number): unknown {
  return visit(value, undefined, { root, maxBytes, path: [], parents: [], size: 0, visit });
}

function visit(value: unknown, segment: Segment | undefined, walk: Walk): unknown {
  walk.size += 2;
  switch (typeof value) {
    case "string":
      walk.size += value.length;
      if (walk.size > walk.maxBytes) throw tooLarge(walk, segment);
      return value;
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0) ? value : leafTag(value);
    case "undefined":
    case "bigint":
      return leafTag(value);
    case "object":
      return value === null ? null : visitObject(value, segment, walk);
    default:
      throw refusal(walk, segment, `a ${typeof value} cannot be stored`);
  }
}

function visitObject(value: object, segment: Segment | undefined, walk: Walk): unknown {
  if (walk.size > walk.maxBytes) throw tooLarge(walk, segment);
  if (walk.parents.length >= depthMax) throw refusal(walk, segment, `is nested deeper than ${depthMax} levels`);
  if (walk.parents.includes(value)) throw refusal(walk, segment, "refers back to what contains it (a cycle)");
  if (segment !== undefined) walk.path.push(segment);
  walk.parents.push(value);
  const result = replaced(value, walk);
  walk.parents.pop();
  if (segment !== undefined) walk.path.pop();
  return result;
}

function replaced(value: object, walk: Walk): unknown {
  const proto: unknown = Object.getPrototypeOf(value);
  if (Array.isArray(value)) {
    if (proto === Array.prototype || isForeignArrayPrototype(proto)) return visitArray(value, walk);
  } else if (proto === Object.prototype || isObjectPrototype(proto)) {
    return Object.hasOwn(value, tagKey) ? tag("object", ...entries(value, walk)) : visitPlain(value, walk);
  } else if (proto === null) {
    return tag("bare", ...entries(value, walk));
  }
  const tagged = special(value, walk);
  if (tagged === undefined) throw refusal(walk, undefined, `${describe(proto)} cannot be stored`);
  return tagged;
}

function visitArray(array: readonly unknown[], walk: Walk): unknown {
  // A long array is refused before its keys are listed.
  walk.size += array.length;
  if (walk.size > walk.maxBytes) throw tooLarge(walk, undefined);
  if (Object.keys(array).length !== array.length) {
    throw refusal(walk, undefined, "an array with holes or with properties of its own cannot be stored");
  }
  noSymbols(array, walk);
  let copy: unknown[] | undefined;
  for (let index = 0; index < array.length; index++) {
    const own = array[index];
    const item = visit(own, index, walk);
    if (item === own) continue;
    copy ??= array.slice();
    copy[index] = item;
  }
  return copy ?? array;
}

function visitPlain(object: object, walk: Walk): unknown {
  let copy: object | undefined;
  for (const key of ownKeys(object, walk)) {
    const own = readOwn(object, key, walk);
    walk.size += key.length + 2;
    const item = visit(own, key, walk);
    if (item === own) continue;
    copy ??= { ...object };
    setOwn(copy, key, item);
  }
  return copy ?? object;
}

/** Key, value, key, value …: for objects that would be taken for something else when read. */
function entries(object: object, walk: Walk): unknown[] {
  const payload: unknown[] = [];
  for (const key of ownKeys(object, walk)) {
    walk.size += key.length + 2;
    payload.push(key, visit(readOwn(object, key, walk), key, walk));
  }
  return payload;
}

/** The object's keys, once it is sure that it has nothing but enumerable string keys. */
function ownKeys(object: object, walk: Walk): string[] {
  const keys = Object.keys(object);
  if (Object.getOwnPropertyNames(object).length !== keys.length) {
    throw refusal(walk, undefined, "an object with hidden (non-enumerable) properties cannot be stored");
  }
  noSymbols(object, walk);
  return keys;
}

function noSymbols(object: object, walk: Walk): void {
  if (Object.getOwnPropertySymbols(object).length > 0) {
    throw refusal(walk, undefined, "an object with symbol keys cannot be stored");
  }
}

/** The prototype of plain objects of another realm (vm contexts, as some test runners use them). */
function isObjectPrototype(proto: unknown): boolean {
  if (typeof proto !== "object" || proto === null || Object.getPrototypeOf(proto) !== null) return false;
  return Object.hasOwn(proto, "isPrototypeOf");
}

function isForeignArrayPrototype(proto: unknown): boolean {
  return Array.isArray(proto) && isObjectPrototype(Object.getPrototypeOf(proto));
}

function describe(proto: unknown): string {
  const owner: unknown = Object.getOwnPropertyDescriptor(proto, "constructor")?.value;
  const name = typeof owner === "function" ? owner.name.slice(0, nameCharsMax) : "";
  if (name === "Buffer") return "a Buffer (hand in a Uint8Array)";
  return name === "" ? "an object with a prototype of its own" : `an instance of ${name}`;
}

function tooLarge(walk: Walk, segment: Segment | undefined): AgentmaticError {
  return refusal(walk, segment, `the value up to here takes more than the bound of ${walk.maxBytes} bytes`);
}
