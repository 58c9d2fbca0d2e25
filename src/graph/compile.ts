/** Checks a drafted graph and turns it into a plan. */
import { AgentmaticError, invalid } from "../errors.ts";
import { type Channel, type ChannelSpec, resolveChannel } from "./channels.ts";
import { type CompileOptions, type Draft, graphError } from "./draft.ts";
import {
  type Branch,
  END,
  fanOutMaxDefault,
  type Join,
  maxStepsDefault,
  type Plan,
  type PlanNode,
  START,
} from "./plan.ts";

const concurrencyMax = 100_000;
const fanOutLimit = 1_000_000;

export function compilePlan(draft: Draft, options: CompileOptions): Plan {
  checkOptions(options);
  const channels = compileChannels(draft.spec);
  const names = new Set(draft.nodes.map((node) => node.name));
  for (const field of ["input", "output"] as const) {
    for (const name of draft[field] ?? []) {
      if (!channels.has(name)) throw invalid(`${field}.${name}`, "is no channel of the state");
    }
  }
  const ways = waysOf(draft);
  checkEdges(draft, names);
  checkReachable(draft, names, ways);
  checkWriters(draft, channels, ways);
  checkExits(draft, ways);
  const joins: Join[] = draft.edges.filter(({ from }) => from.length > 1).map(joinOf);
  // Drawn twice it is still one join.
  const unique = [...new Map(joins.map((join) => [join.key, join])).values()];
  const joinsFrom = new Map<string, number[]>();
  unique.forEach(({ sources }, index) => {
    for (const source of sources) joinsFrom.set(source, [...(joinsFrom.get(source) ?? []), index]);
  });
  const outgoing = (name: string): Pick<PlanNode, "edges" | "branches" | "joins"> => ({
    edges: [...new Set(ways.edges.get(name) ?? [])].filter((to) => to !== END),
    branches: ways.branches.get(name) ?? [],
    joins: joinsFrom.get(name) ?? [],
  });
  const nodes = new Map<string, PlanNode>();
  for (const { writes: _writes, ...node } of draft.nodes) {
    for (const name of node.input ?? []) {
      if (!channels.has(name)) throw graphError(node.name, `its input has "${name}", which is no channel`);
    }
    nodes.set(node.name, { ...node, ...outgoing(node.name) });
  }
  const interruptBefore = breakpoints("interruptBefore", options.interruptBefore, names);
  const interruptAfter = breakpoints("interruptAfter", options.interruptAfter, names);
  const { maxSteps = maxStepsDefault, fanOutMax = fanOutMaxDefault, maxConcurrency, migrate, cache } = options;
  const described = describe(draft, unique, [...interruptBefore].sort(), [...interruptAfter].sort(), options);
  return {
    name: options.name ?? "graph",
    version: options.version ?? `h-${hash(described)}`,
    channels,
    nodes,
    entry: outgoing(START),
    joins: unique,
    interruptBefore,
    interruptAfter,
    ...(options.interruptBeforeWhen ? { interruptBeforeWhen: options.interruptBeforeWhen } : {}),
    ...(options.interruptAfterWhen ? { interruptAfterWhen: options.interruptAfterWhen } : {}),
    maxSteps,
    fanOutMax,
    ...(maxConcurrency === undefined ? {} : { maxConcurrency }),
    ...(draft.input ? { input: draft.input } : {}),
    ...(draft.output ? { output: draft.output } : {}),
    ...(draft.inputSchema ? { inputSchema: draft.inputSchema } : {}),
    ...(draft.contextSchema ? { contextSchema: draft.contextSchema } : {}),
    ...(migrate ? { migrate } : {}),
    ...(cache ? { cache } : {}),
  };
}

function checkOptions(options: CompileOptions): void {
  for (const field of ["name", "version"] as const) {
    const value = options[field];
    if (value !== undefined && (typeof value !== "string" || value === ""))
      throw invalid(field, "must be a non-empty string");
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
  const whole = (field: string, value: unknown, max: number) => {
    if (value === undefined || (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= max))
      return;
    throw invalid(field, `must be a whole number from 1 to ${max}`);
  };
  const { maxSteps } = options;
  if (maxSteps !== undefined && (!Number.isInteger(maxSteps) || maxSteps < 1)) {
    throw invalid("maxSteps", "must be a whole number above 0");
  }
  whole("maxConcurrency", options.maxConcurrency, concurrencyMax);
  whole("fanOutMax", options.fanOutMax, fanOutLimit);
}

function breakpoints(
  field: string,
  given: readonly string[] | "*" | undefined,
  names: ReadonlySet<string>,
): ReadonlySet<string> {
  if (given === "*") return names;
  for (const name of given ?? []) {
    if (!names.has(name))
      throw graphError(name, `${field} is set for it, an interrupt, but the graph has no such node`);
  }
  return new Set(given);
}

function joinOf({ from, to }: Draft["edges"][number]): Join {
  const sources = [...new Set(from)].sort();
  return { sources, target: to, key: `${sources.join("+")}>${to}` };
}

/** By node: where its plain edges lead, and its conditional ones. */
interface Ways {
  readonly edges: ReadonlyMap<string, readonly string[]>;
  readonly joins: ReadonlyMap<string, readonly string[]>;
  readonly branches: ReadonlyMap<string, readonly Branch[]>;
  readonly ends: ReadonlyMap<string, readonly string[]>;
}

function waysOf({ nodes, edges, branches }: Draft): Ways {
  const add = <T>(map: Map<string, T[]>, from: string, value: T) => {
    const list = map.get(from);
    if (list) list.push(value);
    else map.set(from, [value]);
  };
  const plain = new Map<string, string[]>();
  const joins = new Map<string, string[]>();
  const conditional = new Map<string, Branch[]>();
  for (const { from, to } of edges) {
    if (from.length === 1) add(plain, from[0]!, to);
    else for (const source of from) add(joins, source, to);
  }
  for (const { from, ...branch } of branches) add(conditional, from, branch);
  return { edges: plain, joins, branches: conditional, ends: new Map(nodes.map(({ name, ends }) => [name, ends])) };
}

const kinds: ReadonlySet<unknown> = new Set(["last", "any", "reduce", "topic", "ephemeral", "barrier", "untracked"]);

function compileChannels(spec: ChannelSpec): Map<string, Channel<unknown, unknown>> {
  const channels = new Map<string, Channel<unknown, unknown>>();
  for (const [name, entry] of Object.entries(spec)) {
    if (name.startsWith("__")) throw invalid(`state.${name}`, "names that begin with __ are reserved");
    const channel = resolveChannel(entry);
    if (!kinds.has(channel?.kind)) throw invalid(`state.${name}`, "is not a channel");
    channels.set(name, channel);
  }
  return channels;
}

function checkEdges({ nodes, edges, branches }: Draft, names: ReadonlySet<string>): void {
  const source = (name: string) => {
    if (name === END) throw graphError(END, "no edge can start at the end");
    if (name !== START && !names.has(name))
      throw graphError(name, "an edge starts at it, but the graph has no such node");
  };
  const target = (name: string) => {
    if (name === START) throw graphError(START, "no edge can lead to the start");
    if (name !== END && !names.has(name)) throw graphError(name, "an edge leads to it, but the graph has no such node");
  };
  for (const { from, to } of edges) {
    if (from.length === 0) throw graphError(to, "a join leads to it from no node at all");
    if (from.length > 1 && from.includes(START)) throw graphError(to, "a join cannot wait for the start");
    from.forEach(source);
    target(to);
  }
  for (const { from, targets } of branches) {
    source(from);
    Object.values(targets ?? {}).forEach(target);
  }
  for (const node of nodes) node.ends.forEach(target);
  const entered = edges.some(({ from }) => from.includes(START)) || branches.some(({ from }) => from === START);
  if (!entered) throw new AgentmaticError("InvalidGraph", "the graph has no entry: add an edge from START");
}

function checkReachable(draft: Draft, names: ReadonlySet<string>, ways: Ways): void {
  const reached = new Set<string>([START]);
  const queue: string[] = [START];
  // Whatever leads anywhere need not be followed twice.
  let anywhere = false;
  const reach = (name: string) => {
    if (name === END || reached.has(name)) return;
    reached.add(name);
    queue.push(name);
  };
  for (let at = 0; at < queue.length && !anywhere; at++) {
    const name = queue[at]!;
    for (const map of [ways.edges, ways.joins, ways.ends]) map.get(name)?.forEach(reach);
    for (const { targets } of ways.branches.get(name) ?? []) {
      if (targets) Object.values(targets).forEach(reach);
      else anywhere = true;
    }
  }
  if (anywhere) return;
  for (const { name } of draft.nodes) {
    if (reached.has(name) || !names.has(name)) continue;
    throw graphError(name, "it cannot be reached from START");
  }
}

/** Two nodes that one node's plain edges start together may not both declare a write to one last-value channel. */
function checkWriters(draft: Draft, channels: ReadonlyMap<string, Channel<unknown, unknown>>, ways: Ways): void {
  const writes = new Map<string, readonly string[]>();
  for (const node of draft.nodes) {
    if (node.writes.length > 0) writes.set(node.name, node.writes);
    for (const channel of node.writes) {
      if (!channels.has(channel))
        throw graphError(node.name, `it declares a write to "${channel}", which is no channel`);
    }
  }
  if (writes.size === 0) return;
  for (const from of [START, ...draft.nodes.map((node) => node.name)]) {
    const writers = new Map<string, string>();
    for (const to of new Set(ways.edges.get(from) ?? [])) {
      for (const channel of writes.get(to) ?? []) {
        if (channels.get(channel)?.kind !== "last") continue;
        const other = writers.get(channel);
        if (other !== undefined) {
          throw graphError(
            to,
            `it and "${other}" both write "${channel}" in one superstep: give the channel a reducer`,
          );
        }
        writers.set(channel, to);
      }
    }
  }
}

/**
 * A round of plain edges that nothing leaves runs into the step limit, always. Not where a node of it has a conditional
 * edge, declares `ends` for its Commands, or is a graph, which may send a Command of its own.
 */
function checkExits(draft: Draft, ways: Ways): void {
  const stuck = (name: string) =>
    !ways.branches.has(name) &&
    (ways.ends.get(name)?.length ?? 0) === 0 &&
    !draft.nodes.find((node) => node.name === name)?.subgraph;
  const fates = new Map<string, "open" | "ends">();
  const walk = (start: string): readonly string[] | undefined => {
    const path: string[] = [];
    const places = new Map<string, number>();
    for (let name: string | undefined = start; name !== undefined; ) {
      if (fates.has(name) || !stuck(name)) return settle(path);
      const seen = places.get(name);
      if (seen !== undefined) return path.slice(seen);
      places.set(name, path.length);
      path.push(name);
      const next: readonly string[] = [...new Set([...(ways.edges.get(name) ?? []), ...(ways.joins.get(name) ?? [])])];
      // Of several ways out one may end; only a lone round is certain.
      if (next.length !== 1 || next[0] === END) return settle(path);
      name = next[0];
    }
    return settle(path);
  };
  const settle = (path: readonly string[]): undefined => {
    for (const name of path) fates.set(name, "ends");
  };
  for (const { name } of draft.nodes) {
    const round = walk(name);
    if (!round) continue;
    const first = round[0]!;
    throw graphError(
      first,
      `the round ${[...round, first].join(" -> ")} has no way out: add a conditional edge, or declare the ends of its Commands`,
    );
  }
}

function describe(
  { spec, nodes, edges, branches }: Draft,
  joins: readonly Join[],
  before: readonly string[],
  after: readonly string[],
  { versionSalt = "" }: CompileOptions,
): string {
  const kinds = Object.entries(spec).map(([name, entry]) => [name, resolveChannel(entry).kind]);
  const plain = edges.filter(({ from }) => from.length === 1).map(({ from, to }) => [from[0], to]);
  const conditional = branches.map(({ from, targets }) => [from, targets ? Object.entries(targets).sort() : "*"]);
  const named = nodes.map(({ name, ends, defer, subgraph }) => [
    name,
    [...ends].sort(),
    defer,
    subgraph?.plan.version ?? "",
  ]);
  const keys = joins.map(({ key }) => key).sort();
  return JSON.stringify([kinds.sort(), named.sort(), plain.sort(), conditional, keys, before, after, versionSalt]);
}

/** FNV-1a with two 32-bit lanes: tells graph versions apart, guards nothing. */
function hash(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x01000193;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x85ebca6b) ^ (b >>> 13);
  }
  return [a, b].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
}
