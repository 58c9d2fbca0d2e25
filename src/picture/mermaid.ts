/** A plan as a Mermaid flowchart, for Markdown pages that draw such text: GitHub, GitLab, Notion. */
import type { Plan } from "../graph/plan.ts";
import type { Chart, Shape } from "./chart.ts";
import type { Mark } from "./marks.ts";
import { type PictureOptions, readOptions } from "./options.ts";
import { marked, type Palette } from "./style.ts";
import { clean, shorten } from "./text.ts";
import { describe, shapesOf } from "./words.ts";

const nameColumnsMax = 60;
const titleColumnsMax = 80;

export interface MermaidOptions extends PictureOptions {
  /** False leaves out the colours of marks. */
  withStyles?: boolean;
}

/**
 * The same plan and options give the same text. Throws `InvalidArgument`, naming the option, and `Unsupported` beyond
 * 20,000 nodes or 100,000 edges. Mermaid itself draws 500 edges and 50,000 characters where it is not told otherwise.
 */
export function toMermaid(plan: Plan, options: MermaidOptions = {}): string {
  const { chart, direction, title } = readOptions(plan, options);
  const ids = idsOf(chart);
  const lines = [
    ...(title === undefined ? [] : ["---", `title: ${titleOf(title)}`, "---"]),
    `flowchart ${direction}`,
    `  accDescr: ${descriptionOf(chart)}`,
  ];
  drawChart(chart, { ids, direction, indent: "  " }, lines);
  if (options.withStyles !== false) lines.push(...stylesOf(chart, ids));
  return `${lines.join("\n")}\n`;
}

interface Drawing {
  readonly ids: ReadonlyMap<Shape, string>;
  readonly direction: string;
  readonly indent: string;
}

function drawChart(chart: Chart, drawing: Drawing, out: string[]): void {
  const { ids, direction, indent } = drawing;
  for (const shape of chart.shapes) {
    const id = ids.get(shape)!;
    if (!shape.inner) {
      out.push(`${indent}${id}${boxOf(shape)}`);
      continue;
    }
    out.push(`${indent}subgraph ${id} ["${labelOf(shape)}"]`, `${indent}  direction ${direction}`);
    drawChart(shape.inner, { ...drawing, indent: `${indent}  ` }, out);
    out.push(`${indent}end`);
  }
  for (const { from, to, isDashed, label } of chart.lines) {
    const arrow = isDashed ? "-.->" : chart.shapes[to]!.kind === "join" ? "---" : "-->";
    const text = label === undefined ? "" : `|"${escapeLabel(shorten(label, nameColumnsMax))}"|`;
    out.push(`${indent}${ids.get(chart.shapes[from]!)} ${arrow}${text} ${ids.get(chart.shapes[to]!)}`);
  }
}

function boxOf(shape: Shape): string {
  const label = `"${labelOf(shape)}"`;
  if (shape.kind === "join") return '(("all"))';
  // Without the underscores, which Markdown makes bold.
  if (shape.kind === "start" || shape.kind === "end") return `(["${shape.kind}"])`;
  if (shape.kind === "anywhere") return `([${label}])`;
  return shape.isGraph ? `[[${label}]]` : `(${label})`;
}

function labelOf({ name, notes }: Shape): string {
  const note = notes.length > 0 ? `<br/><small>${escapeLabel(notes.join(" · "))}</small>` : "";
  return escapeLabel(shorten(name, nameColumnsMax)) + note;
}

/**
 * Whatever means something to Mermaid, to the Markdown in its labels or to HTML becomes an entity; what is left in
 * place, such as `_` inside a word, keeps the text readable.
 */
function escapeLabel(text: string): string {
  return text
    .replace(/[^\p{L}\p{N}\p{M}\p{Extended_Pictographic}\p{Regional_Indicator} ,.·…_+-]/gu, entity)
    .replace(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, entity)
    .replace(/^[-+]|(?<=^\d+)\./u, entity);
}

function entity(char: string): string {
  // It joins emoji, and means nothing to anyone else.
  if (char === "\u200d") return char;
  return `#${char.codePointAt(0)};`;
}

/** As much of the name as Mermaid takes for a name, so that the text can be read; with a number where that is taken. */
function idsOf(chart: Chart): Map<Shape, string> {
  const ids = new Map<Shape, string>();
  const taken = new Set<string>();
  // Counted by base, so that a thousand names without a letter take no longer than others.
  const counts = new Map<string, number>();
  for (const shape of shapesOf(chart)) {
    const base = baseOf(shape);
    let id = base;
    while (taken.has(id)) {
      const count = (counts.get(base) ?? 1) + 1;
      counts.set(base, count);
      id = `${base}_${count}`;
    }
    taken.add(id);
    ids.set(shape, id);
  }
  return ids;
}

/** Words that Mermaid's grammar reads as something else, at the beginning of an id or alone. */
const keyword =
  /^(?:end|graph|flowchart|subgraph|style|linkStyle|classDef|class|click|call|href|default|direction|accTitle|accDescr|interpolate|TB|TD|BT|RL|LR)/i;

function baseOf({ id }: Shape): string {
  const plain = clean(id.slice(0, nameColumnsMax)).replace(/[^A-Za-z0-9_]+/g, "_");
  if (plain === "__start__" || plain === "__end__") return plain;
  return /^[A-Za-z_]/.test(plain) && /[A-Za-z]/.test(plain) && !keyword.test(plain) ? plain : `n_${plain}`;
}

function stylesOf(chart: Chart, ids: ReadonlyMap<Shape, string>): string[] {
  const shapes = shapesOf(chart);
  return (Object.entries(marked) as [Mark, Palette][]).flatMap(([mark, { stroke, fill, text }]) => {
    const own = shapes.filter((shape) => shape.mark === mark).map((shape) => ids.get(shape)!);
    if (own.length === 0) return [];
    const look = `fill:${fill},stroke:${stroke},stroke-width:3px,color:${text}`;
    return [`  classDef ${mark} ${look}`, ...own.map((id) => `  class ${id} ${mark}`)];
  });
}

/** A YAML string: JSON's are. */
function titleOf(title: string): string {
  return JSON.stringify(shorten(title, titleColumnsMax));
}

/** One line of prose in which Mermaid looks for comments and directives only. */
function descriptionOf(chart: Chart): string {
  return describe(chart, { edges: false }).replace(/[#;%{}]/g, "_");
}
