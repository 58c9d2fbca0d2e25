/** Random charts, as random plans would give them, and graphs that many tests draw. */
import fc from "fast-check";
import { Annotation } from "../../../src/graph/channels.ts";
import { END, START } from "../../../src/graph/plan.ts";
import type { CompiledGraph } from "../../../src/local/compiled-graph.ts";
import { StateGraph } from "../../../src/local/state-graph.ts";
import type { Chart, Line, Shape } from "../../../src/picture/chart.ts";

/** What people write, what breaks out of quotes, and what is wider or longer than it looks. */
export const oddNames: readonly string[] = [
  "<script>alert(1)</script>",
  "</text></svg><img src=x onerror=alert(1)>",
  "\"quoted\" & 'single' &amp; &#60;",
  'a"] --> b["c',
  "中文节点名称",
  "👩‍👩‍👧 family 🇫🇷",
  "عربي \u202eevil",
  "lone \ud800 surrogate \u0000 \u001b[31m",
  "end",
  "END",
  "graph",
  "subgraph x",
  "style a",
  "classDef",
  "default",
  "click",
  "_under_ *star* `tick` ~tilde~",
  "__proto__",
  "constructor",
  "1. list",
  "- dash",
  "+ plus",
  "$x {{y}} %%{init: {}}%%",
  "$$x$$",
  "fa-user; b-->c",
  "a\\",
  "x",
  "o",
  "v",
  "   ",
  "-",
  "very long name ".repeat(40).trim(),
];

const name = fc.oneof(
  fc.constantFrom(...oddNames),
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 50 }),
  fc.string({ unit: "binary", minLength: 1, maxLength: 20 }),
);

/** Names as a graph takes them. */
export const nodeNames: fc.Arbitrary<string[]> = fc
  .uniqueArray(name, { minLength: 1, maxLength: 12 })
  .map((names) => names.filter((one) => !/[\n|#:]/.test(one) && one !== START && one !== END));

const notes = fc.constantFrom<readonly string[]>([], [], ["next"], ["failed", "deferred", "stops before and after"]);
const kinds = fc.constantFrom<Shape["kind"]>("node", "node", "node", "node", "end", "join", "anywhere");

/** Shapes of all sizes with graphs inside, and lines anywhere: twice the same, back, and to themselves. */
export function charts(depth = 2): fc.Arbitrary<Chart> {
  const shape = fc.record({
    name,
    kind: kinds,
    notes,
    isGraph: fc.boolean(),
    inner: depth === 0 ? fc.constant(undefined) : fc.option(charts(depth - 1), { nil: undefined, freq: 8 }),
  });
  return fc
    .array(shape, { minLength: 1, maxLength: depth === 2 ? 24 : 5 })
    .chain((drafts) => {
      const at = fc.nat({ max: drafts.length - 1 });
      const line = fc.record({ from: at, to: at, isDashed: fc.boolean(), label: fc.option(name, { nil: undefined }) });
      return fc.tuple(fc.constant(drafts), fc.array(line, { maxLength: drafts.length * 3 }));
    })
    .map(([drafts, lines]) => ({
      name: "random",
      shapes: drafts.map(({ inner, ...draft }, at): Shape => {
        const shape = { ...draft, id: `${at}`, kind: at === 0 ? ("start" as const) : draft.kind };
        return inner && shape.kind === "node" ? { ...shape, isGraph: true, inner } : shape;
      }),
      lines: lines
        // A join leads to its one target, which is a node.
        .filter(({ from, to }) => from !== to || drafts[from]!.kind !== "join")
        .map(({ label, ...line }): Line => (label === undefined ? line : { ...line, label })),
    }));
}

const nothing = (): object => ({});
const state = { x: Annotation<unknown> };

/** A graph of nodes that do nothing. */
export function graphOf(edges: readonly (readonly [string, string])[], title = "graph"): CompiledGraph {
  const graph = new StateGraph(state);
  const names = new Set(edges.flat().filter((one) => one !== START && one !== END));
  graph.addNode([...names].map((one) => [one, nothing] as const));
  for (const [from, to] of edges) graph.addEdge(from as never, to as never);
  return graph.compile({ name: title }) as unknown as CompiledGraph;
}

/** A supervisor that may call research, in which there is a search, in which there is a query. */
export function nestedGraph(): CompiledGraph {
  const search = graphOf([
    [START, "query"],
    ["query", "rerank"],
    ["rerank", END],
  ]);
  const research = new StateGraph(state)
    .addNode("search", search as never)
    .addNode("cite", nothing)
    .addEdge(START, "search")
    .addEdge("search", "cite")
    .addConditionalEdges("cite", () => END, { more: "search", enough: END })
    .compile();
  return new StateGraph(state)
    .addNode("supervisor", nothing, { ends: ["research", "math", END] })
    .addNode("research", research as never)
    .addNode("math", nothing)
    .addEdge(START, "supervisor")
    .addEdge("research", "supervisor")
    .addEdge("math", "supervisor")
    .compile({ name: "team" }) as unknown as CompiledGraph;
}
