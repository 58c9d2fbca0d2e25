/** The scripted model of `agentmatic/testing`, and what the agents' tests ask of it. */
import type {
  LanguageModelV4CallOptions,
  LanguageModelV4Content,
  LanguageModelV4GenerateResult,
  LanguageModelV4Prompt,
  LanguageModelV4ToolResultPart,
} from "@ai-sdk/provider";
import { type ScriptedModel, scriptedModel } from "../../../src/testing/mod.ts";

export type { ScriptedModel } from "../../../src/testing/mod.ts";
export type Answer = string | readonly LanguageModelV4Content[];

/** By how many answers the prompt has already; streaming is not expected. */
export function scripted(
  answers: readonly Answer[],
  onCall?: (options: LanguageModelV4CallOptions) => void | Promise<void>,
): ScriptedModel {
  const model = scriptedModel(answers, onCall ? { onCall } : {});
  return {
    ...model,
    doStream: async () => {
      throw new Error("streaming was not expected");
    },
  };
}

export function resultOf(content: readonly LanguageModelV4Content[]): LanguageModelV4GenerateResult {
  const called = content.some(({ type }) => type === "tool-call");
  return {
    content: [...content],
    finishReason: { unified: called ? "tool-calls" : "stop", raw: undefined },
    usage: {
      inputTokens: { total: 1, noCache: 1, cacheRead: undefined, cacheWrite: undefined },
      outputTokens: { total: 1, text: 1, reasoning: undefined },
    },
    warnings: [],
  };
}

export function callOf(toolCallId: string, toolName: string, input: unknown): LanguageModelV4Content {
  return { type: "tool-call", toolCallId, toolName, input: typeof input === "string" ? input : JSON.stringify(input) };
}

/** The results of tools that a prompt ends with. */
export function resultsOf(prompt: LanguageModelV4Prompt): LanguageModelV4ToolResultPart[] {
  const last = prompt.at(-1);
  return last?.role === "tool" ? last.content.filter((part) => part.type === "tool-result") : [];
}
