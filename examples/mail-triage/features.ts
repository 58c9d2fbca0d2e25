import model from "wink-eng-lite-web-model";
import winkNLP, { type Detail, type ReadabilityStats, type WinkMethods } from "wink-nlp";
import type { ParsedMail } from "./parse.ts";

/** What the language of a mail tells, for routing and for the draft's tone. */
export interface LanguageFeatures {
  readonly words: number;
  readonly sentences: number;
  /** Flesch reading ease, -100 to 120; higher is easier. */
  readonly readingEase: number;
  /** -1 (angry) to 1 (happy). */
  readonly sentiment: number;
  /** Share of words written in capitals, 0 to 1. */
  readonly shouting: number;
  /** Question and exclamation marks a hundred words. */
  readonly questions: number;
  readonly exclamations: number;
  /** English stop words as a share of all words: below a tenth it is hardly English prose. */
  readonly stopWords: number;
  readonly english: boolean;
}

/** Things named in the mail, each list without repetition and at most `NAMED_MAX` long. */
export interface Entities {
  readonly dates: string[];
  readonly times: string[];
  readonly money: string[];
  readonly percents: string[];
  readonly emails: string[];
  readonly urls: string[];
  readonly phones: string[];
  /** Order, invoice, ticket and bug numbers. */
  readonly references: string[];
}

/** Chars of subject and text that are looked at. The corpus's median mail is shorter; the cap bounds the time a mail. */
export const ANALYSED_MAX: number = 4_000;
const NAMED_MAX = 20;
const VALUE_MAX = 200;
const ENGLISH_SHARE = 0.15;
const SHORT_WORDS = 20;

// Two pipelines over one model, so that the two nodes of the fan-out pay only for what they use.
let language: WinkMethods | undefined;
let naming: WinkMethods | undefined;

export function languageFeatures(mail: ParsedMail): LanguageFeatures {
  language ??= winkNLP(model, ["sbd", "negation", "sentiment"]);
  const { its } = language;
  const doc = language.readDoc(analysed(mail));
  const stats = doc.out(its.readabilityStats) as unknown as ReadabilityStats;
  const tokens = doc.tokens();
  const isWord = (tokens.out(its.type) as string[]).map((type) => type === "word");
  const values = (tokens.out() as string[]).filter((_, i) => isWord[i]);
  const stops = (tokens.out(its.stopWordFlag) as unknown as boolean[]).filter((stop, i) => stop && isWord[i]).length;
  const marks = tokens.out() as string[];
  const words = values.length;
  const share = (count: number, of = words) => (of === 0 ? 0 : round(count / of));
  const stopWords = share(stops);
  return {
    words,
    sentences: doc.sentences().length(),
    readingEase: words === 0 ? 0 : round(Math.max(-100, Math.min(120, stats.fres))),
    sentiment: round(doc.out(its.sentiment) as unknown as number),
    shouting: share(
      values.filter((word) => word.length > 2 && word === word.toUpperCase() && /[A-Z]/.test(word)).length,
    ),
    questions: share(100 * marks.filter((mark) => mark.startsWith("?")).length),
    exclamations: share(100 * marks.filter((mark) => mark.startsWith("!")).length),
    stopWords,
    english: words < SHORT_WORDS ? stopWords > 0 || words === 0 : stopWords >= ENGLISH_SHARE,
  };
}

const LISTS: Record<string, Exclude<keyof Entities, "phones" | "references">> = {
  DATE: "dates",
  TIME: "times",
  MONEY: "money",
  PERCENT: "percents",
  EMAIL: "emails",
  URL: "urls",
};

export function namedEntities(mail: ParsedMail): Entities {
  naming ??= winkNLP(model, ["sbd", "ner"]);
  const text = analysed(mail);
  const found = naming.readDoc(text).entities().out(naming.its.detail) as unknown as Detail[];
  const lists = new Map<keyof Entities, Set<string>>();
  const add = (name: keyof Entities, value: string) => {
    const list = lists.get(name) ?? new Set();
    if (list.size < NAMED_MAX) lists.set(name, list.add(value.trim().slice(0, VALUE_MAX)));
  };
  for (const { type, value } of found) {
    const name = LISTS[type];
    if (name !== undefined) add(name, value);
  }
  for (const link of mail.links) add("urls", link);
  for (const match of text.matchAll(PHONE)) add("phones", match[0]);
  for (const match of text.matchAll(REFERENCE)) add("references", `${match[1]!.toLowerCase()} ${match[2]}`);
  const list = (name: keyof Entities) => [...(lists.get(name) ?? [])];
  return {
    dates: list("dates"),
    times: list("times"),
    money: list("money"),
    percents: list("percents"),
    emails: list("emails"),
    urls: list("urls"),
    phones: list("phones"),
    references: list("references"),
  };
}

const PHONE = /(?:\+\d{1,3}[ -]?)?\(?\b\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b/g;
const REFERENCE =
  /\b(order|invoice|ticket|case|bug|issue|ref(?:erence)?)\s{0,2}(?:no\.?|number|id|#|:){0,2}\s{0,2}#?([A-Z]{0,4}-?\d{3,12})\b/gi;

function analysed(mail: ParsedMail): string {
  return `${mail.subject}.\n${mail.text}`.slice(0, ANALYSED_MAX);
}

function round(value: number): number {
  return Number.isFinite(value) ? Math.round(value * 1000) / 1000 : 0;
}
