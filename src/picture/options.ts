/** What can be said about a picture. */
import { invalid } from "../errors.ts";
import type { Plan } from "../graph/plan.ts";
import { type Chart, chartOf, depthOf } from "./chart.ts";
import { marksOf, type PictureState } from "./marks.ts";
import type { Direction } from "./plot.ts";

export interface PictureOptions {
  /** Marks the nodes that run next, that failed and that wait for an answer: the answer of `getState`, or lists of names. */
  state?: PictureState;
  /** Draws graphs inside graphs: all of them, or so many levels. */
  xray?: boolean | number;
  /** From top to bottom (the default) or from left to right. */
  direction?: Direction;
  /** Stands above the picture; without one, the graph's name is there for screen readers alone. */
  title?: string;
}

export interface Wanted {
  readonly chart: Chart;
  readonly direction: Direction;
  readonly title: string | undefined;
}

/** Throws `InvalidArgument`, naming the option, and `Unsupported` for what is too large to draw. */
export function readOptions(plan: Plan, options: PictureOptions): Wanted {
  const { state, xray, direction = "TB", title } = options;
  if (direction !== "TB" && direction !== "LR") throw invalid("direction", 'must be "TB" or "LR"');
  if (title !== undefined && typeof title !== "string") throw invalid("title", "must be a string");
  return {
    chart: chartOf(plan, depthOf(xray), marksOf(plan, state)),
    direction,
    title: title === "" ? undefined : title,
  };
}
