import type { Figure } from "./rounds.ts";

const plain = "plain calls";
const peer = "LangGraph.js";

/** A Markdown table; ratios against plain calls, and against the peer in the same mode. */
export function table(figures: readonly Figure[], unit: string): string {
  const base = figures.find(({ name }) => name === plain);
  const rows = figures.map(({ name, median, min, max, samples }) => {
    const ofPlain = base && name !== plain ? ratio(median / base.median) : "";
    const theirs = figures.find((other) => other.name === name.replace(/^agentmatic/, peer) && other.name !== name);
    return [
      name,
      digits(median),
      `${digits(min)} to ${digits(max)}`,
      String(samples),
      ofPlain,
      theirs ? ratio(theirs.median / median) : "",
    ];
  });
  const head = ["", `${unit}, median`, "spread", "samples", "times plain", "LangGraph.js takes"];
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function ratio(value: number): string {
  return `${digits(value)} ×`;
}

/** Three digits that count, and all of those before the point. */
function digits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}
