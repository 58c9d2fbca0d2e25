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
  const place: number[] = [];
  firstOrder(mesh);
  remember(mesh, place);
  let best = mesh.layers.map((layer) => [...layer]);
  let fewest = crossings(mesh, place);
  const vertices = mesh.above.length;
  const sweeps = Math.max(2, Math.min(sweepsMax, Math.floor(visitsMax / (vertices * 8))));
  for (let sweep = 0; sweep < sweeps && fewest > 0; sweep++) {
    const isDown = sweep % 2 === 0;
    const layers = isDown ? mesh.layers : mesh.layers.toReversed();
    for (const layer of layers) sortLayer(layer, isDown ? mesh.above : mesh.below, place);
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

function remember({ layers }: Mesh, place: number[]): void {
  for (const layer of layers) for (const [at, vertex] of layer.entries()) place[vertex] = at;
}

function sortLayer(layer: number[], fixed: Mesh["above"], place: number[]): void {
  const centre = new Map<number, number>();
  for (const [at, vertex] of layer.entries()) {
    const near = fixed[vertex]!;
    let sum = 0;
    for (const other of near) sum += place[other]!;
    centre.set(vertex, near.length > 0 ? sum / near.length : at);
  }
  layer.sort((a, b) => centre.get(a)! - centre.get(b)! || place[a]! - place[b]!);
  for (const [at, vertex] of layer.entries()) place[vertex] = at;
}

function exchange({ layers, above, below }: Mesh, place: number[]): void {
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

function pairCrossings(left: readonly number[], right: readonly number[], place: readonly number[]): number {
  let count = 0;
  for (const a of left) for (const b of right) if (place[a]! > place[b]!) count++;
  return count;
}

/** Barth, Mutzel and Jünger (2004), "Simple and efficient bilayer cross counting": inversions, by a tree of counts. */
function crossings({ layers, below }: Mesh, place: readonly number[]): number {
  let total = 0;
  for (const [rank, layer] of layers.entries()) {
    const width = layers[rank + 1]?.length ?? 0;
    const tree: number[] = new Array(width + 1).fill(0);
    let seen = 0;
    for (const vertex of layer) {
      const ends = below[vertex]!.map((other) => place[other]!);
      for (const end of ends) {
        let notRight = 0;
        for (let at = end + 1; at > 0; at -= at & -at) notRight += tree[at]!;
        total += seen - notRight;
      }
      for (const end of ends) for (let at = end + 1; at <= width; at += at & -at) tree[at]!++;
      seen += ends.length;
    }
  }
  return total;
}
