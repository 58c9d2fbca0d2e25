/** Where the graphs and the store come from when no flag says it: environment, configuration file. */
import { existsSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Graphs, plansOf } from "../adapters/_shared/graphs.ts";
import type { Saver } from "../src/checkpoint/saver.ts";
import { AgentmaticError } from "../src/errors.ts";
import type { Flags } from "./flags.ts";

type Env = Readonly<Record<string, string | undefined>>;

export interface Settings {
  readonly graphs: Graphs;
  readonly store: Saver | string;
}

const configFiles = ["agentmatic.config.ts", "agentmatic.config.js", "agentmatic.config.mjs"];

/** Throws `InvalidArgument` with one line that names the flag and says what was found. */
export async function settingsFrom(flags: Flags, env: Env, folder: string): Promise<Settings> {
  const config = configFiles.map((name) => resolve(folder, name)).find((path) => existsSync(path));
  const source = flags.graphs ?? env.AGENTMATIC_GRAPHS ?? config;
  if (!source)
    throw wrong("--graphs", `is not given, nor AGENTMATIC_GRAPHS, nor is there a ${configFiles[0]} in ${folder}`);
  const graphs = await load(source, folder);
  plansOf(graphs, `--graphs ${source}`);
  const configured = config === undefined ? undefined : storeOf(await load(config, folder));
  return { graphs, store: storeFrom(flags, env, configured) };
}

/** A configuration file says it by itself, in its default export or in `config`. */
function storeOf(module: Readonly<Record<string, unknown>>): Saver | string | undefined {
  for (const part of [module, module.default, module.config]) {
    if (typeof part === "object" && part !== null && "store" in part && part.store) return part.store as Saver | string;
  }
  return undefined;
}

function storeFrom(flags: Flags, env: Env, configured: Saver | string | undefined): Saver | string {
  const store = flags.store || env.AGENTMATIC_STORE || configured || env.DATABASE_URL;
  if (store) return store;
  // Without an address the driver takes the PG* variables itself.
  if (env.PGHOST || env.PGDATABASE || env.PGUSER) return "postgres:";
  if (env.AGENTMATIC_SQLITE_PATH) return sqliteUrl(env.AGENTMATIC_SQLITE_PATH);
  const ways =
    "AGENTMATIC_STORE, a store in agentmatic.config.ts, DATABASE_URL, PGHOST and its kin, AGENTMATIC_SQLITE_PATH";
  throw wrong("--store", `is not given, nor any of ${ways}`);
}

function sqliteUrl(path: string): string {
  const encoded = encodeURIComponent(path).replaceAll("%2F", "/");
  return isAbsolute(path) ? `sqlite://${encoded}` : `sqlite:${encoded}`;
}

async function load(name: string, folder: string): Promise<Readonly<Record<string, unknown>>> {
  const path = name.startsWith("file:") ? fileURLToPath(name) : resolve(folder, name);
  const isFile = existsSync(path);
  if (!isFile && /^[./]|^file:|\.[cm]?[jt]s$/.test(name))
    throw wrong("--graphs", `${name} is not there (looked for ${path})`);
  try {
    return await import(isFile ? pathToFileURL(path).href : name);
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message.split("\n", 1)[0] : String(thrown);
    throw wrong("--graphs", `${name} cannot be loaded: ${reason}`);
  }
}

function wrong(flag: string, problem: string): AgentmaticError {
  return new AgentmaticError("InvalidArgument", `${flag} ${problem}`, { details: { field: flag } });
}
