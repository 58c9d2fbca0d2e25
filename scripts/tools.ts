// The parts with locked manifests of their own, installed by the command that needs them.
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { findBinaries } from "../test/support/postgres-binaries.ts";
import { findBinary } from "../test/support/runtimes.ts";
import { root } from "./command.ts";
import { installLocked, isInstalled } from "./locked.mjs";

interface Tool {
  what: string;
  /** What a person can do where npm brought nothing that works here; undefined if all is there. */
  missing(): string | undefined;
}

const tools: Record<string, Tool> = {
  runtimes: {
    what: "Deno and Bun, for the runtime tests, into tools/runtimes",
    missing: () => {
      const names = (["deno", "bun"] as const).filter((name) => !findBinary(name));
      return names.length > 0 ? `put ${names.join(" and ")} into PATH` : undefined;
    },
  },
  postgres: {
    what: "a Postgres server, for the tests, into tools/postgres",
    missing: () =>
      process.env.AGENTMATIC_TEST_POSTGRES || findBinaries()
        ? undefined
        : "install your system's Postgres package, or set AGENTMATIC_TEST_POSTGRES=postgres://… to a server's URL",
  },
  langgraph: {
    what: "LangGraph.js, to compare with, into tools/langgraph",
    missing: () =>
      isInstalled(join(root, "tools", "langgraph"))
        ? undefined
        : "run the command again where npm reaches its registry",
  },
  mermaid: {
    what: "Mermaid, to read our pictures with, into tools/mermaid",
    missing: () =>
      isInstalled(join(root, "tools", "mermaid")) ? undefined : "run the command again where npm reaches its registry",
  },
  package: {
    what: "the package checkers publint and attw into tools/package",
    missing: () =>
      isInstalled(join(root, "tools", "package")) ? undefined : "run the command again where npm reaches its registry",
  },
};

/**
 * Installs what is not there yet: all tools and all examples.
 * Returns what is missing all the same, each with what to do about it.
 */
export function installAll(): string[] {
  const missing: string[] = [];
  for (const [name, tool] of Object.entries(tools)) {
    const failure =
      name === "postgres" && process.env.AGENTMATIC_TEST_POSTGRES
        ? ""
        : attempt(() => void installLocked(join(root, "tools", name), tool.what));
    const advice = tool.missing();
    if (advice) missing.push(`${name}: ${[failure, advice].filter(Boolean).join("\n  ")}`);
  }
  for (const name of exampleNames()) {
    const failure = attempt(() => installExample(name));
    if (failure) missing.push(`examples/${name}: ${failure}`);
  }
  return missing;
}

/** The examples that have a locked manifest. */
export function exampleNames(): string[] {
  const folder = join(root, "examples");
  return readdirSync(folder).filter((name) => existsSync(join(folder, name, "package-lock.json")));
}

/** Installs what one example needs, unless it is there. Throws with npm's own words when npm fails. */
export function installExample(name: string): void {
  const folder = join(root, "examples", name);
  installLocked(folder, `what examples/${name} needs`);
  linkPackage(folder);
}

/** Examples import this package by its name, as users do; a dependency on a folder would fill their lock files with ours. */
function linkPackage(folder: string): void {
  const link = join(folder, "node_modules", "agentmatic");
  if (existsSync(link)) return;
  mkdirSync(join(folder, "node_modules"), { recursive: true });
  rmSync(link, { force: true });
  symlinkSync(process.platform === "win32" ? root : join("..", "..", ".."), link, "junction");
}

/** Returns why it failed, "" where it did not. */
function attempt(install: () => void): string {
  try {
    install();
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}

if (process.argv[1] === import.meta.filename) {
  const missing = installAll();
  for (const entry of missing) console.error(`missing: ${entry}`);
  process.exitCode = missing.length > 0 ? 1 : 0;
}
