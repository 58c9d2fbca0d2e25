/** One encoding under way: where it stands, what it may take, and how it refuses. */
import { AgentmaticError } from "../../errors.ts";

/** Containers within containers that a value may have. */
export const depthMax = 500;

const pathCharsMax = 200;
export const nameCharsMax = 64;

/** A step of a path: a property, an index, or text such as `.get("k")` that is shown as it is. */
export type Segment = string | number | { readonly text: string };

export interface Walk {
  /** The caller's name for the whole value. */
  readonly root: string;
  readonly maxBytes: number;
  readonly path: Segment[];
  /** The containers around the value in hand, outermost first: what a cycle would come back to. */
  readonly parents: object[];
  /** Bytes that the JSON takes at least: stops a small graph of shared parts from unfolding without end. */
  size: number;
  /** The part's stand-in for `JSON.stringify`. */
  readonly visit: (value: unknown, segment: Segment | undefined, walk: Walk) => unknown;
}

export function refusal(walk: Walk, segment: Segment | undefined, problem: string): AgentmaticError {
  const path = showPath(walk, segment);
  return new AgentmaticError("StateNotSerializable", `${path || "value"}: ${problem}`, { details: { path } });
}

const lookupGetter = (Object.prototype as { __lookupGetter__?: (key: string) => unknown }).__lookupGetter__;

/**
 * The own property's value, without running an accessor. `__lookupGetter__` costs a third of a property descriptor,
 * which would double the price of the whole walk.
 */
export function readOwn(source: object, key: string, walk: Walk): unknown {
  if (lookupGetter !== undefined && lookupGetter.call(source, key) === undefined) {
    const value = (source as Record<string, unknown>)[key];
    if (value !== undefined) return value;
  }
  // A getter, or undefined: which is also what a setter without a getter gives.
  const descriptor = Object.getOwnPropertyDescriptor(source, key);
  if (descriptor !== undefined && !("value" in descriptor)) {
    throw refusal(walk, key, "an accessor (get or set) cannot be stored");
  }
  return descriptor?.value;
}

/** Sets an own property whatever its name: assigning to `__proto__` would change the prototype. */
export function setOwn(target: object, key: string, value: unknown): void {
  if (key === "__proto__") {
    Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
  } else {
    (target as Record<string, unknown>)[key] = value;
  }
}

function showPath(walk: Walk, last: Segment | undefined): string {
  let text = walk.root;
  for (const segment of last === undefined ? walk.path : [...walk.path, last]) {
    text += showSegment(segment, text === "");
    if (text.length > pathCharsMax) return `${text.slice(0, pathCharsMax)}…`;
  }
  return text;
}

function showSegment(segment: Segment, first: boolean): string {
  if (typeof segment === "number") return `[${segment}]`;
  if (typeof segment === "object") return segment.text;
  if (/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(segment) && segment.length <= nameCharsMax) {
    return first ? segment : `.${segment}`;
  }
  return `[${JSON.stringify(segment.slice(0, nameCharsMax))}]`;
}
