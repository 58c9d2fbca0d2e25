/** Runs and type-checks snippets against the sources, in a folder that git does not see. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { root } from "../support/imports.ts";
import { run } from "../support/process.ts";
import type { Snippet } from "./fences.ts";

const runMsMax = 20_000;
const checkMsMax = 120_000;
const printer = join(import.meta.dirname, "printer.ts");
const { exports: sources } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as {
  exports: Record<string, string>;
};

export interface Printed {
  readonly line: number;
  readonly text: string;
}

/** Snippets written out as files, each with the sources in the place of the package. */
export class Programs {
  readonly #folder: string;

  constructor(snippets: readonly Snippet[]) {
    // In the repository, so that what a snippet imports besides is found.
    this.#folder = join(root, ".agentmatic", `docs-${process.pid}`);
    mkdirSync(this.#folder, { recursive: true });
    for (const snippet of snippets) writeFileSync(this.#file(snippet), this.#withSources(snippet));
  }

  /** By snippet what the compiler says of it, under the strict options of this repository. */
  async check(): Promise<(snippet: Snippet) => readonly string[]> {
    const project = join(this.#folder, "tsconfig.json");
    const up = relative(this.#folder, root);
    writeFileSync(project, JSON.stringify({ extends: `${up}/tsconfig.json`, include: ["./*.ts"] }));
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const { output, code } = await run(process.execPath, [tsc, "-p", project, "--pretty", "false"], {
      cwd: this.#folder,
      timeoutMs: checkMsMax,
    });
    const lines = output.split("\n").filter((line) => line.trim() !== "");
    // What stands further in explains the line before it.
    const faults = lines.reduce<string[]>((all, line) => {
      if (/^\s/.test(line) && all.length > 0) all[all.length - 1] += `\n${line}`;
      else all.push(line);
      return all;
    }, []);
    const strange = faults.filter((fault) => !/^[\w-]+\.md\.\d+\.ts\(/.test(fault));
    if (strange.length > 0 || (code !== 0 && faults.length === 0))
      throw new Error(`tsc ended with ${code}:\n${output}`);
    return (snippet) => {
      const name = `${basename(this.#file(snippet))}(`;
      const lines = snippet.code.split("\n");
      return faults
        .filter((fault) => fault.startsWith(name) && !isShown(fault, lines))
        .map((fault) => fault.replace(/^.*?\((\d+),\d+\)/, `${snippet.page}:$1`));
    };
  }

  /** What it printed, by line. Throws an Error that names page and line where it fails or does not end in time. */
  async run(snippet: Snippet): Promise<readonly Printed[]> {
    const file = this.#file(snippet);
    const args = ["--disable-warning=ExperimentalWarning", "--import", printer, file];
    const { code, signal, output } = await run(process.execPath, args, {
      cwd: this.#folder,
      timeoutMs: runMsMax,
      // Each one loads the same sources: compiled once, they start in a quarter of the time.
      env: { NODE_COMPILE_CACHE: join(this.#folder, "cache"), NODE_OPTIONS: undefined, NO_COLOR: "1" },
    }).catch((thrown: Error) => {
      throw new Error(`${snippet.page}:${snippet.line}: ${thrown.message}`);
    });
    if (code === 0) return printedIn(output);
    const line = new RegExp(`${basename(file).replaceAll(".", "\\.")}:(\\d+)`).exec(output)?.[1] ?? snippet.line;
    throw new Error(`${snippet.page}:${line}: the snippet ended with ${signal ?? code}:\n${output}`);
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #file({ page, line }: Snippet): string {
    return join(this.#folder, `${basename(page)}.${line}.ts`);
  }

  #withSources({ page, line, code }: Snippet): string {
    return code.replace(/(from |import |import\()(["'])agentmatic(\/[\w-]+)?\2/g, (all, before, quote, entry = "") => {
      const source = sources[`.${entry}`];
      if (source === undefined) throw new Error(`${page}:${line}: ${all} names no entry of this package`);
      return `${before}${quote}${relative(this.#folder, join(root, source))}${quote}`;
    });
  }
}

/** A snippet may end with a constant that it shows how to make; an import that it does not need is a mistake. */
function isShown(fault: string, lines: readonly string[]): boolean {
  const line = Number(/\((\d+),\d+\): error TS6133/.exec(fault)?.[1] ?? 0);
  return line > 0 && !lines[line - 1]!.startsWith("import");
}

function printedIn(output: string): Printed[] {
  const printed: Printed[] = [];
  for (const [, json] of output.matchAll(/^~printed~ (.*)$/gm)) {
    const [line, text] = JSON.parse(json!) as [number, string];
    printed.push({ line, text });
  }
  return printed;
}
