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
const visitsMax = 6_000_000;
const sweepsMax = 40;
/** Between two layers; more where a line has far to go sideways. */
const layerGap = { min: 20, max: 90, share: 0.06 };

export function placeVertices(mesh: Mesh): Places {
  const across: number[] = new Array(mesh.above.length).fill(0);
  const isBox = (vertex: number): boolean => vertex < mesh.boxes;
  for (const layer of mesh.layers) settle(mesh, layer, across, () => undefined);
  const sweeps = Math.max(4, Math.min(sweepsMax, Math.floor(visitsMax / (across.length * 8))));
  // Long lines are held straight: what they want counts more than what boxes want (after Gansner et al. 1993, "A technique
  // for drawing directed graphs", section 4).
  const pull = (a: number, b: number): number => (isBox(a) ? (isBox(b) ? 1 : 2) : isBox(b) ? 2 : 8);
  const wanted = (vertex: number, lists: readonly Mesh["above"][]) => {
    let sum = 0;
    let weight = 0;
    for (const list of lists)
      for (const other of list[vertex]!) {
        const force = pull(vertex, other);
        sum += force * across[other]!;
        weight += force;
      }
    return weight > 0 ? { at: sum / weight, weight } : undefined;
  };
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const isDown = sweep % 2 === 0;
    // The last sweeps look both ways, which is what the eye does.
    const isLast = sweep >= sweeps - Math.floor(sweeps / 4);
    const lists = isLast ? [mesh.above, mesh.below] : [isDown ? mesh.above : mesh.below];
    const layers = isDown ? mesh.layers : mesh.layers.toReversed();
    for (const layer of layers) settle(mesh, layer, across, (vertex) => wanted(vertex, lists));
  }
  return { across, bands: bandsOf(mesh, across) };
}

/**
 * Least squares under "in this order, with these gaps": pool adjacent violators (Ayer et al. 1955). Neighbours that want
 * into each other become a block, which stands where its members want on average.
 */
function settle(
  mesh: Mesh,
  layer: readonly number[],
  across: number[],
  wanted: (vertex: number) => { readonly at: number; readonly weight: number } | undefined,
): void {
  const blocks: { sum: number; weight: number; count: number }[] = [];
  const offsets: number[] = [];
  let offset = 0;
  layer.forEach((vertex, at) => {
    if (at > 0) offset += gapOf(mesh, layer[at - 1]!, vertex);
    offsets.push(offset);
    const { at: target, weight } = wanted(vertex) ?? { at: across[vertex]!, weight: 0.1 };
    let block = { sum: (target - offset) * weight, weight, count: 1 };
    for (let last = blocks.at(-1); last && last.sum / last.weight > block.sum / block.weight; last = blocks.at(-1)) {
      blocks.pop();
      block = { sum: last.sum + block.sum, weight: last.weight + block.weight, count: last.count + block.count };
    }
    blocks.push(block);
  });
  let at = 0;
  for (const { sum, weight, count } of blocks) {
    for (let i = 0; i < count; i++, at++) across[layer[at]!] = sum / weight + offsets[at]!;
  }
}

function gapOf({ boxes, left, right }: Mesh, a: number, b: number): number {
  return right[a]! + left[b]! + (a < boxes && b < boxes ? boxGap : lineGap);
}

function bandsOf({ layers, along, below }: Mesh, across: readonly number[]): Places["bands"] {
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
