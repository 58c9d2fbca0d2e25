/** Pictures of graphs: what users import as `agentmatic/picture`. */
import { invalid } from "../errors.ts";
import type { Plan } from "../graph/plan.ts";
import { DrawableGraph } from "./graph.ts";
import { type MermaidOptions, toMermaid } from "./mermaid.ts";
import type { PictureOptions } from "./options.ts";
import { toSvg } from "./svg.ts";

export type { DrawableEdge, DrawableNode } from "./graph.ts";
export type { PictureState, PictureTask } from "./marks.ts";
export type { Direction } from "./plot.ts";
export { DrawableGraph, type MermaidOptions, type PictureOptions };

/** A compiled graph, or the plan of one. */
export type Drawable = { readonly plan: Plan } | Plan;

/**
 * A Mermaid flowchart. Throws `InvalidArgument`, naming the option, and `Unsupported` beyond 20,000 nodes or 100,000
 * edges. Mermaid itself draws 500 edges and 50,000 characters where it is not told otherwise.
 */
export function drawMermaid(graph: Drawable, options: MermaidOptions = {}): string {
  return toMermaid(planOf(graph), options);
}

/**
 * An SVG image that stands by itself: no script, font or address in it. Throws `InvalidArgument`, naming the option, and
 * `Unsupported` for a graph too large to be drawn.
 */
export function drawSvg(graph: Drawable, options: PictureOptions = {}): string {
  return toSvg(planOf(graph), options);
}

function planOf(graph: Drawable): Plan {
  const plan: unknown = typeof graph === "object" && graph !== null && "plan" in graph ? graph.plan : graph;
  if (typeof plan === "object" && plan !== null && "nodes" in plan && plan.nodes instanceof Map) return plan as Plan;
  throw invalid("graph", "must be a compiled graph, or its plan");
}
