import { expect, test } from "vitest";
import { z } from "zod";
import { finalForm } from "../../../src/agent/final.ts";

test("reads JSON, in a fence as well, and says what is wrong with the rest", async () => {
  const { read } = finalForm(z.object({ n: z.coerce.number() }));
  expect(await read(' {"n":"5"}\n')).toEqual({ value: { n: 5 } });
  expect(await read('```json\n{"n":5}\n```')).toEqual({ value: { n: 5 } });
  expect(await read("five")).toEqual({ problem: expect.stringMatching(/^output: is not JSON: /) });
  expect(await read('{"n":"five"}')).toEqual({ problem: expect.stringMatching(/^output\.n: /) });
  const later = finalForm(z.object({ n: z.number() }).refine(async ({ n }) => n > 5, "too small"));
  expect(await later.read('{"n":5}')).toEqual({ problem: "output: too small" });
});

test("shows the schema with its objects closed, and values in it as they are", () => {
  const { format } = finalForm(
    z.object({
      list: z.array(z.object({ a: z.string() })),
      open: z.looseObject({ b: z.string() }),
      map: z.record(z.string(), z.number()),
      one: z.literal("x").default("x"),
    }),
  );
  expect(format.responseFormat).toMatchObject({
    type: "json",
    schema: {
      additionalProperties: false,
      properties: {
        list: { items: { properties: { a: { type: "string" } }, additionalProperties: false } },
        open: { additionalProperties: {} },
        map: { additionalProperties: { type: "number" } },
        one: { const: "x", default: "x" },
      },
    },
  });
  const given = { type: "object", properties: {}, default: { type: "object", properties: {} } };
  expect(finalForm(z.date(), given).format.responseFormat).toEqual({
    type: "json",
    schema: { ...given, additionalProperties: false },
  });
});

test("a field may have the name of a keyword", () => {
  const inner = { type: "object", properties: {} };
  const given = { type: "object", properties: { default: inner, enum: inner } };
  const shut = { ...inner, additionalProperties: false };
  expect(finalForm(z.unknown(), given).format.responseFormat).toMatchObject({
    schema: { properties: { default: shut, enum: shut } },
  });
});
