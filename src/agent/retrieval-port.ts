/** What a retrieval agent asks for documents, and the check of what it is given. */
import { invalid } from "../errors.ts";
import { isObject } from "../run/check.ts";

/** A document, or the piece of one that fits into a prompt. Stored with the thread: plain values. */
export interface RetrievedDocument {
  /** One document keeps one id: citations name it. */
  readonly id: string;
  readonly text: string;
  /** The greater the better, on whatever scale. */
  readonly score?: number;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface RetrieveOptions {
  /** Aborts with the run: pass it on. */
  readonly signal: AbortSignal;
  /** The most that is of use. */
  readonly limit: number;
}

/** A vector store, a search service, a database, or `keywordRetriever`. */
export interface Retriever {
  /** Gives the documents that fit the query, the best first. */
  retrieve(
    query: string,
    options: RetrieveOptions,
  ): readonly RetrievedDocument[] | Promise<readonly RetrievedDocument[]>;
}

/** Gives those of the documents that are worth keeping, the best first; the order counts, and `score` is kept. */
export type Reranker = (
  query: string,
  documents: readonly RetrievedDocument[],
  options: RetrieveOptions,
) => readonly RetrievedDocument[] | Promise<readonly RetrievedDocument[]>;

/** The first `limit` documents, each once. Throws `InvalidArgument` with the place for what is none. */
export function readDocuments(given: unknown, limit: number): readonly RetrievedDocument[] {
  if (!Array.isArray(given)) throw invalid("retriever", "must give a list of documents");
  const byId = new Map<string, RetrievedDocument>();
  for (const [index, entry] of given.entries()) {
    if (byId.size >= limit) break;
    const place = `retriever: documents[${index}]`;
    if (!isObject(entry)) throw invalid(place, "must be an object with id and text");
    const { id, text, score, metadata } = entry;
    if (typeof id !== "string" || id === "") throw invalid(`${place}.id`, "must be text");
    if (typeof text !== "string") throw invalid(`${place}.text`, "must be text");
    if (score !== undefined && typeof score !== "number") throw invalid(`${place}.score`, "must be a number");
    if (metadata !== undefined && !isObject(metadata)) throw invalid(`${place}.metadata`, "must be an object");
    // A piece that was found twice is shown once, where it was found first.
    if (byId.has(id)) continue;
    byId.set(id, { id, text, ...(score === undefined ? {} : { score }), ...(metadata ? { metadata } : {}) });
  }
  return [...byId.values()];
}

/** The documents in the reranker's order, as they were retrieved. Throws `InvalidArgument` for one that was not. */
export function readRanking(given: unknown, documents: readonly RetrievedDocument[]): readonly RetrievedDocument[] {
  if (!Array.isArray(given)) throw invalid("reranker", "must give a list of documents");
  const known = new Map(documents.map((one) => [one.id, one]));
  const ranked = new Map<string, RetrievedDocument>();
  for (const [index, entry] of given.entries()) {
    const { id, score } = isObject(entry) ? entry : {};
    const document = typeof id === "string" ? known.get(id) : undefined;
    if (!document) throw invalid(`reranker: documents[${index}]`, "is none of those that it was given");
    if (ranked.has(document.id)) continue;
    ranked.set(document.id, typeof score === "number" ? { ...document, score } : document);
  }
  return [...ranked.values()];
}
