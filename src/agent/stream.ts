/** A model's answer that comes in pieces: told as they come, and put together to what it would be in one piece. */
import type {
  LanguageModelV4Content,
  LanguageModelV4FinishReason,
  LanguageModelV4GenerateResult,
  LanguageModelV4StreamPart,
  LanguageModelV4Usage,
  SharedV4ProviderMetadata,
} from "@ai-sdk/provider";
import { AgentmaticError } from "../errors.ts";
import { isObject } from "../run/check.ts";
import { checkAnswer, misformed } from "./answer.ts";

/** What followers of `messages` are told of an answer; `id` is that of the message it becomes. */
export type MessageChunk =
  | { readonly type: "text-delta" | "reasoning-delta"; readonly id: string; readonly delta: string }
  | {
      readonly type: "tool-input-start";
      readonly id: string;
      readonly toolCallId: string;
      readonly toolName: string;
    }
  | { readonly type: "tool-input-delta"; readonly id: string; readonly toolCallId: string; readonly delta: string };

export interface AssembleOptions {
  /** Ends the reading, whatever the model makes of it. */
  readonly signal: AbortSignal;
  /** Called with each part as it comes. */
  readonly onPart?: (part: LanguageModelV4StreamPart) => void;
}

/** Characters and parts of one answer; a model that says more has lost its way. */
const charsMax = 16 * 1024 * 1024;
const partsMax = 1_000_000;

/**
 * Resolves with what `doGenerate` would have given. Rejects with the stream's own error, with `Unavailable` where it
 * ends before its end or says what no answer can, and with `ResourceExhausted` where it does not come to one.
 */
export async function assemble(
  stream: ReadableStream<LanguageModelV4StreamPart>,
  { signal, onPart }: AssembleOptions,
): Promise<LanguageModelV4GenerateResult> {
  const answer = new Assembly();
  for await (const part of partsOf(stream, signal)) {
    answer.add(part);
    onPart?.(part);
  }
  return answer.result();
}

/** The piece of an answer that is in a part; undefined for parts that say nothing new. */
export function chunkOf(part: LanguageModelV4StreamPart, id: string): MessageChunk | undefined {
  switch (part.type) {
    case "text-delta":
    case "reasoning-delta":
      return part.delta === "" ? undefined : { type: part.type, id, delta: part.delta };
    case "tool-input-start":
      return { type: "tool-input-start", id, toolCallId: part.id, toolName: part.toolName };
    case "tool-input-delta":
      return { type: "tool-input-delta", id, toolCallId: part.id, delta: part.delta };
    default:
      return undefined;
  }
}

/** The same pieces of an answer that came at once. */
export function chunksOf(content: readonly LanguageModelV4Content[], id: string): readonly MessageChunk[] {
  return content.flatMap((part): readonly MessageChunk[] => {
    if (part.type === "text" || part.type === "reasoning")
      return [{ type: `${part.type}-delta`, id, delta: part.text }];
    if (part.type !== "tool-call") return [];
    const { toolCallId, toolName, input } = part;
    return [
      { type: "tool-input-start", id, toolCallId, toolName },
      { type: "tool-input-delta", id, toolCallId, delta: input },
    ];
  });
}

/** An abort ends it even where the model does not listen to its signal. */
async function* partsOf<T>(stream: ReadableStream<T>, signal: AbortSignal): AsyncGenerator<T, void> {
  const reader = stream.getReader();
  const cancel = () => void reader.cancel(signal.reason).catch(() => undefined);
  signal.addEventListener("abort", cancel, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const next = await reader.read();
      signal.throwIfAborted();
      if (next.done) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", cancel);
    // Where the reading ended early it lets go of the connection; otherwise it does nothing.
    cancel();
  }
}

type Text = { type: "text" | "reasoning"; text: string; providerMetadata?: SharedV4ProviderMetadata };

class Assembly {
  readonly #content: LanguageModelV4Content[] = [];
  /** Texts by their id in the stream; a model may write several at once. */
  readonly #texts: Map<string, { readonly part: Text; readonly pieces: string[] }> = new Map();
  #chars = 0;
  #parts = 0;
  #end: { usage: LanguageModelV4Usage; finishReason: LanguageModelV4FinishReason } | undefined;

  add(part: LanguageModelV4StreamPart): void {
    if (++this.#parts > partsMax)
      throw new AgentmaticError("ResourceExhausted", `the answer has over ${partsMax} parts`);
    checkPart(part);
    switch (part.type) {
      case "text-start":
      case "text-delta":
      case "text-end":
        this.#text("text", part);
        return;
      case "reasoning-start":
      case "reasoning-delta":
      case "reasoning-end":
        this.#text("reasoning", part);
        return;
      case "tool-input-delta":
        this.#count(part.delta.length);
        return;
      case "tool-call":
      case "tool-result":
      case "file":
      case "reasoning-file":
      case "custom":
      case "source":
      case "tool-approval-request":
        this.#content.push(part);
        return;
      case "finish":
        this.#end = part;
        return;
      case "error":
        throw part.error instanceof Error ? part.error : new AgentmaticError("Unavailable", said(part.error));
      default:
    }
  }

  result(): LanguageModelV4GenerateResult {
    if (!this.#end) throw new AgentmaticError("Unavailable", "the model's answer was cut off before its end");
    for (const { part, pieces } of this.#texts.values()) part.text = pieces.join("");
    const { usage, finishReason } = this.#end;
    const result = { content: this.#content.filter(says), usage, finishReason, warnings: [] };
    checkAnswer(result);
    return result;
  }

  #text(
    type: Text["type"],
    { id, delta, providerMetadata }: { id: string; delta?: string; providerMetadata?: SharedV4ProviderMetadata },
  ): void {
    const key = `${type} ${id}`;
    let open = this.#texts.get(key);
    if (!open) {
      open = { part: { type, text: "" }, pieces: [] };
      this.#texts.set(key, open);
      this.#content.push(open.part);
    }
    // A reasoning's signature comes with a piece of its own, after the text.
    if (providerMetadata) open.part.providerMetadata = providerMetadata;
    if (!delta) return;
    this.#count(delta.length);
    open.pieces.push(delta);
  }

  #count(chars: number): void {
    this.#chars += chars;
    if (this.#chars > charsMax) {
      throw new AgentmaticError("ResourceExhausted", `the answer is longer than ${charsMax} characters`);
    }
  }
}

function checkPart(part: unknown): void {
  if (!isObject(part) || typeof part.type !== "string") throw misformed("a part of its stream");
  if (part.type.endsWith("-delta") && typeof part.delta !== "string") throw misformed(`${part.type}.delta`);
}

function says(part: LanguageModelV4Content): boolean {
  if (part.type !== "text" && part.type !== "reasoning") return true;
  return part.text !== "" || part.providerMetadata !== undefined;
}

/** Some providers give the service's own words instead of an error. */
function said(error: unknown): string {
  const text = typeof error === "string" ? error : (error as { message?: unknown } | null | undefined)?.message;
  return `the model's stream ended with an error: ${typeof text === "string" ? text.slice(0, 2_000) : "unnamed"}`;
}
