/** A conversation as a channel: appended to, replaced by id, shortened; stored, and fast when it is long. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addMessages,
  isRemoval,
  type Message,
  MessagesAnnotation,
  messagesChannel,
  messagesReducer,
  REMOVE_ALL_MESSAGES,
  RemoveMessage,
  type WithId,
} from "../../../src/graph/messages.ts";
import { decodeValue, encodeValue, MemorySaver, START, StateGraph } from "../../../src/mod.ts";

interface Line extends WithId {
  readonly text: string;
}
const line = (text: string, id?: string): Line => (id === undefined ? { text } : { id, text });
const reduce = (current: readonly Line[], update: Parameters<typeof messagesReducer<Line>>[1]) =>
  messagesReducer<Line>(current, update);

describe("the reducer", () => {
  test("appends one or several, replaces in place by id, and keeps messages without an id as they are", () => {
    const first = reduce([], line("hello"));
    const second = reduce(first, [line("a", "1"), line("b", "2")]);
    const third = reduce(second, [line("A", "1"), line("again"), line("c", "3")]);
    expect(first).toEqual([{ text: "hello" }]);
    expect(third.map(({ text }) => text)).toEqual(["hello", "A", "b", "again", "c"]);
    expect(second.map(({ text }) => text)).toEqual(["hello", "a", "b"]);
  });

  test("takes an id twice in one update as a replacement", () => {
    expect(reduce([], [line("a", "1"), line("b", "1")])).toEqual([line("b", "1")]);
  });

  test("removes by id, in the update that brought it, too, and not where it is brought back", () => {
    const list = reduce([], [line("a", "1"), line("b", "2"), line("c", "3")]);
    expect(reduce(list, new RemoveMessage({ id: "2" }))).toEqual([line("a", "1"), line("c", "3")]);
    expect(reduce(list, [line("d", "4"), new RemoveMessage({ id: "4" })])).toEqual(list);
    expect(reduce(list, [new RemoveMessage({ id: "2" }), line("B", "2")]).map(({ text }) => text)).toEqual([
      "a",
      "B",
      "c",
    ]);
    expect(reduce(list, [RemoveMessage({ id: "1" }), RemoveMessage({ id: "1" })])).toHaveLength(2);
  });

  test("finds messages after others were removed", () => {
    const list = reduce([], [line("a", "1"), line("b", "2"), line("c", "3")]);
    const shorter = reduce(list, new RemoveMessage({ id: "1" }));
    expect(reduce(shorter, [line("C", "3")])).toEqual([line("b", "2"), line("C", "3")]);
    expect(reduce(shorter, line("new", "1")).at(-1)).toEqual(line("new", "1"));
  });

  test("removes all, and what stands before that in the same update", () => {
    const list = reduce([], [line("a", "1"), line("b")]);
    const all = new RemoveMessage({ id: REMOVE_ALL_MESSAGES });
    expect(reduce(list, all)).toEqual([]);
    expect(reduce(list, [line("x"), new RemoveMessage({ id: "unknown" }), all, line("c", "1")])).toEqual([
      line("c", "1"),
    ]);
  });

  test("names the id that is not there to remove", () => {
    const list = reduce([], line("a", "1"));
    expect(() => reduce(list, [line("b"), new RemoveMessage({ id: "nope" })])).toThrow(
      expect.objectContaining({ code: "InvalidArgument", message: expect.stringMatching(/messages\[1\].*"nope"/) }),
    );
  });

  test.each([
    [null, "messages[0]"],
    ["text", "messages[0]"],
    [[{ text: "a" }, 5], "messages[1]"],
    [[{ id: 5, text: "a" }], "messages[0].id"],
  ])("refuses %j by its place", (update, field) => {
    expect(() => reduce([], update as never)).toThrow(expect.objectContaining({ details: { field } }));
  });

  test("changes neither of the two, and gives the same for the same", () => {
    const list = Object.freeze([Object.freeze(line("a", "1")), Object.freeze(line("b", "2"))]) as readonly Line[];
    const update = Object.freeze([Object.freeze(line("B", "2")), Object.freeze(line("c"))]) as readonly Line[];
    const once = reduce(list, update);
    expect(reduce(list, update)).toEqual(once);
    expect(once).toEqual([line("a", "1"), line("B", "2"), line("c")]);
  });

  test("addMessages is the same under another name", () => {
    expect(addMessages).toBe(messagesReducer);
  });
});

/** What the reducer does, without places that lists share. */
function plainly(
  current: readonly Line[],
  update: readonly (Line | { readonly __remove__: string })[],
): readonly Line[] {
  let next = [...current];
  for (const entry of update) {
    if (isRemoval(entry)) next = next.filter(({ id }) => id !== entry.__remove__);
    else {
      const at = entry.id === undefined ? -1 : next.findIndex(({ id }) => id === entry.id);
      if (at < 0) next.push(entry as Line);
      else next[at] = entry as Line;
    }
  }
  return next;
}

test("lists that grew out of one another and went different ways do not mix", () => {
  const id = fc.constantFrom("a", "b", "c", "d", "e", undefined);
  const step = fc.record({
    // Which of the lists so far to go on from.
    from: fc.nat(),
    update: fc.array(fc.record({ id, text: fc.string({ maxLength: 2 }) }), { maxLength: 3 }),
    remove: fc.constantFrom(undefined, "a", "b", "c"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const lists: (readonly Line[])[] = [[]];
      for (const { from, update, remove } of steps) {
        const base = lists[from % lists.length]!;
        const known = remove !== undefined && base.some((message) => message.id === remove);
        const all = known ? [new RemoveMessage({ id: remove }), ...update.filter((one) => one.id !== remove)] : update;
        const next = reduce(base, all as Line[]);
        expect(next).toEqual(plainly(base, all as Line[]));
        lists.push(next);
      }
    }),
    { numRuns: 500 },
  );
});

test("an update of a long conversation costs one copy of the list", () => {
  let list: readonly Line[] = reduce(
    [],
    Array.from({ length: 20_000 }, (_, index) => line(`${index}`, `id${index}`)),
  );
  let reads = 0;
  const counted = (id: string): Line => ({
    text: "new",
    get id() {
      reads++;
      return id;
    },
  });
  for (let round = 0; round < 200; round++) list = reduce(list, [counted(`new${round}`)]);
  // Each new message is asked for its id when it comes, and when a later one has to be told from it.
  expect(list).toHaveLength(20_200);
  expect(reads).toBeLessThan(2_000);
});

describe("in a graph", () => {
  test("a removal is stored with the update that it is part of", () => {
    const removal = new RemoveMessage({ id: "1" });
    expect(isRemoval(decodeValue(encodeValue([removal]) as Uint8Array<ArrayBuffer>) as unknown)).toBe(false);
    expect((decodeValue(encodeValue([removal])) as unknown[]).every(isRemoval)).toBe(true);
    expect(() => new RemoveMessage({} as never)).toThrow(/RemoveMessage.id/);
  });

  test("MessagesAnnotation and messagesChannel keep a conversation over runs", async () => {
    const graph = new StateGraph({ ...MessagesAnnotation.spec, notes: messagesChannel<Line>() })
      .addNode("trim", ({ messages }) =>
        messages.length > 2 ? { messages: new RemoveMessage({ id: messages[0]?.id ?? "" }) } : {},
      )
      .addNode("say", ({ messages }) => ({
        messages: [{ id: `m${messages.length}-${messages.at(-1)?.id}`, role: "assistant", content: "hm" }],
        notes: line("said"),
      }))
      .addEdge(START, "trim")
      .addEdge("trim", "say")
      .compile({ checkpointer: new MemorySaver() });
    const ask = (id: string): Message => ({ id, role: "user", content: "?" });
    await graph.invoke({ messages: ask("1") }, { threadId: "t" });
    const { messages, notes } = await graph.invoke({ messages: [ask("2")] }, { threadId: "t" });
    expect(messages.map(({ id }) => id)).toEqual(["m1-1", "2", "m2-2"]);
    expect(notes).toEqual([line("said"), line("said")]);
  });

  test("an unknown id to remove names graph and channel", async () => {
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("n", () => ({ messages: new RemoveMessage({ id: "gone" }) }))
      .addEdge(START, "n")
      .compile({ name: "chat" });
    await expect(graph.invoke({})).rejects.toThrow(/graph "chat", channel "messages".*"gone"/);
  });
});
