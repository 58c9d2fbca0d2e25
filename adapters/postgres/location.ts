/** Where a store lies, as said in a URL or in the environment. */
import { invalid } from "../../src/errors.ts";

export interface Location {
  /** For the driver, without our own parameters; undefined: the driver takes the PG* variables. */
  readonly url: string | undefined;
  readonly schema?: string;
  readonly zone?: string;
  readonly region?: string;
}

const prefix = "agentmatic_";
const known: readonly string[] = ["schema", "zone", "region"];
const hostVariables = ["PGHOST", "PGDATABASE", "PGUSER"] as const;

/**
 * Takes `agentmatic_schema`, `agentmatic_zone` and `agentmatic_region` out of the URL's query, leaving the rest as it
 * is. Throws `InvalidArgument`, whose message never repeats the URL: it may hold a password.
 */
export function parseUrl(url: string, field = "url"): Location {
  if (!/^postgres(ql)?:\/\/./.test(url)) {
    throw invalid(field, 'must look like "postgres://user:password@host:5432/database"');
  }
  const [address = "", query = ""] = split(url, "?");
  const ours: Record<string, string> = {};
  const rest: string[] = [];
  for (const part of query.split("&")) {
    const [name, value] = decodePair(part, field);
    if (!name.startsWith(prefix)) {
      if (part !== "") rest.push(part);
      continue;
    }
    const key = name.slice(prefix.length);
    if (!known.includes(key))
      throw invalid(field, `does not know "${name}", only ${prefix}${known.join(`, ${prefix}`)}`);
    ours[key] = value;
  }
  return { ...ours, url: rest.length === 0 ? address : `${address}?${rest.join("&")}` };
}

/**
 * `DATABASE_URL`; undefined where the driver's own PG* variables say it. Throws `InvalidArgument` where none is set.
 */
export function urlOf(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const url = env.DATABASE_URL;
  if (url) parseUrl(url, "DATABASE_URL");
  else if (!hostVariables.some((name) => env[name])) {
    throw invalid("DATABASE_URL", `is not set, nor is one of ${hostVariables.join(", ")}`);
  }
  return url || undefined;
}

/** Throws `InvalidArgument` unless the name can stand in a statement: schemas cannot be parameters. */
export function checkSchema(schema: string): void {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema) || schema.startsWith("pg_")) {
    throw invalid("schema", "must be 1 to 63 of a-z, 0-9 and _, begin with none of 0-9, and not with pg_");
  }
}

function decodePair(part: string, field: string): readonly [string, string] {
  const [name = "", value = ""] = split(part, "=");
  try {
    return [decodeURIComponent(name), decodeURIComponent(value.replaceAll("+", " "))];
  } catch {
    throw invalid(field, "has a % in its query that is not followed by two hexadecimal digits");
  }
}

function split(text: string, at: string): [string, string?] {
  const index = text.indexOf(at);
  return index < 0 ? [text] : [text.slice(0, index), text.slice(index + 1)];
}
