/** Where the nodes of a draft lead: by name, so that a graph of thousands is read once. */
import type { Draft, EdgeDraft } from "./draft.ts";
import type { Branch, Join } from "./plan.ts";

export interface Ways {
  /** Plain edges, in the order in which they were added. */
  readonly edges: ReadonlyMap<string, readonly string[]>;
  readonly branches: ReadonlyMap<string, readonly Branch[]>;
  readonly joins: readonly Join[];
  /** By source, indexes into `joins`. */
  readonly joinsFrom: ReadonlyMap<string, readonly number[]>;
}

export function waysOf({ edges, branches }: Draft): Ways {
  const plain = new Map<string, string[]>();
  const joins = new Map<string, Join>();
  for (const edge of edges) {
    if (edge.from.length === 1) add(plain, edge.from[0]!, edge.to);
    else {
      const join = joinOf(edge);
      // Drawn twice it is still one join.
      if (!joins.has(join.key)) joins.set(join.key, join);
    }
  }
  const conditional = new Map<string, Branch[]>();
  for (const { from, ...branch } of branches) add(conditional, from, branch);
  const list = [...joins.values()];
  const joinsFrom = new Map<string, number[]>();
  list.forEach(({ sources }, index) => {
    for (const source of sources) add(joinsFrom, source, index);
  });
  return { edges: plain, branches: conditional, joins: list, joinsFrom };
}

function joinOf({ from, to }: EdgeDraft): Join {
  const sources = [...from].sort();
  return { sources, target: to, key: `${sources.map(escaped).join("+")}>${escaped(to)}` };
}

/** Two joins must not have one key, whatever their nodes are called. */
function escaped(name: string): string {
  return name.replace(/[%+>]/g, (sign) => encodeURIComponent(sign));
}

function add<T>(map: Map<string, T[]>, from: string, value: T): void {
  const list = map.get(from);
  if (list) list.push(value);
  else map.set(from, [value]);
}
