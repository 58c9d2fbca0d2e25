/** The way of each link between two boxes: down the columns that its vertices keep free, with smooth bends between. */
import type { Mesh } from "./mesh.ts";
import type { Places } from "./place.ts";

export interface Knot {
  readonly across: number;
  readonly along: number;
  /** The line goes straight along here: it is at a box, inside a layer, or other lines join it. */
  readonly isStraight: boolean;
  readonly vertex: number;
}

/** From the upper box to the lower. */
export type Route = readonly Knot[];

const portGap = 20;
const portMargin = 10;

export function routeChains(mesh: Mesh, { across, bands }: Places): Route[] {
  const rankOf = new Map<number, number>();
  const placeOf = new Map<number, number>();
  mesh.layers.forEach((layer, rank) => {
    layer.forEach((vertex, place) => {
      rankOf.set(vertex, rank);
      placeOf.set(vertex, place);
    });
  });
  const portsBelow = portsOf(mesh, mesh.below, placeOf);
  const portsAbove = portsOf(mesh, mesh.above, placeOf);
  return mesh.chains.map((chain) => {
    const knots: Knot[] = [];
    const add = (vertex: number, at: number, along: number, isStraight: boolean) => {
      const last = knots.at(-1);
      if (last && Math.abs(last.along - along) < 0.01) return;
      knots.push({ vertex, across: at, along, isStraight });
    };
    chain.forEach((vertex, index) => {
      const { start, end } = bands[rankOf.get(vertex)!]!;
      const half = mesh.along[vertex]! / 2;
      const middle = (start + end) / 2;
      if (index === 0) {
        const at = across[vertex]! + portsBelow.get(`${vertex} ${chain[1]!}`)!;
        add(vertex, at, middle + half, true);
        add(vertex, at, end, true);
      } else if (index === chain.length - 1) {
        const at = across[vertex]! + portsAbove.get(`${vertex} ${chain[index - 1]!}`)!;
        add(vertex, at, start, true);
        add(vertex, at, middle - half, true);
      } else {
        const isStraight = end > start || mesh.isShared[vertex]!;
        add(vertex, across[vertex]!, start, isStraight);
        add(vertex, across[vertex]!, end, isStraight);
      }
    });
    return knots;
  });
}

/** Where lines touch a side of a box, from its middle: in the order of their other ends, so that they do not cross there. */
function portsOf(mesh: Mesh, near: Mesh["above"], placeOf: ReadonlyMap<number, number>): Map<string, number> {
  const ports = new Map<string, number>();
  for (let box = 0; box < mesh.boxes; box++) {
    const others = [...near[box]!].sort((a, b) => placeOf.get(a)! - placeOf.get(b)!);
    const room = 2 * (mesh.left[box]! - portMargin);
    const gap = others.length > 1 ? Math.max(0, Math.min(portGap, room / (others.length - 1))) : 0;
    others.forEach((other, at) => {
      ports.set(`${box} ${other}`, (at - (others.length - 1) / 2) * gap);
    });
  }
  return ports;
}

/** Change of `across` for each step `along` at every knot: never beyond the knots on either side (Fritsch and Carlson 1980). */
export function slopesOf(route: Route): number[] {
  const secants = route
    .slice(1)
    .map(({ across, along }, at) => (across - route[at]!.across) / (along - route[at]!.along));
  return route.map(({ isStraight }, at) => {
    const before = secants[at - 1];
    const after = secants[at];
    if (isStraight || before === undefined || after === undefined || before * after <= 0) return 0;
    return (2 * before * after) / (before + after);
  });
}
