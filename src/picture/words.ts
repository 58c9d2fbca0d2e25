/** A chart in words, for those who do not see it. */
import type { Chart, Shape } from "./chart.ts";
import { shorten } from "./text.ts";

const nameColumnsMax = 60;
const edgesMax = 60;

/** `Graph "mail", 3 nodes. Next: draft. Edges: __start__ to parse; …` */
export function describe(chart: Chart, options: { readonly edges: boolean }): string {
  const nodes = shapesOf(chart).filter(({ kind }) => kind === "node");
  const marked = (mark: Shape["mark"], what: string): string[] => {
    const names = nodes.filter((shape) => shape.mark === mark).map(({ id }) => shorten(id, nameColumnsMax));
    return names.length > 0 ? [`${what}: ${names.slice(0, edgesMax).join(", ")}.`] : [];
  };
  return [
    `Graph "${shorten(chart.name, nameColumnsMax)}", ${nodes.length} ${nodes.length === 1 ? "node" : "nodes"}.`,
    ...marked("finished", "Finished"),
    ...marked("current", "Next"),
    ...marked("interrupted", "Interrupted"),
    ...marked("failed", "Failed"),
    ...(options.edges ? [`Edges: ${edges(chart)}.`] : []),
  ].join(" ");
}

/** `parse to draft, or "yes"`: one line, for a tool tip as well. */
export function lineWords({ shapes }: Chart, line: Chart["lines"][number]): string {
  const name = (at: number): string => shorten(shapes[at]!.name, nameColumnsMax);
  const when =
    line.label === undefined ? (line.isDashed ? " (maybe)" : "") : ` (if ${shorten(line.label, nameColumnsMax)})`;
  return `${name(line.from)} to ${name(line.to)}${when}`;
}

export function shapesOf(chart: Chart): Shape[] {
  return chart.shapes.flatMap((shape) => (shape.inner ? [shape, ...shapesOf(shape.inner)] : [shape]));
}

function edges(chart: Chart): string {
  const more = chart.lines.length - edgesMax;
  const words = chart.lines.slice(0, edgesMax).map((line) => lineWords(chart, line));
  return [...words, ...(more > 0 ? [`${more} more`] : [])].join("; ");
}
