import type { LanguageModelV4StreamPart } from "@ai-sdk/provider";
import { expect, test } from "vitest";
import { assemble, chunkOf, chunksOf } from "../../../src/agent/stream.ts";
import { callOf, resultOf } from "./model.ts";

const { usage } = resultOf([]);
const finish: LanguageModelV4StreamPart = { type: "finish", usage, finishReason: { unified: "stop", raw: "stop" } };

function streamOf(...parts: LanguageModelV4StreamPart[]): ReadableStream<LanguageModelV4StreamPart> {
  return new ReadableStream({
    start: (controller) => {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  });
}

const { signal } = new AbortController();

test("puts the pieces together, texts that come at once by their ids, in the order in which they began", async () => {
  const seen: string[] = [];
  const onPart = ({ type }: { type: string }) => void seen.push(type);
  const parts: LanguageModelV4StreamPart[] = [
    { type: "stream-start", warnings: [] },
    { type: "reasoning-start", id: "1" },
    { type: "text-start", id: "1" },
    { type: "text-delta", id: "1", delta: "Hel" },
    { type: "reasoning-delta", id: "1", delta: "hm" },
    { type: "reasoning-end", id: "1", providerMetadata: { test: { signature: "s" } } },
    { type: "text-delta", id: "1", delta: "lo" },
    { type: "text-end", id: "1" },
    { type: "text-start", id: "2" },
    { type: "text-end", id: "2" },
    { type: "tool-input-start", id: "c", toolName: "t" },
    { type: "tool-input-delta", id: "c", delta: '{"a":1}' },
    { type: "tool-input-end", id: "c" },
    callOf("c", "t", { a: 1 }) as LanguageModelV4StreamPart,
    finish,
  ];
  expect(await assemble(streamOf(...parts), { signal, onPart })).toEqual({
    content: [
      { type: "reasoning", text: "hm", providerMetadata: { test: { signature: "s" } } },
      { type: "text", text: "Hello" },
      callOf("c", "t", { a: 1 }),
    ],
    usage,
    finishReason: { unified: "stop", raw: "stop" },
    warnings: [],
  });
  expect(seen).toHaveLength(parts.length);
});

test("a stream that ends early, or says that it failed, is an error", async () => {
  const text: LanguageModelV4StreamPart = { type: "text-delta", id: "1", delta: "Hel" };
  await expect(assemble(streamOf(text), { signal })).rejects.toMatchObject({
    code: "Unavailable",
    message: "the model's answer was cut off before its end",
  });
  const own = new Error("overloaded");
  await expect(assemble(streamOf(text, { type: "error", error: own }), { signal })).rejects.toBe(own);
  for (const error of ["overloaded", { message: "overloaded" }]) {
    await expect(assemble(streamOf({ type: "error", error }), { signal })).rejects.toMatchObject({
      code: "Unavailable",
      message: "the model's stream ended with an error: overloaded",
    });
  }
});

test.each<[object | null, string]>([
  [null, "a part of its stream"],
  [{ delta: "x" }, "a part of its stream"],
  [{ type: "text-delta", id: "1" }, "text-delta.delta"],
  [{ type: "tool-input-delta", id: "1", delta: 5 }, "tool-input-delta.delta"],
  [{ type: "tool-call", toolCallId: "1", toolName: "t", input: {} }, "content[0].input"],
  [{ type: "finish", usage }, "finishReason"],
  [{ type: "finish", finishReason: { unified: "stop" } }, "usage"],
])("a part that is none is an error that names what is wrong: %j", async (part, place) => {
  const ends = (part as { type?: string } | null)?.type === "finish";
  const stream = streamOf(...([part, ...(ends ? [] : [finish])] as LanguageModelV4StreamPart[]));
  await expect(assemble(stream, { signal })).rejects.toMatchObject({
    code: "Unavailable",
    message: `the model's answer does not have the form of its interface: ${place}`,
  });
});

test("an abort ends it, though the stream goes on for ever, and lets go of it", async () => {
  const cancelled = Promise.withResolvers<unknown>();
  const stream = new ReadableStream<LanguageModelV4StreamPart>({
    pull: () => new Promise(() => undefined),
    cancel: (reason) => cancelled.resolve(reason),
  });
  const abort = new AbortController();
  const answer = assemble(stream, { signal: abort.signal });
  answer.catch(() => undefined);
  const reason = new Error("stop");
  abort.abort(reason);
  await expect(answer).rejects.toBe(reason);
  expect(await cancelled.promise).toBe(reason);
});

test("an answer without end is cut off at its bound, and its source is let go", async () => {
  let cancelled = false;
  const delta = "x".repeat(1024 * 1024);
  const stream = new ReadableStream<LanguageModelV4StreamPart>({
    pull: (controller) => controller.enqueue({ type: "text-delta", id: "1", delta }),
    cancel: () => {
      cancelled = true;
    },
  });
  await expect(assemble(stream, { signal })).rejects.toMatchObject({
    code: "ResourceExhausted",
    message: /longer than 16777216 characters/,
  });
  expect(cancelled).toBe(true);
});

test("followers are told the same of an answer in pieces and of one at once", () => {
  expect(chunkOf({ type: "text-delta", id: "1", delta: "" }, "m")).toBeUndefined();
  expect(chunkOf(finish, "m")).toBeUndefined();
  expect(chunkOf({ type: "text-delta", id: "1", delta: "a" }, "m")).toEqual({
    type: "text-delta",
    id: "m",
    delta: "a",
  });
  expect(chunksOf([{ type: "text", text: "a" }, callOf("c", "t", {})], "m")).toEqual([
    { type: "text-delta", id: "m", delta: "a" },
    { type: "tool-input-start", id: "m", toolCallId: "c", toolName: "t" },
    { type: "tool-input-delta", id: "m", toolCallId: "c", delta: "{}" },
  ]);
});
