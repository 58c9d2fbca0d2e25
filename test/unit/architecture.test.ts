import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { describe, expect, it } from "vitest";
import { type Import, parseSource, readSources, root, type SourceFile } from "../support/imports.ts";

interface Allowed {
  name: string;
  only: "types" | "dynamic" | undefined;
}

interface Row {
  folder: string;
  imports: Allowed[];
  packages: string[];
}

const linesMax = 400;
const page = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
const rows: Row[] = table("folder").map(([folder = "", imports = "", packages = ""]) => ({
  folder,
  imports: list(imports).map(allowed),
  packages: list(packages),
}));
const files = readSources(["src", "adapters", "bin"]);

describe("the table", () => {
  it("has a row for every folder", () => {
    expect(rows.length).toBeGreaterThan(15);
    expect([...new Set(files.map(({ path }) => unitOf(path)))].filter((unit) => !rowFor(unit))).toEqual([]);
  });

  it("allows no way back: no folder reaches itself over others", () => {
    const edges = new Map(rows.map((row) => [row.folder, row.imports.flatMap((entry) => foldersOf(entry.name, row))]));
    expect(cycles(edges)).toEqual([]);
  });
});

describe("the imports", () => {
  it("are found", () => {
    const text = [
      'import type { A } from "./a.ts"; // import "./no.ts"',
      'import {\n  b,\n  type B,\n} from "./b.ts";',
      'import "./c.ts"; export * from "./d.ts"; export type { E } from "./e.ts";',
      'const f = await import("./f.ts"); type G = import("./g.ts").G; let h: typeof import("./h.ts");',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source code
      'const s = `// ${"`" + process.pid} import "./no.ts"`; /* import "./no.ts" */ const r = /"\\/[/"]/; const t = "process.";',
      'import * as I from "./i.ts"; import j, { k } from "@x/j/k";',
    ].join("\n");
    const { imports, code } = parseSource("x.ts", text);
    const found = (kind: Import["kind"]): string[] =>
      imports.filter((entry) => entry.kind === kind).map(({ specifier }) => specifier);
    expect(found("value")).toEqual(["./b.ts", "./c.ts", "./d.ts", "./i.ts", "@x/j/k"]);
    expect(found("types")).toEqual(["./a.ts", "./e.ts", "./g.ts", "./h.ts"]);
    expect(found("dynamic")).toEqual(["./f.ts"]);
    expect(code.match(/process/g)).toHaveLength(1);
  });

  it("keep to the table", () => {
    expect(files.flatMap((file) => file.imports.flatMap((entry) => violation(file, entry)))).toEqual([]);
  });

  it("name files with their suffix, and files that exist", () => {
    const known = new Set(files.map(({ path }) => path));
    const wrong = files.flatMap(({ path, imports }) =>
      imports
        .filter(({ specifier }) => specifier.startsWith(".") && !known.has(resolve(path, specifier)))
        .map(({ specifier }) => `${path} imports ${specifier}`),
    );
    expect(wrong).toEqual([]);
  });

  it("form no cycle of files, types included", () => {
    const edges = new Map(
      files.map(({ path, imports }) => [
        path,
        imports.filter(({ specifier }) => specifier.startsWith(".")).map(({ specifier }) => resolve(path, specifier)),
      ]),
    );
    expect(cycles(edges)).toEqual([]);
  });
});

describe("src", () => {
  it("uses nothing that only one runtime has", () => {
    const names =
      /\b(?:Deno|Bun|Buffer|process\s*\.|process\s*\[|__dirname|__filename|require\s*\()|\bglobalThis\.process\b/g;
    const uses = files
      .filter(({ path }) => path.startsWith("src/"))
      .flatMap(({ path, code, imports }) => [
        ...[...code.matchAll(names)].map(([name]) => `${path} uses ${name}`),
        ...imports
          .filter(({ specifier }) => /^(?:node|bun|jsr|npm|https?):/.test(specifier))
          .map(({ specifier }) => `${path} imports ${specifier}`),
      ]);
    expect(uses).toEqual([]);
  });
});

describe("long files", () => {
  const reasons = new Map(table("file").map(([file = "", reason = ""]) => [file, reason]));

  it(`have a reason above ${linesMax} lines`, () => {
    const without = files.filter(({ path, lines }) => lines > linesMax && !isGenerated(path) && !reasons.get(path));
    expect(without.map(({ path, lines }) => `${path}: ${lines} lines`)).toEqual([]);
  });

  it("are listed only while they are long", () => {
    const long = new Set(files.filter(({ lines }) => lines > linesMax).map(({ path }) => path));
    expect([...reasons.keys()].filter((path) => !long.has(path))).toEqual([]);
  });
});

function violation(file: SourceFile, { specifier, kind }: Import): string[] {
  const row = rowFor(unitOf(file.path));
  if (!row) return [];
  const complaint = `${file.path} imports ${specifier} (${kind}), which ${row.folder} may not`;
  if (!specifier.startsWith(".")) {
    return row.packages.some((name) => name === "any" || `${specifier}/`.startsWith(`${name}/`)) ? [] : [complaint];
  }
  const target = unitOf(resolve(file.path, specifier));
  if (target === unitOf(file.path)) return [];
  const fits = row.imports.some(({ name, only }) => (!only || only === kind) && covers(name, target));
  return fits ? [] : [complaint];
}

/** The row of a folder: its own, or one with a `*` that matches. */
function rowFor(unit: string): Row | undefined {
  return rows.find(({ folder }) => folder === unit) ?? rows.find(({ folder }) => matches(folder, unit));
}

/** Whether an entry of the second column stands for a folder. */
function covers(name: string, unit: string): boolean {
  if (name === "src") return unit.startsWith("src/") && !isGenerated(unit);
  return matches(name.startsWith("adapters/") ? name : `src/${name}`, unit);
}

function matches(pattern: string, unit: string): boolean {
  return pattern.endsWith("/*") ? unit.startsWith(pattern.slice(0, -1)) : pattern === unit;
}

// Rows with a `*` or with all of `src` are about adapters, which nothing of src may import: they close no circle.
function foldersOf(name: string, row: Row): string[] {
  if (!row.folder.startsWith("src/") || name === "src") return [];
  return rows.map(({ folder }) => folder).filter((folder) => covers(name, folder));
}

/** `src/graph` for src/graph/plan.ts, `src/errors` for src/errors.ts, `bin` for bin/x.ts. */
function unitOf(path: string): string {
  if (isGenerated(path)) return "src/rpc/gen";
  const [top = "", next = "", ...rest] = path.split("/");
  if (top === "bin") return top;
  return `${top}/${rest.length > 0 ? next : next.replace(/\.ts$/, "")}`;
}

function isGenerated(path: string): boolean {
  return `${path}/`.startsWith("src/rpc/gen/");
}

function resolve(path: string, specifier: string): string {
  return posix.join(posix.dirname(path), specifier);
}

/** The cells of the table of ARCHITECTURE.md whose first heading is `heading`, without backticks. */
function table(heading: string): string[][] {
  const lines = page.split("\n");
  const start = lines.findIndex((line) => line.startsWith(`| ${heading} |`));
  if (start < 0) throw new Error(`ARCHITECTURE.md has no table that begins with "| ${heading} |"`);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith("|"));
  return lines
    .slice(start + 2, end < 0 ? undefined : end)
    .map((line) => line.split("|").slice(1, -1))
    .map((cells) => cells.map((cell) => cell.replaceAll("`", "").trim()));
}

function list(cell: string): string[] {
  if (cell === "nothing") return [];
  const entries = cell.split(",").map((entry) => entry.trim());
  if (entries.includes("")) throw new Error(`ARCHITECTURE.md has an empty entry in "${cell}"; write nothing`);
  return entries;
}

function allowed(entry: string): Allowed {
  const match = /^(\S+)(?: \((types|dynamic)\))?$/.exec(entry);
  if (!match?.[1]) throw new Error(`ARCHITECTURE.md has an entry that is not understood: "${entry}"`);
  return { name: match[1], only: match[2] as Allowed["only"] };
}

/** One cycle for each knot of the graph (a strongly connected part), as the path that shows it. */
function cycles(edges: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (node: string, path: readonly string[]): void => {
    const at = path.indexOf(node);
    if (at >= 0) found.push([...path.slice(at), node].join(" → "));
    if (at >= 0 || done.has(node)) return;
    for (const next of edges.get(node) ?? []) visit(next, [...path, node]);
    done.add(node);
  };
  for (const node of edges.keys()) visit(node, []);
  return found;
}
