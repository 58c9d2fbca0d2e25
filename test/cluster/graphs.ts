/** The graphs of these tests: served by the worker processes, and bound to the coordinator by the test. */
import { existsSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { Annotation, END, Send, START, StateGraph } from "../../src/mod.ts";
import { enter, type Mark } from "./witness.ts";

const trail = () =>
  Annotation<Mark[], Mark[]>({ reducer: (all: Mark[], more: Mark[]) => [...all, ...more], default: () => [] });

interface PartArgs {
  readonly round: number;
  readonly index: number;
  readonly ms: number;
  readonly trail: Mark[];
}

/**
 * Rounds of three supersteps: `begin`, `width` parts side by side of differing lengths, `join`. Every execution leaves
 * its mark in the state, and each part adds its own number.
 */
export const relay = new StateGraph({
  rounds: Annotation<number>(),
  width: Annotation<number>(),
  /** Milliseconds that a step takes, about. */
  ms: Annotation<number>(),
  round: Annotation<number>(),
  sum: Annotation<number, number>({ reducer: (a: number, b: number) => a + b, default: () => 0 }),
  trail: trail(),
})
  .addNode("begin", async (state, ctx) => {
    const { end } = enter(ctx, state.trail);
    await sleep(state.ms / 2, undefined, { signal: ctx.signal });
    ctx.stream({ begin: (state.round ?? 0) + 1 });
    return { round: (state.round ?? 0) + 1, trail: [end()] };
  })
  .addNode("part", async (args: PartArgs, ctx) => {
    const { end } = enter(ctx, args.trail);
    await sleep(args.ms * (0.5 + args.index), undefined, { signal: ctx.signal });
    return { sum: partOf(args.round, args.index), trail: [end()] };
  })
  .addNode("join", async (state, ctx) => {
    const { end } = enter(ctx, state.trail);
    await sleep(state.ms / 2, undefined, { signal: ctx.signal });
    return { trail: [end()] };
  })
  .addEdge(START, "begin")
  .addConditionalEdges("begin", ({ round, width, ms, trail: marks }) =>
    Array.from({ length: width }, (_, index) => new Send("part", { round, index, ms, trail: marks })),
  )
  .addEdge("part", "join")
  .addConditionalEdges("join", (state) => (state.round < state.rounds ? "begin" : END))
  .compile({ name: "relay", maxSteps: 10_000 });

function partOf(round: number, index: number): number {
  return round * 1000 + index;
}

export interface RelayInput {
  readonly rounds: number;
  readonly width: number;
  readonly ms: number;
}

/** Sets the count of rounds back, which the thread's run before has left. */
export function relayStart(input: RelayInput): RelayInput & { round: number } {
  return { ...input, round: 0 };
}

/** What a relay must come to, whoever ran it. */
export function relayResult({ rounds, width }: RelayInput): { sum: number; tasks: number } {
  let sum = 0;
  for (let round = 1; round <= rounds; round++) for (let index = 0; index < width; index++) sum += partOf(round, index);
  return { sum, tasks: rounds * (width + 2) };
}

/** Two short steps around a long one, which ends once the file `gate` is there, deaf to everything else. */
export const gated = new StateGraph({
  gate: Annotation<string>(),
  trail: trail(),
})
  .addNode("before", (state, ctx) => ({ trail: [enter(ctx, state.trail).end()] }))
  .addNode("long", async (state, ctx) => {
    const { end } = enter(ctx, state.trail);
    ctx.stream("waiting");
    while (!existsSync(state.gate)) await sleep(10);
    return { trail: [end()] };
  })
  .addNode("after", (state, ctx) => ({ trail: [enter(ctx, state.trail).end()] }))
  .addEdge(START, "before")
  .addEdge("before", "long")
  .addEdge("long", "after")
  .addEdge("after", END)
  .compile({ name: "gated" });

/** One good step, then one that kills its own process, whenever and wherever it is tried. */
export const poison = new StateGraph({
  fine: Annotation<boolean>(),
  trail: trail(),
})
  .addNode("good", (state, ctx) => ({ fine: true, trail: [enter(ctx, state.trail).end()] }))
  .addNode("deadly", (state, ctx) => {
    enter(ctx, state.trail);
    process.kill(process.pid, "SIGKILL");
    return new Promise<never>(() => {});
  })
  .addEdge(START, "good")
  .addEdge("good", "deadly")
  .addEdge("deadly", END)
  .compile({ name: "poison" });

/** A step that holds its worker's event loop for so many milliseconds: nothing is heard of that worker meanwhile. */
export const hog = new StateGraph({
  ms: Annotation<number>(),
  trail: trail(),
})
  .addNode("hold", (state, ctx) => {
    const { end } = enter(ctx, state.trail);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, state.ms);
    return { trail: [end()] };
  })
  .addEdge(START, "hold")
  .addEdge("hold", END)
  .compile({ name: "hog" });
