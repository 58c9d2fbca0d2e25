import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AgentmaticError } from "../../../src/errors.ts";
import { failureOf } from "../../../src/policy/error-handler.ts";

const of = (thrown: unknown) => failureOf("pay", thrown, 3, { amount: 5 }).error;

describe("what an error handler is told", () => {
  test("node, tries and input, and the error with its small facts", () => {
    const details = { kind: "idle", limitMs: 100, elapsedMs: 100 };
    const thrown = new AgentmaticError("Timeout", '"pay" gave no sign of life', { details });
    expect(failureOf("pay", thrown, 3, { amount: 5 })).toEqual({
      node: "pay",
      error: { code: "Timeout", message: '"pay" gave no sign of life', details },
      attempts: 3,
      input: { amount: 5 },
    });
  });

  const rows: [string, unknown, string][] = [
    ["an error", new Error("no answer"), "no answer"],
    ["an error without a text", new RangeError(), "RangeError"],
    ["a string", "no answer", "a string was thrown: no answer"],
    ["undefined", undefined, "a non-error was thrown: undefined"],
    ["null", null, "a non-error was thrown: null"],
    ["a number", 42, "a non-error was thrown: 42"],
    ["a symbol", Symbol("s"), "a non-error was thrown: Symbol(s)"],
    ["a function", () => 1, "a non-error was thrown: a function"],
    ["an object, of which nothing is told", { secret: "state" }, "an object without a message was thrown"],
    ["an object with a message", { message: "no answer", secret: "state" }, "no answer"],
    ["an object without a prototype", Object.create(null), "an object without a message was thrown"],
    ["details of somebody else's", Object.assign(new Error("x"), { details: { field: "state" } }), "x"],
    ["a frozen error", Object.freeze(new Error("frozen")), "frozen"],
    ["a message that is none", Object.assign(new Error("x"), { message: 5 }), "Error"],
    ["several", new AggregateError([new Error("one"), "two"], "both"), "both (one; a string was thrown: two)"],
    ["several without a text", new AggregateError([new Error("one")]), "AggregateError (one)"],
    [
      "many",
      new AggregateError(
        Array.from({ length: 8 }, (_, at) => new Error(`e${at}`)),
        "all",
      ),
      "all (e0; e1; e2; e3; e4; and 3 more)",
    ],
  ];
  test.each(rows)("%s", (_name, thrown, message) => {
    expect(of(thrown)).toEqual({ code: "NodeFailed", message });
  });

  test("getters that throw, revoked proxies, errors that contain themselves", () => {
    const hostile = Object.defineProperty(new Error("x"), "message", {
      get: () => {
        throw new Error("read me not");
      },
    });
    expect(of(hostile)).toEqual({ code: "NodeFailed", message: "Error" });
    const { proxy, revoke } = Proxy.revocable(new Error("x"), {});
    revoke();
    expect(of(proxy)).toEqual({ code: "NodeFailed", message: "an object without a message was thrown" });
    const circular = new AggregateError([], "round");
    circular.errors.push(circular);
    expect(of(circular)).toEqual({ code: "NodeFailed", message: "round (round)" });
  });

  test("an error of another copy of this package keeps its code, and only small facts", () => {
    const details = { field: "x", state: { secret: 1 }, run: () => 1 };
    const thrown = { name: "AgentmaticError", code: "Timeout", message: "late", details };
    expect(of(thrown)).toEqual({ code: "Timeout", message: "late", details: { field: "x" } });
    expect(of({ name: "AgentmaticError", code: "Invented", message: "late" })).toEqual({
      code: "NodeFailed",
      message: "late",
    });
  });

  test("anything at all, never an exception, and never a long text", () => {
    fc.assert(
      fc.property(
        fc.anything({
          withNullPrototype: true,
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSparseArray: true,
        }),
        (thrown) => {
          const { code, message } = of(thrown);
          expect(typeof message).toBe("string");
          expect(message.length).toBeLessThanOrEqual(4_001);
          expect(code).toBe("NodeFailed");
        },
      ),
    );
    expect(of(new Error("x".repeat(1e6))).message.length).toBe(4_001);
  });
});
