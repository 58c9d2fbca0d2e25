import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Chart } from "../../../src/picture/chart.ts";
import { type Area, type Direction, type Plot, plotChart, type Spot } from "../../../src/picture/plot.ts";
import { charts } from "./charts.ts";

const directions = fc.constantFrom<Direction>("TB", "LR");
/** Coordinates are sums of many fractions. */
const slack = 0.01;

/** What is wrong with one level; `expect` for each pair of boxes would take longer than all the drawing. */
type Check = (plot: Plot, chart: Chart) => readonly unknown[];

function everyLevel(plot: Plot, chart: Chart, check: Check): unknown[] {
  const inside = plot.boxes.flatMap(({ inner, shape }) => (inner ? everyLevel(inner.plot, shape.inner!, check) : []));
  return [...check(plot, chart), ...inside];
}

function property(check: Check): void {
  fc.assert(
    fc.property(charts(), directions, (chart, direction) => {
      expect(everyLevel(plotChart(chart, direction), chart, check)).toEqual([]);
    }),
    { numRuns: 100 },
  );
}

describe("a plot", () => {
  it("has every shape and every line", () => {
    property((plot, chart) => {
      const shapes = plot.boxes.map(({ shape }) => shape);
      const ways = (lines: Chart["lines"]): string[] => lines.map(({ from, to }) => `${from} ${to}`).sort();
      // All lines from a shape to itself are one.
      const isFirst = (way: string, at: number, all: readonly string[]): boolean => {
        const [from, to] = way.split(" ");
        return from !== to || all.indexOf(way) === at;
      };
      const wanted = ways(chart.lines).filter(isFirst);
      const drawn = ways(plot.lines.map(({ line }) => line));
      return [
        ...chart.shapes.filter((shape, at) => shapes[at] !== shape),
        ...(isDeepStrictEqual(drawn, wanted) ? [] : [{ drawn, wanted }]),
      ];
    });
  });

  it("keeps boxes apart, and graphs inside within theirs", () => {
    property(({ boxes }) =>
      boxes.flatMap((one, at) => {
        const near = boxes.slice(at + 1).filter((other) => overlap(one, other, -8));
        if (!one.inner) return near;
        const { x, y, plot } = one.inner;
        return isWithin({ x, y, width: plot.width, height: plot.height }, one) ? near : [...near, one];
      }),
    );
  });

  it("keeps labels off boxes and off each other", () => {
    property(({ boxes, lines }) => {
      const labels = lines.flatMap(({ label }) => (label ? [label] : []));
      return labels.flatMap((label, at) => [
        ...boxes.filter((box) => overlap(label, box, slack)),
        ...labels.slice(at + 1).filter((other) => overlap(label, other, slack)),
      ]);
    });
  });

  it("keeps everything on its canvas", () => {
    property(({ width, height, boxes, lines }) => {
      const canvas = { x: 0, y: 0, width, height };
      return [
        ...boxes.filter((box) => !isWithin(box, canvas)),
        ...lines.flatMap(({ label }) => (label && !isWithin(label, canvas) ? [label] : [])),
        // A Bézier curve stays within its control points.
        ...lines.flatMap(({ curve }) => curve.filter((spot) => !isOn(spot, canvas))),
      ];
    });
  });

  it("draws lines from border to border, and over no box", () => {
    property(({ boxes, lines }) =>
      lines.flatMap(({ line, curve }) => {
        const spots = along(curve);
        return [
          ...(isOnBorder(curve[0]!, boxes[line.from]!) ? [] : [line]),
          ...(isOnBorder(curve.at(-1)!, boxes[line.to]!) ? [] : [line]),
          ...boxes.filter((box) => spots.some((spot) => isOn(spot, box, -0.5))),
        ];
      }),
    );
  });

  it("draws of ways that lines share all parts, though not each time", () => {
    property(({ lines }) => {
      const drawn = new Set(lines.flatMap(({ curve, pieces }) => piecesOf(curve).slice(0, pieces)));
      return lines.filter(
        ({ curve, pieces }) =>
          (curve.length - 1) % 3 !== 0 || pieces < 1 || piecesOf(curve).some((piece) => !drawn.has(piece)),
      );
    });
  });

  it("is the same each time", () => {
    fc.assert(
      fc.property(charts(), directions, (chart, direction) => {
        expect(plotChart(structuredClone(chart), direction)).toEqual(plotChart(chart, direction));
      }),
      { numRuns: 30 },
    );
  });

  it("stands a chain in one column", () => {
    const shapes = ["start", "fetch", "a much longer name", "end"].map((name) => ({
      id: name,
      name,
      kind: "node" as const,
      notes: [],
      isGraph: false,
    }));
    const lines = [0, 1, 2].map((from) => ({ from, to: from + 1, isDashed: false }));
    const { boxes } = plotChart({ name: "chain", shapes, lines }, "TB");
    expect(new Set(boxes.map(({ x, width }) => Math.round((x + width / 2) * 10))).size).toBe(1);
    expect(boxes.map(({ y }) => y)).toEqual(boxes.map(({ y }) => y).toSorted((a, b) => a - b));
  });
});

function overlap(one: Area, other: Area, by: number): boolean {
  const wide = Math.min(one.x + one.width, other.x + other.width) - Math.max(one.x, other.x);
  const high = Math.min(one.y + one.height, other.y + other.height) - Math.max(one.y, other.y);
  return wide > by && high > by;
}

function isWithin(inside: Area, { x, y, width, height }: Area): boolean {
  const right = inside.x + inside.width <= x + width + slack;
  return inside.x >= x - slack && inside.y >= y - slack && right && inside.y + inside.height <= y + height + slack;
}

function isOn(spot: Spot, { x, y, width, height }: Area, by: number = slack): boolean {
  return spot.x >= x - by && spot.x <= x + width + by && spot.y >= y - by && spot.y <= y + height + by;
}

function isOnBorder(spot: Spot, area: Area): boolean {
  return isOn(spot, area) && !isOn(spot, area, -slack);
}

/** Spots of the curve, eight of each piece. */
function along(curve: readonly Spot[]): Spot[] {
  const spots: Spot[] = [];
  for (let at = 0; at + 3 < curve.length; at += 3) {
    const [a, b, c, d] = curve.slice(at, at + 4) as [Spot, Spot, Spot, Spot];
    for (let step = 0; step <= 8; step++) {
      const t = step / 8;
      const mix = (key: "x" | "y"): number =>
        (1 - t) ** 3 * a[key] + 3 * (1 - t) ** 2 * t * b[key] + 3 * (1 - t) * t ** 2 * c[key] + t ** 3 * d[key];
      spots.push({ x: mix("x"), y: mix("y") });
    }
  }
  return spots;
}

/** In both directions the same text. */
function piecesOf(curve: readonly Spot[]): string[] {
  const pieces: string[] = [];
  for (let at = 0; at + 3 < curve.length; at += 3) pieces.push(key(curve.slice(at, at + 4)));
  return pieces;
}

function key(spots: readonly Spot[]): string {
  return spots.map(({ x, y }) => `${Math.round(x * 100)} ${Math.round(y * 100)}`).join(" ");
}
