/** What the types say of the forms in which people write graphs: checked by the compiler, run for good measure. */
import { expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { Annotation, type Channel, type StateOf, type UpdateFor } from "../../../src/graph/channels.ts";
import { Command, Overwrite, type OverwriteValue, Send } from "../../../src/graph/command.ts";
import type { NodeContext } from "../../../src/graph/context.ts";
import { topic } from "../../../src/graph/kinds.ts";
import type { Message, MessagesAnnotation, MessagesOf } from "../../../src/graph/messages.ts";
import { MessagesValue, ReducedValue, StateSchema, UntrackedValue } from "../../../src/graph/state-schema.ts";
import { CompiledGraph, END, START, StateGraph } from "../../../src/mod.ts";

const spec = {
  text: Annotation<string>,
  count: Annotation<number>(),
  log: Annotation<string[], string>({ reducer: (all, one) => [...all, one], default: () => [] }),
  tags: topic<string>(),
};

test("channels: state and update", () => {
  type State = StateOf<typeof spec>;
  expectTypeOf<State>().toEqualTypeOf<{ text: string; count: number; log: string[]; tags: readonly string[] }>();
  expectTypeOf<NonNullable<UpdateFor<typeof spec>["log"]>>().toEqualTypeOf<
    string | Overwrite<string[]> | OverwriteValue<string[]>
  >();
  const update: UpdateFor<typeof spec> = { log: new Overwrite(["x"]), tags: ["a"], count: 1 };
  const plain: UpdateFor<typeof spec> = { log: { __overwrite__: [] } };
  // @ts-expect-error an update of a list of strings is a string
  const wrong: UpdateFor<typeof spec> = { log: 5 };
  expect([update, plain, wrong]).toHaveLength(3);
});

test("channels: a graph of them", () => {
  const graph = new StateGraph(spec)
    .addNode("a", (state, context) => {
      expectTypeOf(state).toEqualTypeOf<StateOf<typeof spec>>();
      expectTypeOf(context).toExtend<NodeContext>();
      expectTypeOf(context.context).toExtend<Readonly<Record<string, unknown>>>();
      return { count: state.count + 1 };
    })
    .addNode("b", async () => new Command({ goto: "a" }), { ends: ["a"] })
    .addNode("c", async ({ log }) => ({ log: log[0] ?? "" }))
    .addNode("d", (item: { readonly own: number }) => ({ count: item.own }))
    .addNode<{ own: number }>("e", (item) => ({ count: item.own }))
    .addNode("f", (state) => [new Send("d", { own: state.count }), { text: "" }])
    .addNode("g", () => {})
    .addConditionalEdges("a", (state) => (state.count > 1 ? END : [new Send("d", {}), "c"]));
  // @ts-expect-error a node may write channels by their types only
  graph.addNode("h", () => ({ count: "many" }));
  const compiled = graph.addEdge(START, "a").compile();
  type Result = Awaited<ReturnType<typeof compiled.invoke>>;
  expectTypeOf<Result["log"]>().toEqualTypeOf<string[]>();
  expectTypeOf<Parameters<typeof compiled.invoke>[0]>().toEqualTypeOf<UpdateFor<typeof spec> | Command | null>();
  const general: CompiledGraph = compiled;
  expect(general).toBe(compiled);
});

test("Annotation.Root", () => {
  const State = Annotation.Root(spec);
  expectTypeOf<typeof State.State>().toEqualTypeOf<StateOf<typeof spec>>();
  expectTypeOf<typeof State.Update>().toEqualTypeOf<UpdateFor<typeof spec>>();
  const node: typeof State.Node = ({ count }) => ({ count });
  const More = Annotation.Root({ ...State.spec, more: Annotation<boolean> });
  expectTypeOf<Omit<typeof More.State, "more">>().toEqualTypeOf<StateOf<typeof spec>>();
  expectTypeOf<(typeof More.State)["more"]>().toEqualTypeOf<boolean>();
  const graph = new StateGraph(State).addNode("a", node).addEdge(START, "a").compile();
  expectTypeOf<Awaited<ReturnType<typeof graph.invoke>>["text"]>().toEqualTypeOf<string>();
  expectTypeOf<typeof MessagesAnnotation.State>().toEqualTypeOf<{ messages: readonly Message[] }>();
});

const Fields = new StateSchema({
  name: z.string(),
  count: z.number().default(0),
  parsed: z.string().transform(Number),
  log: new ReducedValue(z.array(z.string()), { inputSchema: z.string(), reducer: (all, one) => [...all, one] }),
  max: new ReducedValue(z.number(), { reducer: (a, b) => Math.max(a, b) }),
  scratch: new UntrackedValue(z.boolean()),
  messages: MessagesValue,
});

test("StateSchema", () => {
  expectTypeOf<typeof Fields.State>().toEqualTypeOf<{
    name: string;
    count: number;
    parsed: number;
    log: string[];
    max: number;
    scratch: boolean;
    messages: readonly Message[];
  }>();
  type Update = typeof Fields.Update;
  const update: Update = { parsed: "5", log: "x", messages: { role: "user", content: "hi" } };
  // @ts-expect-error the schema takes text
  const wrong: Update = { parsed: 5 };
  expectTypeOf<Extract<Update["messages"], MessagesOf<Message>>>().toEqualTypeOf<MessagesOf<Message>>();
  new StateGraph(Fields).addNode("a", (state) => {
    expectTypeOf(state.parsed).toEqualTypeOf<number>();
    return { parsed: String(state.parsed) };
  });
  expect([update, wrong]).toHaveLength(2);
});

test("a zod object", () => {
  const graph = new StateGraph(z.object({ a: z.string(), n: z.number().default(1), at: z.string().transform(Number) }))
    .addNode("a", (state) => {
      expectTypeOf(state).toEqualTypeOf<{ a: string; n: number; at: number }>();
      return { at: "5", n: state.n };
    })
    .addEdge(START, "a")
    .compile();
  expectTypeOf<Awaited<ReturnType<typeof graph.invoke>>["at"]>().toEqualTypeOf<number>();
});

test("state, input, output and context as parts", async () => {
  const graph = new StateGraph({
    state: spec,
    input: z.object({ text: z.string(), count: z.number().default(1) }),
    output: ["log"],
    context: z.object({ user: z.string().default("nobody") }),
  })
    .addNode("a", (state, { context }) => {
      expectTypeOf(context.user).toEqualTypeOf<string>();
      expectTypeOf(state.count).toEqualTypeOf<number>();
      return { log: `${context.user}:${state.text}${state.count}` };
    })
    .addEdge(START, "a")
    .addConditionalEdges("a", (_state, { context }) => (context.user === "x" ? END : END), [END])
    .compile();
  const result = await graph.invoke({ text: "t" }, { context: { user: "me" } });
  expectTypeOf(result.log).toEqualTypeOf<string[]>();
  expect(result).toEqual({ log: ["me:t1"] });
  // @ts-expect-error the output has no text
  result.text;
  // @ts-expect-error the input must have text
  await expect(graph.invoke({ count: 5 })).rejects.toThrow(/input\.text/);
  // @ts-expect-error the user is text
  await expect(graph.invoke({ text: "t" }, { context: { user: 5 } })).rejects.toThrow(/context\.user/);
});

test("parts beside the state", async () => {
  const graph = new StateGraph(spec, { input: ["text", "count"], output: { text: Annotation<string> } })
    .addNode("a", ({ text }) => ({ text: `${text}!`, log: "x" }))
    .addEdge(START, "a")
    .compile();
  expectTypeOf<Exclude<Parameters<typeof graph.invoke>[0], Command | null>>().toEqualTypeOf<
    Pick<UpdateFor<typeof spec>, "text" | "count">
  >();
  const result = await graph.invoke({ text: "a" });
  expectTypeOf<keyof typeof result>().toEqualTypeOf<"text" | "__interrupt__">();
  expect(result).toEqual({ text: "a!" });
});

test("a context schema as the second argument", () => {
  new StateGraph(Annotation.Root(spec), z.object({ user: z.string() })).addNode("a", (_state, { context }) => {
    expectTypeOf(context.user).toEqualTypeOf<string>();
  });
  new StateGraph(Annotation.Root(spec), Annotation.Root({ user: Annotation<string> })).addNode(
    "a",
    (_state, { context }) => {
      expectTypeOf(context.user).toEqualTypeOf<string>();
    },
  );
});

test("a node's own input", () => {
  new StateGraph(spec)
    .addNode(
      "names",
      (state) => {
        expectTypeOf(state).toEqualTypeOf<{ text: string; count: number }>();
        // @ts-expect-error the node is not given it
        return { text: state.log };
      },
      { input: ["text", "count"] },
    )
    .addNode(
      "spec",
      (state) => {
        expectTypeOf(state).toEqualTypeOf<{ count: number; secret: string }>();
        return {};
      },
      { input: { count: Annotation<number>, secret: Annotation<string> } },
    )
    .addNode(
      "schema",
      (state) => {
        expectTypeOf(state).toEqualTypeOf<{ text: string }>();
      },
      { input: z.object({ text: z.string() }) },
    );
});

test("an error handler", () => {
  new StateGraph(spec).addNode("a", () => ({}), {
    errorHandler: (state, failure, context) => {
      expectTypeOf(state.count).toEqualTypeOf<number>();
      expectTypeOf(failure.attempts).toEqualTypeOf<number>();
      expectTypeOf(context.node).toEqualTypeOf<string>();
      return new Command({ update: { count: 0 }, goto: END });
    },
  });
});

test("explicit types of a state stay possible", () => {
  type Channels = { readonly list: Channel<readonly string[], string> };
  const graph: CompiledGraph<Channels> = new StateGraph<Channels>({
    list: Annotation<readonly string[], string>({ reducer: (all, one) => [...all, one], default: () => [] }),
  })
    .addNode("a", ({ list }) => ({ list: `${list.length}` }))
    .addEdge(START, "a")
    .compile();
  expect(graph).toBeInstanceOf(CompiledGraph);
});
