/** Where the boxes of a graph stand and how its links run. Pure: the same graph is always laid out the same. */
import { type Box, type LayoutLink, meshOf, type Size } from "./mesh.ts";
import { orderLayers } from "./order.ts";
import { placeVertices } from "./place.ts";
import { type Route, routeChains } from "./routes.ts";

export interface Layout extends Size {
  /** The middle of each box; the room for a link to itself is on its far side. */
  readonly boxes: readonly Point[];
  /** By link, from the upper box to the lower; empty for a link from a box to itself. */
  readonly routes: readonly Route[];
  /** By link: it is drawn upwards, so its arrow is at the upper end. */
  readonly isReversed: readonly boolean[];
  /** By link: the middle of its label. */
  readonly labels: readonly (Point | undefined)[];
  /** Vertices of routes that more than one link passes. */
  readonly isShared: readonly boolean[];
}

export interface Point {
  readonly across: number;
  readonly along: number;
}

export function layOut(boxes: readonly Box[], links: readonly LayoutLink[]): Layout {
  const mesh = meshOf(boxes, links);
  orderLayers(mesh);
  const places = placeVertices(mesh);
  const { bands } = places;
  let near = Number.POSITIVE_INFINITY;
  let far = Number.NEGATIVE_INFINITY;
  for (const [vertex, at] of places.across.entries()) {
    near = Math.min(near, at - mesh.left[vertex]!);
    far = Math.max(far, at + mesh.right[vertex]!);
  }
  const across = places.across.map((at) => at - near);
  const routes = routeChains(mesh, { across, bands });
  const points: Point[] = [];
  mesh.layers.forEach((layer, rank) => {
    const { start, end } = bands[rank]!;
    for (const vertex of layer) points[vertex] = { across: across[vertex]!, along: (start + end) / 2 };
  });
  const labels = links.map(({ label }, at) => {
    const chain = mesh.chains[at]!;
    return label && chain.length > 0 ? points[mesh.isReversed[at] ? chain.at(-2)! : chain[1]!] : undefined;
  });
  return {
    across: far - near,
    along: bands.at(-1)?.end ?? 0,
    boxes: points.slice(0, boxes.length),
    routes,
    labels,
    isReversed: mesh.isReversed,
    isShared: mesh.isShared,
  };
}
