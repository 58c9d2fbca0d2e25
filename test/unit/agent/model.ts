/** A model that speaks the provider interface and answers from a script, by how many answers the prompt has already. */
import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4Content,
  LanguageModelV4GenerateResult,
  LanguageModelV4Prompt,
  LanguageModelV4ToolResultPart,
} from "@ai-sdk/provider";

export type Answer = string | readonly LanguageModelV4Content[];

export interface ScriptedModel extends LanguageModelV4 {
  /** What it was asked, in order. */
  readonly calls: LanguageModelV4CallOptions[];
}

export function scripted(
  answers: readonly Answer[],
  onCall?: (options: LanguageModelV4CallOptions) => void | Promise<void>,
): ScriptedModel {
  const calls: LanguageModelV4CallOptions[] = [];
  return {
    specificationVersion: "v4",
    provider: "test",
    modelId: "scripted",
    supportedUrls: {},
    calls,
    doGenerate: async (options) => {
      calls.push(structuredClone({ ...options, abortSignal: undefined }));
      await onCall?.(options);
      const turn = options.prompt.filter(({ role }) => role === "assistant").length;
      const answer = answers[turn];
      if (answer === undefined) throw new Error(`the script has no answer ${turn}`);
      return resultOf(typeof answer === "string" ? [{ type: "text", text: answer }] : answer);
    },
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
