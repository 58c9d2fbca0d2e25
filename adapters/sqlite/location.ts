/** Where a store lies, as said in a URL or in the environment. */
import { invalid } from "../../src/errors.ts";

export interface Location {
  path: string;
  zone?: string;
  region?: string;
}

const form = `must look like "sqlite:./file.db" or "sqlite:///folder/file.db?region=eu-west-1&zone=eu"`;

/** Throws `InvalidArgument`, naming the part that is wrong. */
export function parseUrl(url: string): Location {
  const match = /^sqlite:(\/\/)?([^?#]+)(?:\?([^#]*))?$/.exec(url);
  if (!match) throw invalid("store", form);
  const [, authority, rawPath = "", query = ""] = match;
  if (authority && !rawPath.startsWith("/")) throw invalid("store", `names a host; ${form}`);
  const location: Location = { path: decodePath(rawPath) };
  for (const [name, value] of new URLSearchParams(query)) {
    if (name !== "zone" && name !== "region") throw invalid("store", `does not know "${name}", only region and zone`);
    location[name] = value;
  }
  return location;
}

export function fromEnvironment(env: Readonly<Record<string, string | undefined>>): Location {
  const path = env.AGENTMATIC_SQLITE_PATH;
  if (path) return { path };
  const store = env.AGENTMATIC_STORE;
  if (store) return parseUrl(store);
  throw invalid("AGENTMATIC_SQLITE_PATH", "is not set, nor is AGENTMATIC_STORE");
}

function decodePath(raw: string): string {
  try {
    const path = decodeURIComponent(raw);
    // sqlite:///C:/data/file.db
    return /^\/[A-Za-z]:[\\/]/.test(path) ? path.slice(1) : path;
  } catch {
    throw invalid("store", "has a % that is not followed by two hexadecimal digits");
  }
}
