/** What `getGraphAsync` gives: nodes and edges as data, and their pictures. */
import type { Plan } from "../graph/plan.ts";
import type { Chart } from "./chart.ts";
import { type MermaidOptions, toMermaid } from "./mermaid.ts";
import { type PictureOptions, readOptions } from "./options.ts";
import { toSvg } from "./svg.ts";

export interface DrawableNode {
  /** Names from the outermost graph down, with `:` between them. */
  readonly id: string;
  readonly name: string;
  /** "join" waits for all that lead to it; "anywhere" stands for any node, where a condition may name all of many. */
  readonly kind: "start" | "end" | "node" | "join" | "anywhere";
}

/** `source` and `target` are ids of nodes. */
export interface DrawableEdge {
  readonly source: string;
  readonly target: string;
  /** The answer of a condition that leads here, where it has another name than the target. */
  readonly data?: string;
  /** Taken only where a function, a Send or a Command says so. */
  readonly conditional: boolean;
}

/** A graph to look at. With `xray` the graphs inside are drawn, and their nodes are in the lists. */
export class DrawableGraph {
  readonly nodes: Readonly<Record<string, DrawableNode>>;
  readonly edges: readonly DrawableEdge[];
  readonly #plan: Plan;
  readonly #xray: boolean | number;

  constructor(plan: Plan, options: { readonly xray?: boolean | number } = {}) {
    const { xray = false } = options;
    const nodes: [string, DrawableNode][] = [];
    const edges: DrawableEdge[] = [];
    collect(readOptions(plan, { xray }).chart, nodes, edges);
    this.nodes = Object.fromEntries(nodes);
    this.edges = edges;
    this.#plan = plan;
    this.#xray = xray;
  }

  drawMermaid(options: MermaidOptions = {}): string {
    return toMermaid(this.#plan, { xray: this.#xray, ...options });
  }

  drawSvg(options: PictureOptions = {}): string {
    return toSvg(this.#plan, { xray: this.#xray, ...options });
  }

  toJSON(): { readonly nodes: readonly DrawableNode[]; readonly edges: readonly DrawableEdge[] } {
    return { nodes: Object.values(this.nodes), edges: this.edges };
  }
}

function collect(chart: Chart, nodes: [string, DrawableNode][], edges: DrawableEdge[]): void {
  for (const { id, name, kind, inner } of chart.shapes) {
    nodes.push([id, { id, name, kind }]);
    if (inner) collect(inner, nodes, edges);
  }
  for (const { from, to, isDashed, label } of chart.lines) {
    const data = label === undefined ? {} : { data: label };
    edges.push({ source: chart.shapes[from]!.id, target: chart.shapes[to]!.id, ...data, conditional: isDashed });
  }
}
