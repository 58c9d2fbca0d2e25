/** BM25: against its formula written out plainly, and what must hold of any ranking by words. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { keywordRetriever } from "../../../src/agent/retrieval-keyword.ts";
import type { RetrievedDocument } from "../../../src/agent/retrieval-port.ts";

const { signal } = new AbortController();
const word = fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h");
const text = fc.array(word, { maxLength: 12 }).map((words) => words.join(" "));
const library = fc.array(text, { minLength: 1, maxLength: 12 });

const documentsOf = (texts: readonly string[]): RetrievedDocument[] =>
  texts.map((one, index) => ({ id: String(index), text: one }));

function ranked(texts: readonly string[], query: string, limit = 100): readonly RetrievedDocument[] {
  return keywordRetriever(documentsOf(texts)).retrieve(query, { limit, signal }) as readonly RetrievedDocument[];
}

const scoresOf = (texts: readonly string[], query: string): Map<string, number> =>
  new Map(ranked(texts, query).map(({ id, score }) => [id, score!]));

function check<T extends [unknown, ...unknown[]]>(property: fc.IProperty<T>): void {
  fc.assert(property, { numRuns: 300 });
}

/** The formula for one document, straight from the paper, with nothing prepared. */
function plainScore(texts: readonly string[], query: string, at: number, k1 = 1.2, b = 0.75): number {
  const split = texts.map((one) => one.split(" ").filter((each) => each !== ""));
  const mean = split.reduce((sum, words) => sum + words.length, 0) / split.length;
  const own = split[at]!;
  let score = 0;
  for (const term of new Set(query.split(" ").filter((each) => each !== ""))) {
    const count = own.filter((each) => each === term).length;
    if (count === 0) continue;
    const n = split.filter((words) => words.includes(term)).length;
    const weight = Math.log(1 + (split.length - n + 0.5) / (n + 0.5));
    score += (weight * (count * (k1 + 1))) / (count + k1 * (1 - b + (b * own.length) / mean));
  }
  return score;
}

test("scores are those of the formula, and the order is that of the scores", () => {
  check(
    fc.property(library, text, (texts, query) => {
      const found = ranked(texts, query);
      const expected = texts.map((_one, at) => plainScore(texts, query, at));
      expect(found).toHaveLength(expected.filter((score) => score > 0).length);
      for (const { id, score } of found) expect(score).toBeCloseTo(expected[Number(id)]!, 9);
      for (let at = 1; at < found.length; at++) expect(found[at - 1]!.score!).toBeGreaterThanOrEqual(found[at]!.score!);
    }),
  );
});

test("a smaller limit gives the beginning of the same list", () => {
  check(
    fc.property(library, text, fc.integer({ min: 0, max: 12 }), (texts, query, limit) => {
      expect(ranked(texts, query, limit)).toEqual(ranked(texts, query).slice(0, limit));
    }),
  );
});

test("a document's score does not depend on the others' order, nor on how often the query says a word", () => {
  check(
    fc.property(library, text, (texts, query) => {
      const forwards = scoresOf(texts, query);
      const backwards = scoresOf([...texts].reverse(), `${query} ${query}`);
      for (const [id, score] of forwards) {
        expect(backwards.get(String(texts.length - 1 - Number(id)))).toBeCloseTo(score, 9);
      }
      expect(backwards.size).toBe(forwards.size);
    }),
  );
});

test("more of the query's words rank a text of the same length higher, more other words lower", () => {
  const count = fc.integer({ min: 1, max: 10 });
  check(
    fc.property(count, count, count, library, (hits, misses, more, others) => {
      const of = (own: number, other: number) => [...Array(own).fill("x"), ...Array(other).fill("y")].join(" ");
      const [poor, rich, long] = [of(hits, misses + more), of(hits + more, misses), of(hits, misses + more + 1)];
      const scores = scoresOf([poor, rich, long, ...others], "x");
      expect(scores.get("1")!).toBeGreaterThan(scores.get("0")!);
      expect(scores.get("2")!).toBeLessThan(scores.get("0")!);
    }),
  );
});

test("a rarer word counts for more", () => {
  check(
    fc.property(fc.integer({ min: 1, max: 20 }), library, (times, others) => {
      const scores = scoresOf(["rare z", "usual z", ...Array(times).fill("usual"), ...others], "rare usual");
      expect(scores.get("0")!).toBeGreaterThan(scores.get("1")!);
    }),
  );
});

test("words are the same whatever their case, accents and signs around them", () => {
  const texts = ["Čeština, café!", "ΑΘΗΝΑ 東京", "nothing"];
  expect(ranked(texts, "CAFE").map(({ id }) => id)).toEqual(["0"]);
  expect(ranked(texts, "αθηνα").map(({ id }) => id)).toEqual(["1"]);
  expect(ranked(texts, "(東京)").map(({ id }) => id)).toEqual(["1"]);
  expect(ranked(texts, "constructor __proto__")).toEqual([]);
  expect(ranked([], "x")).toEqual([]);
});

test("documents come back with all that they have; words may be split by the caller", () => {
  const document = { id: "1", text: "ab", metadata: { page: 3 } };
  const letters = keywordRetriever([document], { words: (given) => [...given] });
  expect(letters.retrieve("b", { limit: 1, signal })).toEqual([{ ...document, score: expect.any(Number) }]);
});

test("bad documents and options name the place", () => {
  const refused = (make: () => unknown, message: RegExp) =>
    expect(make).toThrow(expect.objectContaining({ code: "InvalidArgument", message: expect.stringMatching(message) }));
  refused(
    () =>
      keywordRetriever([
        { id: "1", text: "" },
        { id: "1", text: "" },
      ]),
    /^documents\[1\]\.id: another .* "1"/,
  );
  refused(() => keywordRetriever([{ id: "", text: "" }]), /documents\[0\]\.id: must be text/);
  refused(() => keywordRetriever([{ id: "1" } as never]), /documents\[0\]\.text: must be text/);
  refused(() => keywordRetriever([], { k1: -1 }), /^k1: /);
  refused(() => keywordRetriever([], { b: 2 }), /^b: /);
  refused(() => keywordRetriever([], { words: 1 as never }), /^words: /);
});
