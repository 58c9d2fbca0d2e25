/** The table of features, its links and the tests that it names. */
import { readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { root } from "../support/imports.ts";

export const page = "docs/features.md";

export interface Link {
  readonly line: number;
  /** From the root. */
  readonly file: string;
  /** Of a heading. */
  readonly anchor: string | undefined;
  /** The test's name that follows; with `…` at its end, its beginning. */
  readonly test: string | undefined;
}

export interface Row {
  readonly line: number;
  readonly cells: readonly string[];
}

export function rowsOf(text: string): Row[] {
  return text.split(/\r?\n/).flatMap((line, index) => {
    if (!line.startsWith("|") || /^\|[\s|-]+\|$/.test(line)) return [];
    const cells = line.slice(1, -1).split("|");
    return [{ line: index + 1, cells: cells.map((cell) => cell.trim()) }];
  });
}

export function linksOf({ line, cells }: Row, from = page): Link[] {
  return cells.flatMap((cell) =>
    [...cell.matchAll(/\]\(([^)#]+)(?:#([^)]+))?\)(?:\s+"([^"]+)")?/g)].map(([, path, anchor, test]) => ({
      line,
      file: join(dirname(from), path!),
      anchor,
      test,
    })),
  );
}

/** What is wrong with a link; undefined where nothing is. */
export function faultOf({ file, anchor, test }: Link): string | undefined {
  const found = statSync(join(root, file), { throwIfNoEntry: false });
  if (!found) return `${file} is not there`;
  if (found.isDirectory()) return undefined;
  const text = readFileSync(join(root, file), "utf8");
  if (anchor !== undefined && !anchorsOf(text).includes(anchor)) return `${file} has no heading #${anchor}`;
  if (test === undefined) return /\.test\.ts$/.test(file) ? `${file}: the test's name is missing` : undefined;
  if (!titlesOf(text).some((title) => fits(test, title))) return `${file} has no test "${test}"`;
  return undefined;
}

function fits(name: string, title: string): boolean {
  return name.endsWith("…") ? title.startsWith(name.slice(0, -1)) : title === name;
}

/** As GitHub makes them of headings: lower case, without signs, with `-` for spaces. */
export function anchorsOf(markdown: string): string[] {
  const plain = markdown.replace(/^```[\s\S]*?^```/gm, "");
  return [...plain.matchAll(/^#{1,6}\s+(.+?)\s*$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-"),
  );
}

/** First arguments of `it`, `test` and `describe`, and of what `each` gives back, as they stand in the source. */
export function titlesOf(source: string): string[] {
  const calls = /(?:\b(?:it|test|describe)(?:\.\w+)*|\))\(\s*(?:"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/g;
  return [...source.matchAll(calls)].map(([, quoted, template]) =>
    (quoted ?? template ?? "").replace(/\\(["`])/g, "$1"),
  );
}
