import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { Annotation } from "../../../src/graph/channels.ts";
import { END, START } from "../../../src/graph/plan.ts";
import { StateGraph } from "../../../src/local/state-graph.ts";
import { drawSvg } from "../../../src/picture/mod.ts";
import { graphOf, nestedGraph, nodeNames, oddNames } from "./charts.ts";
import { loadPeer, type Peer, type XmlElement } from "./peer.ts";

const state = { x: Annotation<unknown> };
const nothing = (): object => ({});

let peer: Peer;

beforeAll(async () => {
  peer = await loadPeer();
}, 60_000);

function classesOf(svg: XmlElement, name: string): string {
  const group = [...svg.querySelectorAll("g")].find((one) =>
    [...one.children].some(({ tagName, textContent }) => tagName === "text" && textContent === name),
  );
  return [...group!.children].find(({ tagName }) => tagName === "rect")!.getAttribute("class")!;
}

const all = (svg: XmlElement, selector: string): string[] =>
  [...svg.querySelectorAll(selector)].map(({ textContent }) => textContent);

describe("an SVG picture", () => {
  it("is the same text each time", () => {
    const svg = drawSvg(graphOf([[START, "a"]], "one"));
    expect(drawSvg(graphOf([[START, "a"]], "one"))).toBe(svg);
    expect(svg.replace(/<style>.*<\/style>\n/, "").split("\n")).toEqual([
      '<svg xmlns="http://www.w3.org/2000/svg" class="agm" role="img" aria-labelledby="agm-1wgdj8f-t agm-1wgdj8f-d" viewBox="0 0 131.1 214" width="131.1" height="214">',
      '<title id="agm-1wgdj8f-t">one</title>',
      '<desc id="agm-1wgdj8f-d">Graph &#34;one&#34;, 1 node. Edges: __start__ to a; a to __end__.</desc>',
      '<defs><marker id="agm-1wgdj8f-a" viewBox="0 0 9 8" refX="8.5" refY="4" markerWidth="9" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path class="agm-tip" d="M0.5 0.5 8.5 4 0.5 7.5 2 4z"/></marker></defs>',
      '<rect class="agm-ground" width="131.1" height="214" rx="8"/>',
      '<g><title>__start__ to a</title><path class="agm-line" d="M65.6 50L65.6 90" marker-end="url(#agm-1wgdj8f-a)"/></g>',
      '<g><title>a to __end__</title><path class="agm-line" d="M65.6 124L65.6 164" marker-end="url(#agm-1wgdj8f-a)"/></g>',
      '<g><title>__start__</title><rect class="agm-box agm-terminal" x="16" y="16" width="99.1" height="34" rx="17"/><text class="agm-name" x="65.6" y="37.5">__start__</text></g>',
      '<g><title>a</title><rect class="agm-box" x="37.6" y="90" width="56" height="34" rx="6"/><text class="agm-name" x="65.6" y="111.5">a</text></g>',
      '<g><title>__end__</title><rect class="agm-box agm-terminal" x="23.9" y="164" width="83.3" height="34" rx="17"/><text class="agm-name" x="65.6" y="185.5">__end__</text></g>',
      "</svg>",
      "",
    ]);
  });

  it("stands by itself, for screens and for those who do not see", () => {
    const svg = drawSvg(nestedGraph(), { xray: true, title: "The team" });
    const root = peer.readXml(svg);
    expect(root.getAttribute("role")).toBe("img");
    const [title, description] = root.getAttribute("aria-labelledby")!.split(" ");
    expect(all(root, `#${title}`)).toEqual(["The team"]);
    expect(all(root, `#${description}`)[0]).toMatch(/^Graph "team", 7 nodes. Edges: __start__ to supervisor; /);
    expect(svg).toContain("prefers-color-scheme:dark");
    expect(svg.replaceAll('xmlns="http://www.w3.org/2000/svg"', "")).not.toMatch(
      /https?:|<script|@import|href|url\((?!#)/,
    );
  });

  it("says all names, and nothing of them as markup", () => {
    fc.assert(
      fc.property(nodeNames, (names) => {
        fc.pre(names.length > 0);
        const pairs = names.map((name, at) => [names[at - 1] ?? START, name] as const);
        const svg = peer.readXml(drawSvg(graphOf(pairs, names[0])));
        const shown = all(svg, ".agm-name");
        expect(shown).toHaveLength(names.length + 2);
        names.forEach((name, at) => {
          if (/^[\w ]{1,36}$/.test(name)) expect(shown[at + 1]).toBe(name.replace(/\s+/g, " "));
        });
        const known = new Set(["svg", "title", "desc", "style", "defs", "marker", "path", "rect", "text", "g"]);
        for (const { tagName } of svg.querySelectorAll("*")) expect(known).toContain(tagName);
      }),
      { numRuns: 60 },
    );
  });

  it.each(oddNames)("shows a node, a condition and a title that are called %j", (name) => {
    const node = name.replace(/[|#:\n]/g, " ");
    const graph = new StateGraph(state)
      .addNode(node, nothing)
      .addEdge(START, node as never)
      .addConditionalEdges(node as never, () => END, Object.fromEntries([[name, END]]) as never)
      .compile({ name });
    const text = drawSvg(graph, { title: name, state: { next: [node] } });
    const svg = peer.readXml(text);
    expect(all(svg, ".agm-current")).toHaveLength(1);
    expect(all(svg, ".agm-label")).toHaveLength(1);
    expect(text).not.toMatch(/[\u202a-\u202e\u2066-\u2069]/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/);
    expect(text.isWellFormed()).toBe(true);
    expect(text.length).toBeLessThan(12_000);
  });

  it("marks what finished, what runs next, what waits and what failed", () => {
    const names = ["done", "now", "asks", "broken", "other"];
    const svg = peer.readXml(
      drawSvg(graphOf(names.map((name) => [START, name] as const)), {
        state: {
          next: ["now", "asks", "broken"],
          tasks: [
            { name: "done", result: {} },
            { name: "now" },
            { name: "asks", interrupts: [{ value: "sure?" }] },
            { name: "broken", error: { code: "NodeFailed" } },
          ],
        },
      }),
    );
    expect(names.map((name) => classesOf(svg, name))).toEqual([
      "agm-box agm-finished",
      "agm-box agm-current",
      "agm-box agm-interrupted",
      "agm-box agm-failed",
      "agm-box",
    ]);
    expect(all(svg, ".agm-note").sort()).toEqual(["failed", "finished", "interrupted", "next"]);
    expect(all(svg, "desc")[0]).toContain("Finished: done. Next: now. Interrupted: asks. Failed: broken.");
  });

  it("draws graphs inside graphs, as deep as it is asked to", () => {
    const names = (xray: boolean | number): string[] =>
      all(peer.readXml(drawSvg(nestedGraph(), { xray })), ".agm-name");
    expect(names(false)).toEqual(["__start__", "supervisor", "research", "math", "__end__"]);
    expect(names(1)).toContain("search");
    expect(names(1)).not.toContain("query");
    expect(names(true)).toEqual(expect.arrayContaining(["research", "search", "query", "rerank", "cite"]));
  });

  it("has as many arrows as there are edges, and a bar for a join", () => {
    const graph = new StateGraph(state)
      .addNode("a", nothing)
      .addNode("b", nothing)
      .addNode("c", nothing)
      .addEdge(START, "a")
      .addEdge(START, "b")
      .addEdge(["a", "b"], "c")
      .addEdge("c", END)
      .compile();
    const svg = peer.readXml(drawSvg(graph));
    expect(all(svg, ".agm-line")).toHaveLength(6);
    expect(all(svg, ".agm-bar")).toHaveLength(1);
    expect(all(svg, "g > title")).toEqual(expect.arrayContaining(["waits for all that lead here", "c to __end__"]));
  });

  it("is drawn in time for a thousand nodes", () => {
    const ways = (at: number): string[] => [`n${at >> 1}`, `n${(at * 7) % at}`];
    const edges = Array.from({ length: 1_000 }, (_, at) =>
      (at === 0 ? [START] : [...new Set(ways(at))]).map((from) => [from, `n${at}`] as const),
    ).flat();
    const graph = graphOf(edges);
    const start = performance.now();
    const svg = drawSvg(graph);
    // A second where nothing else runs; what is looked for is time that grows with the square of the size.
    expect(performance.now() - start).toBeLessThan(8_000);
    expect(svg.match(/class="agm-name"/g)).toHaveLength(1_002);
  });

  it("says what is too large", () => {
    const edges = Array.from({ length: 20_001 }, (_, at) => [at === 0 ? START : `n${at - 1}`, `n${at}`] as const);
    expect(() => drawSvg(graphOf(edges, "huge"))).toThrow(
      expect.objectContaining({ code: "Unsupported", message: expect.stringContaining('graph "huge"') }),
    );
  });
});
