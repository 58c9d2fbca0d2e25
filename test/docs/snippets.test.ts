import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { matches, pages, readSnippets, type Snippet, snippetsOf } from "./fences.ts";
import { Programs } from "./program.ts";

const snippets = pages().flatMap(snippetsOf);
const programs = new Programs(snippets);
let faultsOf: (snippet: Snippet) => readonly string[];

beforeAll(async () => {
  faultsOf = await programs.check();
}, 130_000);
afterAll(() => programs[Symbol.dispose]());

describe("snippets of README and guide", () => {
  it.each(snippets.map((snippet) => [`${snippet.page}:${snippet.line}`, snippet] as const))(
    "%s",
    { timeout: 60_000 },
    async (_at, snippet) => {
      expect(faultsOf(snippet)).toEqual([]);
      if (snippet.marks.includes("no-run")) return;
      const printed = await programs.run(snippet);
      for (const { line, text } of snippet.expected) {
        const said = printed.filter((one) => one.line === line).map((one) => one.text);
        if (matches(text, said.join(" "))) continue;
        const what = said.length === 0 ? "nothing" : said.join("\n");
        expect.fail(`${snippet.page}:${line} says that it prints\n${text}\nand printed\n${what}`);
      }
    },
  );
});

describe("how snippets are read", () => {
  it("takes ts fences that import the package, with the page's line numbers", () => {
    const page = [
      "# Page",
      "```ts",
      'import { END } from "agentmatic";',
      "console.log(END); // __end__",
      "```",
      "```ts no-run",
      'import { Coordinator } from "agentmatic/cluster";',
      "```",
      "```js",
      'import { END } from "agentmatic";',
      "```",
      "```ts",
      "const other = 1;",
      "```",
    ].join("\n");
    const found = readSnippets("page.md", page);
    expect(found.map(({ line, marks }) => [line, marks])).toEqual([
      [3, []],
      [7, ["no-run"]],
    ]);
    expect(found[0]!.code.split("\n")[3]).toBe("console.log(END); // __end__");
    expect(found[0]!.expected).toEqual([{ line: 4, text: "__end__" }]);
  });

  it("puts the snippet before it into one that continues it", () => {
    const first = ["```ts", 'import { END } from "agentmatic";', "console.log(END); // __end__", "```", "text"];
    const second = ["```ts continued", 'import "agentmatic/testing";', "console.log(END); // __end__", "```"];
    const found = readSnippets("page.md", [...first, ...second].join("\n"))[1]!;
    expect(found.code.split("\n").slice(1, 8)).toEqual([...first.slice(1, 3), "", "", "", ...second.slice(1, 3)]);
    expect(found.expected).toEqual([{ line: 8, text: "__end__" }]);
  });

  it("goes on from the snippet that it names", () => {
    const one = (marks: string, code: string) =>
      ["```ts", marks, "\nimport 'agentmatic';\n", code, "\n```\n"].join(" ");
    const page = [one("name=a", "const a = 1;"), one("", "const b = 1;")].join("");
    const last = readSnippets("page.md", `${page}${one("continued=a", "a;")}`)[2]!;
    expect(last.code).toContain("const a");
    expect(last.code).not.toContain("const b");
    expect(() => readSnippets("page.md", `${page}${one("continued=c", "c;")}`)).toThrow(
      "page.md:9: there is no snippet",
    );
  });

  it("finds the beginning of a statement of several lines", () => {
    const page = [
      "```ts",
      'import "agentmatic";',
      "console.log(",
      "  await x,",
      "  {",
      "    a: 1,",
      "  },",
      "); // 1 2",
      "```",
    ];
    expect(readSnippets("page.md", page.join("\n"))[0]!.expected).toEqual([{ line: 3, text: "1 2" }]);
  });

  it("says where a fence is not closed", () => {
    expect(() => readSnippets("page.md", "text\n```ts\nconst a = 1;")).toThrow("page.md:2");
  });

  it.each([
    ["{ a: 1 }", "{\n  a: 1\n}", true],
    ["{ a: 1 }", "{ a: 2 }", false],
    ["thread … ended", "thread 5f2 ended", true],
    ["thread … ended", "thread 5f2 failed", false],
    ["a.b", "axb", false],
    ["[ 1 ]", "[ 1 ] [ 2 ]", false],
  ])("%j against %j", (expected, printed, same) => {
    expect(matches(expected, printed)).toBe(same);
  });
});

describe("how snippets are run", () => {
  const page = (...lines: string[]) =>
    readSnippets("page.md", ["```ts", 'import { END } from "agentmatic";', ...lines, "```"].join("\n"))[0]!;
  const tried = async <T>(snippet: Snippet, body: (programs: Programs) => Promise<T>): Promise<T> => {
    using own = new Programs([snippet]);
    return await body(own);
  };

  it("tells by line what was printed", async () => {
    const snippet = page("await Promise.resolve();", "for (const a of [1, 2])", "  console.log({ a, END });");
    expect(await tried(snippet, (own) => own.run(snippet))).toEqual([
      { line: 5, text: "{ a: 1, END: '__end__' }" },
      { line: 5, text: "{ a: 2, END: '__end__' }" },
    ]);
  });

  it("names the line that threw", async () => {
    const snippet = page("", "throw new Error(END);");
    await expect(tried(snippet, (own) => own.run(snippet))).rejects.toThrow("page.md:4: the snippet ended with 1");
  });

  it("names an entry that is not there", () => {
    const snippet = readSnippets("page.md", '```ts\nimport "agentmatic/nowhere";\n```')[0]!;
    expect(() => new Programs([snippet])).toThrow("page.md:2");
  });
});
