import type { LanguageModelV3, LanguageModelV3CallOptions } from "@ai-sdk/provider";
import { expect, test } from "vitest";
import { addMessages, readMessages, textOf } from "../../../src/agent/messages.ts";
import { promptOf } from "../../../src/agent/prompt.ts";
import { type AgentMessage, createReactAgent, decodeValue, encodeValue } from "../../../src/mod.ts";
import { resultOf } from "./model.ts";

const said = (text: string, id?: string): AgentMessage => ({
  role: "user",
  content: [{ type: "text", text }],
  ...(id === undefined ? {} : { id }),
});

test("the reducer appends, replaces by id in place, and changes neither of its values", () => {
  const current = Object.freeze([said("a", "1"), said("b"), said("c", "3")]);
  expect(addMessages(current, { role: "user", content: "d" })).toEqual([...current, said("d")]);
  expect(addMessages(current, [said("A", "1"), said("n", "9"), said("N", "9")])).toEqual([
    said("A", "1"),
    said("b"),
    said("c", "3"),
    said("N", "9"),
  ]);
  expect(current).toHaveLength(3);
});

test("messages that are none are refused with their path", () => {
  const cases: [unknown, string][] = [
    ["hi", "messages: must be a message"],
    [[{ role: "system", content: "x" }], "messages[0].role: must be user, assistant or tool; the system prompt"],
    [[{ role: "constructor", content: "x" }], "messages[0].role: "],
    [[{ role: "user" }], "messages[0].content: must be text or"],
    [[{ role: "tool", content: "x" }], "messages[0].content: must be a list"],
    [[{ role: "user", content: "x", id: 1 }], "messages[0].id: "],
    [[{ role: "user", content: ["x"] }], "messages[0].content[0].type: must be one of text, file"],
    [[{ role: "user", content: [{ type: "tool-call" }] }], "messages[0].content[0].type: "],
    [[{ role: "user", content: [{ type: "text", text: 1 }] }], "messages[0].content[0].text: "],
    [
      [{ role: "user", content: [{ type: "file", mediaType: "image/png", data: "x" }] }],
      "messages[0].content[0].data: ",
    ],
    [
      [{ role: "user", content: [{ type: "file", mediaType: "image/png", data: { type: "url", url: "x" } }] }],
      "messages[0].content[0].data.url: ",
    ],
    [[{ role: "tool", content: [{ type: "tool-result", toolCallId: "1" }] }], "messages[0].content[0].toolName: "],
    [
      [{ role: "tool", content: [{ type: "tool-result", toolCallId: "1", toolName: "t", output: "x" }] }],
      "messages[0].content[0].output: ",
    ],
  ];
  for (const [value, problem] of cases) {
    expect(() => readMessages(value), problem).toThrow(
      expect.objectContaining({ code: "InvalidArgument", message: expect.stringContaining(problem) }),
    );
  }
});

test("messages survive the store, files and fields of the caller's own with them; models do not see the latter", () => {
  const url = { type: "url", url: "https://example.org/a.png" };
  const sent = [
    { role: "user", content: [{ type: "file", mediaType: "image/png", data: url }], createdAt: new Date(0) },
  ];
  const messages = addMessages([], sent as never);
  expect(messages[0]).toMatchObject({ content: [{ data: { url: new URL(url.url) } }], createdAt: new Date(0) });
  const back = decodeValue(encodeValue(messages)) as AgentMessage[];
  expect(back).toEqual(messages);
  expect(promptOf(undefined, back)[0]).toEqual({ role: "user", content: messages[0]!.content });
});

test("the text of a message is that of its text parts", () => {
  const message: AgentMessage = {
    role: "assistant",
    content: [
      { type: "reasoning", text: "hm" },
      { type: "text", text: "a" },
      { type: "text", text: "b" },
    ],
  };
  expect([textOf(message), textOf(undefined), textOf({ role: "tool", content: [] })]).toEqual(["ab", "", ""]);
});

test("a call whose result came gets no second one, in whatever messages the results stand", () => {
  const call = (toolCallId: string) => ({ type: "tool-call", toolCallId, toolName: "t", input: {} }) as const;
  const result = (toolCallId: string): AgentMessage => ({
    role: "tool",
    content: [{ type: "tool-result", toolCallId, toolName: "t", output: { type: "text", value: "ok" } }],
  });
  const prompt = promptOf(undefined, [
    { role: "assistant", content: [call("1"), call("2"), call("3")] },
    result("1"),
    result("3"),
    said("next"),
    { role: "assistant", content: [call("4")] },
  ]);
  expect(prompt.map(({ role }) => role)).toEqual(["assistant", "tool", "user", "assistant", "tool"]);
  const shown = (at: number) =>
    (prompt[at]!.content as { toolCallId: string; output: { value: string } }[]).map(
      ({ toolCallId, output }) => `${toolCallId} ${output.value}`,
    );
  expect(shown(1)).toEqual(["1 ok", "3 ok", "2 this call was not run"]);
  expect(shown(4)).toEqual(["4 this call was not run"]);
});

test("a result whose call was taken out of the conversation is not shown", () => {
  const result = (...ids: string[]): AgentMessage => ({
    role: "tool",
    content: ids.map((toolCallId) => {
      return { type: "tool-result", toolCallId, toolName: "t", output: { type: "text", value: "ok" } };
    }),
  });
  const call: AgentMessage = {
    role: "assistant",
    content: [{ type: "tool-call", toolCallId: "2", toolName: "t", input: {} }],
  };
  const prompt = promptOf(undefined, [result("1"), said("next"), call, result("1", "2"), said("last"), result("2")]);
  expect(prompt.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "user"]);
  expect(prompt[2]!.content).toMatchObject([{ toolCallId: "2" }]);
  expect(prompt[2]!.content).toHaveLength(1);
});

test("a model of interface version 3 gets and gives files in its own form", async () => {
  const asked: LanguageModelV3CallOptions[] = [];
  const bytes = new Uint8Array([1, 2]);
  const llm: LanguageModelV3 = {
    specificationVersion: "v3",
    provider: "test",
    modelId: "old",
    supportedUrls: {},
    doGenerate: async (options) => {
      asked.push(options);
      return { ...resultOf([]), content: [{ type: "file", mediaType: "image/png", data: bytes }] } as never;
    },
    doStream: () => Promise.reject(new Error("streaming was not expected")),
  };
  const ask = (data: unknown) =>
    createReactAgent({ name: "a", llm }).invoke({
      messages: { role: "user", content: [{ type: "file", mediaType: "image/png", data }] } as never,
    });
  const { messages } = await ask({ type: "data", data: "AAAA" });
  expect(asked[0]!.prompt[0]).toMatchObject({ content: [{ type: "file", data: "AAAA" }] });
  expect(asked[0]!.abortSignal).toBeInstanceOf(AbortSignal);
  expect(messages[1]).toMatchObject({ content: [{ type: "file", data: { type: "data", data: bytes } }] });
  await ask({ type: "url", url: "https://example.org/a.png" });
  expect(asked[1]!.prompt[0]).toMatchObject({ content: [{ data: new URL("https://example.org/a.png") }] });
  await expect(ask({ type: "text", text: "x" })).rejects.toMatchObject({
    code: "NodeFailed",
    message: expect.stringMatching(/version 3 cannot be shown a file given as text/),
  });
});
