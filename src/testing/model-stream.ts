/** An answer in pieces, as a model's service would send it. */
import type {
  LanguageModelV4Content,
  LanguageModelV4GenerateResult,
  LanguageModelV4StreamPart,
} from "@ai-sdk/provider";

export interface StreamOptions {
  readonly chunkChars: number;
  /** Before each part; rejects once the call is aborted. */
  readonly wait: () => Promise<void>;
  readonly breaksAfter?: { readonly chunks: number; readonly error: Error };
}

export function streamOf(
  { content, usage, finishReason, warnings }: LanguageModelV4GenerateResult,
  { chunkChars, wait, breaksAfter }: StreamOptions,
): ReadableStream<LanguageModelV4StreamPart> {
  const parts: LanguageModelV4StreamPart[] = [
    { type: "stream-start", warnings },
    ...content.flatMap((part, index) => partsOf(part, String(index), chunkChars)),
    { type: "finish", usage, finishReason },
  ];
  let at = 0;
  let chunks = 0;
  return new ReadableStream({
    async pull(controller) {
      const part = parts[at++];
      if (!part) return controller.close();
      try {
        await wait();
      } catch (thrown) {
        return controller.error(thrown);
      }
      if (breaksAfter && chunks >= breaksAfter.chunks) return controller.error(breaksAfter.error);
      if ("delta" in part) chunks++;
      controller.enqueue(part);
    },
  });
}

function partsOf(part: LanguageModelV4Content, id: string, chunkChars: number): LanguageModelV4StreamPart[] {
  if (part.type === "text" || part.type === "reasoning") {
    const { type, text } = part;
    const deltas = pieces(text, chunkChars).map(
      (delta): LanguageModelV4StreamPart => ({ type: `${type}-delta`, id, delta }),
    );
    return [{ type: `${type}-start`, id }, ...deltas, { type: `${type}-end`, id }];
  }
  if (part.type !== "tool-call") return [part as LanguageModelV4StreamPart];
  const { toolCallId, toolName, input } = part;
  const deltas = pieces(input, chunkChars).map(
    (delta): LanguageModelV4StreamPart => ({ type: "tool-input-delta", id: toolCallId, delta }),
  );
  return [
    { type: "tool-input-start", id: toolCallId, toolName },
    ...deltas,
    { type: "tool-input-end", id: toolCallId },
    part,
  ];
}

/** By code points, so that none is torn. */
function pieces(text: string, chars: number): string[] {
  const points = [...text];
  return Array.from({ length: Math.ceil(points.length / chars) }, (_, at) =>
    points.slice(at * chars, (at + 1) * chars).join(""),
  );
}
