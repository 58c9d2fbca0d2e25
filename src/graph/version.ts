/** A graph's version: what its structure means to a thread, as a hash. */
import { resolveChannel } from "./channels.ts";
import type { CompileOptions, Draft } from "./draft.ts";
import type { Join } from "./plan.ts";

/**
 * The same for graphs that were put together in another order, where that makes no difference to a run; different where
 * channels, nodes, edges, conditional edges' targets, joins, subgraphs, breakpoints or the salt differ.
 */
export function versionOf(
  draft: Draft,
  joins: readonly Join[],
  interruptBefore: ReadonlySet<string>,
  interruptAfter: ReadonlySet<string>,
  { interruptBeforeWhen, interruptAfterWhen, versionSalt = "" }: CompileOptions,
): string {
  const { spec, nodes, edges, branches } = draft;
  const plain = edges.filter(({ from }) => from.length === 1).map(({ from, to }) => [from[0], to]);
  const parts = [
    canonical(Object.entries(spec).map(([name, entry]) => [name, resolveChannel(entry).kind])),
    canonical(
      nodes.map(({ name, ends, defer, subgraph }) => [
        name,
        canonical(ends),
        defer,
        subgraph ? [subgraph.plan.name, subgraph.plan.version, subgraph.state] : [],
      ]),
    ),
    canonical(plain),
    canonical([...conditions(branches)]),
    canonical(joins.map(({ key }) => key)),
    canonical(interruptBefore),
    canonical(interruptAfter),
    interruptBeforeWhen !== undefined,
    interruptAfterWhen !== undefined,
    versionSalt,
  ];
  return `h-${hash(JSON.stringify(parts))}`;
}

/** By node, as the conditional edges of one are followed in the order in which they were added. */
function conditions(branches: Draft["branches"]): ReadonlyMap<string, readonly string[]> {
  const byNode = new Map<string, string[]>();
  for (const { from, targets } of branches) {
    const one = targets ? JSON.stringify(canonical(Object.entries(targets))) : "*";
    byNode.set(from, [...(byNode.get(from) ?? []), one]);
  }
  return byNode;
}

/** Each once, in an order of its own. */
function canonical(values: Iterable<unknown>): readonly string[] {
  return [...new Set(Array.from(values, (value) => JSON.stringify(value)))].sort();
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
