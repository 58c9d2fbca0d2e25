import { globSync, readFileSync } from "node:fs";
import { dirname, join, sep } from "node:path";

export const root: string = dirname(dirname(import.meta.dirname));

export type ImportKind = "value" | "types" | "dynamic";

export interface Import {
  /** As written: `../errors.ts`, `hono`, `node:fs`. */
  specifier: string;
  kind: ImportKind;
}

export interface SourceFile {
  /** Relative to the repository, with forward slashes: `src/errors.ts`. */
  path: string;
  lines: number;
  imports: Import[];
  /** The code without comments and without the content of strings. */
  code: string;
}

/** Reads every TypeScript file of the given folders of the repository. */
export function readSources(folders: readonly string[]): SourceFile[] {
  return folders
    .flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: root }))
    .map((file) => file.split(sep).join("/"))
    .sort()
    .map((path) => parseSource(path, readFileSync(join(root, path), "utf8")));
}

export function parseSource(path: string, text: string): SourceFile {
  const { withStrings, code } = strip(text);
  const lines = text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
  return { path, lines, imports: findImports(withStrings), code };
}

const statement = /\b(?:import|export)\s+(type\s+)?(?:[\w$*{}\s,]+?\s*\bfrom\s*)?(["'])([^"'\n]+)\2/g;
// `import("x")` is a value in an expression and a type after `typeof` or before `.Name`.
const call = /(\btypeof\s+)?\bimport\s*\(\s*(["'])([^"'\n]+)\2\s*\)(\s*\.\s*[A-Z])?/g;

function findImports(text: string): Import[] {
  const imports: Import[] = [];
  for (const [, type, , specifier = ""] of text.matchAll(statement)) {
    imports.push({ specifier, kind: type ? "types" : "value" });
  }
  for (const [, typeOf, , specifier = "", member] of text.matchAll(call)) {
    imports.push({ specifier, kind: typeOf || member ? "types" : "dynamic" });
  }
  return imports;
}

const token =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|(?<=[=(,:[!&|?{};+\-*%<>~^\n]\s*|\breturn\s+)\/(?![/*])(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/|[`{}]|\\[\s\S]/g;

// Comments and the text of templates go from both results, strings' contents from `code`. What stands in `${}` of a template is code again, so
// templates need a stack; a text that is neither needs no look.
function strip(text: string): { withStrings: string; code: string } {
  let withStrings = "";
  let code = "";
  let last = 0;
  const open: ("template" | "brace")[] = [];
  const emit = (piece: string): void => {
    if (open.at(-1) === "template") return;
    withStrings += piece;
    code += piece;
  };
  for (token.lastIndex = 0; ; ) {
    const inTemplate = open.at(-1) === "template";
    const match = inTemplate ? nextInTemplate(text, token.lastIndex) : token.exec(text);
    emit(text.slice(last, match?.index ?? text.length));
    if (!match) return { withStrings, code };
    const [piece] = match;
    last = match.index + piece.length;
    token.lastIndex = last;
    if (piece === "`" && inTemplate) open.pop();
    else if (piece === "`") open.push("template");
    else if (piece === "${" || piece === "{") open.push("brace");
    else if (piece === "}") open.pop();
    else if (/^["']/.test(piece)) {
      // A quote inside a string must not look like the specifier of an import.
      withStrings += piece[0] + piece.slice(1, -1).replace(/["']/g, " ") + piece[0];
      code += '""';
    }
  }
}

function nextInTemplate(text: string, from: number): RegExpExecArray | null {
  const next = /\\[\s\S]|`|\$\{/g;
  next.lastIndex = from;
  let match = next.exec(text);
  while (match?.[0].startsWith("\\")) match = next.exec(text);
  return match;
}
