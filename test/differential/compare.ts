// The same things done with one graph in both libraries, until they part.
import type { StoredCheckpoint } from "../../src/checkpoint/saver.ts";
import { type Boundary, build, type Library, nameOf } from "./build.ts";
import type { Action, Case } from "./description.ts";
import { type Context, type Difference, differences, finishedOf } from "./differences.ts";
import {
  act,
  checkpointsOf,
  type Seen,
  type Side,
  type Step,
  same,
  type TaskView,
  type View,
  viewOf,
} from "./drive.ts";

export interface Comparison {
  readonly found: readonly Difference[];
  /** Where the two differ for none of the known reasons. */
  readonly unknown?: { readonly theirs: Seen; readonly ours: Seen; readonly history: readonly Step[] };
  readonly actions: number;
}

/** The state says what they were. */
const untoldMax = 2;

export async function compare(theirLibrary: Library, ourLibrary: Library, given: Case): Promise<Comparison> {
  const ours: Side = { library: ourLibrary, graph: build(ourLibrary, given) };
  const theirs: Side = { library: theirLibrary, graph: build(theirLibrary, given) };
  const found = new Set<Difference>();
  const history: Step[] = [];
  const actions: readonly Action[] = [{ kind: "input", item: "in" }, ...given.actions];
  const answers = new Set<string>();
  let singly = false;
  let inside: readonly Boundary[] = [];
  let before: Pick<Context, "before" | "viewBefore" | "answeredBefore"> = {};
  for (const action of actions) {
    const step = await stepOf(ours, action, given);
    if (!step) continue;
    history.push(step);
    if (step.kind === "resume") {
      answers.add(step.question);
      singly ||= step.single;
    }
    const seen = heard(await act(theirs, step), await act(ours, step));
    const boundaries: readonly Boundary[] = ourLibrary.commits?.(ours.graph.checkpointer) ?? [];
    if (step.kind === "update") boundaries.at(-1)?.ran.push(nameOf(step.as), ...finishedOf(before.viewBefore));
    const view: View = await viewOf(ours);
    const answered = await answeredOf(ours, view);
    const failed = !["ended", "waits"].includes(seen.theirs.outcome);
    const aborted = failed && (await abortedIn(theirs, (await viewOf(theirs)).tasks, ""));
    const context: Context = {
      given,
      ...seen,
      ...before,
      boundaries,
      inside,
      view,
      answered,
      answers,
      singly,
      aborted,
    };
    const reasons = explain(context);
    if (!reasons) return { found: [...found], unknown: { ...seen, history }, actions: history.length };
    for (const one of reasons) found.add(one);
    if (reasons.some(({ parts, applies }) => parts || applies?.(context))) break;
    // An answer belongs to the superstep that asked, and so does what its tasks have begun.
    const isSame = before.before?.ours.checkpoints === seen.ours.checkpoints;
    if (!isSame) singly = false;
    inside = [...(isSame ? inside : []), ...boundaries.filter(({ path }) => path.length > 0)];
    before = { before: seen, viewBefore: view, answeredBefore: answered };
  }
  return { found: [...found], actions: history.length };
}

/** A stream that ends with an error may not have told its last supersteps yet: when it ends is chance. */
function heard(theirs: Seen, ours: Seen): { readonly theirs: Seen; readonly ours: Seen } {
  if (theirs.outcome !== ours.outcome || !["limit", "failed"].includes(ours.outcome)) return { theirs, ours };
  const untold = ours.steps.length - theirs.steps.length;
  if (untold < 0 || untold > untoldMax) return { theirs, ours };
  const steps = ours.steps.slice(0, theirs.steps.length);
  const late = ours.streamed.length - theirs.streamed.length;
  const streamed = late >= 0 && late <= untoldMax ? ours.streamed.slice(0, theirs.streamed.length) : ours.streamed;
  return { theirs, ours: { ...ours, steps, streamed } };
}

/**
 * Whether LangGraph.js aborted a task because another one failed: its error is that of the abort, or of its last try
 * where it was between two. States of graphs inside are asked for one by one: a task that failed does not show its own.
 */
async function abortedIn(side: Side, tasks: readonly TaskView[], ns: string): Promise<boolean> {
  const failed = tasks.filter(({ error }) => error !== undefined);
  if (failed.length > 1 || failed.some(({ error }) => error?.name === "AbortError")) return true;
  for (const { id, name } of tasks) {
    const inner = `${ns && `${ns}|`}${name}:${id}`;
    const state = await side.graph
      .getState({ configurable: { thread_id: "t", checkpoint_ns: inner } })
      .catch(() => null);
    if (state?.tasks?.length > 0 && (await abortedIn(side, state.tasks, inner))) return true;
  }
  return false;
}

/** By what lies beside our thread's checkpoint. */
async function answeredOf({ graph }: Side, { tasks }: View): Promise<readonly string[]> {
  const stored = (await graph.checkpointer.get("t", "")) as StoredCheckpoint | undefined;
  const of = (kind: string) => new Set(stored?.writes.filter((one) => one.kind === kind).map(({ taskId }) => taskId));
  const given = of("resume");
  const done = of("done");
  return tasks.filter(({ id }) => given.has(id) && !done.has(id)).map(({ name }) => name);
}

/** The differences that make theirs ours; undefined where something is left. */
function explain(context: Context): readonly Difference[] | undefined {
  const { ours } = context;
  let { theirs } = context;
  const used: Difference[] = [];
  for (const difference of differences) {
    if (same(theirs, ours)) break;
    const mended = difference.mend?.({ ...context, theirs });
    if (!mended || same(mended, theirs)) continue;
    theirs = mended;
    used.push(difference);
  }
  if (same(theirs, ours)) {
    const looming = differences.filter((one) => !used.includes(one) && one.looms?.(context));
    return [...used, ...looming];
  }
  const parting = differences.find(({ applies }) => applies?.(context));
  return parting && [parting];
}

/** What an action comes to where our thread stands now: decided once, so that both libraries do the same. */
async function stepOf(ours: Side, action: Action, { graph }: Case): Promise<Step | undefined> {
  if (action.kind === "input") return action;
  const { next, tasks } = await viewOf(ours);
  if (action.kind === "update") return action.as < graph.nodes.length ? action : undefined;
  if (action.kind === "go on") return next.length > 0 ? action : undefined;
  if (action.kind === "fork") {
    const from = (await checkpointsOf(ours))[action.back];
    return from && from.next.length > 0 ? action : undefined;
  }
  const open = tasks.flatMap(({ interrupts }) => interrupts);
  const ids = new Set(open.map(({ id }) => id));
  const [question] = open.map(({ value }) => String(value)).sort();
  return question === undefined ? undefined : { kind: "resume", question, single: ids.size === 1 };
}
