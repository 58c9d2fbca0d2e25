/** Checks a drafted graph and turns it into a plan. */
import { AgentmaticError, invalid } from "../errors.ts";
import { type Channel, type ChannelSpec, resolveChannel } from "./channels.ts";
import { type CompileOptions, type Draft, graphError } from "./draft.ts";
import { END, type Join, maxStepsDefault, type Plan, type PlanNode, START } from "./plan.ts";

export function compilePlan(draft: Draft, options: CompileOptions): Plan {
  for (const field of ["name", "version"] as const) {
    const value = options[field];
    if (value !== undefined && (typeof value !== "string" || value === ""))
      throw invalid(field, "must be a non-empty string");
  }
  for (const field of ["interruptBefore", "interruptAfter"] as const) {
    if (options[field] !== undefined && !Array.isArray(options[field]))
      throw invalid(field, "must be a list of node names");
  }
  const channels = compileChannels(draft.spec);
  const names = new Set(draft.nodes.map((node) => node.name));
  checkEdges(draft, names);
  checkReachable(draft, names);
  checkWriters(draft, channels);
  const joins: Join[] = draft.edges
    .filter(({ from }) => from.length > 1)
    .map(({ from, to }) => ({ sources: [...new Set(from)].sort(), target: to }))
    // Drawn twice it is still one join.
    .filter((join, index, all) => all.findIndex((other) => sameJoin(join, other)) === index);
  const outgoing = (name: string): Pick<PlanNode, "edges" | "branches" | "joins"> => ({
    edges: targetsOf(draft, name).filter((to) => to !== END),
    branches: draft.branches.filter((branch) => branch.from === name),
    joins: joins.flatMap((join, index) => (join.sources.includes(name) ? [index] : [])),
  });
  const nodes = new Map<string, PlanNode>();
  for (const { name, run } of draft.nodes) nodes.set(name, { name, run, ...outgoing(name) });
  const { interruptBefore = [], interruptAfter = [], maxSteps = maxStepsDefault } = options;
  for (const name of [...interruptBefore, ...interruptAfter]) {
    if (!names.has(name)) throw graphError(name, "an interrupt is set for it, but the graph has no such node");
  }
  if (!Number.isInteger(maxSteps) || maxSteps < 1) throw invalid("maxSteps", "must be a whole number above 0");
  const name = options.name ?? "graph";
  return {
    name,
    version: options.version ?? `h-${hash(describe(draft, joins, [...interruptBefore], [...interruptAfter]))}`,
    channels,
    nodes,
    entry: outgoing(START),
    joins,
    interruptBefore: new Set(interruptBefore),
    interruptAfter: new Set(interruptAfter),
    maxSteps,
  };
}

function compileChannels(spec: ChannelSpec): Map<string, Channel<unknown, unknown>> {
  const channels = new Map<string, Channel<unknown, unknown>>();
  for (const [name, entry] of Object.entries(spec)) {
    if (name.startsWith("__")) throw invalid(`state.${name}`, "names that begin with __ are reserved");
    const channel = resolveChannel(entry);
    if (channel?.kind !== "last" && channel?.kind !== "reduce") throw invalid(`state.${name}`, "is not a channel");
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

function checkReachable(draft: Draft, names: ReadonlySet<string>): void {
  const reached = new Set<string>([START]);
  const queue: string[] = [START];
  const reach = (name: string) => {
    if (name === END || reached.has(name)) return;
    reached.add(name);
    queue.push(name);
  };
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    for (const { from, to } of draft.edges) if (from.includes(name)) reach(to);
    for (const branch of draft.branches) {
      if (branch.from === name) for (const to of branch.targets ? Object.values(branch.targets) : names) reach(to);
    }
    for (const node of draft.nodes) if (node.name === name) node.ends.forEach(reach);
  }
  for (const { name } of draft.nodes) {
    if (!reached.has(name)) throw graphError(name, "it cannot be reached from START");
  }
}

/** Two nodes that one node's plain edges start together may not both declare a write to one last-value channel. */
function checkWriters(draft: Draft, channels: ReadonlyMap<string, Channel<unknown, unknown>>): void {
  for (const node of draft.nodes) {
    for (const channel of node.writes) {
      if (!channels.has(channel))
        throw graphError(node.name, `it declares a write to "${channel}", which is no channel`);
    }
  }
  for (const from of [START, ...draft.nodes.map((node) => node.name)]) {
    const writers = new Map<string, string>();
    for (const to of new Set(targetsOf(draft, from))) {
      for (const channel of draft.nodes.find((node) => node.name === to)?.writes ?? []) {
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

function sameJoin(a: Join, b: Join): boolean {
  return a.target === b.target && JSON.stringify(a.sources) === JSON.stringify(b.sources);
}

function targetsOf({ edges }: Draft, name: string): string[] {
  return edges.filter(({ from }) => from.length === 1 && from[0] === name).map(({ to }) => to);
}

function describe({ spec, nodes, edges, branches }: Draft, joins: readonly Join[], ...interrupts: string[][]): string {
  const kinds = Object.entries(spec).map(([name, entry]) => [name, resolveChannel(entry).kind]);
  const plain = edges.filter(({ from }) => from.length === 1).map(({ from, to }) => [from[0], to]);
  const conditional = branches.map(({ from, targets }) => [from, targets ?? "*"]);
  const named = nodes.map((node) => [node.name, node.ends]);
  return JSON.stringify([kinds.sort(), named.sort(), plain.sort(), conditional, joins, interrupts]);
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
