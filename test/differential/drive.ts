// Does one thing with a built graph of either library, and writes down what a user sees of it.
import { type Compiled, executions, type Library, nameOf } from "./build.ts";

export interface Seen {
  readonly action: string;
  /** `ended`, `waits`, `limit`, `invalid`, `failed` by a node, or what was thrown. */
  readonly outcome: string;
  /** Nodes that were run, once for each time, with those of graphs inside. */
  readonly ran: readonly string[];
  /** By superstep: what each node wrote, sorted. */
  readonly steps: readonly (readonly string[])[];
  /** The state as it was streamed, without repetitions. */
  readonly streamed: readonly string[];
  /** False where `getState` threw; the rest is then what the history says. */
  readonly readable: boolean;
  /** What `getState` says. */
  readonly values: unknown;
  /** What the history says of the newest checkpoint. */
  readonly committed: unknown;
  readonly next: readonly string[];
  /** Tasks of the superstep that is due, finished ones included. */
  readonly tasks: readonly string[];
  /** What those of them wrote that have finished. */
  readonly results: readonly string[];
  readonly questions: readonly string[];
  readonly checkpoints: number;
  /** What was due at each checkpoint, newest first. */
  readonly history: readonly string[];
}

/** What is to be done, in words that are the same for both libraries. */
export type Step =
  | { readonly kind: "input"; readonly item: string }
  | { readonly kind: "resume"; readonly question: string; readonly single: boolean }
  | { readonly kind: "go on" }
  | { readonly kind: "update"; readonly as: number }
  | { readonly kind: "fork"; readonly back: number };

export interface Side {
  readonly library: Library;
  readonly graph: Compiled;
}

export interface View {
  readonly values: unknown;
  readonly committed: unknown;
  readonly next: readonly string[];
  readonly tasks: readonly TaskView[];
  readonly readable: boolean;
}

export interface TaskView {
  readonly id: string;
  readonly name: string;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly interrupts: readonly { readonly id: string; readonly value: unknown }[];
  readonly error?: { readonly name?: string };
}

interface Snapshot extends Omit<View, "readable" | "committed"> {
  readonly config: object;
  readonly metadata: { readonly source: string };
}

const thread = { configurable: { thread_id: "t" } };
export const stepLimit = 12;

export async function act(side: Side, step: Step): Promise<Seen> {
  const { library, graph } = side;
  if (step.kind === "update") {
    const as = nameOf(step.as);
    const edit = graph.updateState(thread, { log: [`edit as ${as}`], sum: 100 }, as);
    const outcome = await edit.then(() => "ended", outcomeOf);
    return await look(side, { action: `update as ${as}`, outcome, steps: [], streamed: [] });
  }
  let config: object = thread;
  let input: unknown = null;
  if (step.kind === "input") input = { log: [step.item], sum: 1 };
  else if (step.kind === "fork") config = (await checkpointsOf(side))[step.back]?.config ?? thread;
  else if (step.kind === "resume") {
    const answer = `<${step.question}>`;
    const { tasks } = await viewOf(side);
    const asked = tasks.flatMap(({ interrupts }) => interrupts).find(({ value }) => value === step.question);
    input = new library.Command({ resume: step.single || !asked ? answer : { [asked.id]: answer } });
  }
  const start = (await viewOf(side)).committed;
  const stream = graph.stream(input, {
    ...config,
    recursionLimit: library.limit(stepLimit, step.kind),
    streamMode: ["values", "updates", "checkpoints"],
    durability: "sync",
  });
  return await look(side, { action: step.kind, ...(await follow(stream, start)) });
}

/** What is told of a run while it goes on. */
async function follow(stream: unknown, start: unknown): Promise<Pick<Seen, "outcome" | "steps" | "streamed">> {
  const steps: string[][] = [];
  const streamed: string[] = [];
  let step: string[] = [];
  let outcome = "ended";
  const end = () => {
    if (step.length > 0) steps.push(step.sort());
    step = [];
  };
  // One library tells a run that goes on where it starts, and tells nothing of supersteps that wrote nothing.
  let before = textOf(start);
  try {
    for await (const [mode, data] of (await stream) as AsyncIterable<[string, Record<string, unknown>]>) {
      if ("__interrupt__" in data) {
        outcome = "waits";
        // At a breakpoint the superstep before it is done; at a question the superstep is not.
        if ((data.__interrupt__ as unknown[]).length === 0) end();
        step = [];
      } else if (mode === "updates") {
        for (const [node, update] of Object.entries(data))
          if (node !== "__metadata__") step.push(`${node.replace("__error_handler__", "")} ${textOf(update ?? {})}`);
      } else if (mode === "checkpoints") end();
      else {
        const text = textOf(data);
        if (text !== before) streamed.push(text);
        before = text;
      }
    }
  } catch (thrown) {
    // What finished beside a failure is told by one library and kept for the resumed superstep by the other.
    outcome = outcomeOf(thrown);
  }
  // The last superstep before the limit is told by one library and not by the other: the state says what it was.
  return { outcome, steps: outcome === "limit" ? steps.slice(0, stepLimit - 1) : steps, streamed };
}

export async function look(side: Side, told: Pick<Seen, "action" | "outcome" | "steps" | "streamed">): Promise<Seen> {
  const { values, committed, next, tasks, readable } = await viewOf(side);
  // Whoever is told of the limit may miss what came right before it.
  const last = told.outcome === "limit" && told.streamed.at(-1) === textOf(committed);
  const checkpoints = await checkpointsOf(side);
  return {
    ...told,
    ran: executions.get(side.graph)!.splice(0).sort(),
    streamed: last ? told.streamed.slice(0, -1) : told.streamed,
    readable,
    values: sorted(values),
    committed: sorted(committed),
    next: [...next].sort(),
    tasks: tasks.map(({ name }) => name).sort(),
    results: tasks.flatMap(resultOf).sort(),
    questions: questionsOf(tasks).sort(),
    checkpoints: checkpoints.length,
    history: checkpoints.map((one) => [...one.next].sort().join()),
  };
}

export function questionsOf(tasks: readonly TaskView[]): string[] {
  const unique = new Map(tasks.flatMap(({ interrupts }) => interrupts).map(({ id, value }) => [id, String(value)]));
  return [...unique.values()];
}

/** One library says nothing of a task that wrote nothing. */
function resultOf({ name, result = {} }: TaskView): string[] {
  return Object.keys(result).length === 0 ? [] : [`${name} ${textOf(result)}`];
}

function sorted(values: unknown): unknown {
  return Object.fromEntries(Object.entries(values as object).sort());
}

export async function viewOf({ graph }: Side): Promise<View> {
  const head = (await historyOf(graph, 1))[0];
  if (!head) return { values: {}, committed: {}, next: [], tasks: [], readable: true };
  const committed = head.values;
  try {
    const { values, next, tasks } = (await graph.getState(thread)) as Snapshot;
    return { values, committed, next, tasks, readable: true };
  } catch {
    return { ...head, committed, readable: false };
  }
}

/** Newest first, without those that the other library does not have. */
export async function checkpointsOf({ library, graph }: Side): Promise<Snapshot[]> {
  const all = await historyOf(graph);
  return all.filter(({ metadata }) => !library.isExtra(metadata.source));
}

async function historyOf(graph: Compiled, limit?: number): Promise<Snapshot[]> {
  const all: Snapshot[] = [];
  for await (const one of graph.getStateHistory(thread, limit === undefined ? {} : { limit }))
    all.push(one as Snapshot);
  return all;
}

function textOf(update: unknown): string {
  return JSON.stringify(Object.entries(update as object).sort());
}

function outcomeOf(thrown: unknown): string {
  const several = (thrown as { errors?: unknown[] }).errors;
  if (several?.[0] !== undefined) return outcomeOf(several[0]);
  const { name, code, message } = thrown as { name?: string; code?: string; message?: string };
  if (name === "GraphRecursionError" || code === "StepLimit") return "limit";
  if (name === "InvalidUpdateError" || code === "InvalidGraph") return "invalid";
  return /n\d[^ "]* fails/.test(String(message)) ? "failed" : `threw ${name} ${code ?? ""} ${message}`;
}

export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
