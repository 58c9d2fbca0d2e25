// Writes the names that each entry exports to test/package/exports.json, where a diff shows when they change.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { command, root } from "./command.ts";

const manifest = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as { exports: Record<string, string> };
const surface: Record<string, string[]> = {};
for (const [entry, source] of Object.entries(manifest.exports)) {
  // The worker's command does its work when it is imported.
  if (entry === "./worker") continue;
  surface[entry] = Object.keys((await import(pathToFileURL(join(root, source)).href)) as object).sort();
}
const file = join(root, "test", "package", "exports.json");
writeFileSync(file, `${JSON.stringify(surface, null, 2)}\n`);
// In the house format, which the check asks for.
await command("biome", ["format", "--write", file]);
