/**
 * A supervisor and four workers: its model hands out four pieces of work at once, each worker asks a model of its own,
 * side by side, and the supervisor's model sums up. Each of these three rounds of model calls takes 50 ms.
 *
 * Measured: milliseconds from the first call of `invoke` to the last result, beyond the 150 ms of the models: of one run,
 * and of 100 runs that start at once in one process. The same graph in both libraries: `Send` to a node of workers.
 * Not measured: models over HTTP, conversations, supervisors inside supervisors.
 */
import { type Compiled, compiled, type Mode, modes, runConfig } from "./libraries.ts";
import { modelMs, wait } from "./model.ts";
import { type Contender, timed } from "./rounds.ts";
import type { Workload } from "./workload.ts";

const workers = ["research", "figures", "law", "style"];
const roundsOfCalls = 3;

interface State {
  readonly topic: string;
  readonly reports: readonly string[];
  readonly answer: string;
}

const concat = (all: readonly string[], more: readonly string[]) => [...all, ...more];

async function work({ worker, topic }: { worker: string; topic: string }): Promise<string> {
  await wait();
  return `${worker} on ${topic}`;
}

async function sumUp(reports: readonly string[]): Promise<string> {
  await wait();
  return reports.join("; ");
}

export const supervisorOne: Workload = {
  name: "supervisor-1",
  title: "Supervisor and 4 workers, 1 run",
  unit: "ms beyond the models'",
  contenders: () => contenders(1),
};

export const supervisorMany: Workload = {
  name: "supervisor-100",
  title: "Supervisor and 4 workers, 100 runs at once",
  unit: "ms beyond the models'",
  contenders: () => contenders(100),
};

async function contenders(atOnce: number): Promise<Contender[]> {
  const sampleOf = (make: () => (thread: number) => Promise<unknown>) => async () => {
    const run = make();
    const took = await timed(() => Promise.all(Array.from({ length: atOnce }, (_, index) => run(index))));
    return took - roundsOfCalls * modelMs;
  };
  const graphs = (await modes()).map((mode): Contender => {
    const make = () => {
      const graph = supervisorGraph(mode);
      return (thread: number) => graph.invoke({ topic: "rain" }, runConfig(thread));
    };
    return { name: mode.name, sample: sampleOf(make) };
  });
  return [{ name: "plain calls", sample: sampleOf(() => plainSupervisor) }, ...graphs];
}

export async function plainSupervisor(): Promise<string> {
  await wait();
  return await sumUp(await Promise.all(workers.map((worker) => work({ worker, topic: "rain" }))));
}

export function supervisorGraph(mode: Mode): Compiled {
  const { Annotation, StateGraph, Send, START, END } = mode.library;
  const state = Annotation.Root({
    topic: Annotation(),
    reports: Annotation<readonly string[]>({ reducer: concat, default: () => [] }),
    answer: Annotation(),
  });
  const builder = new StateGraph(state)
    .addNode("supervisor", async ({ reports }: State) => {
      if (reports.length > 0) return { answer: await sumUp(reports) };
      await wait();
      return {};
    })
    .addNode("worker", async (given: { worker: string; topic: string }) => ({ reports: [await work(given)] }))
    .addEdge(START, "supervisor")
    .addConditionalEdges(
      "supervisor",
      ({ reports, topic }: State) =>
        reports.length > 0 ? END : workers.map((worker) => new Send("worker", { worker, topic })),
      ["worker", END],
    )
    .addEdge("worker", "supervisor");
  return compiled(builder, mode);
}
