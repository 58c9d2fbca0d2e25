/**
 * A process of its own that runs a graph over a SQLite file: `durability-child.ts <file> <what to do as JSON>`. Each
 * start of a node is a line; at the named point the process stands still, with whatever it has written until then.
 * Its clock runs fast, so that a lost run's lease is soon over.
 */
import { setImmediate } from "node:timers/promises";
import { SqliteSaver } from "../../adapters/sqlite/mod.ts";
import { Annotation, type Durability, END, type NodeContext, START, StateGraph, systemPorts } from "../../src/mod.ts";

export interface Task {
  readonly graph: "count" | "wide" | "nested";
  readonly durability: Durability;
  /** The node, or step, in which to stand still; none to run to the end. */
  readonly stopIn?: string;
  /** The node that throws. */
  readonly failIn?: string;
  readonly interruptBefore?: readonly string[];
}

const [path = "", given = "{}"] = process.argv.slice(2);
const task = JSON.parse(given) as Task;
const say = (text: string) => process.stdout.write(`${text}\n`);

const speed = 20;
const ports = {
  ...systemPorts,
  clock: { ...systemPorts.clock, monotonicMs: () => systemPorts.clock.monotonicMs() * speed },
  timers: { after: (ms: number, run: () => void) => systemPorts.timers.after(ms / speed, run) },
};

function at(point: string, ctx: NodeContext): void {
  say(`start ${point} ${ctx.idempotencyKey}`);
  if (point === task.failIn) throw new Error(`${point} fails`);
  if (point !== task.stopIn) return;
  say(`in ${point}`);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

const saver = new SqliteSaver({ path });
const log = () => Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
const common = { checkpointer: saver, ports, maxSteps: 1_000 };

/** Forty supersteps of one task each. */
const count = new StateGraph({ n: Annotation<number>() })
  .addNode("step", ({ n = 0 }, ctx) => {
    at(`step-${n + 1}`, ctx);
    return { n: n + 1 };
  })
  .addEdge(START, "step")
  .addConditionalEdges("step", ({ n }) => (n < 40 ? "step" : END))
  .compile({ name: "count", ...common });

/** Two tasks side by side; the slow one begins once what the quick one did is stored, where that is to be expected. */
const wide = new StateGraph({ log: log() })
  .addNode("quick", (_state, ctx) => {
    at("quick", ctx);
    return { log: ["quick"] };
  })
  .addNode("slow", async (_state, ctx) => {
    const stored = async () =>
      (await saver.get("t", ""))?.writes.some(({ taskId, kind }) => kind === "done" && taskId.endsWith("|quick"));
    while (task.durability !== "exit" && ctx.attempt === 1 && !(await stored())) await setImmediate();
    at("slow", ctx);
    return { log: ["slow"] };
  })
  .addNode("join", (_state, ctx) => {
    at("join", ctx);
    return { log: ["join"] };
  })
  .addEdge(START, "quick")
  .addEdge(START, "slow")
  .addEdge(["quick", "slow"], "join")
  .compile({ name: "wide", ...common });

const inner = new StateGraph({ log: log() })
  .addNode("one", (_state, ctx) => {
    at("one", ctx);
    return { log: ["one"] };
  })
  .addNode("two", (_state, ctx) => {
    at("two", ctx);
    return { log: ["two"] };
  })
  .addEdge(START, "one")
  .addEdge("one", "two")
  .compile();

const nested = new StateGraph({ log: log() })
  .addNode("before", (_state, ctx) => {
    at("before", ctx);
    return { log: ["before"] };
  })
  .addNode("call", async (_state, ctx) => (await ctx.invoke(inner, {})) as { log: string[] })
  .addEdge(START, "before")
  .addEdge("before", "call")
  .compile({ name: "nested", ...common });

await saver.setup();
const { durability, interruptBefore } = task;
const config = { threadId: "t", runId: "r", durability, ...(interruptBefore ? { interruptBefore } : {}) };
const running =
  task.graph === "count" ? count.invoke({}, config) : (task.graph === "wide" ? wide : nested).invoke({}, config);
try {
  say(`result ${JSON.stringify(await running)}`);
} catch (thrown) {
  say(`error ${(thrown as Error).message}`);
}
await saver.close();
