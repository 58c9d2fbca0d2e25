/**
 * A retriever without a vector store: documents in memory, ranked by the words that they share with the query.
 *
 * BM25 as in S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3.5,
 * with the Robertson/Spärck Jones weight of a word without relevance information (section 3.2); the 1 inside of its
 * logarithm, as in Lucene, keeps the weight of a word that most documents have above 0.
 */
import { invalid } from "../errors.ts";
import { type RetrievedDocument, type Retriever, readDocuments } from "./retrieval-port.ts";

export interface KeywordOptions {
  /** How soon more of the same word counts no more. Default 1.2. */
  readonly k1?: number;
  /** How much a long text is marked down, from 0 to 1. Default 0.75. */
  readonly b?: number;
  /** The words of a text, as they are compared. Default: runs of letters and digits, whatever their case and accents. */
  readonly words?: (text: string) => readonly string[];
}

/** Where a word stands: a document's place in the list, and how many times. */
type Posting = readonly [document: number, count: number];

/** Throws `InvalidArgument`, naming the option or the document. */
export function keywordRetriever(documents: readonly RetrievedDocument[], options: KeywordOptions = {}): Retriever {
  const { k1 = 1.2, b = 0.75, words = wordsOf } = options;
  if (!(k1 >= 0 && Number.isFinite(k1))) throw invalid("k1", "must be a number from 0");
  if (!(b >= 0 && b <= 1)) throw invalid("b", "must be a number from 0 to 1");
  if (typeof words !== "function") throw invalid("words", "must be a function");
  const all = readAll(documents);
  const postings = new Map<string, Posting[]>();
  const lengths = all.map(({ text }, at) => index(postings, at, words(text)));
  const meanLength = lengths.reduce((sum, length) => sum + length, 0) / Math.max(1, lengths.length);
  const norms = lengths.map((length) => k1 * (1 - b + (b * length) / (meanLength || 1)));
  return {
    retrieve: (query, { limit }) => {
      const scores = new Map<number, number>();
      for (const word of new Set(words(query))) {
        const found = postings.get(word) ?? [];
        const weight = Math.log(1 + (all.length - found.length + 0.5) / (found.length + 0.5));
        for (const [at, count] of found) {
          const gain = (weight * count * (k1 + 1)) / (count + norms[at]!);
          scores.set(at, (scores.get(at) ?? 0) + gain);
        }
      }
      const best = [...scores].sort(([at, score], [otherAt, other]) => other - score || at - otherAt);
      return best.slice(0, limit).map(([at, score]) => ({ ...all[at]!, score }));
    },
  };
}

function readAll(documents: readonly RetrievedDocument[]): readonly RetrievedDocument[] {
  const all = readDocuments(documents, Number.POSITIVE_INFINITY);
  if (all.length === documents.length) return all;
  const seen = new Set<string>();
  const again = documents.findIndex(({ id }) => seen.size === seen.add(id).size);
  throw invalid(`documents[${again}].id`, `another document has the id "${documents[again]?.id}"`);
}

/** Gives the number of words. */
function index(postings: Map<string, Posting[]>, at: number, words: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  for (const [word, count] of counts) {
    const list = postings.get(word);
    if (list) list.push([at, count]);
    else postings.set(word, [[at, count]]);
  }
  return words.length;
}

function wordsOf(text: string): readonly string[] {
  const plain = text
    .normalize("NFKD")
    .replaceAll(/\p{Mn}+/gu, "")
    .toLowerCase();
  return plain.match(/[\p{L}\p{N}]+/gu) ?? [];
}
