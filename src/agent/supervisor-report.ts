/** What a supervisor is told of an agent's work. */
import { isObject } from "../run/check.ts";

/** Names as in LangGraph.js. */
export type OutputMode = "last_message" | "full_history";

type Fields = Readonly<Record<string, unknown>>;

/** Characters of a report; what is too long loses its beginning. */
const reportCharsMax = 200_000;
const silent = "(the agent ended without a word)";

/** The last message's text, or all that was said and done since the task was given. */
export function reportOf(output: unknown, task: string, mode: OutputMode): string {
  const given: unknown = isObject(output) ? output.messages : undefined;
  const messages = Array.isArray(given) ? given.filter(isObject) : [];
  return bounded(mode === "full_history" ? historyOf(messages, task) : wordsOf(messages)) || silent;
}

/** Of the last message that has some: an agent's own words end its work, whatever its tools said before. */
function wordsOf(messages: readonly Fields[]): string {
  const last = messages.findLast((message) => message.role !== "user" && textOf(message) !== "");
  return last ? textOf(last) : "";
}

function historyOf(messages: readonly Fields[], task: string): string {
  // An agent that remembers has older tasks before this one.
  const from = messages.findLastIndex((message) => message.role === "user" && textOf(message) === task);
  return messages
    .slice(from + 1)
    .flatMap((message) => linesOf(message))
    .join("\n\n");
}

function linesOf(message: Fields): string[] {
  const parts = Array.isArray(message.content) ? message.content.filter(isObject) : [];
  const text = textOf(message);
  const lines = text === "" ? [] : [`${String(message.role)}: ${text}`];
  for (const { type, toolName, input, output } of parts) {
    if (type === "tool-call") lines.push(`calls ${String(toolName)}: ${JSON.stringify(input)}`);
    else if (type === "tool-result") lines.push(`${String(toolName)} gave: ${resultOf(output)}`);
  }
  return lines;
}

function resultOf(output: unknown): string {
  if (!isObject(output)) return "";
  const { type, value, reason } = output;
  if (type === "execution-denied") return `nothing: ${String(reason ?? "it was refused")}`;
  if (typeof value === "string") return value;
  if (type !== "content" || !Array.isArray(value)) return JSON.stringify(value);
  return value.map((part) => (isObject(part) && part.type === "text" ? String(part.text) : "(a file)")).join("\n");
}

/** Content of any graph's messages: text, or parts of which some are text. */
function textOf({ content }: Fields): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (isObject(part) && part.type === "text" ? String(part.text) : "")).join("");
}

function bounded(text: string): string {
  return text.length <= reportCharsMax ? text : `…${text.slice(-reportCharsMax).replace(/^[\uDC00-\uDFFF]/, "")}`;
}
