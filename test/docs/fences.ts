/** The snippets of README.md and docs/guide, as programs whose lines are those of their pages. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/imports.ts";

/** What a line says that it prints: `console.log(…); // this`. */
export interface Expectation {
  /** Where the `console.log` begins. */
  readonly line: number;
  readonly text: string;
}

export interface Snippet {
  /** `docs/guide/state.md`. */
  readonly page: string;
  /** Of its first line in the page. */
  readonly line: number;
  /**
   * What follows `ts`: `no-run` for one that is only type-checked, `continued` for one that needs the one before it, or
   * `continued=a` the one that is marked `name=a`.
   */
  readonly marks: readonly string[];
  /** The code, behind so many empty lines that its lines have the page's numbers. */
  readonly code: string;
  readonly expected: readonly Expectation[];
}

/** Pages with snippets, as paths from the root. */
export function pages(): string[] {
  const guide = readdirSync(join(root, "docs/guide")).filter((name) => name.endsWith(".md"));
  return ["README.md", ...guide.sort().map((name) => `docs/guide/${name}`)];
}

export function snippetsOf(page: string): Snippet[] {
  return readSnippets(page, readFileSync(join(root, page), "utf8"));
}

/** Those `ts` fences that import this package. Throws an Error, naming the line, for a fence that is not closed. */
export function readSnippets(page: string, text: string): Snippet[] {
  const lines = text.split(/\r?\n/);
  const snippets: Snippet[] = [];
  for (let at = 0; at < lines.length; at++) {
    const fence = /^(`{3,})\s*(.*)$/.exec(lines[at]!);
    if (!fence) continue;
    const end = lines.indexOf(fence[1]!, at + 1);
    if (end < 0) throw new Error(`${page}:${at + 1}: the fence is not closed`);
    const [language, ...marks] = fence[2]!.split(/\s+/);
    const body = lines.slice(at + 1, end);
    if (language === "ts" && body.some((line) => /["']agentmatic(\/[\w-]+)?["']/.test(line))) {
      const before = beforeOf(marks, snippets, `${page}:${at + 1}`)?.code ?? "";
      const code = `${before}${"\n".repeat(at + 2 - before.split("\n").length)}${body.join("\n")}\n`;
      const expected = expectationsOf(code).filter(({ line }) => line > at + 1);
      snippets.push({ page, line: at + 2, marks, code, expected });
    }
    at = end;
  }
  return snippets;
}

/** Throws an Error, with the place, where the snippet to go on from is not there. */
function beforeOf(marks: readonly string[], snippets: readonly Snippet[], place: string): Snippet | undefined {
  const mark = marks.find((one) => /^continued(=|$)/.test(one));
  if (mark === undefined) return undefined;
  const name = mark.replace("continued", "name");
  const before = mark === "continued" ? snippets.at(-1) : snippets.findLast((one) => one.marks.includes(name));
  if (!before) throw new Error(`${place}: there is no snippet to go on from (${mark})`);
  return before;
}

/** The comment stands behind the statement's last line. */
function expectationsOf(code: string): Expectation[] {
  const lines = code.split("\n");
  const found: Expectation[] = [];
  lines.forEach((line, index) => {
    const comment = /;\s*\/\/\s?(.+)$/.exec(line);
    if (!comment) return;
    let start = index;
    // The end of a statement of several lines is no deeper than its beginning.
    const depth = line.search(/\S/);
    if (/^\s*[)\]}]/.test(line)) {
      do start--;
      while (start >= 0 && (lines[start]!.trim() === "" || lines[start]!.search(/\S/) > depth));
    }
    if (lines[start]?.includes("console.log(")) found.push({ line: start + 1, text: comment[1]!.trim() });
  });
  return found;
}

/** Whether what a line printed is what its comment says: `…` stands for anything, and line breaks count as spaces. */
export function matches(expected: string, printed: string): boolean {
  const pieces = flat(expected).split("…");
  const pattern = pieces.map((piece) => piece.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join(".*");
  return new RegExp(`^${pattern}$`).test(flat(printed));
}

function flat(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}
