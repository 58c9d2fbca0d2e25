/** State: what each kind of channel makes of the writes of a run, with and without a store. */
import { describe, expect, it } from "vitest";
import {
  Annotation,
  addMessages,
  anyValue,
  barrier,
  ephemeral,
  MemorySaver,
  MessagesAnnotation,
  messagesChannel,
  messagesStateReducer,
  Overwrite,
  REMOVE_ALL_MESSAGES,
  RemoveMessage,
  removeMessage,
  Send,
  START,
  StateGraph,
  topic,
  untracked,
} from "../../src/mod.ts";
import { until } from "../support/wait.ts";
import { list, overheard, thread, ways } from "./stage.ts";

describe.each(ways)("$way", ({ kept }) => {
  it("last value: the newest write is the value, and what nobody wrote is not there", async () => {
    const graph = new StateGraph({ name: Annotation<string>(), mood: Annotation<string>, never: Annotation<number> })
      .addNode("rename", ({ name }) => ({ name: `${name}!`, mood: "new" }))
      .addEdge(START, "rename")
      .compile(kept());
    expect(await graph.invoke({ name: "Ada", mood: "old" }, thread)).toEqual({ name: "Ada!", mood: "new" });
  });

  it("last value: two writers in one superstep are an error that names both and the channel", async () => {
    const graph = new StateGraph({ name: Annotation<string>() })
      .addNode({ left: () => ({ name: "l" }), right: () => ({ name: "r" }) })
      .addEdge(START, "left")
      .addEdge(START, "right")
      .compile({ name: "two", ...kept() });
    await expect(graph.invoke({}, thread)).rejects.toMatchObject({
      code: "InvalidGraph",
      message: expect.stringMatching(/graph "two".*"left".*"right".*"name"/),
    });
  });

  it("reducer: folds every write in the order of the tasks' paths, the input included", async () => {
    const graph = new StateGraph({ log: list(), sum: Annotation<number>({ reducer: (a, b) => a + b }) })
      .addNode({ b: () => ({ log: ["b"], sum: 2 }), a: async () => ({ log: ["a"], sum: 3 }) })
      .addEdge(START, "b")
      .addEdge(START, "a")
      .compile(kept());
    // Without a default the first write is the value.
    expect(await graph.invoke({ log: ["in"], sum: 1 }, thread)).toEqual({ log: ["in", "a", "b"], sum: 6 });
  });

  it("reducer: Overwrite takes the value's place, whatever else is written beside it", async () => {
    const graph = new StateGraph({ log: list() })
      .addNode({ a: () => ({ log: ["a"] }), b: () => ({ log: new Overwrite(["b"]) }), c: () => ({ log: ["c"] }) })
      .addNode("after", () => ({ log: ["after"] }))
      .addEdge(START, "a")
      .addEdge(START, "b")
      .addEdge(START, "c")
      .addEdge(["a", "b", "c"], "after")
      .compile(kept());
    expect(await graph.invoke({ log: ["in"] }, thread)).toEqual({ log: ["b", "after"] });
  });

  it("topic: collects the writes of a superstep for the next one, and drops them after it", async () => {
    const seen: unknown[] = [];
    const graph = new StateGraph({ found: topic<number>(), kept: topic<number>({ accumulate: true, unique: true }) })
      .addNode("split", () => [new Send("look", 1), new Send("look", 2), new Send("look", 1)], { ends: ["look"] })
      .addNode<number>("look", (n) => ({ found: n, kept: n }))
      .addNode("read", (state) => {
        seen.push(state);
      })
      .addEdge(START, "split")
      .addEdge("look", "read")
      .compile(kept());
    expect(await graph.invoke({}, thread)).toEqual({ kept: [1, 2] });
    expect(seen).toEqual([{ found: [1, 2, 1], kept: [1, 2] }]);
  });

  it("ephemeral: is there for the superstep after the one that wrote it, and for no other", async () => {
    const seen: unknown[] = [];
    const see = ({ hint }: { hint?: string }) => {
      seen.push(hint);
    };
    const graph = new StateGraph({ hint: ephemeral<string>(), log: list() })
      .addSequence({ write: () => ({ hint: "once" }), next: see, last: see })
      .addEdge(START, "write")
      .compile(kept());
    expect(await graph.invoke({}, thread)).toEqual({ log: [] });
    expect(seen).toEqual(["once", undefined]);
  });

  it("anyValue: several writers that agree are no conflict", async () => {
    const graph = new StateGraph({ verdict: anyValue<string>(), log: list() })
      .addNode({ a: () => ({ verdict: "yes" }), b: () => ({ verdict: "yes" }) })
      .addNode("read", ({ verdict }) => ({ log: [verdict] }))
      .addEdge(START, "a")
      .addEdge(START, "b")
      .addEdge(["a", "b"], "read")
      .compile(kept());
    expect(await graph.invoke({}, thread)).toEqual({ log: ["yes"] });
  });

  it("barrier: is complete once every name was written, in whatever superstep", async () => {
    const graph = new StateGraph({ votes: barrier(["ann", "bob"]), log: list() })
      .addNode("first", () => ({ votes: "bob" }))
      .addNode("second", ({ votes }) => ({ votes: "ann", log: [`after one: ${votes}`] }))
      .addNode("count", ({ votes }) => ({ log: [`after two: ${votes}`] }))
      .addEdge(START, "first")
      .addEdge("first", "second")
      .addEdge("second", "count")
      .compile(kept());
    const { log } = await graph.invoke({}, thread);
    expect(log).toEqual(["after one: bob", "after two: ann,bob"]);
  });

  it("messages: appended, replaced by id, removed, and cleared", async () => {
    const say = (id: string, content: string) => ({ id, role: "user", content });
    const messages = messagesChannel<{ id?: string; role: string; content: string }>();
    const seen: string[] = [];
    const see = (all: readonly { content: string }[]) => seen.push(all.map(({ content }) => content).join(" "));
    const graph = new StateGraph({ messages })
      .addSequence({
        append: () => ({ messages: [say("b", "two"), { role: "user", content: "nameless" }] }),
        replace: (state) => {
          see(state.messages);
          return { messages: say("a", "ONE") };
        },
        remove: (state) => {
          see(state.messages);
          return { messages: [removeMessage("b"), say("c", "three")] };
        },
        clear: (state) => {
          see(state.messages);
          return { messages: [removeMessage(REMOVE_ALL_MESSAGES), say("d", "new")] };
        },
      })
      .addEdge(START, "append")
      .compile(kept());
    const end = await graph.invoke({ messages: [say("a", "one")] }, thread);
    expect(seen).toEqual(["one two nameless", "ONE two nameless", "ONE nameless three"]);
    expect(end.messages).toEqual([say("d", "new")]);
  });

  it("messages: under the names that LangGraph.js has for them", async () => {
    const graph = new StateGraph(MessagesAnnotation)
      .addNode("tidy", ({ messages }) => ({
        messages: [new RemoveMessage({ id: "a" }), { role: "assistant", content: `${messages.length}` }],
      }))
      .addEdge(START, "tidy")
      .compile(kept());
    const { messages } = await graph.invoke({ messages: { id: "a", role: "user", content: "hi" } }, thread);
    expect(messages).toEqual([{ role: "assistant", content: "1" }]);
    expect(addMessages(messages, { role: "user", content: "more" })).toHaveLength(2);
    expect(messagesStateReducer).toBe(addMessages);
  });

  it("messages: an id to remove that is not there is an error that names graph, channel and place", async () => {
    const graph = new StateGraph({ messages: messagesChannel() })
      .addNode("forget", () => ({ messages: [removeMessage("nobody")] }))
      .addEdge(START, "forget")
      .compile({ name: "chat", ...kept() });
    await expect(graph.invoke({}, thread)).rejects.toThrow(/graph "chat", channel "messages": messages\[0\].*"nobody"/);
  });

  it("defaults: made anew for each thread, and seen by the first node", async () => {
    let made = 0;
    const graph = new StateGraph({ bag: Annotation<number[]>({ reducer: (_a, b) => b, default: () => [++made] }) })
      .addNode("see", ({ bag }) => ({ bag: [...bag, 0] }))
      .addEdge(START, "see")
      .compile(kept());
    const first = await graph.invoke({}, { threadId: "a" });
    const second = await graph.invoke({}, { threadId: "b" });
    expect(first.bag[0]).not.toBe(second.bag[0]);
    expect([first.bag.length, second.bag.length]).toEqual([2, 2]);
  });
});

describe("in the store", () => {
  it("untracked: neither checkpoints nor the writes of parallel tasks have it, and the next run has its default", async () => {
    const secret = "sk-never-stored";
    const { saver, said } = overheard();
    const seen: unknown[] = [];
    const graph = new StateGraph({ key: untracked<string>({ default: () => "none" }), log: list() })
      .addNode("login", ({ key }) => {
        seen.push(key);
        return { key: secret, log: ["logged in"] };
      })
      .addNode("beside", async () => {
        // What the other task wrote is stored while this one is still at work.
        await until(() => said().includes("logged in"), { what: "the finished task is stored" });
        return { log: ["beside"] };
      })
      .addNode("use", ({ key }) => {
        seen.push(key);
      })
      .addEdge(START, "login")
      .addEdge(START, "beside")
      .addEdge(["login", "beside"], "use")
      .compile({ checkpointer: saver });
    await graph.invoke({}, thread);
    await graph.invoke({}, thread);
    expect(seen).toEqual(["none", secret, "none", secret]);
    expect(said()).toContain("logged in");
    expect(said()).not.toContain(secret);
    expect((await graph.getState(thread))?.values).toEqual({
      key: "none",
      log: ["beside", "logged in", "beside", "logged in"],
    });
  });

  it("defaults are part of the first checkpoint: a later change of the default leaves a thread alone", async () => {
    const saver = new MemorySaver();
    const make = (tone: string) =>
      new StateGraph({ tone: Annotation<string>({ reducer: (_a, b) => b, default: () => tone }), log: list() })
        .addNode("say", (state) => ({ log: [state.tone] }))
        .addEdge(START, "say")
        .compile({ checkpointer: saver });
    await make("polite").invoke({}, thread);
    expect((await make("rude").invoke({}, thread)).log).toEqual(["polite", "polite"]);
    expect((await make("rude").invoke({}, { threadId: "new" })).log).toEqual(["rude"]);
  });

  it("values come back as what they were: dates, maps, big numbers, bytes, undefined", async () => {
    const value = {
      at: new Date(5),
      map: new Map([["a", new Set([1])]]),
      big: 2n ** 70n,
      bytes: Uint8Array.of(1, 2),
      not: Number.NaN,
      none: undefined,
    };
    const seen: unknown[] = [];
    const graph = new StateGraph({ value: Annotation<typeof value>() })
      .addNode("see", (state) => {
        seen.push(state.value);
      })
      .addEdge(START, "see")
      .compile({ checkpointer: new MemorySaver(), interruptBefore: ["see"] });
    await graph.invoke({ value }, thread);
    await graph.invoke(null, thread);
    expect(seen).toEqual([value]);
    expect((await graph.getState(thread))?.values).toEqual({ value });
  });
});
