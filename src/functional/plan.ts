/** The plan of a functional graph: one node, which reads the input and writes what is given back and what is saved. */
import { invalid } from "../errors.ts";
import type { NodeContext } from "../graph/context.ts";
import type { Draft } from "../graph/draft.ts";
import { finalWrites } from "../graph/final.ts";
import { ephemeral } from "../graph/kinds.ts";
import { draftNode, type NodeOptions } from "../graph/node.ts";
import { END, fanOutMaxDefault, maxStepsDefault, type Plan, PREVIOUS, START } from "../graph/plan.ts";
import { versionOf } from "../graph/version.ts";
import type { Cache } from "../policy/cache.ts";

export interface FunctionalOptions
  extends Pick<NodeOptions, "retryPolicy" | "timeout" | "cachePolicy" | "circuitBreaker" | "metadata"> {
  /** Names the graph for workers, records and spans, and its only node. */
  name: string;
  /**
   * Application and worker must agree on it, and so must an application and the threads that it has left waiting. What
   * a function does is not looked into: give another version, or salt, when its calls come in another order.
   */
  version?: string;
  versionSalt?: string;
  /** Keeps the results of tasks with a cache policy. */
  cache?: Cache;
}

export type Entry = (input: never, context: NodeContext) => unknown;

/** Throws `InvalidArgument` and `InvalidGraph`, naming graph and field. */
export function functionalPlan(options: FunctionalOptions, run: Entry): Plan {
  const { name, version, versionSalt = "", cache, ...policies } = options;
  if (typeof name !== "string" || name === "") throw invalid("name", "must be a non-empty string");
  if (version !== undefined && (typeof version !== "string" || version === "")) {
    throw invalid("version", "must be a non-empty string");
  }
  if (typeof versionSalt !== "string") throw invalid("versionSalt", "must be a string");
  if (cache !== undefined && typeof cache?.get !== "function") throw invalid("cache", "must be a cache");
  checkFunction("entrypoint", name, run);
  const perform = async (state: Readonly<Record<string, unknown>>, context: NodeContext) =>
    finalWrites(await run(state[START] as never, context));
  const node = draftNode(name, perform, policies);
  const draft: Draft = {
    spec: { [START]: ephemeral(), [END]: { kind: "last" }, [PREVIOUS]: { kind: "last" } },
    nodes: [node],
    edges: [{ from: [START], to: name }],
    branches: [],
    defaults: {},
  };
  const { retry, timeout, cache: kept, breaker, metadata } = node;
  const nothing = { branches: [], joins: [] };
  return {
    name,
    version: version ?? versionOf(draft, [], new Set(), new Set(), { versionSalt }),
    channels: new Map(Object.entries(draft.spec)) as Plan["channels"],
    nodes: new Map([
      [
        name,
        {
          name,
          run: node.run,
          edges: [],
          ...nothing,
          ends: [],
          defer: false,
          ...(retry ? { retry } : {}),
          ...(timeout ? { timeout } : {}),
          ...(kept ? { cache: kept } : {}),
          ...(breaker ? { breaker } : {}),
          ...(metadata ? { metadata } : {}),
        },
      ],
    ]),
    entry: { edges: [name], ...nothing },
    joins: [],
    interruptBefore: new Set(),
    interruptAfter: new Set(),
    maxSteps: maxStepsDefault,
    fanOutMax: fanOutMaxDefault,
    output: [END],
    functional: true,
    ...(cache ? { cache } : {}),
  };
}

/** Throws `InvalidArgument` for what cannot be called, and for generators, of which nobody would take the values. */
export function checkFunction(what: string, name: string, run: unknown): void {
  if (typeof run !== "function") throw invalid(`${what} "${name}"`, "needs a function");
  if (/^(Async)?GeneratorFunction$/.test(run.constructor?.name ?? "")) {
    throw invalid(`${what} "${name}"`, "cannot be a generator; send pieces to followers with ctx.stream");
  }
}
