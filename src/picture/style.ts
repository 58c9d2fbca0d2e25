/** Looks of an SVG picture. Class names begin with `agm-`, so that a page with the picture in it keeps its own. */
import type { Mark } from "./marks.ts";

interface Colours {
  readonly ground: string;
  readonly box: string;
  readonly terminal: string;
  readonly graph: string;
  readonly border: string;
  readonly line: string;
  readonly text: string;
  readonly note: string;
  readonly marks: Readonly<Record<Mark, readonly [stroke: string, fill: string]>>;
}

const light: Colours = {
  ground: "#ffffff",
  box: "#f6f8fa",
  terminal: "#e7ebef",
  graph: "#fbfcfd",
  border: "#6e7781",
  line: "#6e7781",
  text: "#1f2328",
  note: "#57606a",
  marks: {
    finished: ["#1a7f37", "#dafbe1"],
    current: ["#0969da", "#ddf4ff"],
    interrupted: ["#9a6700", "#fff8c5"],
    failed: ["#cf222e", "#ffebe9"],
  },
};

const dark: Colours = {
  ground: "#0d1117",
  box: "#1c2129",
  terminal: "#2a313c",
  graph: "#12161d",
  border: "#8b949e",
  line: "#8b949e",
  text: "#e6edf3",
  note: "#a5adb7",
  marks: {
    finished: ["#3fb950", "#0f2e18"],
    current: ["#58a6ff", "#0c2d55"],
    interrupted: ["#d29922", "#3b2a04"],
    failed: ["#ff7b72", "#4a1110"],
  },
};

const shape = [
  ".agm text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;text-anchor:middle}",
  ".agm-name{font-size:13px}.agm-note{font-size:10.5px}.agm-label{font-size:11px}.agm-title{font-size:13px;font-weight:bold}",
  ".agm-box{stroke-width:1.3}.agm-inset{fill:none;stroke-width:1}.agm-line{fill:none;stroke-width:1.3}",
  ".agm-maybe{stroke-dasharray:5 4}.agm-finished{stroke-width:2}.agm-current,.agm-interrupted,.agm-failed{stroke-width:3.5}",
  ".agm-interrupted{stroke-dasharray:9 4}.agm-failed{stroke-dasharray:2.5 2.5}",
].join("");

function paint({ ground, box, terminal, graph, border, line, text, note, marks }: Colours): string {
  const marked = Object.entries(marks).map(([mark, [stroke, fill]]) => `.agm-${mark}{stroke:${stroke};fill:${fill}}`);
  return [
    `.agm-ground{fill:${ground}}.agm-box{fill:${box};stroke:${border}}.agm-terminal{fill:${terminal}}`,
    `.agm-inset{stroke:${border}}.agm-line{stroke:${line}}.agm-tip,.agm-bar{fill:${line}}`,
    `.agm-name,.agm-title{fill:${text}}.agm-note,.agm-label{fill:${note}}`,
    ...marked,
    // After the marks: one graph inside another keeps its labels readable, with a border that is marked.
    `.agm-graph{fill:${graph}}`,
  ].join("");
}

/** The look of marks where a page decides the rest; readable on light and dark ones. */
export interface Palette {
  readonly stroke: string;
  readonly fill: string;
  readonly text: string;
}

export const marked: Readonly<Record<Mark, Palette>> = {
  finished: palette("finished"),
  current: palette("current"),
  interrupted: palette("interrupted"),
  failed: palette("failed"),
};

function palette(mark: Mark): Palette {
  const [stroke, fill] = light.marks[mark];
  return { stroke, fill, text: light.text };
}

export const styleText: string = `${shape}${paint(light)}@media(prefers-color-scheme:dark){${paint(dark)}}`;
