/** State described by schemas: defaults, checks of inputs and of what nodes return, and the paths in their errors. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { Annotation } from "../../../src/graph/channels.ts";
import { Overwrite } from "../../../src/graph/command.ts";
import { ephemeral } from "../../../src/graph/kinds.ts";
import { checkUpdate, type StandardResult, type StandardSchema, validate } from "../../../src/graph/schema.ts";
import { MessagesValue, ReducedValue, StateSchema, UntrackedValue } from "../../../src/graph/state-schema.ts";
import { MemorySaver, START, StateGraph } from "../../../src/mod.ts";

const Turn = z.object({ role: z.string(), content: z.string() });

/** A graph of one node that returns `update`. */
function one<I extends StateSchema<never> | ConstructorParameters<typeof StateGraph>[0]>(init: I, update: unknown) {
  return new StateGraph(init as never)
    .addNode("n", () => update as never)
    .addEdge(START, "n")
    .compile({ name: "g" });
}

describe("fields", () => {
  const State = new StateSchema({
    name: z.string(),
    count: z.number().default(0),
    turns: new ReducedValue(
      z.array(Turn).default(() => []),
      { inputSchema: Turn, reducer: (all, turn) => [...all, turn] },
    ),
    biggest: new ReducedValue(z.number(), { reducer: (a, b) => Math.max(a, b) }),
    scratch: new UntrackedValue(z.string()),
    messages: MessagesValue,
    note: ephemeral<string>(),
    plain: Annotation<boolean>,
  });

  test("become channels with their defaults, made anew for each thread", async () => {
    const seen: unknown[] = [];
    const graph = new StateGraph(State)
      .addNode("n", (state) => {
        seen.push(state.turns);
        return { turns: { role: "user", content: state.name }, biggest: state.count, plain: true };
      })
      .addEdge(START, "n")
      .compile({ checkpointer: new MemorySaver() });
    const first = await graph.invoke({ name: "a" }, { threadId: "1" });
    const second = await graph.invoke({ name: "b", biggest: 5 }, { threadId: "2" });
    expect(first).toEqual({
      name: "a",
      count: 0,
      turns: [{ role: "user", content: "a" }],
      biggest: 0,
      messages: [],
      plain: true,
    });
    expect(second.biggest).toBe(5);
    expect(seen[0]).not.toBe(seen[1]);
  });

  test("a default is the schema's output", () => {
    const channels = new StateSchema({ at: z.string().default("5").transform(Number) }).getChannels();
    expect(channels.at.initial?.()).toBe(5);
  });

  test("a schema that takes nothing, or cannot say so at once, has no default", () => {
    const late = z.string().refine(async (text) => text.length > 0);
    const channels = new StateSchema({ a: z.string().optional(), b: z.any(), c: late, d: z.string() }).getChannels();
    expect(Object.values(channels).map(({ initial }) => initial)).toEqual([undefined, undefined, undefined, undefined]);
  });

  test.each([
    ["state.a", () => new StateSchema({ a: 5 as never }).getChannels()],
    ["state.a", () => new StateGraph(new StateSchema({ a: null as never }))],
    ["StateSchema", () => new StateSchema(undefined as never)],
    ["ReducedValue", () => new ReducedValue({} as never, { reducer: () => 1 })],
    ["ReducedValue.reducer", () => new ReducedValue(z.number(), {} as never)],
    ["ReducedValue.inputSchema", () => new ReducedValue(z.number(), { reducer: (a) => a, inputSchema: 5 as never })],
    ["UntrackedValue", () => new UntrackedValue("x" as never)],
  ])("%s: what is none is refused", (field, make) => {
    expect(make).toThrow(expect.objectContaining({ code: "InvalidArgument", details: { field } }));
  });
});

describe("an input", () => {
  const state = {
    messages: new ReducedValue(z.array(Turn), { inputSchema: z.array(Turn), reducer: (a, b) => [...a, ...b] }),
  };

  test("that does not fit is refused with its path", async () => {
    const messages = [
      { role: "user", content: "a" },
      { role: "user", content: 5 },
    ];
    const saver = new MemorySaver();
    const graph = new StateGraph(new StateSchema(state))
      .addNode("n", () => ({}))
      .addEdge(START, "n")
      .compile({ checkpointer: saver });
    await expect(graph.invoke({ messages } as never, { threadId: "t" })).rejects.toMatchObject({
      code: "InvalidArgument",
      message: expect.stringMatching(/^input\.messages\[1\]\.content: .*expected string/),
      details: { path: "input.messages[1].content" },
    });
  });

  test("is converted by its schemas", async () => {
    const graph = one(new StateSchema({ n: z.coerce.number(), at: z.string().trim() }), {});
    expect(await graph.invoke({ n: "5", at: " x " })).toEqual({ n: 5, at: "x" });
  });

  test("of a whole schema is checked as a whole, defaults included", async () => {
    const graph = new StateGraph({
      state: z.object({ a: z.number().optional(), b: z.number().optional(), c: z.number().optional() }),
      input: z.object({ a: z.number(), b: z.number().default(2) }).refine(({ a, b }) => a < b, "a must be below b"),
    })
      .addNode("n", ({ a, b }) => ({ c: (a ?? 0) + (b ?? 0) }))
      .addEdge(START, "n")
      .compile();
    expect(await graph.invoke({ a: 1 })).toEqual({ a: 1, b: 2, c: 3 });
    await expect(graph.invoke({ a: 5 })).rejects.toThrow(/^input: a must be below b/);
    await expect(graph.invoke({ c: 5 } as never)).rejects.toThrow(/input\.c/);
    await expect(graph.invoke({} as never)).rejects.toThrow(/^input\.a: /);
  });
});

describe("what a node returns", () => {
  const State = new StateSchema({
    messages: new ReducedValue(
      z.array(Turn).default(() => []),
      {
        inputSchema: z.array(Turn),
        reducer: (a, b) => [...a, ...b],
      },
    ),
    n: z.number().default(0),
  });

  test("that does not fit is told by graph, node and path", async () => {
    const bad = { messages: [{ role: "a", content: "b" }, {}, {}, { role: "a", content: 1 }].slice(3) };
    await expect(one(State, bad).invoke({})).rejects.toMatchObject({
      code: "NodeFailed",
      message: expect.stringMatching(/^graph "g", node "n": messages\[0\]\.content: .*expected string/),
      details: { node: "n", channel: "messages", path: "messages[0].content" },
    });
  });

  test("is converted, and checked before the state is touched", async () => {
    const graph = one(new StateSchema({ n: z.coerce.number() }), { n: "7" });
    expect(await graph.invoke({})).toEqual({ n: 7 });
    await expect(one(State, { n: "7" }).invoke({ n: 1 })).rejects.toThrow(/node "n": n: /);
  });

  test("an overwrite takes the place of what was reduced", async () => {
    const graph = one(State, { messages: new Overwrite([{ role: "r", content: "only" }]) });
    const { messages } = (await graph.invoke({ messages: [{ role: "a", content: "b" }] })) as never;
    expect(messages).toEqual([{ role: "r", content: "only" }]);
  });

  test("is checked by schemas that take their time", async () => {
    const slow = z.string().refine(async (text) => text === "good", "is not good");
    expect(await one(new StateSchema({ s: slow }), { s: "good" }).invoke({})).toEqual({ s: "good" });
    await expect(one(new StateSchema({ s: slow }), { s: "bad" }).invoke({})).rejects.toThrow(
      /node "n": s: is not good/,
    );
  });
});

describe("a whole object schema", () => {
  test("of zod gives a channel for each key, checked by itself", async () => {
    const Shape = z.object({ a: z.string(), n: z.number().default(3), deep: z.object({ x: z.number() }).optional() });
    const graph = new StateGraph(Shape)
      .addNode("n", ({ n }) => ({ n: n + 1 }))
      .addEdge(START, "n")
      .compile();
    expect(await graph.invoke({ a: "x" })).toEqual({ a: "x", n: 4 });
    await expect(graph.invoke({ deep: { x: "1" } } as never)).rejects.toThrow(/^input\.deep\.x: /);
    await expect(graph.invoke({ b: 1 } as never)).rejects.toThrow(/input\.b/);
  });

  test("with entries, as valibot's, gives its fields", () => {
    const schema = { ...fake(() => ({ value: {} })), entries: { a: z.string(), b: z.number().default(1) } };
    const graph = new StateGraph(schema).addNode("n", () => ({})).addEdge(START, "n");
    expect([...graph.plan().channels.keys()]).toEqual(["a", "b"]);
    expect(graph.plan().channels.get("b")?.initial?.()).toBe(1);
  });

  test("of a library that describes itself gives the fields of its JSON Schema", async () => {
    const schema = described({ a: { type: "string" }, n: { type: "number", default: 2 } }, (value) => {
      const { a, n } = value as { a?: unknown; n?: unknown };
      const issues = [
        ...(typeof a === "string" ? [] : [{ message: "expected text", path: ["a"] }]),
        ...(typeof n === "number" ? [] : [{ message: "expected a number", path: [{ key: "n" }] }]),
      ];
      return issues.length > 0 ? { issues } : { value };
    });
    const graph = one(schema, { a: "b" });
    expect(await graph.invoke({})).toEqual({ a: "b", n: 2 });
    await expect(graph.invoke({ n: "x" })).rejects.toThrow(/^input\.n: expected a number$/);
    await expect(one(schema, { a: 5 }).invoke({})).rejects.toThrow(/node "n": a: expected text$/);
  });

  test("that cannot be taken apart says what to use", () => {
    const make = () => new StateGraph(fake(() => ({ value: {} })));
    expect(make).toThrow(expect.objectContaining({ code: "InvalidArgument", details: { field: "state" } }));
    expect(make).toThrow(/new StateSchema/);
    expect(() => new StateGraph(z.record(z.string(), z.number()))).toThrow(/new StateSchema/);
  });
});

describe("a schema that misbehaves", () => {
  test.each([
    [
      "throws",
      () => {
        throw new Error("boom");
      },
      /^place\.x: its schema threw: boom/,
    ],
    ["gives nothing", () => undefined as never, /^place\.x: its schema threw/],
    ["has no issue to tell", () => ({ issues: [] }), /^place\.x: does not fit/],
  ] as const)("%s", (_what, check, message) => {
    expect(() => checkUpdate(fake(check), 1, "place.x")).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
    expect(() => checkUpdate(fake(check), 1, "place.x")).toThrow(message);
  });

  test("rejects", async () => {
    const schema = fake(async () => {
      throw new Error("late");
    });
    await expect(checkUpdate(schema, 1, "x")).rejects.toThrow(/^x: its schema threw: late$/);
  });

  test("tells the first ten issues and how many more", () => {
    const issues = Array.from({ length: 13 }, (_, index) => ({ message: "no", path: [index] }));
    expect(() =>
      checkUpdate(
        fake(() => ({ issues })),
        1,
        "x",
      ),
    ).toThrow(/^x\[0\]: no; .*x\[9\]: no; and 3 more$/);
  });
});

test("a schema that answers at once is asked without a promise", async () => {
  expect(checkUpdate(z.coerce.number(), "5", "x")).toBe(5);
  expect(
    checkUpdate(
      fake(async () => ({ value: 6 })),
      "5",
      "x",
    ),
  ).toBeInstanceOf(Promise);
  expect(await validate(z.number(), 5)).toBe(5);
});

function fake(check: (value: unknown) => StandardResult<unknown> | Promise<StandardResult<unknown>>): StandardSchema {
  return { "~standard": { version: 1, vendor: "fake", validate: check } };
}

function described(properties: object, check: (value: unknown) => StandardResult<unknown>): StandardSchema {
  const jsonSchema = { input: () => ({ type: "object", properties }) };
  return { "~standard": { ...fake(check)["~standard"], jsonSchema } };
}
