/** What both kinds of picture show of a plan: shapes, lines between them, and which of them are marked. */
import { AgentmaticError, invalid } from "../errors.ts";
import { END, type Plan, type PlanNode, START } from "../graph/plan.ts";
import type { Mark, Marks } from "./marks.ts";

export type ShapeKind = "start" | "end" | "node" | "join" | "anywhere";

export interface Shape {
  /** Unique in the whole picture: names from the root graph down, with `:` between them. */
  readonly id: string;
  readonly name: string;
  readonly kind: ShapeKind;
  readonly mark?: Mark;
  /** What is said below the name. */
  readonly notes: readonly string[];
  /** A graph as a node. */
  readonly isGraph: boolean;
  /** That graph, where it is drawn inside. */
  readonly inner?: Chart;
}

/** `from` and `to` are indexes of shapes. */
export interface Line {
  readonly from: number;
  readonly to: number;
  /** Taken only where a function, a Send or a Command says so. */
  readonly isDashed: boolean;
  readonly label?: string;
}

export interface Chart {
  readonly name: string;
  /** The first one is the start. */
  readonly shapes: readonly Shape[];
  readonly lines: readonly Line[];
}

/** Shapes and lines of a picture, those of graphs inside included. */
export const shapesMax = 20_000;
export const linesMax = 100_000;
/** Graphs within graphs. */
const depthMax = 100;
/** Up to so many nodes, a condition that may answer anything has a line to each of them; above, one to "any node". */
const anywhereMax = 10;

export function chartOf(plan: Plan, depth: number, marks: Marks): Chart {
  return draw(plan, {
    depth: Math.min(depth, depthMax),
    path: "",
    marks,
    room: { shapes: shapesMax, lines: linesMax },
  });
}

interface Place {
  readonly depth: number;
  /** Of the graph: "" or names that end with `:`. */
  readonly path: string;
  readonly marks: Marks;
  readonly room: { shapes: number; lines: number };
}

function draw(plan: Plan, place: Place): Chart {
  const shapes: Shape[] = [];
  const index = new Map<string, number>();
  const add = (key: string, shape: Shape): number => {
    if (--place.room.shapes < 0) throw tooMany(plan, `${shapesMax} nodes`);
    index.set(key, shapes.length);
    shapes.push(shape);
    return shapes.length - 1;
  };
  add(START, bare(place, START, "start"));
  for (const node of plan.nodes.values()) add(node.name, shapeOf(plan, node, place));
  const end = add(END, bare(place, END, "end"));
  const lines = new Lines(plan, place);
  const joins = plan.joins.map((join, at) => {
    const bar = add(`${at}:join`, bare(place, `join ${at}`, "join"));
    lines.add(bar, index.get(join.target) ?? end, false);
    return bar;
  });
  const open: number[] = [];
  for (const from of [{ name: START, ends: [], ...plan.entry }, ...plan.nodes.values()]) {
    const at = index.get(from.name)!;
    for (const to of from.edges) lines.add(at, index.get(to)!, false);
    for (const join of from.joins) lines.add(at, joins[join]!, false);
    for (const { targets } of from.branches) {
      if (!targets) open.push(at);
      for (const [key, to] of Object.entries(targets ?? {}))
        lines.add(at, index.get(to)!, true, key === to ? undefined : key);
    }
    for (const to of from.ends) lines.add(at, index.get(to)!, true);
    const goesOn = from.edges.length + from.joins.length + from.branches.length + from.ends.length > 0;
    if (!goesOn && from.name !== START) lines.add(at, end, false);
  }
  if (open.length > 0) {
    const nodes = [...plan.nodes.keys()].map((name) => index.get(name)!);
    if (nodes.length <= anywhereMax) {
      for (const at of open) for (const to of [...nodes, end]) if (at !== to) lines.add(at, to, true);
    } else {
      const hub = add(":anywhere", bare(place, "any node", "anywhere"));
      for (const to of [...nodes, end]) if (!lines.reached.has(to)) lines.add(hub, to, true);
      for (const at of open) lines.add(at, hub, true);
    }
  }
  return withoutLoose(plan.name, shapes, lines.all(), end);
}

/** Lines of one kind between the same two shapes are one, with all of their labels. */
class Lines {
  readonly reached: Set<number> = new Set();
  readonly #plan: Plan;
  readonly #room: Place["room"];
  readonly #lines: Map<string, { line: Line; labels: string[] }> = new Map();

  constructor(plan: Plan, { room }: Place) {
    this.#plan = plan;
    this.#room = room;
  }

  add(from: number, to: number, isDashed: boolean, label?: string): void {
    this.reached.add(to);
    const key = `${from} ${to} ${isDashed} ${label === undefined}`;
    const known = this.#lines.get(key);
    if (known) {
      if (label !== undefined && !known.labels.includes(label)) known.labels.push(label);
      return;
    }
    if (--this.#room.lines < 0) throw tooMany(this.#plan, `${linesMax} edges`);
    this.#lines.set(key, { line: { from, to, isDashed }, labels: label === undefined ? [] : [label] });
  }

  all(): Line[] {
    return [...this.#lines.values()].map(({ line, labels }) =>
      labels.length === 0 ? line : { ...line, label: labels.join(", ") },
    );
  }
}

function shapeOf(plan: Plan, node: PlanNode, place: Place): Shape {
  const id = place.path + node.name;
  const mark = place.marks.of(id, place.depth <= 0);
  const before = plan.interruptBefore.has(node.name);
  const after = plan.interruptAfter.has(node.name);
  const stops = [...(before ? ["before"] : []), ...(after ? ["after"] : [])];
  const notes = [
    ...(mark ? [mark === "current" ? "next" : mark] : []),
    ...(node.defer ? ["deferred"] : []),
    ...(stops.length > 0 ? [`stops ${stops.join(" and ")}`] : []),
  ];
  const common = { id, name: node.name, kind: "node", notes, isGraph: node.subgraph !== undefined } as const;
  const shape = mark ? { ...common, mark } : common;
  if (!node.subgraph || place.depth <= 0) return shape;
  return { ...shape, inner: draw(node.subgraph.plan, { ...place, depth: place.depth - 1, path: `${id}:` }) };
}

function bare({ path }: Place, name: string, kind: ShapeKind): Shape {
  return { id: path + name, name, kind, notes: [], isGraph: false };
}

/** The end is drawn only where something leads to it, and a graph of pieces has no lines to hold on to. */
function withoutLoose(name: string, shapes: readonly Shape[], lines: readonly Line[], end: number): Chart {
  if (lines.some(({ to }) => to === end)) return { name, shapes, lines };
  const moved = (at: number): number => (at > end ? at - 1 : at);
  return {
    name,
    shapes: shapes.filter((_shape, at) => at !== end),
    lines: lines.map((line) => ({ ...line, from: moved(line.from), to: moved(line.to) })),
  };
}

function tooMany(plan: Plan, what: string): AgentmaticError {
  return new AgentmaticError("Unsupported", `graph "${plan.name}": a picture of more than ${what} cannot be drawn`);
}

/** Levels of graphs to draw inside. Throws `InvalidArgument`. */
export function depthOf(xray: boolean | number | undefined): number {
  if (xray === undefined || xray === false) return 0;
  if (xray === true) return depthMax;
  if (typeof xray === "number" && Number.isInteger(xray) && xray >= 0) return xray;
  throw invalid("xray", "must be true, false or a whole number of levels");
}
