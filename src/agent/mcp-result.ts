/** What a server of the Model Context Protocol answers to a call, as a model is told of it. */
import { AgentmaticError } from "../errors.ts";
import { isObject } from "../run/check.ts";
import { ToolOutput } from "./output.ts";

type Fields = Readonly<Record<string, unknown>>;
type Part = ToolOutput["parts"][number];

/** Characters of text in one result, some 100,000 tokens; and of files, as base64. */
const textCharsMax = 400_000;
const fileCharsMax = 20 * 1024 * 1024;
const binary = "application/octet-stream";

/**
 * Text as text; images, sound and embedded files as files; links to resources as their address. `structuredContent` is
 * given where there is no content: a server that sends both has the same in both. Throws `NodeFailed` with the server's
 * words for an answer that is an error, `ResourceExhausted` for one that no model could be shown.
 */
export function resultOf(name: string, result: unknown): unknown {
  if (!isObject(result)) throw new AgentmaticError("Unavailable", `the server's answer for "${name}" is no result`);
  const { content, structuredContent, isError, toolResult } = result as Fields;
  const parts = (Array.isArray(content) ? content : []).map(partOf);
  checkSize(name, parts, structuredContent);
  if (isError === true) throw new AgentmaticError("NodeFailed", errorText(name, parts, structuredContent));
  if (parts.length === 0) return structuredContent ?? toolResult ?? "";
  const texts = parts.flatMap((part) => (part.type === "text" ? [part.text] : []));
  return texts.length === parts.length ? texts.join("\n") : new ToolOutput(parts);
}

function partOf(content: unknown): Part {
  const { type, text, data, mimeType, resource, uri, ...more } = isObject(content) ? (content as Fields) : {};
  if (type === "text" && typeof text === "string") return { type: "text", text };
  if ((type === "image" || type === "audio") && typeof data === "string") return fileOf(data, mimeType);
  if (type === "resource" && isObject(resource)) return resourceOf(resource as Fields);
  if (type === "resource_link" && typeof uri === "string") return { type: "text", text: linkOf(uri, more) };
  return { type: "text", text: `(content of type ${String(type)} cannot be shown)` };
}

function resourceOf({ uri, text, blob, mimeType }: Fields): Part {
  if (typeof blob === "string") return fileOf(blob, mimeType);
  return { type: "text", text: typeof uri === "string" ? `${uri}\n${String(text ?? "")}` : String(text ?? "") };
}

function fileOf(data: string, mimeType: unknown): Part {
  const mediaType = typeof mimeType === "string" && mimeType !== "" ? mimeType : binary;
  return { type: "file", data: { type: "data", data }, mediaType };
}

function linkOf(uri: string, { name, description }: Fields): string {
  const label = typeof name === "string" && name !== "" ? `${name}: ${uri}` : uri;
  return typeof description === "string" && description !== "" ? `${label} (${description})` : label;
}

function errorText(name: string, parts: readonly Part[], structured: unknown): string {
  const text = parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n");
  if (text !== "") return text;
  return structured === undefined ? `tool "${name}" failed without a word` : JSON.stringify(structured);
}

function checkSize(name: string, parts: readonly Part[], structured: unknown): void {
  let textChars = parts.length === 0 && structured !== undefined ? JSON.stringify(structured).length : 0;
  let fileChars = 0;
  for (const part of parts) {
    if (part.type === "text") textChars += part.text.length;
    else if (part.type === "file" && part.data.type === "data") fileChars += part.data.data.length;
  }
  const over = (what: string, chars: number, most: number) =>
    new AgentmaticError(
      "ResourceExhausted",
      `"${name}" answered with ${chars} characters of ${what}; ${most} is the most`,
    );
  if (textChars > textCharsMax) throw over("text", textChars, textCharsMax);
  if (fileChars > fileCharsMax) throw over("files", fileChars, fileCharsMax);
}
