/** The order within each layer: barycentres up and down, then exchanges of neighbours; the best order seen is kept. */
import type { Mesh } from "./mesh.ts";

/** Visits of a vertex that may be spent: large graphs get fewer sweeps. */
const visitsMax = 1_500_000;
const sweepsMax = 24;
/** Exchanges look at pairs of links, which is for small graphs only. */
const exchangeMax = 3_000;
const exchangeRounds = 8;

/** Reorders `mesh.layers` in place. */
export function orderLayers(mesh: Mesh): void {
  const place = new Int32Array(mesh.above.length);
  const centre = new Float64Array(mesh.above.length);
  firstOrder(mesh);
  remember(mesh, place);
  let best = mesh.layers.map((layer) => [...layer]);
  let fewest = crossings(mesh, place);
  const vertices = mesh.above.length;
  const sweeps = Math.max(2, Math.min(sweepsMax, Math.floor(visitsMax / (vertices * 8))));
  for (let sweep = 0; sweep < sweeps && fewest > 0; sweep++) {
    const isDown = sweep % 2 === 0;
    const layers = isDown ? mesh.layers : mesh.layers.toReversed();
    for (const layer of layers) sortLayer(layer, isDown ? mesh.above : mesh.below, place, centre);
    if (vertices <= exchangeMax) exchange(mesh, place);
    const count = crossings(mesh, place);
    if (count >= fewest) continue;
    fewest = count;
    best = mesh.layers.map((layer) => [...layer]);
  }
  best.forEach((layer, rank) => {
    mesh.layers[rank] = layer;
  });
}

/** As a walk from the first box meets them, so that what belongs together begins together. */
function firstOrder(mesh: Mesh): void {
  const met: number[] = new Array(mesh.above.length).fill(-1);
  let count = 0;
  const starts = mesh.layers.flat();
  for (const start of [0, ...starts]) {
    if (start >= met.length || met[start] !== -1) continue;
    const stack = [start];
    for (let vertex = stack.pop(); vertex !== undefined; vertex = stack.pop()) {
      if (met[vertex] !== -1) continue;
      met[vertex] = count++;
      const next = [...mesh.below[vertex]!, ...mesh.above[vertex]!];
      for (let at = next.length - 1; at >= 0; at--) if (met[next[at]!] === -1) stack.push(next[at]!);
    }
  }
  for (const layer of mesh.layers) layer.sort((a, b) => met[a]! - met[b]!);
}

function remember({ layers }: Mesh, place: Int32Array): void {
  for (const layer of layers) for (const [at, vertex] of layer.entries()) place[vertex] = at;
}

function sortLayer(layer: number[], fixed: Mesh["above"], place: Int32Array, centre: Float64Array): void {
  let isSorted = true;
  for (let at = 0; at < layer.length; at++) {
    const near = fixed[layer[at]!]!;
    let sum = 0;
    for (const other of near) sum += place[other]!;
    centre[layer[at]!] = near.length > 0 ? sum / near.length : at;
    if (at > 0 && centre[layer[at - 1]!]! > centre[layer[at]!]!) isSorted = false;
  }
  if (isSorted) return;
  layer.sort((a, b) => centre[a]! - centre[b]! || place[a]! - place[b]!);
  for (let at = 0; at < layer.length; at++) place[layer[at]!] = at;
}

function exchange({ layers, above, below }: Mesh, place: Int32Array): void {
  for (let round = 0, isBetter = true; isBetter && round < exchangeRounds; round++) {
    isBetter = false;
    for (const layer of layers) {
      for (let at = 1; at < layer.length; at++) {
        const a = layer[at - 1]!;
        const b = layer[at]!;
        const now = pairCrossings(above[a]!, above[b]!, place) + pairCrossings(below[a]!, below[b]!, place);
        const then = pairCrossings(above[b]!, above[a]!, place) + pairCrossings(below[b]!, below[a]!, place);
        if (then >= now) continue;
        layer[at - 1] = b;
        layer[at] = a;
        place[a] = at;
        place[b] = at - 1;
        isBetter = true;
      }
    }
  }
}

function pairCrossings(left: readonly number[], right: readonly number[], place: Int32Array): number {
  let count = 0;
  for (const a of left) for (const b of right) if (place[a]! > place[b]!) count++;
  return count;
}

/** Barth, Mutzel and Jünger (2004), "Simple and efficient bilayer cross counting": inversions, by a tree of counts. */
function crossings({ layers, below }: Mesh, place: Int32Array): number {
  const tree = new Int32Array(layers.reduce((most, { length }) => Math.max(most, length), 0) + 1);
  let total = 0;
  for (let rank = 0; rank < layers.length - 1; rank++) {
    const width = layers[rank + 1]!.length;
    tree.fill(0, 0, width + 1);
    let seen = 0;
    for (const vertex of layers[rank]!) {
      const others = below[vertex]!;
      for (const other of others) {
        let notRight = 0;
        for (let at = place[other]! + 1; at > 0; at -= at & -at) notRight += tree[at]!;
        total += seen - notRight;
      }
      for (const other of others) for (let at = place[other]! + 1; at <= width; at += at & -at) tree[at]!++;
      seen += others.length;
    }
  }
  return total;
}
