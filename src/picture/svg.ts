/** A plan as an SVG image that stands by itself: no script, no font, no address, readable on light and dark pages. */
import type { Plan } from "../graph/plan.ts";
import type { Chart, Shape } from "./chart.ts";
import { type PictureOptions, readOptions } from "./options.ts";
import { metrics, type Plot, type PlotBox, type PlotLine, plotChart, type Spot } from "./plot.ts";
import { styleText } from "./style.ts";
import { columnsOf, escapeXml, shorten } from "./text.ts";
import { describe, lineWords } from "./words.ts";

const margin = 16;
const titleHeight = 30;
const titleColumnsMax = 80;

/**
 * Draws the plan in layers. The same plan and options give the same text. Throws `InvalidArgument`, naming the option, and
 * `Unsupported` for a graph too large to be drawn.
 */
export function toSvg(plan: Plan, options: PictureOptions = {}): string {
  const { chart, direction, title } = readOptions(plan, options);
  const plot = plotChart(chart, direction);
  const head = title === undefined ? "" : shorten(title, titleColumnsMax);
  const width = Math.max(plot.width, columnsOf(head) * metrics.nameColumn) + 2 * margin;
  const height = plot.height + 2 * margin + (head ? titleHeight : 0);
  const origin = { x: (width - plot.width) / 2, y: height - margin - plot.height };
  const name = escapeXml(head || shorten(plan.name, titleColumnsMax));
  const words = escapeXml(describe(chart, { edges: true }));
  const drawn: string[] = [];
  drawPlot(plot, chart, origin, drawn);
  // Pictures on one page must not share ids, unless they are the same picture.
  const id = `agm-${hash(drawn.join("") + name + words)}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="agm" role="img" aria-labelledby="${id}-t ${id}-d" viewBox="0 0 ${round(width)} ${round(height)}" width="${round(width)}" height="${round(height)}">`,
    `<title id="${id}-t">${name}</title>`,
    `<desc id="${id}-d">${words}</desc>`,
    `<style>${styleText}</style>`,
    `<defs><marker id="${id}-a" viewBox="0 0 9 8" refX="8.5" refY="4" markerWidth="9" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path class="agm-tip" d="M0.5 0.5 8.5 4 0.5 7.5 2 4z"/></marker></defs>`,
    `<rect class="agm-ground" width="${round(width)}" height="${round(height)}" rx="8"/>`,
    ...(head ? [`<text class="agm-title" x="${round(width / 2)}" y="${margin + 12}">${name}</text>`] : []),
    ...drawn.map((part) => part.replaceAll("url(#arrow)", `url(#${id}-a)`)),
    "</svg>\n",
  ].join("\n");
}

function drawPlot(plot: Plot, chart: Chart, origin: Spot, out: string[]): void {
  out.push(...plot.lines.map((line) => drawLine(line, chart, origin)));
  for (const { label } of plot.lines) {
    if (!label) continue;
    const { x, y } = shifted(label, origin);
    const area = `x="${round(x)}" y="${round(y)}" width="${round(label.width)}" height="${label.height}"`;
    const middle = `x="${round(x + label.width / 2)}" y="${round(y + label.height / 2 + 3.8)}"`;
    out.push(`<rect class="agm-ground" ${area}/><text class="agm-label" ${middle}>${escapeXml(label.text)}</text>`);
  }
  for (const box of plot.boxes) {
    drawBox(box, origin, out);
    const { inner } = box;
    if (inner) drawPlot(inner.plot, box.shape.inner!, shifted(inner, origin), out);
  }
}

function drawLine({ line, curve, pieces }: PlotLine, chart: Chart, origin: Spot): string {
  const at = curve.map((spot) => shifted(spot, origin));
  let path = `M${pair(at[0]!)}`;
  // A straight piece that goes on straight is part of the one before.
  let straight = { from: path.length, isUpright: false, isLevel: false };
  for (let piece = 0; piece < pieces; piece++) {
    const [from, one, two, to] = at.slice(piece * 3, piece * 3 + 4) as [Spot, Spot, Spot, Spot];
    const isStraight = round(from.x) === round(to.x) || round(from.y) === round(to.y);
    const bends = round(one.x) !== round(two.x) && round(one.y) !== round(two.y);
    if (!isStraight || bends) {
      path += `C${pair(one)} ${pair(two)} ${pair(to)}`;
      straight = { from: path.length, isUpright: false, isLevel: false };
      continue;
    }
    const isUpright = round(from.x) === round(to.x);
    const isLevel = round(from.y) === round(to.y);
    if ((straight.isUpright && isUpright) || (straight.isLevel && isLevel)) path = path.slice(0, straight.from);
    else straight = { from: path.length, isUpright, isLevel };
    path += `L${pair(to)}`;
  }
  const isWhole = pieces * 3 + 1 === curve.length;
  const arrow = isWhole && chart.shapes[line.to]!.kind !== "join" ? ' marker-end="url(#arrow)"' : "";
  const kind = `agm-line${line.isDashed ? " agm-maybe" : ""}`;
  return `<g><title>${escapeXml(lineWords(chart, line))}</title><path class="${kind}" d="${path}"${arrow}/></g>`;
}

function drawBox(box: PlotBox, origin: Spot, out: string[]): void {
  const { shape, width, height } = box;
  const { x, y } = shifted(box, origin);
  const rect = (kind: string, inset: number, radius: number): string =>
    `<rect class="${kind}" x="${round(x + inset)}" y="${round(y + inset)}" width="${round(width - 2 * inset)}" height="${round(height - 2 * inset)}" rx="${round(radius)}"/>`;
  const tip = `<title>${escapeXml(tipOf(shape))}</title>`;
  if (shape.kind === "join") {
    out.push(`<g>${tip}${rect("agm-bar", 0, 2)}</g>`);
    return;
  }
  const radius = shape.kind === "node" ? 6 : height / 2;
  const parts = [tip, rect(classOf(shape), 0, radius)];
  // A graph that is not drawn inside has a double border.
  if (shape.isGraph && !shape.inner) parts.push(rect("agm-inset", 3.5, radius - 2.5));
  const middle = round(x + width / 2);
  const noted = shape.notes.length > 0;
  const line = box.inner ? y + 20 : y + height / 2 + (noted ? -3 : 4.5);
  parts.push(`<text class="agm-name" x="${middle}" y="${round(line)}">${escapeXml(box.name)}</text>`);
  if (noted)
    parts.push(
      `<text class="agm-note" x="${middle}" y="${round(line + 14)}">${escapeXml(shape.notes.join(" · "))}</text>`,
    );
  out.push(`<g>${parts.join("")}</g>`);
}

function classOf({ kind, mark, inner }: Shape): string {
  const base = kind === "anywhere" ? "agm-box agm-maybe" : kind === "node" ? "agm-box" : "agm-box agm-terminal";
  return `${base}${inner ? " agm-graph" : ""}${mark ? ` agm-${mark}` : ""}`;
}

function tipOf({ kind, id, notes }: Shape): string {
  if (kind === "join") return "waits for all that lead here";
  return [shorten(id, 400), ...notes].join(" · ");
}

function shifted({ x, y }: Spot, origin: Spot): Spot {
  return { x: x + origin.x, y: y + origin.y };
}

function pair({ x, y }: Spot): string {
  return `${round(x)} ${round(y)}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** FNV-1a: tells pictures of one page apart, guards nothing. */
function hash(text: string): string {
  let lane = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) lane = Math.imul(lane ^ text.charCodeAt(at), 0x01000193);
  return (lane >>> 0).toString(36);
}
