/** This package's version, from its package.json, which lies above the sources and above the build alike. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder: string = import.meta.url.startsWith("file:") ? dirname(fileURLToPath(import.meta.url)) : "";

/** The folder that holds this package's own code, whether sources or build. */
export const codeFolder: string = join(folder, "..", "..");

export const packageVersion: string = readVersion();

function readVersion(): string {
  for (let at = folder; at !== "" && at !== dirname(at); at = dirname(at)) {
    const file = join(at, "package.json");
    if (!existsSync(file)) continue;
    const { name, version } = JSON.parse(readFileSync(file, "utf8")) as { name?: string; version?: string };
    if (name === "agentmatic" && version) return version;
  }
  return "";
}
