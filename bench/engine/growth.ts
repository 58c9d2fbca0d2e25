/**
 * Whether a step costs more where more is there already.
 *
 * Measured: microseconds a step with the memory saver
 * - after 10, 100, 1,000 and 10,000 steps of one run (the last tenth of a run of so many steps);
 * - on a thread that has so many checkpoints, in runs of two steps (each of which begins by reading the newest);
 * - in a chain of so many nodes, once through;
 * - with so many messages in the state, each step adding one.
 * Not measured: other savers, lists that are made anew by their reducers, whose copying is theirs.
 */
import { chainGraph } from "./chain.ts";
import { agentmatic, type Compiled, compiled, langgraph, type Mode, runConfig } from "./libraries.ts";
import type { Contender } from "./rounds.ts";
import type { Options, Workload } from "./workload.ts";

const sizes = [10, 100, 1_000, 10_000];
/** Beyond this one sample of the peer takes minutes. */
const peerMax = 1_000;
const usPerMs = 1_000;
const warmTimes = 50;

type Measure = (mode: Mode, size: number) => Promise<number>;

export const growths: readonly Workload[] = [
  of("steps", "a step after so many steps of its run", stepsOfOneRun),
  of("thread", "a step of a short run on a thread of so many checkpoints", runsOnOneThread),
  of("nodes", "a step through a graph of so many nodes", throughNodes),
  of("messages", "a step that adds to so many messages", addingMessages),
];

function of(name: string, title: string, measure: Measure): Workload {
  return {
    name: `growth-${name}`,
    title: `Growth: ${title}`,
    unit: "µs a step",
    share: 0.35,
    async contenders({ quick }: Options) {
      const modes = [agentmatic, await langgraph()].map(
        (library): Mode => ({ name: library.name, library, saves: true }),
      );
      // Until the code is compiled: the smaller sizes take too few steps for that by themselves.
      for (const mode of modes) {
        for (let time = 0; time < (mode.library === agentmatic ? warmTimes : 2); time++) await measure(mode, 100);
      }
      return modes.flatMap((mode) =>
        sizes
          .filter((size) => mode.library === agentmatic || size <= (quick ? 100 : peerMax))
          .map((size): Contender => {
            const peer = mode.library === agentmatic ? {} : { samplesMax: 3 };
            return {
              name: `${mode.name}, ${size.toLocaleString("en")}`,
              ...peer,
              sample: async () => (await measure(mode, size)) * usPerMs,
            };
          }),
      );
    },
  };
}

/** A graph of one node in a circle, which notes when it began its steps. */
function circle(mode: Mode, steps: number, times: number[]): Compiled {
  const { Annotation, StateGraph, START, END } = mode.library;
  const builder = new StateGraph(Annotation.Root({ count: Annotation() }))
    .addNode("step", async ({ count }: { count: number }) => {
      times.push(performance.now());
      return { count: count + 1 };
    })
    .addEdge(START, "step")
    .addConditionalEdges("step", ({ count }: { count: number }) => (count < steps ? "step" : END), ["step", END]);
  return compiled(builder, mode);
}

async function stepsOfOneRun(mode: Mode, steps: number): Promise<number> {
  // Short runs are done until as many steps were timed as in a long one: the clock is too coarse for one of ten steps.
  const runs = Math.max(1, 1_000 / steps);
  const window = Math.max(1, steps / 10);
  const times: number[] = [];
  const graph = circle(mode, steps, times);
  let ms = 0;
  for (let run = 0; run < runs; run++) {
    times.length = 0;
    await graph.invoke({ count: 0 }, runConfig(run, steps + 2));
    ms += times.at(-1)! - times.at(-1 - window)!;
  }
  return ms / (runs * window);
}

async function runsOnOneThread(mode: Mode, checkpoints: number): Promise<number> {
  const graph = chainGraph(mode, 2);
  const perRun = 3;
  for (let run = 0; run < checkpoints / perRun; run++) await graph.invoke({ count: 0 }, runConfig(0));
  const runs = 20;
  const startMs = performance.now();
  for (let run = 0; run < runs; run++) await graph.invoke({ count: 0 }, runConfig(0));
  return (performance.now() - startMs) / (runs * 2);
}

async function throughNodes(mode: Mode, nodes: number): Promise<number> {
  const graph = chainGraph(mode, nodes);
  const runs = Math.max(1, 1_000 / nodes);
  // Once before it counts: the first time is measured as the first run of the large graph.
  await graph.invoke({ count: 0 }, runConfig("first", nodes + 2));
  const startMs = performance.now();
  for (let run = 0; run < runs; run++) await graph.invoke({ count: 0 }, runConfig(run, nodes + 2));
  return (performance.now() - startMs) / (runs * nodes);
}

async function addingMessages(mode: Mode, messages: number): Promise<number> {
  const { Annotation, StateGraph, START, END, message, messages: reducer } = mode.library;
  const steps = 100;
  const times: number[] = [];
  const state = Annotation.Root({ messages: Annotation({ reducer, default: () => [] }) });
  const builder = new StateGraph(state)
    .addNode("say", async () => {
      times.push(performance.now());
      return { messages: [message(`said-${times.length}`, "A sentence as people write them in a chat.")] };
    })
    .addEdge(START, "say")
    .addConditionalEdges("say", () => (times.length < steps ? "say" : END), ["say", END]);
  const graph = compiled(builder, mode);
  const before = Array.from({ length: messages }, (_, index) => message(`m-${index}`, "What was said before."));
  await graph.invoke({ messages: before }, runConfig(0, steps + 2));
  // The first steps of a run begin the pieces of its lists anew.
  const from = 10;
  return (times.at(-1)! - times[from]!) / (times.length - 1 - from);
}
