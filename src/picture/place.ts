/** Coordinates of all vertices: as near to their neighbours as their order in the layer and the gaps allow. */
import type { Mesh } from "./mesh.ts";

export interface Places {
  /** The middle of each vertex. */
  readonly across: readonly number[];
  /** Where each layer begins and ends. */
  readonly bands: readonly { readonly start: number; readonly end: number }[];
}

const boxGap = 36;
const lineGap = 16;
/** Visits of a vertex that may be spent: large graphs get fewer sweeps. */
const visitsMax = 2_500_000;
const sweepsMin = 4;
const sweepsMax = 40;
const followRounds = 3;
/** Between two layers; more where a line has far to go sideways. */
const layerGap = { min: 20, max: 90, share: 0.06 };

export function placeVertices(mesh: Mesh): Places {
  const across = new Float64Array(mesh.above.length);
  const settler = new Settler(mesh, across);
  for (const layer of mesh.layers) settler.settle(layer, []);
  const sweeps = Math.max(sweepsMin, Math.min(sweepsMax, Math.floor(visitsMax / (across.length * 8))));
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const isDown = sweep % 2 === 0;
    // The last sweeps look both ways, which is what the eye does.
    const isLast = sweep >= sweeps - Math.floor(sweeps / 4);
    const lists = isLast ? [mesh.above, mesh.below] : [isDown ? mesh.above : mesh.below];
    for (const layer of isDown ? mesh.layers : mesh.layers.toReversed()) settler.settle(layer, lists);
  }
  straighten(mesh, across);
  for (let round = 0; round < followRounds; round++) follow(mesh, across);
  return { across: [...across], bands: bandsOf(mesh, across) };
}

/** Blocks of one layer: what they want in all, how heavy they are, and how many vertices they have. */
class Settler {
  readonly #mesh: Mesh;
  readonly #across: Float64Array;
  readonly #sums: Float64Array;
  readonly #weights: Float64Array;
  readonly #counts: Uint32Array;
  readonly #offsets: Float64Array;

  constructor(mesh: Mesh, across: Float64Array) {
    const widest = mesh.layers.reduce((most, { length }) => Math.max(most, length), 0);
    this.#mesh = mesh;
    this.#across = across;
    this.#sums = new Float64Array(widest);
    this.#weights = new Float64Array(widest);
    this.#counts = new Uint32Array(widest);
    this.#offsets = new Float64Array(widest);
  }

  /**
   * Least squares under "in this order, with these gaps": pool adjacent violators (Ayer et al. 1955). Neighbours that
   * want into each other become a block, which stands where its members want on average.
   */
  settle(layer: readonly number[], lists: readonly Mesh["above"][]): void {
    const sums = this.#sums;
    const weights = this.#weights;
    const counts = this.#counts;
    let offset = 0;
    let top = -1;
    for (let at = 0; at < layer.length; at++) {
      const vertex = layer[at]!;
      if (at > 0) offset += gapOf(this.#mesh, layer[at - 1]!, vertex);
      this.#offsets[at] = offset;
      top++;
      this.#want(vertex, lists, top, offset);
      counts[top] = 1;
      while (top > 0 && sums[top - 1]! / weights[top - 1]! > sums[top]! / weights[top]!) {
        sums[top - 1]! += sums[top]!;
        weights[top - 1]! += weights[top]!;
        counts[top - 1]! += counts[top]!;
        top--;
      }
    }
    for (let block = 0, at = 0; block <= top; block++) {
      const start = sums[block]! / weights[block]!;
      for (let i = 0; i < counts[block]!; i++, at++) this.#across[layer[at]!] = start + this.#offsets[at]!;
    }
  }

  /**
   * Long lines are held straight: what they want counts more than what boxes want (after Gansner et al. 1993, "A technique
   * for drawing directed graphs", section 4).
   */
  #want(vertex: number, lists: readonly Mesh["above"][], block: number, offset: number): void {
    const { boxes } = this.#mesh;
    let sum = 0;
    let weight = 0;
    for (const list of lists) {
      for (const other of list[vertex]!) {
        const force = vertex < boxes ? (other < boxes ? 1 : 2) : other < boxes ? 2 : 8;
        sum += force * this.#across[other]!;
        weight += force;
      }
    }
    if (weight === 0) {
      weight = 0.1;
      sum = this.#across[vertex]! * weight;
    }
    this.#sums[block] = sum - offset * weight;
    this.#weights[block] = weight;
  }
}

/** Where the room allows it, the bends of a long line come to stand on as few straight lines as possible. */
function straighten(mesh: Mesh, across: Float64Array): void {
  const room = roomOf(mesh, across);
  const isPlaced = new Uint8Array(across.length);
  for (const chain of mesh.chains) {
    for (let first = 1; first < chain.length - 1; ) {
      let low = Number.NEGATIVE_INFINITY;
      let high = Number.POSITIVE_INFINITY;
      let sum = 0;
      let next = first;
      for (; next < chain.length - 1; next++) {
        const vertex = chain[next]!;
        // Another line that shares this part of the way has placed it.
        const own = isPlaced[vertex] ? across[vertex]! : undefined;
        const least = Math.max(low, own ?? room.least(vertex));
        const most = Math.min(high, own ?? room.most(vertex));
        if (least > most) break;
        low = least;
        high = most;
        sum += across[vertex]!;
      }
      // A vertex without any room stays, for want of precision in the sums of gaps.
      if (next === first) next++;
      else {
        const place = Math.min(high, Math.max(low, sum / (next - first)));
        for (let at = first; at < next; at++) across[chain[at]!] = place;
      }
      for (let at = first; at < next; at++) isPlaced[chain[at]!] = 1;
      first = next;
    }
  }
}

/** Boxes follow the lines that were straightened, as far as there is room. */
function follow(mesh: Mesh, across: Float64Array): void {
  const room = roomOf(mesh, across);
  for (let box = 0; box < mesh.boxes; box++) {
    const near = [...mesh.above[box]!, ...mesh.below[box]!];
    if (near.length === 0) continue;
    const wanted = near.reduce((sum, other) => sum + across[other]!, 0) / near.length;
    const least = room.least(box);
    const most = room.most(box);
    if (least <= most) across[box] = Math.min(most, Math.max(least, wanted));
  }
}

interface Room {
  /** Between its neighbours in the layer, where they stand now. */
  least(vertex: number): number;
  most(vertex: number): number;
}

function roomOf(mesh: Mesh, across: Float64Array): Room {
  const before = new Int32Array(across.length).fill(-1);
  const after = new Int32Array(across.length).fill(-1);
  for (const layer of mesh.layers) {
    for (let at = 1; at < layer.length; at++) {
      before[layer[at]!] = layer[at - 1]!;
      after[layer[at - 1]!] = layer[at]!;
    }
  }
  return {
    least(vertex) {
      const left = before[vertex]!;
      return left < 0 ? Number.NEGATIVE_INFINITY : across[left]! + gapOf(mesh, left, vertex);
    },
    most(vertex) {
      const right = after[vertex]!;
      return right < 0 ? Number.POSITIVE_INFINITY : across[right]! - gapOf(mesh, vertex, right);
    },
  };
}

function gapOf({ boxes, left, right }: Mesh, a: number, b: number): number {
  return right[a]! + left[b]! + (a < boxes && b < boxes ? boxGap : lineGap);
}

function bandsOf({ layers, along, below }: Mesh, across: Float64Array): Places["bands"] {
  let start = 0;
  return layers.map((layer) => {
    let height = 0;
    let farthest = 0;
    for (const vertex of layer) {
      height = Math.max(height, along[vertex]!);
      for (const other of below[vertex]!) farthest = Math.max(farthest, Math.abs(across[other]! - across[vertex]!));
    }
    const band = { start, end: start + height };
    start = band.end + Math.min(layerGap.max, layerGap.min + layerGap.share * farthest);
    return band;
  });
}
