/** A model's answer as a message of the conversation. */
import type { LanguageModelV4Content, LanguageModelV4GenerateResult, SharedV4ProviderMetadata } from "@ai-sdk/provider";
import { AgentmaticError } from "../errors.ts";
import { isObject } from "../run/check.ts";
import type { AgentMessage } from "./messages.ts";

export type AssistantMessage = Extract<AgentMessage, { role: "assistant" }>;
type Part = AssistantMessage["content"][number];

/** Throws `Unavailable` where the model gave up, and `Unsupported` for an approval that only the provider can be given. */
export function messageOf(result: LanguageModelV4GenerateResult, id: string): AssistantMessage {
  if (result.finishReason.unified === "error") {
    throw new AgentmaticError("Unavailable", `the model ended with an error (${result.finishReason.raw ?? "unnamed"})`);
  }
  return { role: "assistant", content: result.content.flatMap(partOf), id };
}

/** Providers are other people's code. Throws `Unavailable` that names what is wrong with an answer. */
export function checkAnswer(result: unknown): void {
  const { content, finishReason, usage }: { [field: string]: unknown } = isObject(result) ? { ...result } : {};
  if (!Array.isArray(content)) throw misformed("content");
  for (const [index, part] of content.entries()) {
    if (!isObject(part) || !("type" in part)) throw misformed(`content[${index}]`);
    if (part.type === "tool-call" && !("input" in part && typeof part.input === "string")) {
      throw misformed(`content[${index}].input`);
    }
  }
  if (!isObject(finishReason)) throw misformed("finishReason");
  if (!isObject(usage)) throw misformed("usage");
}

export function misformed(place: string): AgentmaticError {
  return new AgentmaticError("Unavailable", `the model's answer does not have the form of its interface: ${place}`);
}

/** Citations and sources have no place in a prompt: they are not kept. */
function partOf(content: LanguageModelV4Content): Part[] {
  switch (content.type) {
    case "text":
      return [{ type: "text", text: content.text, ...optionsOf(content) }];
    case "reasoning":
      return [{ type: "reasoning", text: content.text, ...optionsOf(content) }];
    case "file":
    case "reasoning-file":
      return [{ type: content.type, mediaType: content.mediaType, data: content.data, ...optionsOf(content) }];
    case "custom":
      return [{ type: "custom", kind: content.kind, ...optionsOf(content) }];
    case "tool-call": {
      const { toolCallId, toolName, providerExecuted } = content;
      const input = inputOf(content.input);
      const ran = providerExecuted === undefined ? {} : { providerExecuted };
      return [{ type: "tool-call", toolCallId, toolName, input, ...ran, ...optionsOf(content) }];
    }
    case "tool-result": {
      if (content.preliminary) return [];
      const { toolCallId, toolName, result, isError } = content;
      const output = { type: isError ? "error-json" : "json", value: result } as const;
      return [{ type: "tool-result", toolCallId, toolName, output, ...optionsOf(content) }];
    }
    case "source":
      return [];
    case "tool-approval-request":
      throw new AgentmaticError(
        "Unsupported",
        "the model's provider asks for the approval of a tool that it runs itself",
      );
  }
}

/** A call without arguments may come as nothing at all. Text in the state is always a call's own, unparsed words. */
function inputOf(text: string): unknown {
  if (text.trim() === "") return {};
  try {
    const input: unknown = JSON.parse(text);
    return typeof input === "string" ? text : input;
  } catch {
    return text;
  }
}

/** What a provider says of a part is what it wants to hear with it the next time. */
function optionsOf({ providerMetadata }: { providerMetadata?: SharedV4ProviderMetadata }): {
  providerOptions?: SharedV4ProviderMetadata;
} {
  return providerMetadata ? { providerOptions: providerMetadata } : {};
}
