/** A chart with places: boxes and curves in pixels, from the top left. Graphs inside are plotted first, as boxes of their size. */
import type { Chart, Line, Shape } from "./chart.ts";
import { layOut } from "./layout.ts";
import type { Box, LayoutLink, Size } from "./mesh.ts";
import { type Route, slopesOf } from "./routes.ts";
import { columnsOf, shorten } from "./text.ts";

export type Direction = "TB" | "LR";

export interface Spot {
  readonly x: number;
  readonly y: number;
}

/** `x` and `y` are its top left corner. */
export interface Area extends Spot {
  readonly width: number;
  readonly height: number;
}

export interface PlotBox extends Area {
  readonly shape: Shape;
  readonly name: string;
  /** Placed like the box: its own origin is at `(inner.x, inner.y)` of the same plane. */
  readonly inner?: Spot & { readonly plot: Plot };
}

export interface PlotLine {
  readonly line: Line;
  /** A start and then three points for each cubic Bézier piece, from the source's border to the target's. */
  readonly curve: readonly Spot[];
  /** Pieces to draw: fewer than all where the rest lies on a line that is drawn already. */
  readonly pieces: number;
  readonly label?: Area & { readonly text: string };
}

export interface Plot {
  readonly width: number;
  readonly height: number;
  readonly boxes: readonly PlotBox[];
  readonly lines: readonly PlotLine[];
}

/** Pixels; the widths are of one column of a monospaced font at the sizes that `svg.ts` sets. */
export const metrics = {
  nameColumn: 7.9,
  noteColumn: 6.4,
  labelColumn: 6.7,
  nameColumnsMax: 36,
  labelColumnsMax: 28,
  boxHeight: 34,
  noteHeight: 14,
  labelHeight: 16,
  loop: 26,
  head: 30,
  padding: 16,
} as const;

/** A drawing is plotted along one axis; the other direction is the same with x and y exchanged. */
interface Axes {
  size(width: number, height: number): Size;
  spot(across: number, along: number): Spot;
}

const axes: Readonly<Record<Direction, Axes>> = {
  TB: {
    size: (width, height) => ({ across: width, along: height }),
    spot: (across, along) => ({ x: across, y: along }),
  },
  LR: {
    size: (width, height) => ({ across: height, along: width }),
    spot: (across, along) => ({ x: along, y: across }),
  },
};

export function plotChart(chart: Chart, direction: Direction): Plot {
  const axis = axes[direction];
  const inner = chart.shapes.map((shape) => (shape.inner ? plotChart(shape.inner, direction) : undefined));
  const lines = oneLoopEach(chart);
  const texts = lines.map(({ label }) => (label === undefined ? undefined : shorten(label, metrics.labelColumnsMax)));
  const labels = texts.map((text) => (text === undefined ? undefined : labelArea(text)));
  const loops = new Map(
    lines.flatMap(({ from, to }, at) => (from === to ? [[from, labels[at] ?? none] as const] : [])),
  );
  const sizes = chart.shapes.map((shape, at) => {
    const size = sizeOf(shape, inner[at]);
    const turned = direction === "LR" && shape.kind === "join" ? { width: size.height, height: size.width } : size;
    // Below a box the label of its loop has only the box's own width.
    const least = direction === "LR" ? (loops.get(at)?.width ?? 0) : 0;
    return { width: Math.max(turned.width, least), height: turned.height };
  });
  const boxes = sizes.map(({ width, height }, at): Box => {
    const loop = loops.get(at);
    const room = loop ? metrics.loop + axis.size(loop.width, loop.height).across : 0;
    return { ...axis.size(width, height), loop: room };
  });
  const links = lines.map(({ from, to, isDashed }, at): LayoutLink => {
    const label = labels[at];
    const group = isDashed ? "dashed" : "plain";
    return label ? { from, to, group, label: axis.size(label.width, label.height) } : { from, to, group };
  });
  const layout = layOut(boxes, links);
  const drawn = new Set<number>();
  const whole = axis.spot(layout.across, layout.along);
  return {
    width: whole.x,
    height: whole.y,
    boxes: chart.shapes.map((shape, at) => {
      const { across, along } = layout.boxes[at]!;
      const middle = axis.spot(across, along);
      return boxAt(shape, middle, sizes[at]!, inner[at]);
    }),
    lines: lines.map((line, at): PlotLine => {
      const box = boxes[line.from]!;
      const isLoop = line.from === line.to;
      const source = layout.boxes[line.from]!;
      const way = isLoop
        ? { curve: loopCurve(source, box), pieces: 2 }
        : routeCurve(layout.routes[at]!, layout.isReversed[at]!, layout.isShared, drawn);
      const curve = way.curve.map(({ across, along }) => axis.spot(across, along));
      const text = texts[at];
      if (text === undefined) return { line, curve, pieces: way.pieces };
      const { width, height } = labels[at]!;
      const label = isLoop
        ? {
            across: source.across + box.across / 2 + metrics.loop + axis.size(width, height).across / 2,
            along: source.along,
          }
        : layout.labels[at]!;
      const { x, y } = axis.spot(label.across, label.along);
      return { line, curve, pieces: way.pieces, label: { text, x: x - width / 2, y: y - height / 2, width, height } };
    }),
  };
}

const none = { width: 0, height: 0 };

function labelArea(text: string): { width: number; height: number } {
  return { width: columnsOf(text) * metrics.labelColumn + 10, height: metrics.labelHeight };
}

/** All lines from a shape to itself are drawn as one. */
function oneLoopEach({ lines }: Chart): Line[] {
  const loops = new Map<number, Line>();
  const rest: Line[] = [];
  for (const line of lines) {
    if (line.from !== line.to) {
      rest.push(line);
      continue;
    }
    const known = loops.get(line.from);
    const label = [known?.label, line.label].filter((text) => text !== undefined).join(", ");
    const isDashed = line.isDashed && (known?.isDashed ?? true);
    loops.set(line.from, { from: line.from, to: line.to, isDashed, ...(label === "" ? {} : { label }) });
  }
  return [...rest, ...loops.values()];
}

function sizeOf({ kind, name, notes, isGraph }: Shape, inner: Plot | undefined): { width: number; height: number } {
  if (kind === "join") return { width: 40, height: 6 };
  const { nameColumn, noteColumn, nameColumnsMax, boxHeight, noteHeight, head, padding } = metrics;
  const title = columnsOf(shorten(name, nameColumnsMax)) * nameColumn + (isGraph ? 36 : 28);
  const note = columnsOf(notes.join(" · ")) * noteColumn + 24;
  const width = Math.max(56, title, note);
  const noted = notes.length > 0 ? noteHeight : 0;
  if (!inner) return { width, height: boxHeight + noted };
  return { width: Math.max(width, inner.width + 2 * padding), height: inner.height + head + noted + padding };
}

function boxAt(
  shape: Shape,
  middle: Spot,
  { width, height }: { width: number; height: number },
  plot: Plot | undefined,
): PlotBox {
  const x = middle.x - width / 2;
  const y = middle.y - height / 2;
  const box = { shape, name: shorten(shape.name, metrics.nameColumnsMax), x, y, width, height };
  if (!plot) return box;
  return { ...box, inner: { x: x + (width - plot.width) / 2, y: y + height - metrics.padding - plot.height, plot } };
}

interface Point {
  readonly across: number;
  readonly along: number;
}

function loopCurve({ across, along }: Point, box: Box): Point[] {
  const border = across + box.across / 2;
  const far = border + metrics.loop - 4;
  const high = Math.min(10, box.along / 4);
  const mid = (border + far) / 2;
  return [
    { across: border, along: along - high },
    { across: mid, along: along - high - 6 },
    { across: far, along: along - high - 4 },
    { across: far, along },
    { across: far, along: along + high + 4 },
    { across: mid, along: along + high + 2 },
    { across: border, along: along + high },
  ];
}

/** Turned so that it begins at the source. Shared vertices that it draws are added to `drawn`. */
function routeCurve(
  route: Route,
  isReversed: boolean,
  isShared: readonly boolean[],
  drawn: Set<number>,
): { curve: Point[]; pieces: number } {
  const slopes = slopesOf(route);
  const knots = route.map((knot, at) => ({ ...knot, slope: slopes[at]! }));
  if (isReversed) knots.reverse();
  const curve: Point[] = [];
  let pieces: number | undefined;
  knots.forEach((knot, at) => {
    const before = knots[at - 1];
    if (before) {
      const third = (knot.along - before.along) / 3;
      curve.push({ across: before.across + before.slope * third, along: before.along + third });
      curve.push({ across: knot.across - knot.slope * third, along: knot.along - third });
    }
    curve.push({ across: knot.across, along: knot.along });
    if (isShared[knot.vertex] && pieces === undefined && drawn.has(knot.vertex)) pieces = at;
  });
  for (const { vertex } of knots) if (isShared[vertex]) drawn.add(vertex);
  return { curve, pieces: pieces ?? knots.length - 1 };
}
