// Drives a built graph through its actions and writes down what a user sees.
import type { Compiled, Library } from "./build.ts";
import type { Action, Case } from "./description.ts";

export interface Seen {
  readonly action: string;
  /** `ended`, `waits`, `limit`, or `failed` with the message's own part. */
  readonly outcome: string;
  /** By superstep: what each node wrote, sorted. */
  readonly steps: readonly (readonly string[])[];
  readonly values: unknown;
  readonly next: readonly string[];
  readonly questions: readonly string[];
  readonly checkpoints: number;
  /** True where some tasks of the superstep that is due have finished. Not compared. */
  readonly partial: boolean;
}

const thread = { configurable: { thread_id: "t" } };
const stepLimit = 12;

export async function drive(library: Library, graph: Compiled, { actions }: Case): Promise<Seen[]> {
  const seen: Seen[] = [];
  for (const action of [{ kind: "input", item: "in" } as Action, ...actions]) {
    const one = await act(library, graph, action);
    if (!one) break;
    seen.push(one);
  }
  return seen;
}

async function act(library: Library, graph: Compiled, action: Action): Promise<Seen | undefined> {
  const state = await stateOf(graph).catch(() => undefined);
  if (!state) return await look(library, graph, action.kind, "skipped", []);
  let config: object = thread;
  let input: unknown = null;
  if (action.kind === "input") input = { log: [action.item], sum: 1 };
  else if (action.kind === "resume") {
    const [question, ...more] = state.interrupts;
    if (!question) return await look(library, graph, "resume: nothing to answer", "skipped", []);
    const answer = `<${question.value}>`;
    input = new library.Command({ resume: more.length > 0 ? { [question.id]: answer } : answer });
  } else if (action.kind === "go on") {
    if (state.next.length === 0) return await look(library, graph, "go on: nothing is due", "skipped", []);
  } else if (action.kind === "update") {
    const as = `n${action.as}`;
    if (!(as in nodesOf(graph))) return await look(library, graph, "update: no such node", "skipped", []);
    try {
      await graph.updateState(thread, { log: [`edit as ${as}`], sum: 100 }, as);
      return await look(library, graph, `update as ${as}`, "ended", []);
    } catch (thrown) {
      return await look(library, graph, `update as ${as}`, outcomeOf(thrown), []);
    }
  } else {
    const history = await historyOf(graph);
    const from = history.filter(({ metadata }) => !library.isExtra(metadata.source))[action.back];
    if (!from || from.next.length === 0) return await look(library, graph, "fork: no such place", "skipped", []);
    config = from.config;
  }
  const steps: string[][] = [];
  let step: string[] = [];
  let outcome = "ended";
  try {
    const stream = await graph.stream(input, {
      ...config,
      recursionLimit: library.limit(stepLimit, action.kind),
      streamMode: ["updates", "checkpoints"],
      durability: "sync",
    });
    for await (const [mode, data] of stream as AsyncIterable<[string, Record<string, unknown>]>) {
      if ("__interrupt__" in data) {
        outcome = "waits";
        // At a breakpoint the superstep before it is done; at a question the superstep is not.
        if ((data.__interrupt__ as unknown[]).length === 0 && step.length > 0) steps.push(step.sort());
        step = [];
      } else if (mode === "updates") {
        for (const [node, update] of Object.entries(data))
          if (node !== "__metadata__")
            step.push(
              `${node.replace("__error_handler__", "")} ${JSON.stringify(Object.entries(update ?? {}).sort())}`,
            );
      } else {
        if (step.length > 0) steps.push(step.sort());
        step = [];
      }
    }
  } catch (thrown) {
    outcome = outcomeOf(thrown);
    // What finished beside the failure is told by one library and kept for the resumed superstep by the other.
    step = [];
  }
  // The last superstep before the limit is told by one library and not by the other: the state says what it was.
  return await look(library, graph, action.kind, outcome, outcome === "limit" ? steps.slice(0, stepLimit - 1) : steps);
}

async function look(
  library: Library,
  graph: Compiled,
  action: string,
  outcome: string,
  steps: readonly string[][],
): Promise<Seen> {
  const state = await stateOf(graph).catch(() => undefined);
  if (!state)
    return { action, outcome, steps, values: "unreadable", next: [], questions: [], checkpoints: 0, partial: false };
  const { next, interrupts } = state;
  const values = Object.fromEntries(Object.entries(state.values as object).sort());
  const questions = interrupts.map(({ value }) => String(value)).sort();
  const checkpoints = (await historyOf(graph)).filter(({ metadata }) => !library.isExtra(metadata.source));
  return {
    action,
    outcome,
    steps,
    values,
    next: [...next].sort(),
    questions,
    checkpoints: checkpoints.length,
    partial: state.partial,
  };
}

interface Snapshot {
  readonly values: unknown;
  readonly next: readonly string[];
  readonly config: object;
  readonly metadata: { readonly source: string; readonly step: number };
  readonly tasks: readonly {
    readonly result?: unknown;
    readonly interrupts: readonly { readonly id: string; readonly value: unknown }[];
  }[];
}

async function stateOf(
  graph: Compiled,
): Promise<Pick<Snapshot, "values" | "next"> & { interrupts: { id: string; value: unknown }[]; partial: boolean }> {
  const state = (await graph.getState(thread)) as Snapshot | undefined;
  if (!state) return { values: {}, next: [], interrupts: [], partial: false };
  const waiting = state.tasks.filter(({ result }) => result === undefined);
  const interrupts = new Map(waiting.flatMap((task) => task.interrupts).map((one) => [one.id, one]));
  const { values } = (await graph.getState(state.config)) as Snapshot;
  const sorted = [...interrupts.values()].sort((a, b) => String(a.value).localeCompare(String(b.value)));
  return { values, next: state.next, interrupts: sorted, partial: waiting.length < state.tasks.length };
}

async function historyOf(graph: Compiled): Promise<Snapshot[]> {
  const all: Snapshot[] = [];
  for await (const snapshot of graph.getStateHistory(thread)) all.push(snapshot as Snapshot);
  return all;
}

function nodesOf(graph: Compiled): object {
  return graph.plan ? Object.fromEntries(graph.plan.nodes) : graph.nodes;
}

function outcomeOf(thrown: unknown): string {
  const several = (thrown as { errors?: unknown[] }).errors;
  if (several?.[0] !== undefined) return outcomeOf(several[0]);
  const { name, code, message } = thrown as { name?: string; code?: string; message?: string };
  if (name === "GraphRecursionError" || code === "StepLimit") return "limit";
  if (name === "InvalidUpdateError" || code === "InvalidGraph") return "invalid";
  return /n\d[^ "]* fails/.test(String(message)) ? "failed" : `threw ${name} ${code ?? ""} ${message}`;
}
