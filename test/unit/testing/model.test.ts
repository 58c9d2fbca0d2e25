import type { LanguageModelV4CallOptions, LanguageModelV4StreamPart } from "@ai-sdk/provider";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createReactAgent, tool } from "../../../src/mod.ts";
import { rateLimited, scriptedModel, toolCall, virtualPorts } from "../../../src/testing/mod.ts";

const user = { role: "user", content: [{ type: "text", text: "hello" }] } as const;
const assistant = { role: "assistant", content: [{ type: "text", text: "…" }] } as const;
const asked = (turns = 0): LanguageModelV4CallOptions => ({ prompt: [user, ...Array(turns).fill(assistant)] });

async function parts(stream: ReadableStream<LanguageModelV4StreamPart>): Promise<LanguageModelV4StreamPart[]> {
  const all: LanguageModelV4StreamPart[] = [];
  for await (const part of stream) all.push(part);
  return all;
}

describe("a scripted model", () => {
  test("answers by turn: a call that is made again gets the same answer", async () => {
    const model = scriptedModel(["first", toolCall("look", { at: 1 })]);
    for (let again = 0; again < 2; again++) {
      expect(await model.doGenerate(asked(0))).toMatchObject({
        content: [{ type: "text", text: "first" }],
        finishReason: { unified: "stop" },
      });
    }
    expect(await model.doGenerate(asked(1))).toMatchObject({
      content: [{ type: "tool-call", toolCallId: "call-2.1", toolName: "look", input: '{"at":1}' }],
      finishReason: { unified: "tool-calls" },
    });
    expect(model.calls.map(({ turn, streamed }) => [turn, streamed])).toEqual([
      [0, false],
      [0, false],
      [1, false],
    ]);
  });

  test("answers by call, or as a function says", async () => {
    const byCall = scriptedModel(["one", "two"], { by: "call" });
    const texts = [await byCall.doGenerate(asked()), await byCall.doGenerate(asked())].map(({ content }) => content[0]);
    expect(texts).toMatchObject([{ text: "one" }, { text: "two" }]);
    const told = scriptedModel(({ turn }, index) => `${turn} ${index}`);
    expect(await told.doGenerate(asked(3))).toMatchObject({ content: [{ text: "3 0" }] });
  });

  test("is loud where its script is over", async () => {
    const model = scriptedModel(["one"]);
    await expect(model.doGenerate(asked(1))).rejects.toThrow(
      'model "scripted": the script has 1 answers, and none for call 1 (turn 1), which ends with [{"type":"text","text":"…"}]',
    );
    expect(() => scriptedModel(["one"], { chunkChars: 0 })).toThrow(/^chunkChars: must be a whole number from 1/);
    const silent = scriptedModel(() => undefined as never);
    await expect(silent.doGenerate(asked())).rejects.toThrow("the script gave no answer for call 1 (turn 0)");
  });

  test("throws errors of its script, once each, or each time", async () => {
    const model = scriptedModel([
      { content: "there", errors: [rateLimited(2), new Error("broken")] },
      new Error("dead"),
    ]);
    await expect(model.doGenerate(asked())).rejects.toMatchObject({
      statusCode: 429,
      responseHeaders: { "retry-after": "2" },
    });
    await expect(model.doGenerate(asked())).rejects.toThrow("broken");
    expect(await model.doGenerate(asked())).toMatchObject({ content: [{ text: "there" }] });
    await expect(model.doGenerate(asked(1))).rejects.toThrow("dead");
    await expect(model.doGenerate(asked(1))).rejects.toThrow("dead");
  });

  test("reports usage", async () => {
    const model = scriptedModel(["a", { content: "b", usage: { outputTokens: 9 } }], { usage: { inputTokens: 5 } });
    const total = async (turn: number) => {
      const { usage } = await model.doGenerate(asked(turn));
      return [usage.inputTokens.total, usage.outputTokens.total];
    };
    expect([await total(0), await total(1)]).toEqual([
      [5, 1],
      [5, 9],
    ]);
  });

  test("streams in chunks that never tear a character", async () => {
    const model = scriptedModel(
      [
        ["🙂🙂🙂", toolCall("t", "{}")].map((one) =>
          typeof one === "string" ? ({ type: "text", text: one } as const) : one,
        ),
      ],
      { chunkChars: 2 },
    );
    const { stream } = await model.doStream(asked());
    const all = await parts(stream);
    expect(all.map(({ type }) => type)).toEqual([
      "stream-start",
      "text-start",
      "text-delta",
      "text-delta",
      "text-end",
      "tool-input-start",
      "tool-input-delta",
      "tool-input-end",
      "tool-call",
      "finish",
    ]);
    expect(all.flatMap((part) => (part.type === "text-delta" ? [part.delta] : []))).toEqual(["🙂🙂", "🙂"]);
  });

  test("a stream breaks off where the script says", async () => {
    const reply = { content: "0123456789", breaksAfter: { chunks: 2, error: new Error("the line is dead") } };
    const { stream } = await scriptedModel([reply], { chunkChars: 2 }).doStream(asked());
    const seen: string[] = [];
    const reading = (async () => {
      for await (const part of stream) if (part.type === "text-delta") seen.push(part.delta);
    })();
    await expect(reading).rejects.toThrow("the line is dead");
    expect(seen).toEqual(["01", "23"]);
  });

  test("ends with the caller's signal, in the middle of a delay", async () => {
    const { clock, advance } = virtualPorts();
    const model = scriptedModel(["slow"], { delayMs: 1_000, timers: clock });
    const controller = new AbortController();
    const answer = Promise.resolve(model.doGenerate({ ...asked(), abortSignal: controller.signal }));
    answer.catch(() => undefined);
    await advance(500);
    controller.abort(new Error("enough"));
    await expect(answer).rejects.toThrow("enough");
    expect(clock.pending).toBe(0);
  });
});

test("with an agent on a virtual clock: a rate limit is waited out, tools are called, tokens counted", async () => {
  const ports = virtualPorts();
  const llm = scriptedModel([{ content: [toolCall("add", { a: 2, b: 3 })], errors: [rateLimited(60)] }, "five"]);
  const add = tool({
    name: "add",
    description: "Adds",
    input: z.object({ a: z.number(), b: z.number() }),
    execute: ({ a, b }) => a + b,
  });
  const agent = createReactAgent({ name: "sums", llm, tools: [add], ports });
  const beforeMs = ports.clock.monotonicMs();
  const { messages } = await ports.settle(agent.invoke({ messages: { role: "user", content: "2 + 3?" } }));
  expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
  expect(messages[2]).toMatchObject({ content: [{ toolCallId: "call-1.1", output: { type: "json", value: 5 } }] });
  expect(ports.clock.monotonicMs() - beforeMs).toBeGreaterThanOrEqual(60_000);
  expect(llm.calls).toHaveLength(3);
});
