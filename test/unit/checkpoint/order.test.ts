import fc from "fast-check";
import { expect, test } from "vitest";
import { compareCodePoints } from "../../../src/checkpoint/order.ts";

test("surrogate pairs come after the rest of the basic plane", () => {
  expect("\u{1F600}" < "\uFFFD").toBe(true);
  expect(compareCodePoints("\u{1F600}", "\uFFFD")).toBeGreaterThan(0);
  expect(["\uE000", "\u{10000}", "\uD7FF", "a"].sort(compareCodePoints)).toEqual([
    "a",
    "\uD7FF",
    "\uE000",
    "\u{10000}",
  ]);
});

test("a prefix comes first, and equal strings are equal", () => {
  expect(compareCodePoints("ab", "abc")).toBeLessThan(0);
  expect(compareCodePoints("abc", "ab")).toBeGreaterThan(0);
  expect(compareCodePoints("", "")).toBe(0);
  expect(compareCodePoints("a\u{1F600}", "a\u{1F600}")).toBe(0);
});

test("it is the order of the UTF-8 bytes", () => {
  const near = fc.string({
    unit: fc.constantFrom("a", "\u0000", "\uD7FF", "\uE000", "\uFFFF", "\u{10000}", "\u{10FFFF}"),
  });
  fc.assert(
    fc.property(
      fc.oneof(near, fc.string({ unit: "binary" })),
      fc.oneof(near, fc.string({ unit: "binary" })),
      (a, b) => {
        const bytes = Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect(Math.sign(compareCodePoints(a, b))).toBe(bytes);
      },
    ),
    { numRuns: 2000 },
  );
});
