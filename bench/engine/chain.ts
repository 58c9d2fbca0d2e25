/**
 * A chain of ten nodes, one after the other: what a step costs.
 *
 * Measured: microseconds a node step, from `invoke` to its result, divided by ten; each sample runs the chain again and
 * again for its time, each run on a thread of its own, one run after the other. Nodes are `async` functions that add one
 * to a number. Not measured: work of nodes, runs side by side, the first run, streaming, a store on disk.
 */
import { type Compiled, compiled, type Mode, modes, runConfig } from "./libraries.ts";
import { type Contender, repeated } from "./rounds.ts";
import type { Workload } from "./workload.ts";

const length = 10;
const usPerMs = 1_000;

interface Count {
  readonly count: number;
}

const step = async ({ count }: Count): Promise<Count> => ({ count: count + 1 });

export const chain: Workload = {
  name: "chain",
  title: "Chain of 10 nodes",
  unit: "µs a step",
  async contenders({ sampleMs }) {
    const perStep = async (run: (time: number) => Promise<unknown>) =>
      ((await repeated(run, sampleMs)) / length) * usPerMs;
    const graphs = (await modes()).map(
      (mode): Contender => ({
        name: mode.name,
        sample: () => {
          // A saver for each sample: what earlier ones kept would weigh on the garbage collector.
          const graph = chainGraph(mode);
          return perStep((time) => graph.invoke({ count: 0 }, runConfig(time)));
        },
      }),
    );
    return [{ name: "plain calls", sample: () => perStep(plainChain) }, ...graphs];
  },
};

export async function plainChain(): Promise<Count> {
  let state: Count = { count: 0 };
  for (let index = 0; index < length; index++) state = { ...state, ...(await step(state)) };
  return state;
}

export function chainGraph(mode: Mode, nodes: number = length): Compiled {
  const { Annotation, StateGraph, START, END } = mode.library;
  const builder = new StateGraph(Annotation.Root({ count: Annotation() }));
  for (let index = 0; index < nodes; index++) builder.addNode(`n${index}`, step);
  builder.addEdge(START, "n0");
  for (let index = 1; index < nodes; index++) builder.addEdge(`n${index - 1}`, `n${index}`);
  return compiled(builder.addEdge(`n${nodes - 1}`, END), mode);
}
