// Everything that can be verified without running a test.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { findBinary } from "../test/support/runtimes.ts";
import { buildIfNeeded } from "./build.ts";
import { command, type Outcome, root } from "./command.ts";
import { checkGenerated } from "./gen.ts";
import { checkPackage } from "./package.ts";
import { runStages, type Stage } from "./stages.ts";
import { exampleNames, installAll } from "./tools.ts";

/** The checks in the order in which they run; those after the build need the tools and examples installed. */
export function checks(): Stage[] {
  return [
    { name: "types", work: () => command("tsc", ["-p", "tsconfig.json", "--noEmit"]) },
    { name: "types of src with web libraries only", work: () => command("tsc", ["-p", "tsconfig.core.json"]) },
    { name: "format and lint", work: () => command("biome", ["check", "--error-on-warnings"]) },
    { name: "lint of proto", work: () => command("buf", ["lint"]) },
    { name: "generated code is fresh", work: checkGenerated },
    { name: "build", work: buildIfNeeded },
    { name: "types of the examples", work: checkExamples },
    { name: "package as npm would publish it", work: checkPackage },
    { name: "package as JSR would publish it", work: checkJsr },
  ];
}

async function checkExamples(): Promise<Outcome> {
  const outcomes: Outcome[] = [];
  for (const name of exampleNames()) {
    const project = join("examples", name, "tsconfig.json");
    if (existsSync(join(root, project))) outcomes.push(await command("tsc", ["-p", project, "--noEmit"]));
  }
  return { ok: outcomes.every(({ ok }) => ok), output: outcomes.map(({ output }) => output).join("") };
}

// Deno checks the types of all entries, and that none has to be inferred.
function checkJsr(): Promise<Outcome> {
  return command(findBinary("deno") ?? "deno", ["publish", "--dry-run", "--allow-dirty", "--quiet"]);
}

if (process.argv[1] === import.meta.filename) {
  const missing = installAll();
  for (const entry of missing) console.error(`missing: ${entry}`);
  const { failed } = await runStages(checks());
  process.exitCode = failed > 0 || missing.length > 0 ? 1 : 0;
}
