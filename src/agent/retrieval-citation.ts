/** The marks of an answer, `[1]`, and the documents that they name. */
import type { AgentMessage } from "./messages.ts";
import type { RetrievedDocument } from "./retrieval-port.ts";

export interface Citation {
  /** As it stands in the answer: 1 for the first of `documents`. */
  readonly mark: number;
  /** Of the document. */
  readonly id: string;
}

export interface Cited {
  readonly message: AgentMessage;
  /** In the order in which the answer names them, each once. */
  readonly citations: readonly Citation[];
  /** Numbers that no document has; they are taken out of the answer. */
  readonly unknownMarks: readonly number[];
}

/** `[1]`, and several in one: `[1, 2]`. */
const markForm = /[ \t]?\[(\d{1,6}(?:\s*[,;]\s*\d{1,6})*)\]/g;
/** What stands in code is no mark: fenced blocks, an unclosed one with them, and spans. */
const codeForm = /(```[\s\S]*?(?:```|$)|`[^`\n]*`)/;

/** Resolves the marks of an answer to the documents that it was given. */
export function cite(answer: AgentMessage, documents: readonly RetrievedDocument[]): Cited {
  const citations = new Map<number, Citation>();
  const unknown = new Set<number>();
  const known = (mark: number): boolean => {
    const document = documents[mark - 1];
    if (document) citations.set(mark, citations.get(mark) ?? { mark, id: document.id });
    else unknown.add(mark);
    return document !== undefined;
  };
  const checked = (text: string): string =>
    text.replaceAll(markForm, (whole, list: string) => {
      const marks = list.split(/[,;]/).map(Number);
      const kept = marks.filter(known);
      if (kept.length === marks.length) return whole;
      return kept.length === 0 ? "" : whole.replace(list, kept.join(", "));
    });
  const outsideCode = (text: string): string =>
    text
      .split(codeForm)
      .map((piece, index) => (index % 2 === 0 ? checked(piece) : piece))
      .join("");
  const content = (answer.content as readonly { readonly type: string; readonly text?: string }[]).map((part) =>
    part.type === "text" ? { ...part, text: outsideCode(part.text ?? "") } : part,
  );
  const message = { ...answer, content } as AgentMessage;
  return { message, citations: [...citations.values()], unknownMarks: [...unknown] };
}
