import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { root } from "../support/imports.ts";
import { anchorsOf, faultOf, linksOf, page, rowsOf, titlesOf } from "./features.ts";
import { pages } from "./fences.ts";

const rows = rowsOf(readFileSync(join(root, page), "utf8"));

describe("docs/features.md", () => {
  it("names pages, headings, files and tests that are there", () => {
    const faults = rows.flatMap((row) => linksOf(row)).map((link) => [link.line, faultOf(link)] as const);
    expect(faults.filter(([, fault]) => fault).map(([line, fault]) => `${page}:${line}: ${fault}`)).toEqual([]);
  });

  it("has an example and a test in every row", () => {
    const bodies = rows.filter(({ cells }) => cells[2] !== "test");
    expect(bodies.length).toBeGreaterThan(50);
    const without = bodies.filter(
      ({ cells: [feature, example, test], line }) =>
        !(feature && example && linksOf({ line, cells: [test ?? ""] }).some((link) => link.test)),
    );
    expect(without.map(({ line }) => line)).toEqual([]);
  });
});

describe("links of the guide", () => {
  it.each([...pages(), page])("%s leads to pages and headings that are there", (from) => {
    const text = readFileSync(join(root, from), "utf8").replace(/^```[\s\S]*?^```/gm, "");
    const links = linksOf({ line: 0, cells: [text] }, from).filter(({ file }) => !/https?:/.test(file));
    const faults = links.map((link) => faultOf({ ...link, test: link.test ?? undefined }));
    expect(faults.filter((fault) => fault && !fault.includes("name is missing"))).toEqual([]);
  });
});

describe("what is looked for", () => {
  it("anchors as GitHub makes them", () => {
    const text = "# Ask a human, in five minutes\n```sh\n# no heading\n```\n## A node's `time`: *idle*";
    expect(anchorsOf(text)).toEqual(["ask-a-human-in-five-minutes", "a-nodes-time-idle"]);
  });

  it("titles of tests, of tables of them as well", () => {
    const source =
      'it("one", () => {});\ntest.each([\n  1,\n])("two %s", () => {});\nit(\n  "say \\"three\\"",\n);\nsay("no");';
    expect(titlesOf(source)).toEqual(["one", "two %s", 'say "three"']);
  });

  it("rows, links, and what is wrong with them", () => {
    const [row] = rowsOf(
      '| a | b |\n| --- | --- |\n| [x](guide/state.md#nowhere) | [t](../test/docs/features.test.ts) "no such" |'
        .split("\n")
        .slice(1)
        .join("\n"),
    );
    const found = linksOf(row!).map(faultOf);
    expect(found).toEqual([
      "docs/guide/state.md has no heading #nowhere",
      'test/docs/features.test.ts has no test "no such"',
    ]);
    expect(faultOf({ line: 1, file: "docs/none.md", anchor: undefined, test: undefined })).toBe(
      "docs/none.md is not there",
    );
  });
});
