import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

export type RuntimeName = "node" | "deno" | "bun";

export interface Runtime {
  name: RuntimeName;
  /** The command that runs a TypeScript or JavaScript file: `command(["bin/x.ts", "--flag"])`. */
  command(args: readonly string[]): { cmd: string; args: string[] };
}

const root = join(import.meta.dirname, "..", "..");
const packages: Record<"deno" | "bun", Record<string, string>> = {
  deno: {
    "linux-x64": "@deno/linux-x64-glibc/deno",
    "linux-arm64": "@deno/linux-arm64-glibc/deno",
    "darwin-x64": "@deno/darwin-x64/deno",
    "darwin-arm64": "@deno/darwin-arm64/deno",
  },
  bun: {
    "linux-x64": "@oven/bun-linux-x64/bin/bun",
    "linux-arm64": "@oven/bun-linux-aarch64/bin/bun",
    "darwin-x64": "@oven/bun-darwin-x64/bin/bun",
    "darwin-arm64": "@oven/bun-darwin-aarch64/bin/bun",
  },
};

/** The three runtimes a worker runs on. Throws an Error that says what to do if one is not there. */
export function runtimes(): Runtime[] {
  return [
    {
      name: "node",
      command: (args) => ({
        cmd: process.execPath,
        args: ["--disable-warning=ExperimentalWarning", ...args],
      }),
    },
    { name: "deno", command: (args) => ({ cmd: binary("deno"), args: ["run", "--quiet", "--allow-all", ...args] }) },
    { name: "bun", command: (args) => ({ cmd: binary("bun"), args: ["run", ...args] }) },
  ];
}

/** Path of a runtime's program: from tools/runtimes, else from PATH; undefined if there is none. */
export function findBinary(name: "deno" | "bun"): string | undefined {
  const installed = packages[name][`${process.platform}-${process.arch}`];
  const places = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, name));
  if (installed) places.unshift(join(root, "tools", "runtimes", "node_modules", installed));
  return places.find((place) => existsSync(place));
}

function binary(name: "deno" | "bun"): string {
  const found = findBinary(name);
  if (!found) throw new Error(`${name} is not there: run \`npm run tools\`, or put ${name} into PATH`);
  return found;
}
