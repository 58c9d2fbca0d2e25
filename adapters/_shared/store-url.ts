/** Opens the store that a URL names. Each saver's module is loaded only when it is the one. */
import { MemorySaver } from "../../src/checkpoint/memory.ts";
import type { Saver } from "../../src/checkpoint/saver.ts";
import { AgentmaticError, invalid } from "../../src/errors.ts";
import { type Logger, silentLogger } from "../../src/ports.ts";

export interface StoreOptions {
  /** Where a warning about the test hook goes; nowhere if not given. */
  readonly logger?: Logger;
  /** Names the setting in errors. */
  readonly field?: string;
  /** Test hook: writes are taken whatever their fence, to show what fences are for. */
  readonly unsafeWithoutFence?: boolean;
}

const schemes = "memory:, sqlite:FILE, postgres://USER@HOST/DATABASE";

/** Throws `InvalidArgument`, never repeating the URL: it may hold a password. */
export async function openStore(url: string, options: StoreOptions = {}): Promise<Saver> {
  const { logger = silentLogger, field = "--store", unsafeWithoutFence } = options;
  if (unsafeWithoutFence) {
    logger.log(
      "warn",
      "AGENTMATIC_UNSAFE_NO_FENCE is set: the store takes late writes of lost workers. For tests only.",
    );
  }
  try {
    return await open(url, unsafeWithoutFence ? { unsafeWithoutFence } : {});
  } catch (thrown) {
    if (!AgentmaticError.is(thrown, "InvalidArgument")) throw thrown;
    // A saver names its own argument; whoever wrote the URL knows it by another name.
    throw invalid(field, thrown.message.replace(/^(store|url): /, ""));
  }
}

async function open(url: string, hooks: { readonly unsafeWithoutFence?: boolean }): Promise<Saver> {
  switch (/^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase()) {
    case "memory":
      return new MemorySaver({ ...memoryLocation(url), ...hooks });
    case "sqlite": {
      const { SqliteSaver } = await import("../sqlite/mod.ts");
      return SqliteSaver.fromUrl(url, hooks);
    }
    case "postgres":
    case "postgresql": {
      const { PostgresSaver } = await import("../postgres/mod.ts");
      // Without an address the driver takes the PG* variables.
      return /^postgres(ql)?:$/i.test(url) ? PostgresSaver.fromEnv(hooks) : PostgresSaver.fromUrl(url, hooks);
    }
    default:
      throw invalid("store", `must be the URL of a store: ${schemes}`);
  }
}

/** `memory:?region=eu-west-1&zone=eu`: for trying out what a store of a region does. */
function memoryLocation(url: string): { region?: string; zone?: string } {
  const [path = "", query = ""] = url.slice("memory:".length).split("?", 2);
  if (path !== "") throw invalid("store", 'must be "memory:", with ?region=… and &zone=… where wanted');
  const location: { region?: string; zone?: string } = {};
  for (const [name, value] of new URLSearchParams(query)) {
    if (name !== "region" && name !== "zone") throw invalid("store", `does not know "${name}", only region and zone`);
    location[name] = value;
  }
  return location;
}
