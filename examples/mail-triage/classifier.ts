import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Label } from "./corpus.ts";
import type { ParsedMail } from "./parse.ts";

/**
 * Naive Bayes over hashed words (Metsis, Androutsopoulos and Paliouras, "Spam filtering with naive Bayes", 2006: the
 * multinomial form with Boolean attributes, which did best there). A model is one log-odds weight a bucket, and a bias.
 */
export interface Model {
  readonly bias: number;
  readonly weights: Float32Array;
}

export interface Verdict {
  readonly label: Label;
  /** Log odds of spam a mail, positive for spam. */
  readonly score: number;
  /** Probability of the label, between 0.5 and 1, squashed by the mail's length (naive Bayes alone says 0 or 1). */
  readonly confidence: number;
}

const BUCKETS = 2 ** 18;
const SMOOTHING = 0.1;
const WORDS_MAX = 600;
const MAGIC = 0x41474d31;

/** Gathers counts, then makes the model. Feed it mails of the training part only. */
export class Trainer {
  readonly #counts = { ham: new Uint32Array(BUCKETS), spam: new Uint32Array(BUCKETS) };
  readonly #mails = { ham: 0, spam: 0 };

  add(mail: ParsedMail, label: Label): void {
    this.#mails[label]++;
    for (const bucket of buckets(mail)) this.#counts[label][bucket]!++;
  }

  /** @throws Error when a class has no mail, as such a model would call everything the other class. */
  finish(): Model {
    const { ham, spam } = this.#mails;
    if (ham === 0 || spam === 0) throw new Error(`training needs both classes, got ${ham} ham and ${spam} spam`);
    const total = { ham: sum(this.#counts.ham), spam: sum(this.#counts.spam) };
    const weights = new Float32Array(BUCKETS);
    for (let i = 0; i < BUCKETS; i++) {
      const inSpam = (this.#counts.spam[i]! + SMOOTHING) / (total.spam + SMOOTHING * BUCKETS);
      const inHam = (this.#counts.ham[i]! + SMOOTHING) / (total.ham + SMOOTHING * BUCKETS);
      // A bucket nobody has seen says nothing, whatever the smoothing makes of the two totals.
      if (this.#counts.spam[i]! + this.#counts.ham[i]! > 0) weights[i] = Math.log(inSpam / inHam);
    }
    return { bias: Math.fround(Math.log(spam / ham)), weights };
  }
}

export function classify(model: Model, mail: ParsedMail): Verdict {
  let score = model.bias;
  const seen = buckets(mail);
  for (const bucket of seen) score += model.weights[bucket]!;
  const evidence = Math.abs(score) / Math.sqrt(seen.size + 1);
  return {
    label: score > 0 ? "spam" : "ham",
    score: Math.round(score * 1000) / 1000,
    confidence: Math.round(1000 / (1 + Math.exp(-evidence))) / 1000,
  };
}

/** Written beside and renamed, so that a worker never reads half a model. */
export function saveModel(model: Model, path: string): void {
  const bytes = new Uint8Array(8 + model.weights.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC);
  view.setFloat32(4, model.bias);
  bytes.set(new Uint8Array(model.weights.buffer, model.weights.byteOffset, model.weights.byteLength), 8);
  writeFileSync(`${path}.part`, bytes);
  renameSync(`${path}.part`, path);
}

/** @throws Error when the file is not a model of this size and format. */
export function loadModel(path: string): Model {
  const bytes = readFileSync(path);
  if (bytes.byteLength !== 8 + BUCKETS * 4 || bytes.readUInt32BE(0) !== MAGIC)
    throw new Error(`${path} is not a model`);
  const weights = new Float32Array(BUCKETS);
  new Uint8Array(weights.buffer).set(bytes.subarray(8));
  return { bias: bytes.readFloatBE(4), weights };
}

/**
 * The buckets of a mail's words, word pairs and shape. Sender, recipients, dates and delivery headers are left out on
 * purpose: they would tell which mailbox of the corpus a mail came from, and the accuracy would say nothing about mail.
 */
function buckets(mail: ParsedMail): Set<number> {
  const found = new Set<number>();
  const add = (kind: string, word: string) => found.add(hash(`${kind}:${word}`));
  for (const word of words(mail.subject)) add("subject", word);
  let before = "";
  for (const word of words(mail.text)) {
    add("word", word);
    if (before !== "") add("pair", `${before} ${word}`);
    before = word;
  }
  for (const link of mail.links) add("host", host(link));
  add("shape", mail.htmlOnly ? "html only" : mail.links.length > 0 ? "html too" : "plain");
  add("shape", `links ${Math.min(5, mail.links.length)}`);
  for (const defect of mail.defects) add("defect", defect);
  for (const attached of mail.attachments) add("attached", attached.type);
  return found;
}

function words(text: string): string[] {
  return (text.toLowerCase().match(/[\p{L}][\p{L}\p{N}'-]{1,23}|[$€£!]+|\d{1,6}%?/gu) ?? []).slice(0, WORDS_MAX);
}

function host(link: string): string {
  return /^(?:https?:\/\/|mailto:[^@]*@)([^/:?#]+)/i.exec(link)?.[1]?.toLowerCase() ?? "";
}

/** FNV-1a, 32 bits, folded to the number of buckets. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return ((value >>> 18) ^ value) & (BUCKETS - 1);
}

function sum(counts: Uint32Array): number {
  return counts.reduce((total, count) => total + count, 0);
}
