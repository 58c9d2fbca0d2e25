/**
 * A fan-out: one node sends n pieces to n tasks of one node, and what they return is summed.
 *
 * Measured: milliseconds from `invoke` to its result, one run after the other. The tasks are `async` functions that
 * square a number. The sum is a reducer, as a list that grows by copying would be measured with it. Not measured: tasks
 * that take time, bounded concurrency. To 10,000 LangGraph.js is measured once only, as it takes a minute.
 */
import { type Compiled, compiled, type Mode, modes, runConfig } from "./libraries.ts";
import { type Contender, repeated } from "./rounds.ts";
import type { Workload } from "./workload.ts";

const sum = (all: number, more: number) => all + more;
const square = async ({ value }: { value: number }): Promise<number> => value * value;

export const map100: Workload = mapOf(100);
export const map10000: Workload = mapOf(10_000);

function mapOf(count: number): Workload {
  const long = count > 1_000;
  return {
    name: `map-${count}`,
    title: `Map 1 to ${count.toLocaleString("en")} and back`,
    unit: "ms",
    share: long ? 0.35 : 1,
    async contenders({ sampleMs }) {
      const graphs = (await modes()).map((mode): Contender => {
        const peer = long && mode.library.name !== "agentmatic";
        return {
          name: mode.name,
          ...(peer ? { samplesMax: 1 } : {}),
          sample: () => {
            const graph = mapGraph(mode);
            return repeated((time) => graph.invoke({ count }, runConfig(time)), peer ? 0 : sampleMs);
          },
        };
      });
      return [{ name: "plain calls", sample: () => repeated(() => plainMap(count), sampleMs) }, ...graphs];
    },
  };
}

export async function plainMap(count: number): Promise<number> {
  const values = Array.from({ length: count }, (_, value) => ({ value }));
  return (await Promise.all(values.map(square))).reduce(sum, 0);
}

export function mapGraph(mode: Mode): Compiled {
  const { Annotation, StateGraph, Send, START, END } = mode.library;
  const state = Annotation.Root({
    count: Annotation(),
    total: Annotation<number>({ reducer: sum, default: () => 0 }),
  });
  const builder = new StateGraph(state)
    .addNode("split", async () => ({}))
    .addNode("work", async (given: { value: number }) => ({ total: await square(given) }))
    .addEdge(START, "split")
    .addConditionalEdges(
      "split",
      ({ count }: { count: number }) => Array.from({ length: count }, (_, value) => new Send("work", { value })),
      ["work"],
    )
    .addEdge("work", END);
  return compiled(builder, mode);
}
