// The protocol's rules for stores each have a test that is named after them.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { saverCases, title } from "../../src/testing/mod.ts";

const forEverySaver = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11", "P12"];
const forOneStore = { postgres: ["P17", "P18", "P19"], sqlite: ["P20"] };

test("every rule for all savers is shown by a case", () => {
  const shown = new Set<string>(saverCases.flatMap(({ rules }) => rules));
  expect(forEverySaver.filter((rule) => !shown.has(rule))).toEqual([]);
});

test.each(Object.entries(forOneStore))("every rule for %s alone is in the name of one of its tests", (store, rules) => {
  const files = readdirSync(import.meta.dirname).filter((name) => name.startsWith(store) && name.endsWith(".test.ts"));
  const texts = files.map((name) => readFileSync(join(import.meta.dirname, name), "utf8"));
  const names = texts.flatMap((text) =>
    [...text.matchAll(/\b(?:test|describe|onLinux)\(\s*"([^"]*)"/g)].map(([, name]) => name!),
  );
  expect(rules.filter((rule) => !names.some((name) => name.split(/\W/).includes(rule)))).toEqual([]);
});

test("cases have names of their own, as a runner's list of failures needs them", () => {
  const titles = saverCases.map(title);
  expect(titles.filter((one, index) => titles.indexOf(one) !== index)).toEqual([]);
});
