/**
 * Layers of a drawing in the manner of Sugiyama, Tagawa and Toda (1981), "Methods for visual understanding of
 * hierarchical system structures": which links go against the flow, and in which layer each box stands.
 */

export interface Link {
  readonly from: number;
  readonly to: number;
}

export interface Ranks {
  /** By box; even, so that there is a layer between any two for labels and for lines to part. */
  readonly ranks: readonly number[];
  /** By link: drawn upwards. */
  readonly isReversed: readonly boolean[];
}

/** Links from a box to itself must have been taken out before. */
export function rankBoxes(boxes: number, links: readonly Link[]): Ranks {
  const isReversed = findReversed(boxes, links);
  const down = links.map(({ from, to }, at) => (isReversed[at] ? { from: to, to: from } : { from, to }));
  const order = sorted(boxes, down);
  const after = neighbours(boxes, down, "from");
  const before = neighbours(boxes, down, "to");
  const ranks: number[] = new Array(boxes).fill(0);
  for (const box of order)
    for (const link of after[box]!) {
      const { to } = down[link]!;
      ranks[to] = Math.max(ranks[to]!, ranks[box]! + 2);
    }
  // What nothing leads to stands right above what it leads to.
  for (const box of order.toReversed()) {
    if (before[box]!.length > 0 || after[box]!.length === 0) continue;
    ranks[box] = Math.min(...after[box]!.map((link) => ranks[down[link]!.to]!)) - 2;
  }
  return { ranks, isReversed };
}

/** By box, the links that have it at that side. */
export function neighbours(boxes: number, links: readonly Link[], side: "from" | "to"): number[][] {
  const lists: number[][] = Array.from({ length: boxes }, () => []);
  links.forEach((link, at) => {
    lists[link[side]]!.push(at);
  });
  return lists;
}

/** Depth first from the start, then from whatever nothing leads to: a link to a box on the way here closes a cycle. */
function findReversed(boxes: number, links: readonly Link[]): boolean[] {
  const after = neighbours(boxes, links, "from");
  const before = neighbours(boxes, links, "to");
  const isReversed: boolean[] = new Array(links.length).fill(false);
  const state: ("new" | "open" | "done")[] = new Array(boxes).fill("new");
  const all = Array.from({ length: boxes }, (_, box) => box);
  const roots = [...all.filter((box) => box === 0 || before[box]!.length === 0), ...all];
  for (const root of roots) {
    if (state[root] !== "new") continue;
    // No recursion: a chain of boxes may be longer than the stack.
    const path = [{ box: root, next: 0 }];
    state[root] = "open";
    for (let top = path.at(-1); top; top = path.at(-1)) {
      const link = after[top.box]![top.next++];
      if (link === undefined) {
        state[top.box] = "done";
        path.pop();
        continue;
      }
      const { to } = links[link]!;
      if (state[to] === "open") isReversed[link] = true;
      else if (state[to] === "new") {
        state[to] = "open";
        path.push({ box: to, next: 0 });
      }
    }
  }
  return isReversed;
}

/** Each box after all that lead to it. */
function sorted(boxes: number, links: readonly Link[]): number[] {
  const after = neighbours(boxes, links, "from");
  const waits = neighbours(boxes, links, "to").map(({ length }) => length);
  const order: number[] = [];
  waits.forEach((count, box) => {
    if (count === 0) order.push(box);
  });
  for (let at = 0; at < order.length; at++) {
    for (const link of after[order[at]!]!) {
      const { to } = links[link]!;
      if (--waits[to]! === 0) order.push(to);
    }
  }
  return order;
}
