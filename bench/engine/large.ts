/**
 * A graph of 1,000 nodes in a chain.
 *
 * Measured: milliseconds to build and compile it; milliseconds of its first run, 1,000 steps; kibibytes of heap that the
 * compiled graph holds, by the heap's size before and after, each after a collection. Not measured: later runs (see the
 * growth by nodes), graphs with many edges.
 */
import { chainGraph } from "./chain.ts";
import { type Mode, modes, runConfig } from "./libraries.ts";
import { type Contender, timed } from "./rounds.ts";
import type { Workload } from "./workload.ts";

const nodes = 1_000;

export const largeCompile: Workload = of("large-compile", "build and compile", "ms", async (mode) =>
  timed(async () => chainGraph(mode, nodes)),
);

export const largeRun: Workload = of("large-run", "first run", "ms", async (mode) => {
  const graph = chainGraph(mode, nodes);
  return timed(() => graph.invoke({ count: 0 }, runConfig(1, nodes + 2)));
});

export const largeHeap: Workload = of("large-heap", "heap", "KiB", async (mode) => {
  const before = heapKib();
  const graph = chainGraph(mode, nodes);
  const after = heapKib();
  // Held until here, whatever the optimiser thinks of it.
  return graph ? after - before : 0;
});

function of(name: string, what: string, unit: string, measure: (mode: Mode) => Promise<number>): Workload {
  return {
    name,
    title: `Graph of 1,000 nodes, ${what}`,
    unit,
    share: 0.5,
    async contenders() {
      // Building is the same with and without a saver.
      const all = (await modes()).filter(({ saves }) => !saves || name === "large-run");
      return all.map((mode): Contender => ({ name: mode.name, sample: () => measure(mode) }));
    },
  };
}

function heapKib(): number {
  if (!globalThis.gc) throw new Error("start node with --expose-gc");
  globalThis.gc();
  globalThis.gc();
  return process.memoryUsage().heapUsed / 1_024;
}
