import fc from "fast-check";
import { expect, test } from "vitest";
import { packValues, unpackValues } from "../../../src/checkpoint/pack.ts";
import { AgentmaticError } from "../../../src/errors.ts";

const bytes = (...numbers: number[]) => new Uint8Array(numbers);

function codeOf(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (error instanceof AgentmaticError) return error.code;
    throw error;
  }
  return "nothing thrown";
}

test("any names and bytes come back as they went in", () => {
  const values = fc.dictionary(fc.string({ unit: "binary" }), fc.uint8Array({ maxLength: 300 }));
  fc.assert(
    fc.property(values, fc.nat(7), (written, shift) => {
      const packed = packValues(written);
      // As a view at an odd place of a larger buffer, which is how drivers hand rows out.
      const buffer = new Uint8Array(packed.length + shift);
      buffer.set(packed, shift);
      const read = unpackValues(buffer.subarray(shift));
      expect(Object.keys(read).sort()).toEqual(Object.keys(written).sort());
      for (const [name, value] of Object.entries(written)) expect(read[name]).toEqual(value);
    }),
  );
});

test("names that objects treat in their own way", () => {
  const written = Object.fromEntries([
    ["__proto__", bytes(1)],
    ["constructor", bytes(2)],
    ["", bytes(3)],
    ["\u0000", bytes()],
    ["\uFEFFbom", bytes(4)],
  ]);
  expect(Object.entries(unpackValues(packValues(written)))).toEqual(Object.entries(written));
  expect(unpackValues(packValues({}))).toEqual({});
});

test("the bytes of format 1 stay as they are", () => {
  const packed = packValues({ a: bytes(7, 8), é: bytes(9) });
  expect([...packed]).toEqual([1, 1, 0, 0, 0, 2, 0, 0, 0, 97, 7, 8, 2, 0, 0, 0, 1, 0, 0, 0, 0xc3, 0xa9, 9]);
});

test("a name that UTF-8 cannot carry is refused, not changed", () => {
  expect(codeOf(() => packValues({ "a\uD800": bytes(1) }))).toBe("InvalidArgument");
});

test("damaged bytes are DataLoss at every cut and never more than that", () => {
  const packed = packValues({ messages: bytes(1, 2, 3, 4), step: bytes(5) });
  const ends = [1, 1 + 8 + 8 + 4, packed.length];
  for (let cut = 0; cut <= packed.length; cut++) {
    const part = packed.slice(0, cut);
    expect(
      codeOf(() => unpackValues(part)),
      `cut at ${cut}`,
    ).toBe(ends.includes(cut) ? "nothing thrown" : "DataLoss");
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (random) => {
      const code = codeOf(() => unpackValues(random));
      expect(["nothing thrown", "DataLoss", "FailedPrecondition"]).toContain(code);
    }),
    { numRuns: 2000 },
  );
});

test("lengths near four gigabytes do not wrap around", () => {
  expect(codeOf(() => unpackValues(bytes(1, 255, 255, 255, 255, 255, 255, 255, 255, 97)))).toBe("DataLoss");
});

test("a newer format and a repeated name are told apart from good bytes", () => {
  expect(codeOf(() => unpackValues(bytes(2)))).toBe("FailedPrecondition");
  expect(codeOf(() => unpackValues(bytes(0)))).toBe("DataLoss");
  const one = packValues({ a: bytes(1) });
  expect(codeOf(() => unpackValues(new Uint8Array([...one, ...one.subarray(1)])))).toBe("DataLoss");
  expect(codeOf(() => unpackValues(bytes(1, 1, 0, 0, 0, 0, 0, 0, 0, 0xff)))).toBe("DataLoss");
});
