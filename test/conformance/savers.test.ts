// Walks the suite over every saver there is: a new folder under adapters/ cannot skip it.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { saverCases, title } from "../../src/testing/mod.ts";
import type { Harness } from "./harness.ts";

const adapters = join(import.meta.dirname, "..", "..", "adapters");
const savers = readdirSync(adapters).filter((name) => existsSync(join(adapters, name, "saver.ts")));
/** A slow disk commits in some milliseconds; the race of two writers takes 2,000 commits and more. */
const caseTimeoutMs = 120_000;

describe.each(["memory", ...savers])("%s saver", async (name) => {
  const file = join(import.meta.dirname, `${name}.ts`);
  if (!existsSync(file)) {
    test("has a conformance harness", () => expect.fail(`adapters/${name}/saver.ts needs test/conformance/${name}.ts`));
    return;
  }
  const { harness } = (await import(pathToFileURL(file).href)) as { harness: Harness };
  const missing = await harness.available();
  test("can be tested here", () => expect(missing).toBeUndefined());
  if (missing !== undefined) return;

  test.each(saverCases.map((one) => [title(one), one] as const))(
    "%s",
    async (_, one) => {
      await using stack = new AsyncDisposableStack();
      const context = await harness.create();
      stack.defer(() => context.dispose());
      await one.run(context);
    },
    caseTimeoutMs,
  );
});
