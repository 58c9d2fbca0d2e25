/** Checks a drafted graph and turns it into a plan. */
import { AgentmaticError, invalid } from "../errors.ts";
import type { CachePolicy } from "../policy/cache.ts";
import { type Channel, type ChannelSpec, resolveChannel } from "./channels.ts";
import { checkStructure } from "./check.ts";
import { type CompileOptions, type Draft, graphError, type NodeDraft, type PolicyDraft } from "./draft.ts";
import { merged } from "./init.ts";
import { END, fanOutMaxDefault, maxStepsDefault, type Plan, type PlanNode, START } from "./plan.ts";
import { versionOf } from "./version.ts";
import { type Ways, waysOf } from "./ways.ts";

const concurrencyMax = 100_000;
/** Single calls are ordered by five digits. */
const fanOutLimit = 100_000;

/** Throws `InvalidGraph`, naming graph and node, for a structure that cannot run; `InvalidArgument` for an option. */
export function compilePlan(drafted: Draft, options: CompileOptions): Plan {
  checkOptions(options);
  const { name: graph = "graph" } = options;
  const draft = withPrivate(drafted, graph);
  const channels = compileChannels(draft.spec, graph);
  const ways = waysOf(draft);
  checkStructure(draft, channels, ways, graph);
  const names = new Set(draft.nodes.map(({ name }) => name));
  const interruptBefore = breakpoints("interruptBefore", options.interruptBefore, names, graph);
  const interruptAfter = breakpoints("interruptAfter", options.interruptAfter, names, graph);
  const { maxSteps = maxStepsDefault, fanOutMax = fanOutMaxDefault, maxConcurrency, migrate, cache } = options;
  const { input, output, contextSchema } = draft;
  return {
    name: graph,
    version: options.version ?? versionOf(draft, ways.joins, interruptBefore, interruptAfter, options),
    channels,
    nodes: new Map(draft.nodes.map((node) => [node.name, planNode(node, draft.defaults, ways)])),
    entry: outgoing(START, ways),
    joins: ways.joins,
    interruptBefore,
    interruptAfter,
    ...(options.interruptBeforeWhen ? { interruptBeforeWhen: options.interruptBeforeWhen } : {}),
    ...(options.interruptAfterWhen ? { interruptAfterWhen: options.interruptAfterWhen } : {}),
    maxSteps,
    fanOutMax,
    ...(maxConcurrency === undefined ? {} : { maxConcurrency }),
    ...(input ? { input: input.names } : {}),
    ...(output ? { output: output.names } : {}),
    ...(input?.schema ? { inputSchema: input.schema } : {}),
    ...(contextSchema ? { contextSchema } : {}),
    ...(migrate ? { migrate } : {}),
    ...(cache ? { cache } : {}),
  };
}

function planNode(node: NodeDraft, defaults: PolicyDraft, ways: Ways): PlanNode {
  const { name, run, ends, defer, input, subgraph, metadata } = node;
  const { retry, timeout, cache, breaker, onError } = { ...defaults, ...policies(node) };
  return {
    name,
    run,
    ends,
    defer,
    ...outgoing(name, ways),
    ...(input ? { input: input.names } : {}),
    ...(input?.schema ? { inputSchema: input.schema } : {}),
    ...(retry ? { retry } : {}),
    ...(timeout ? { timeout } : {}),
    ...(cache ? { cache: cache satisfies CachePolicy } : {}),
    ...(breaker ? { breaker } : {}),
    ...(onError ? { onError } : {}),
    ...(subgraph ? { subgraph } : {}),
    ...(metadata ? { metadata } : {}),
  };
}

function policies(node: NodeDraft): PolicyDraft {
  const own: Record<string, unknown> = {};
  for (const field of ["retry", "timeout", "cache", "breaker", "onError"] as const) {
    if (node[field] !== undefined) own[field] = node[field];
  }
  return own;
}

function outgoing(name: string, { edges, branches, joinsFrom }: Ways): Pick<PlanNode, "edges" | "branches" | "joins"> {
  return {
    edges: [...new Set(edges.get(name))].filter((to) => to !== END),
    branches: branches.get(name) ?? [],
    joins: joinsFrom.get(name) ?? [],
  };
}

/**
 * Channels that only an input, an output or a node's input describes belong to those alone: what does not ask for them
 * is not given them.
 */
function withPrivate(draft: Draft, graph: string): Draft {
  let { spec } = draft;
  spec = merged("input", spec, draft.input?.spec);
  spec = merged("output", spec, draft.output?.spec);
  for (const { name, input } of draft.nodes) {
    try {
      spec = merged("input", spec, input?.spec);
    } catch (thrown) {
      throw graphError(name, AgentmaticError.from(thrown).message, graph);
    }
  }
  if (spec === draft.spec) return draft;
  const part = { names: Object.keys(draft.spec) };
  const nodes = draft.nodes.map((node) => (node.input ? node : { ...node, input: part }));
  return { ...draft, spec, nodes, input: draft.input ?? part, output: draft.output ?? part };
}

const kinds: ReadonlySet<unknown> = new Set(["last", "any", "reduce", "topic", "ephemeral", "barrier", "untracked"]);

function compileChannels(spec: ChannelSpec, graph: string): Map<string, Channel<unknown, unknown>> {
  const channels = new Map<string, Channel<unknown, unknown>>();
  for (const [name, entry] of Object.entries(spec)) {
    const place = `graph "${graph}": state.${name}`;
    if (name.startsWith("__")) throw invalid(place, "names that begin with __ are reserved");
    const channel = resolveChannel(entry) as Channel<unknown, unknown> | undefined | null;
    if (!kinds.has(channel?.kind)) {
      throw invalid(place, "is not a channel (for fields with schemas: new StateSchema({ … }))");
    }
    if (channel?.kind === "reduce" && typeof channel.reduce !== "function") throw invalid(place, "has no reducer");
    channels.set(name, channel!);
  }
  return channels;
}

function breakpoints(
  field: string,
  given: readonly string[] | "*" | undefined,
  names: ReadonlySet<string>,
  graph: string,
): ReadonlySet<string> {
  if (given === undefined) return new Set();
  if (given === "*" || given.includes("*")) return names;
  for (const name of given) {
    if (!names.has(name)) throw graphError(name, `${field} names it, but the graph has no such node`, graph);
  }
  return new Set(given);
}

function checkOptions(options: CompileOptions): void {
  if (typeof options !== "object" || options === null) throw invalid("options", "must be an object");
  for (const field of ["name", "version"] as const) {
    const value = options[field];
    if (value !== undefined && (typeof value !== "string" || value === ""))
      throw invalid(field, "must be a non-empty string");
  }
  if (options.versionSalt !== undefined && typeof options.versionSalt !== "string") {
    throw invalid("versionSalt", "must be a string");
  }
  for (const field of ["interruptBefore", "interruptAfter"] as const) {
    const value = options[field];
    if (value !== undefined && value !== "*" && !Array.isArray(value))
      throw invalid(field, "must be a list of node names");
  }
  for (const field of ["interruptBeforeWhen", "interruptAfterWhen", "migrate"] as const) {
    if (options[field] !== undefined && typeof options[field] !== "function")
      throw invalid(field, "must be a function");
  }
  if (options.cache !== undefined && typeof options.cache?.get !== "function")
    throw invalid("cache", "must be a cache");
  checkWhole("maxSteps", options.maxSteps, Number.MAX_SAFE_INTEGER);
  checkWhole("maxConcurrency", options.maxConcurrency, concurrencyMax);
  checkWhole("fanOutMax", options.fanOutMax, fanOutLimit);
}

function checkWhole(field: string, value: unknown, max: number): void {
  if (value === undefined || (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= max)) return;
  throw invalid(field, `must be a whole number from 1 to ${max}`);
}
