// A model that takes its time and answers from a script, in the form of each library. All mocks wait by the same timer.
import type { LanguageModelV4, LanguageModelV4Content } from "@ai-sdk/provider";
import { load } from "./libraries.ts";

/** What one model call takes. */
export const modelMs = 50;

export function wait(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, modelMs));
}

/** Asks for its tool once, then says how it went. */
export interface Script {
  readonly tool: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly answer: string;
}

export function scripted({ tool, input, answer }: Script): LanguageModelV4 {
  return {
    specificationVersion: "v4",
    provider: "bench",
    modelId: "scripted",
    supportedUrls: {},
    async doGenerate({ prompt }) {
      await wait();
      const called = prompt.at(-1)?.role === "tool";
      const content: LanguageModelV4Content = called
        ? { type: "text", text: answer }
        : { type: "tool-call", toolCallId: "call-1", toolName: tool, input: JSON.stringify(input) };
      return {
        content: [content],
        finishReason: { unified: called ? "stop" : "tool-calls", raw: undefined },
        usage: {
          inputTokens: { total: 1, noCache: 1, cacheRead: undefined, cacheWrite: undefined },
          outputTokens: { total: 1, text: 1, reasoning: undefined },
        },
        warnings: [],
      };
    },
    async doStream() {
      throw new Error("streaming is not measured here");
    },
  };
}

/** The same as a chat model of LangChain's. */
export async function chatModel({ tool, input, answer }: Script): Promise<unknown> {
  const { BaseChatModel } = await load("core", "dist", "language_models", "chat_models.js");
  const { AIMessage } = await load("core", "dist", "messages", "index.js");
  class Scripted extends BaseChatModel {
    _llmType() {
      return "scripted";
    }
    bindTools() {
      return this;
    }
    async _generate(messages: readonly { getType(): string }[]) {
      await wait();
      const called = messages.at(-1)?.getType() === "tool";
      const message = called
        ? new AIMessage(answer)
        : new AIMessage({ content: "", tool_calls: [{ id: "call-1", name: tool, args: input, type: "tool_call" }] });
      return { generations: [{ text: called ? answer : "", message }] };
    }
  }
  return new (Scripted as unknown as new (fields: object) => object)({});
}
