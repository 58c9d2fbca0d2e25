import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildIfNeeded } from "../../scripts/build.ts";
import { pack } from "../../scripts/package.ts";
import { root } from "../support/imports.ts";
import { run } from "../support/process.ts";
import { runtimes } from "../support/runtimes.ts";

interface Manifest {
  exports: Record<string, unknown>;
  bin: Record<string, string>;
  dependencies: Record<string, string>;
}

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
const surface = JSON.parse(readFileSync(join(root, "test/package/exports.json"), "utf8")) as Record<string, string[]>;
let project: string;
let installed: string;

// A project that has installed the packed package and, like any user's, none of its development dependencies.
beforeAll(async () => {
  const built = await buildIfNeeded();
  expect(built.ok, built.output).toBe(true);
  project = mkdtempSync(join(tmpdir(), "agentmatic-user-"));
  const unpacked = await run("tar", ["-xzf", await pack(project), "-C", project]);
  expect(unpacked.code, unpacked.output).toBe(0);
  installed = join(project, "node_modules", "agentmatic");
  for (const name of Object.keys(manifest.dependencies)) {
    mkdirSync(dirname(join(project, "node_modules", name)), { recursive: true });
    symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name));
  }
  const moved = await run("mv", [join(project, "package"), installed]);
  expect(moved.code, moved.output).toBe(0);
  writeFileSync(join(project, "package.json"), JSON.stringify({ type: "module", dependencies: { agentmatic: "*" } }));
  writeFileSync(join(project, "deno.json"), JSON.stringify({ nodeModulesDir: "manual", lock: false }));
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe("the packed package", () => {
  it("holds what is built and nothing else", () => {
    expect(readdirSync(installed).sort()).toEqual(["LICENSE", "README.md", "dist", "package.json", "proto"]);
    expect(readdirSync(join(installed, "dist")).sort()).toEqual(["adapters", "bin", "src"]);
  });

  it.each(Object.entries(manifest.bin))("has the command %s, executable by itself", (_, path) => {
    const file = join(installed, path);
    expect(readFileSync(file, "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
    expect(statSync(file).mode & 0o111).toBe(0o111);
  });

  it.each(runtimes())("gives $name every entry by its name", async ({ name: runtime, command }) => {
    const entries = Object.keys(surface).filter((entry) => !isOfAnother(runtime, entry));
    const named = (entry: string): string => entry.replace(/^\./, "agentmatic");
    const imports = entries
      .map(named)
      .map((name) => `[${JSON.stringify(name)}, await import(${JSON.stringify(name)})]`);
    const program = `const entries = [${imports.join(", ")}];
for (const [name, module] of entries) console.log(name, Object.keys(module).sort().join(","));
process.exit(0);`;
    writeFileSync(join(project, "user.js"), `import process from "node:process";\n${program}\n`);
    const { cmd, args } = command([join(project, "user.js")]);
    const { code, output } = await run(cmd, args, { cwd: project });
    expect(code, output).toBe(0);
    expect(output.trim().split("\n")).toEqual(entries.map((entry) => `${named(entry)} ${surface[entry]?.join(",")}`));
  });
});

// A runtime's own entry may use what only that runtime has.
function isOfAnother(runtime: string, entry: string): boolean {
  return ["./node", "./deno", "./bun"].includes(entry) && entry !== `./${runtime}`;
}
