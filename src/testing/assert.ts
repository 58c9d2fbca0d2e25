/** The few checks that the cases need, so that they bind to no test runner. Each throws an `Error` that says what it saw. */
import type { WriteResult } from "../checkpoint/saver.ts";
import { AgentmaticError, type ErrorCode } from "../errors.ts";

const shownCharsMax = 600;

export function check(condition: boolean, expectation: string): asserts condition {
  if (!condition) throw new Error(`expected ${expectation}`);
}

/** Deep equality of data; a property that is undefined equals one that is absent. */
export function equal(actual: unknown, expected: unknown, what: string): void {
  if (!same(actual, expected)) throw new Error(`${what}: expected ${show(expected)}, got ${show(actual)}`);
}

/** Rejects unless `work` rejects with one of the codes; resolves with the error. */
export async function rejects(work: Promise<unknown>, ...codes: ErrorCode[]): Promise<AgentmaticError> {
  let result: unknown;
  try {
    result = await work;
  } catch (error) {
    if (AgentmaticError.is(error, ...codes)) return error;
    throw new Error(`expected ${codes.join(" or ")}, got ${describe(error)}`, { cause: error });
  }
  throw new Error(`expected ${codes.join(" or ")}, got the result ${show(result)}`);
}

/** The only entry of a batch went through. */
export function done(results: readonly WriteResult[]): void {
  outcomes(results, "ok");
}

/** The only entry of a batch was refused with one of the codes. */
export function refused(results: readonly WriteResult[], ...codes: ErrorCode[]): void {
  const [first] = results;
  check(results.length === 1 && first !== undefined, `one result, got ${results.length}`);
  check(!first.ok, `${codes.join(" or ")}, but the entry went through`);
  check(AgentmaticError.is(first.error, ...codes), `${codes.join(" or ")}, got ${describe(first.error)}`);
}

/** What came of each entry of a batch: "ok" or an error's code. */
export function outcomes(results: readonly WriteResult[], ...expected: ("ok" | ErrorCode)[]): void {
  equal(
    results.map((result) => (result.ok ? "ok" : result.error.code)),
    expected,
    "outcome of each entry",
  );
}

export function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return a instanceof Uint8Array && b instanceof Uint8Array && sameBytes(a, b);
  }
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = fields(a);
  const right = fields(b);
  return left.size === right.size && [...left].every(([key, value]) => right.has(key) && same(value, right.get(key)));
}

function fields(object: object): Map<string, unknown> {
  return new Map(Object.entries(object).filter(([, value]) => value !== undefined));
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function describe(error: unknown): string {
  return error instanceof Error
    ? `${AgentmaticError.is(error) ? error.code : error.name}: ${error.message}`
    : show(error);
}

export function show(value: unknown): string {
  const text = JSON.stringify(value, (_, part: unknown) =>
    part instanceof Uint8Array ? `bytes ${part.slice(0, 32)}` : part,
  );
  return (text ?? String(value)).slice(0, shownCharsMax);
}
