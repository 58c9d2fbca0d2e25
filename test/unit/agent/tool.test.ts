import { expect, test } from "vitest";
import { z } from "zod";
import { toJson } from "../../../src/agent/json.ts";
import { type StandardSchema, tool } from "../../../src/mod.ts";

/** A schema of the first version of the standard: it can validate and nothing more. */
const plain: StandardSchema<unknown, { n: number }> = {
  "~standard": {
    version: 1,
    vendor: "hand",
    validate: async (value) => {
      const n = (value as { n?: unknown } | null)?.n;
      if (typeof n === "number") return { value: { n: n + 1 } };
      const issues = Array.from({ length: 12 }, () => ({ message: "must be a number", path: [{ key: "n" }, 0] }));
      return { issues };
    },
  },
};

test("a schema that cannot describe itself needs jsonSchema, and then serves", async () => {
  const options = { name: "t", description: "d", input: plain, execute: ({ n }: { n: number }) => n };
  expect(() => tool(options)).toThrow(
    expect.objectContaining({
      code: "InvalidArgument",
      message: 'tool "t": jsonSchema: is needed: this hand schema does not describe itself as JSON Schema',
    }),
  );
  const made = tool({ ...options, jsonSchema: { type: "object", properties: { n: { type: "number" } } } });
  expect(made.jsonSchema).toEqual({ type: "object", properties: { n: { type: "number" } } });
  expect(await made.read({ n: 1 })).toEqual({ n: 2 });
  const issue = "input.n[0]: must be a number";
  await expect(made.read({})).rejects.toMatchObject({
    code: "InvalidArgument",
    message: [...Array.from({ length: 10 }, () => issue), "and 2 more"].join("; "),
  });
});

test("zod describes itself; what it cannot describe asks for jsonSchema", async () => {
  const made = tool({
    name: "t",
    description: "d",
    input: z.object({ n: z.number().default(3) }),
    execute: ({ n }) => n,
  });
  // A default is the schema's to fill in: the model need not give it.
  expect(made.jsonSchema).toMatchObject({ type: "object", properties: { n: { type: "number", default: 3 } } });
  expect(made.jsonSchema).not.toHaveProperty("required");
  expect(made.read({})).toEqual({ n: 3 });
  expect(() => tool({ name: "t", description: "d", input: z.object({ at: z.date() }), execute: () => 0 })).toThrow(
    /^tool "t": jsonSchema: is needed: zod cannot describe/,
  );
  const given = tool({
    name: "t",
    description: "d",
    input: z.object({ at: z.coerce.date() }),
    jsonSchema: z.toJSONSchema(z.object({ at: z.iso.datetime() })),
    execute: ({ at }) => at.getTime(),
  });
  expect(given.read({ at: "1970-01-01T00:00:01Z" })).toEqual({ at: new Date(1_000) });
});

test("bad definitions name the tool and the field", () => {
  const input = z.object({});
  const good = { name: "t", description: "d", input, execute: () => 0 };
  expect(() => tool({ ...good, name: "two words" })).toThrow(/^name: /);
  expect(() => tool({ ...good, name: "x".repeat(65) })).toThrow(/^name: /);
  expect(() => tool({ ...good, description: "" })).toThrow(/^tool "t": description: /);
  expect(() => tool({ ...good, input: { type: "object" } as never })).toThrow(
    /^tool "t": input: must be a Standard Schema/,
  );
  expect(() => tool({ ...good, execute: undefined as never })).toThrow(/^tool "t": execute: /);
  expect(() => tool({ ...good, jsonSchema: "object" as never })).toThrow(/^tool "t": jsonSchema: /);
  expect(() => tool({ ...good, approval: "yes" as never })).toThrow(/^tool "t": approval: /);
  expect(() => tool({ ...good, timeoutMs: 0 })).toThrow(/^tool "t": timeoutMs: /);
  expect(() => tool({ ...good, retryPolicy: { maxAttempts: 0 } })).toThrow(/^tool "t": retryPolicy.maxAttempts: /);
});

test("results become JSON as JSON.stringify sees them, or are refused with their path", () => {
  const rows = [{ at: new Date(0), url: new URL("https://example.org/"), gone: undefined }, [null, undefined, 1]];
  expect(toJson(rows, "r")).toEqual(JSON.parse(JSON.stringify(rows)));
  expect(toJson(Object.assign(Object.create(null), { a: 1 }), "r")).toEqual({ a: 1 });
  expect(toJson(Array(2), "r")).toStrictEqual([null, null]);
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  let shared: object = {};
  for (let level = 0; level < 30; level++) shared = { a: shared, b: shared };
  const refused: [unknown, string][] = [
    [shared, "is told after 1000000 other values"],
    [{ a: [1n] }, "r.a[0]: is a bigint"],
    [{ n: Number.NaN }, "r.n: is NaN"],
    [{ s: new Set() }, "r.s: is of type Set"],
    [new Uint8Array(2), "r: is of type Uint8Array"],
    [{ f: () => 0 }, "r.f: is a function"],
    [cycle, "contains itself"],
  ];
  for (const [value, problem] of refused) {
    expect(() => toJson(value, "r")).toThrow(
      expect.objectContaining({ code: "StateNotSerializable", message: expect.stringContaining(problem) }),
    );
  }
});
