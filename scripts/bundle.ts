// Puts the built modules together into one file for each entry of the package, and some that entries share.
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { rolldown } from "rolldown";
import { root } from "./command.ts";

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

/**
 * A process that imports the package would otherwise open over a hundred small files, which takes longer than all else it
 * does. What entries share stays shared, so that an error of one is an error of the others. Types stay as they are.
 */
export async function bundle(folder: string): Promise<void> {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
  const files = [
    ...Object.values(manifest.exports).flatMap((entry) => (typeof entry === "string" ? [] : [entry.default])),
    ...Object.values(manifest.bin),
  ].map((file) => file.replace(/^\.\/dist\//, ""));
  const input = Object.fromEntries(files.map((file) => [file.replace(/\.js$/, ""), join(folder, file)]));
  const packages = Object.keys(manifest.dependencies);
  const external = (id: string) => id.startsWith("node:") || packages.some((name) => `${id}/`.startsWith(`${name}/`));
  const build = await rolldown({ input, platform: "neutral", external, experimental: { attachDebugInfo: "none" } });
  const { output } = await build.generate({
    format: "es",
    entryFileNames: "[name].js",
    // As deep as the modules were: what looks for the package's folder counts on it.
    chunkFileNames: "src/shared/[name]-[hash].js",
    // Some are told by their class's name, where another copy of the package has made them.
    keepNames: true,
  });
  await build.close();
  for (const file of globSync("**/*.js", { cwd: folder })) rmSync(join(folder, file));
  for (const file of output) {
    if (file.type !== "chunk") continue;
    mkdirSync(dirname(join(folder, file.fileName)), { recursive: true });
    writeFileSync(join(folder, file.fileName), file.code);
  }
}
