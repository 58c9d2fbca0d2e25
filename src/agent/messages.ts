/** A conversation as the state keeps it: the AI SDK's prompt messages, plain values through and through. */
import type { LanguageModelV4Message } from "@ai-sdk/provider";
import { invalid } from "../errors.ts";
import { isRemoval, messagesReducer, type RemoveMessage } from "../graph/messages.ts";

/**
 * One message. `user`, `assistant` and `tool`; the system prompt belongs to the agent and not to the thread. A message
 * with the `id` of an earlier one replaces it. Fields of your own stay with it and are not shown to the model.
 */
export type AgentMessage = Exclude<LanguageModelV4Message, { role: "system" }> & { readonly id?: string };

/** What callers may write: text in place of a list with one text part. */
export type MessageInput =
  | AgentMessage
  | { readonly role: "user" | "assistant"; readonly content: string; readonly id?: string };

export type MessagesUpdate = MessageInput | RemoveMessage | readonly (MessageInput | RemoveMessage)[];

type Fields = Readonly<Record<string, unknown>>;

/** The parts that a message of each role may have, with the text fields that a part must have. */
const partsOf: Readonly<Record<AgentMessage["role"], Readonly<Record<string, readonly string[]>>>> = {
  user: { text: ["text"], file: ["mediaType"] },
  assistant: {
    text: ["text"],
    reasoning: ["text"],
    file: ["mediaType"],
    "reasoning-file": ["mediaType"],
    custom: ["kind"],
    "tool-call": ["toolCallId", "toolName"],
    "tool-result": ["toolCallId", "toolName"],
  },
  tool: { "tool-result": ["toolCallId", "toolName"], "tool-approval-response": ["approvalId"] },
};

/** The reducer of the `messages` channel: appends, replaces in place where the id is known, removes. */
export function addMessages(current: readonly AgentMessage[], update: MessagesUpdate): readonly AgentMessage[] {
  return messagesReducer<AgentMessage>(current, readUpdate(update));
}

/** As `readMessages`; what is to be removed may stand among the messages. */
export function readUpdate(value: unknown): (AgentMessage | RemoveMessage)[] {
  if (!Array.isArray(value)) return [isRemoval(value) ? value : readMessage(value, "messages")];
  return value.map((entry, index) => (isRemoval(entry) ? entry : readMessage(entry, `messages[${index}]`)));
}

/** Throws `InvalidArgument` with the path, as in `messages[2].role`, for what is no message. */
export function readMessages(value: unknown): AgentMessage[] {
  if (!Array.isArray(value)) return [readMessage(value, "messages")];
  return value.map((message, index) => readMessage(message, `messages[${index}]`));
}

/** The text that a message says; "" where it says none. */
export function textOf(message: AgentMessage | undefined): string {
  if (!message || message.role === "tool") return "";
  return message.content.map((part) => (part.type === "text" ? part.text : "")).join("");
}

function readMessage(value: unknown, path: string): AgentMessage {
  if (!isObject(value)) throw invalid(path, "must be a message: an object with role and content");
  const { role, content, id } = value;
  if (role === "system") {
    throw invalid(`${path}.role`, "must be user, assistant or tool; the system prompt is a setting of the agent");
  }
  if (typeof role !== "string" || !Object.hasOwn(partsOf, role)) {
    throw invalid(`${path}.role`, "must be user, assistant or tool");
  }
  if (id !== undefined && typeof id !== "string") throw invalid(`${path}.id`, "must be text");
  if (typeof content === "string" && role !== "tool") {
    return { ...value, role, content: [{ type: "text", text: content }] } as AgentMessage;
  }
  if (!Array.isArray(content)) {
    throw invalid(`${path}.content`, role === "tool" ? "must be a list of parts" : "must be text or a list of parts");
  }
  const kinds = partsOf[role as AgentMessage["role"]];
  const parts = content.map((part: unknown, index) => readPart(part, kinds, `${path}.content[${index}]`));
  return { ...value, content: parts } as unknown as AgentMessage;
}

function readPart(part: unknown, kinds: Readonly<Record<string, readonly string[]>>, path: string): Fields {
  const type = isObject(part) ? part.type : undefined;
  if (!isObject(part) || typeof type !== "string" || !Object.hasOwn(kinds, type)) {
    throw invalid(`${path}.type`, `must be one of ${Object.keys(kinds).join(", ")}`);
  }
  for (const field of kinds[type]!) {
    if (typeof part[field] !== "string") throw invalid(`${path}.${field}`, "must be text");
  }
  if (type === "tool-result" && !(isObject(part.output) && typeof part.output.type === "string")) {
    throw invalid(`${path}.output`, 'must be an output such as { type: "text", value: "…" }');
  }
  return kinds[type]!.includes("mediaType") ? { ...part, data: readData(part.data, `${path}.data`) } : part;
}

/** JSON has no URLs: one that came as text becomes what models are promised. */
function readData(data: unknown, path: string): Fields {
  if (!isObject(data) || typeof data.type !== "string") {
    throw invalid(path, 'must be such as { type: "data", data } or { type: "url", url }');
  }
  if (data.type !== "url" || data.url instanceof URL) return data;
  const url = typeof data.url === "string" ? URL.parse(data.url) : null;
  if (!url) throw invalid(`${path}.url`, "must be a URL");
  return { ...data, url };
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
