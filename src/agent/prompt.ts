/** What a model is shown of a conversation. */
import type {
  LanguageModelV4Message,
  LanguageModelV4Prompt,
  LanguageModelV4ToolCallPart,
  LanguageModelV4ToolResultPart,
} from "@ai-sdk/provider";
import type { AgentMessage } from "./messages.ts";

type AssistantMessage = Extract<LanguageModelV4Message, { role: "assistant" }>;
type ToolMessage = Extract<LanguageModelV4Message, { role: "tool" }>;

/**
 * The system prompt, then the messages. Providers refuse a history in which a tool call has no result, which is what a
 * run leaves behind that was cancelled between the two: such a call gets one that says so. They refuse a result without
 * its call, too, which is what a conversation has that was shortened in between: it is left out.
 */
export function promptOf(system: string | undefined, messages: readonly AgentMessage[]): LanguageModelV4Prompt {
  const prompt: LanguageModelV4Prompt = system === undefined ? [] : [{ role: "system", content: system }];
  let open: readonly LanguageModelV4ToolCallPart[] = [];
  let asked: ReadonlySet<string> = new Set();
  const close = () => {
    if (open.length > 0) addResults(prompt, { role: "tool", content: open.map(notRun) });
    open = [];
  };
  for (const message of messages) {
    if (message.role === "tool") {
      const answered = new Set(message.content.map((part) => (part.type === "tool-result" ? part.toolCallId : "")));
      open = open.filter(({ toolCallId }) => !answered.has(toolCallId));
      const content = message.content.filter((part) => part.type !== "tool-result" || asked.has(part.toolCallId));
      if (content.length > 0) addResults(prompt, { ...(plain(message) as ToolMessage), content });
      continue;
    }
    close();
    // Some providers refuse an answer without content, which models do give.
    if (message.content.length === 0) continue;
    prompt.push(message.role === "assistant" ? withObjects(plain(message) as AssistantMessage) : plain(message));
    open = callsOf(message);
    asked = idsOf(message);
  }
  close();
  return prompt;
}

/** The calls of a message that are ours to run and have no result yet. */
export function callsOf(message: AgentMessage | undefined): readonly LanguageModelV4ToolCallPart[] {
  if (message?.role !== "assistant") return [];
  return message.content.filter((part) => part.type === "tool-call").filter((call) => call.providerExecuted !== true);
}

function idsOf({ role, content }: AgentMessage): ReadonlySet<string> {
  const parts = role === "assistant" ? content : [];
  return new Set(parts.map((part) => (part.type === "tool-call" ? part.toolCallId : "")));
}

/** Without the id and the caller's own fields. */
function plain({ role, content, providerOptions }: AgentMessage): LanguageModelV4Message {
  return { role, content, ...(providerOptions ? { providerOptions } : {}) } as LanguageModelV4Message;
}

/** Results of one answer's calls stand in one message, as the AI SDK has them. */
function addResults(prompt: LanguageModelV4Prompt, message: ToolMessage): void {
  const last = prompt.at(-1);
  if (last?.role !== "tool" || last.providerOptions || message.providerOptions) prompt.push(message);
  else prompt[prompt.length - 1] = { ...last, content: [...last.content, ...message.content] };
}

/** An input that was no JSON is kept as its text; providers want an object there, and the call's result tells why. */
function withObjects(message: AssistantMessage): AssistantMessage {
  const content = message.content.map((part) =>
    part.type === "tool-call" && typeof part.input === "string" ? { ...part, input: {} } : part,
  );
  return { ...message, content };
}

function notRun({ toolCallId, toolName }: LanguageModelV4ToolCallPart): LanguageModelV4ToolResultPart {
  const output = { type: "error-text", value: "this call was not run" } as const;
  return { type: "tool-result", toolCallId, toolName, output };
}
