/** Boxes and the bends of their links, layer by layer: each link becomes a chain of short segments. */
import { AgentmaticError } from "../errors.ts";
import { type Link, rankBoxes } from "./ranks.ts";

/** `across` is along a layer, `along` from layer to layer: x and y of a drawing from top to bottom. */
export interface Size {
  readonly across: number;
  readonly along: number;
}

export interface Box extends Size {
  /** Room for a link to itself, on the far side. */
  readonly loop: number;
}

export interface LayoutLink extends Link {
  readonly label?: Size;
  /** Long links of one group that lead to the same box share their way to it. */
  readonly group: string;
}

/** The first vertices are the boxes. */
export interface Mesh {
  readonly boxes: number;
  /** Around the middle of a vertex. */
  readonly left: readonly number[];
  readonly right: readonly number[];
  readonly along: readonly number[];
  /** Vertices by layer; reordered in place while crossings are removed. */
  readonly layers: number[][];
  readonly above: readonly (readonly number[])[];
  readonly below: readonly (readonly number[])[];
  /** By link: vertices from the upper box to the lower; empty for a link from a box to itself. */
  readonly chains: readonly (readonly number[])[];
  readonly isReversed: readonly boolean[];
  /** Vertices that several chains pass. */
  readonly isShared: readonly boolean[];
}

const verticesMax = 400_000;

export function meshOf(boxes: readonly Box[], links: readonly LayoutLink[]): Mesh {
  const real = links.map((link, at) => ({ ...link, at })).filter(({ from, to }) => from !== to);
  const { ranks, isReversed: turned } = rankBoxes(boxes.length, real);
  const isReversed: boolean[] = new Array(links.length).fill(false);
  real.forEach(({ at }, index) => {
    isReversed[at] = turned[index]!;
  });
  const first = Math.min(0, ...ranks);
  const builder = new Builder(
    boxes,
    ranks.map((rank) => rank - first),
  );
  const chains = links.map((link, at) => builder.chain(link, isReversed[at]!));
  return { ...builder.mesh(), chains, isReversed };
}

class Builder {
  readonly #boxes: number;
  readonly #ranks: number[];
  readonly #left: number[];
  readonly #right: number[];
  readonly #along: number[];
  readonly #shared: Map<string, number> = new Map();
  readonly #passes: number[] = [];
  readonly #segments: Set<string> = new Set();
  readonly #above: number[][];
  readonly #below: number[][];

  constructor(boxes: readonly Box[], ranks: number[]) {
    this.#boxes = boxes.length;
    this.#ranks = ranks;
    this.#left = boxes.map(({ across }) => across / 2);
    this.#right = boxes.map(({ across, loop }) => across / 2 + loop);
    this.#along = boxes.map(({ along }) => along);
    this.#above = boxes.map(() => []);
    this.#below = boxes.map(() => []);
  }

  chain({ from, to, label, group }: LayoutLink, isReversed: boolean): number[] {
    if (from === to) return [];
    const [upper, lower] = isReversed ? [to, from] : [from, to];
    const top = this.#ranks[upper]!;
    const bottom = this.#ranks[lower]!;
    // Beside its source a link is alone: lines that part or cross there can be told apart, and its label is its own.
    const own = isReversed ? bottom - 1 : top + 1;
    const chain = [upper];
    for (let rank = top + 1; rank < bottom; rank++) {
      const vertex =
        rank === own ? this.#vertex(rank, label) : this.#sharedVertex(`${to} ${group} ${isReversed} ${rank}`, rank);
      this.#passes[vertex] = (this.#passes[vertex] ?? 0) + 1;
      chain.push(vertex);
    }
    chain.push(lower);
    for (let at = 1; at < chain.length; at++) this.#segment(chain[at - 1]!, chain[at]!);
    return chain;
  }

  mesh(): Omit<Mesh, "chains" | "isReversed"> {
    const layers: number[][] = [];
    this.#ranks.forEach((rank, vertex) => {
      layers[rank] ??= [];
      layers[rank].push(vertex);
    });
    for (let rank = 0; rank < layers.length; rank++) layers[rank] ??= [];
    return {
      boxes: this.#boxes,
      left: this.#left,
      right: this.#right,
      along: this.#along,
      layers,
      above: this.#above,
      below: this.#below,
      isShared: this.#ranks.map((_rank, vertex) => (this.#passes[vertex] ?? 0) > 1),
    };
  }

  #vertex(rank: number, label?: Size): number {
    const vertex = this.#ranks.push(rank) - 1;
    if (vertex >= verticesMax) {
      throw new AgentmaticError(
        "Unsupported",
        "the graph has too many long edges to be drawn; its Mermaid text has no such limit",
      );
    }
    const half = (label?.across ?? 0) / 2;
    this.#left.push(half);
    this.#right.push(half);
    this.#along.push(label?.along ?? 0);
    this.#above.push([]);
    this.#below.push([]);
    return vertex;
  }

  #sharedVertex(key: string, rank: number): number {
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    const vertex = this.#vertex(rank);
    this.#shared.set(key, vertex);
    return vertex;
  }

  #segment(upper: number, lower: number): void {
    const key = `${upper} ${lower}`;
    if (this.#segments.has(key)) return;
    this.#segments.add(key);
    this.#below[upper]!.push(lower);
    this.#above[lower]!.push(upper);
  }
}
