/** What cannot run is found before it runs: each error names graph, node and what is wrong there. */
import { AgentmaticError, invalid } from "../errors.ts";
import type { Channel } from "./channels.ts";
import { type Draft, graphError } from "./draft.ts";
import { END, type Join, type Plan, START } from "./plan.ts";
import type { Ways } from "./ways.ts";

type Channels = ReadonlyMap<string, Channel<unknown, unknown>>;

/** Graphs inside graphs; the engine runs no more either. */
const depthMax = 32;

export function checkStructure(draft: Draft, channels: Channels, ways: Ways, graph: string): void {
  const names = new Set(draft.nodes.map(({ name }) => name));
  checkParts(draft, channels, graph);
  checkEdges(draft, names, graph);
  checkReachable(draft, ways, graph);
  checkWriters(draft, channels, ways, graph);
  for (const { name, subgraph } of draft.nodes) if (subgraph) checkNesting(name, subgraph.plan, graph);
}

function checkParts({ input, output, nodes }: Draft, channels: Channels, graph: string): void {
  for (const [field, part] of Object.entries({ input, output })) {
    for (const name of part?.names ?? []) {
      if (!channels.has(name)) throw invalid(`${field}.${name}`, `is no channel of graph "${graph}"`);
    }
  }
  for (const { name, input: part, writes } of nodes) {
    for (const channel of part?.names ?? []) {
      if (!channels.has(channel)) throw graphError(name, `its input has "${channel}", which is no channel`, graph);
    }
    for (const channel of writes) {
      if (!channels.has(channel))
        throw graphError(name, `it declares a write to "${channel}", which is no channel`, graph);
    }
  }
}

function checkEdges({ nodes, edges, branches }: Draft, names: ReadonlySet<string>, graph: string): void {
  const source = (name: string) => {
    if (name === END) throw graphError(END, "no edge can start at the end", graph);
    if (name !== START && !names.has(name))
      throw graphError(name, "an edge starts at it, but the graph has no such node", graph);
  };
  const target = (name: string, from: string, what: string) => {
    const problem = name === START ? "no edge can lead to the start" : "the graph has no such node";
    if (name === START || (name !== END && !names.has(name)))
      throw graphError(name, `${what} leads to it from "${from}", but ${problem}`, graph);
  };
  let entered = false;
  for (const { from, to } of edges) {
    if (from.length === 0) throw graphError(to, "a join leads to it from no node at all", graph);
    if (from.length > 1 && from.includes(START)) throw graphError(to, "a join cannot wait for the start", graph);
    from.forEach(source);
    target(to, from.join(", "), from.length > 1 ? "a join" : "an edge");
    if (from[0] === START) entered = true;
  }
  for (const { from, targets } of branches) {
    source(from);
    for (const name of Object.values(targets ?? {})) target(name, from, "a conditional edge");
    if (from === START) entered = true;
  }
  for (const { name, ends } of nodes) for (const end of ends) target(end, name, "a Command");
  if (entered) return;
  const text = `graph "${graph}": the graph has no entry: add an edge from START`;
  throw new AgentmaticError("InvalidGraph", text, { details: { graph } });
}

/** A join counts as a way to its target once each of its sources can be reached without it. */
function checkReachable({ nodes, defaults }: Draft, ways: Ways, graph: string): void {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const reached = new Set<string>([START]);
  const queue: string[] = [START];
  const missing = ways.joins.map(({ sources }) => sources.length);
  const reach = (name: string) => {
    if (name === END || reached.has(name)) return;
    reached.add(name);
    queue.push(name);
  };
  for (let at = 0; at < queue.length; at++) {
    const name = queue[at]!;
    ways.edges.get(name)?.forEach(reach);
    const node = byName.get(name);
    node?.ends.forEach(reach);
    // What an error handler's Command may lead to is not declared, and whatever leads anywhere leads everywhere.
    if (node && (node.onError ?? defaults.onError)) return;
    for (const { targets } of ways.branches.get(name) ?? []) {
      if (!targets) return;
      Object.values(targets).forEach(reach);
    }
    for (const index of ways.joinsFrom.get(name) ?? []) if (--missing[index]! === 0) reach(ways.joins[index]!.target);
  }
  const stuck = ways.joins.find(
    ({ sources, target }) =>
      !reached.has(target) && sources.some((one) => reached.has(one)) && !sources.every((one) => reached.has(one)),
  );
  if (stuck) throw neverFires(stuck, reached, graph);
  const lost = nodes.find(({ name }) => !reached.has(name));
  if (!lost) return;
  const hint = "if a Command leads to it, the node that returns the Command must name it in its ends";
  throw graphError(lost.name, `it cannot be reached from START; ${hint}`, graph);
}

function neverFires({ sources, target }: Join, reached: ReadonlySet<string>, graph: string): AgentmaticError {
  const missing = sources.filter((name) => !reached.has(name)).join(", ");
  const text = `its join of ${sources.join(", ")} can never fire: ${missing} cannot run before it`;
  return graphError(target, text, graph);
}

/** Two nodes that one node's plain edges start together may not both declare a write to one last-value channel. */
function checkWriters({ nodes }: Draft, channels: Channels, ways: Ways, graph: string): void {
  const writes = new Map(nodes.filter((node) => node.writes.length > 0).map((node) => [node.name, node.writes]));
  if (writes.size === 0) return;
  for (const edges of ways.edges.values()) {
    const writers = new Map<string, string>();
    for (const to of new Set(edges)) {
      for (const channel of new Set(writes.get(to))) {
        if (channels.get(channel)?.kind !== "last") continue;
        const other = writers.get(channel);
        if (other !== undefined) {
          const text = `it and "${other}" both write "${channel}" in one superstep: give the channel a reducer`;
          throw graphError(to, text, graph);
        }
        writers.set(channel, to);
      }
    }
  }
}

/** Compiled graphs cannot contain themselves; what only looks like one might. */
function checkNesting(node: string, plan: Plan, graph: string): void {
  const path: Plan[] = [];
  const checked = new Set<Plan>();
  const walk = (inner: Plan) => {
    if (path.includes(inner)) {
      const round = [...path.slice(path.indexOf(inner)), inner].map(({ name }) => name).join(" > ");
      throw graphError(node, `the graph that it runs contains itself: ${round}`, graph);
    }
    if (path.length >= depthMax) throw graphError(node, `graphs inside graphs, over ${depthMax} deep`, graph);
    if (checked.has(inner)) return;
    path.push(inner);
    for (const { subgraph } of inner.nodes.values()) if (subgraph) walk(subgraph.plan);
    path.pop();
    checked.add(inner);
  };
  walk(plan);
}
