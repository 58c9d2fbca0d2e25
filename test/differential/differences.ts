// Differences that are meant: at most ten. Each takes back what it explains, from what LangGraph.js showed, as narrowly
// as can be said from the view inside this package; what is then left is a difference without a reason.
import type { Boundary } from "./build.ts";
import { nameOf } from "./build.ts";
import type { Case, GraphDescription, NodeDescription } from "./description.ts";
import { type Seen, stepLimit, type View } from "./drive.ts";

export interface Context {
  readonly given: Case;
  readonly theirs: Seen;
  readonly ours: Seen;
  /** Our thread after the action. */
  readonly view: View;
  /** Our supersteps in the action, of all graphs. */
  readonly boundaries: readonly Boundary[];
  /** Those of graphs inside tasks that actions before have begun: what they did is seen once the task has finished. */
  readonly inside: readonly Boundary[];
  /** After the action before. */
  readonly before?: { readonly theirs: Seen; readonly ours: Seen };
  readonly viewBefore?: View;
  readonly answeredBefore?: readonly string[];
  /** Our tasks that were given an answer and are not finished, by name. */
  readonly answered: readonly string[];
  /** Every question that was answered so far. */
  readonly answers: ReadonlySet<string>;
  /** True where the superstep was given an answer without an id. */
  readonly singly: boolean;
  /** True where LangGraph.js aborted a task of the superstep that is due, because another one failed. */
  readonly aborted: boolean;
}

export interface Difference {
  readonly id: string;
  readonly reason: string;
  /** The largest share of all graphs that it may come up in. */
  readonly share: number;
  /** What LangGraph.js would have shown without it; undefined where it does not explain anything. */
  readonly mend?: (context: Context) => Seen | undefined;
  /** True where it is the cause of a difference as a whole. */
  readonly applies?: (context: Context) => boolean;
  /** True where it will show only in what follows. */
  readonly looms?: (context: Context) => boolean;
  /** True where the two threads go different ways afterwards, so that there is nothing more to compare. */
  readonly parts?: true;
}

export const differences: readonly Difference[] = [
  {
    id: "unfinished-superstep",
    reason:
      "LangGraph.js shows the writes of finished tasks in the state of an unfinished superstep, and none where they do not go together; here the state is what is committed",
    share: 0.4,
    mend: ({ given, theirs, ours, before, view }) => {
      const values = theirs.committed;
      if (theirs.readable) {
        if (!view.tasks.some(({ result }) => result !== undefined)) return undefined;
        const told = ours.outcome === "waits" && theirs.streamed.length === ours.streamed.length + 1;
        // What an error handler wrote is not shown as its node's.
        const handled = minus(ours.results, theirs.results).filter((result) => isHandled(given.graph, result));
        const results = [...theirs.results, ...handled].sort();
        return { ...theirs, values, results, streamed: told ? theirs.streamed.slice(0, -1) : theirs.streamed };
      }
      const since = before?.theirs.readable === false && before.ours.checkpoints === ours.checkpoints;
      if (ours.outcome !== "invalid" && !clash(view) && !since) return undefined;
      const { next, tasks, results, questions } = ours;
      const outcome = theirs.outcome === "invalid" && ours.outcome === "waits" ? "waits" : theirs.outcome;
      return { ...theirs, outcome, values, readable: true, next, tasks, results, questions };
    },
  },
  {
    id: "refused-writes",
    reason:
      "tasks whose writes do not go together run again when the thread is gone on with, and an edit takes their place; LangGraph.js keeps the writes and refuses both",
    share: 0.04,
    mend: ({ theirs, ours, before }) => {
      const again = [before?.ours, ours].every((seen) => seen?.outcome === "invalid");
      return again && before?.ours.checkpoints === ours.checkpoints ? { ...theirs, ran: ours.ran } : undefined;
    },
    applies: ({ ours, before }) => isEdit(ours) && before?.theirs.readable === false,
  },
  {
    id: "answered-tasks",
    reason:
      "LangGraph.js leaves a task out of `next` once it was answered, though it is not finished, and keeps listing its question",
    share: 0.15,
    mend: ({ given, theirs, ours, answered, answers }) => {
      const missing = minus(ours.next, theirs.next);
      const more = minus(theirs.questions, ours.questions);
      if (minus(missing, answered).length > 0 || more.some((question) => !answers.has(question))) return undefined;
      const empty = (entry: string, at: number) =>
        entry.endsWith(" []") &&
        nodeAt(given.graph, entry.slice(0, -3))?.handled === true &&
        minus([entry], ours.steps[at] ?? []).length > 0;
      const steps = theirs.steps.map((step, at) => step.filter((entry) => !empty(entry, at)));
      const questions = minus(theirs.questions, more);
      // One that was answered and has written nothing is run again although it has finished.
      const again = minus(theirs.ran, ours.ran);
      const isAnswered = (name: string) => [...answers].some((answer) => answer.startsWith(name));
      const ran = again.every(isAnswered) ? minus(theirs.ran, again) : theirs.ran;
      return { ...theirs, ran, steps, next: [...theirs.next, ...missing].sort(), questions };
    },
  },
  {
    id: "beside-a-failure",
    reason:
      "here a task beside one that fails comes to its end; LangGraph.js aborts it, and loses what it did, or where it leads",
    share: 0.2,
    parts: true,
    mend: ({ theirs, ours, aborted }) => {
      const again = minus(theirs.next, ours.next);
      if (!aborted || minus(again, ours.tasks).length > 0) return undefined;
      const questions = [...theirs.questions, ...minus(ours.questions, theirs.questions)].sort();
      const { ran, results } = ours;
      const mended = { ...theirs, ran, next: minus(theirs.next, again), results, questions };
      // Of two failures the first one counts, and which that is may be chance.
      if (theirs.outcome === ours.outcome || !isFailure(theirs) || !isFailure(ours)) return mended;
      return { ...mended, outcome: ours.outcome, streamed: ours.streamed };
    },
    looms: ({ aborted }) => aborted,
  },
  {
    id: "edit-of-an-unfinished-superstep",
    reason:
      "an edit of an unfinished superstep completes it: what its finished tasks wrote is kept, and here also where they lead and what their error handlers wrote",
    share: 0.06,
    parts: true,
    mend: ({ given, theirs, ours, viewBefore, answeredBefore = [], boundaries }) => {
      const finished = finishedOf(viewBefore);
      if (!isEdit(ours) || finished.length + answeredBefore.length === 0) return undefined;
      const lost = minus(ours.next, theirs.next);
      const led = new Set(finished.flatMap((name) => leadsOf(given.graph, name)));
      if (lost.some((name) => !led.has(name))) return undefined;
      // With nothing else due, deferred nodes come up there and still wait here.
      const early = minus(theirs.next, ours.next).filter((name) => boundaries.at(-1)?.deferred.includes(name));
      const next = minus([...theirs.next, ...lost], early).sort();
      return withDue(theirs, next, minus([...theirs.tasks, ...lost], early).sort());
    },
    applies: ({ given, ours, viewBefore }) =>
      isEdit(ours) &&
      finishedOf(viewBefore).some((name) => {
        const node = nodeAt(given.graph, name);
        return node?.handled === true && node.fails > 0;
      }),
  },
  {
    id: "edit-leaves-due",
    reason: "an edit leaves deferred nodes and targets of joins due in LangGraph.js, and drops the others that are due",
    share: 0.03,
    parts: true,
    mend: ({ given, theirs, ours, viewBefore }) => {
      const left = minus(theirs.next, ours.next);
      const due = viewBefore?.tasks.map(({ name }) => name) ?? [];
      const stays = (name: string) =>
        nodeAt(given.graph, name)?.defer === true || given.graph.joins.some(({ to }) => nameOf(to) === name);
      if (!isEdit(ours) || minus(left, due).length > 0 || !left.every(stays)) return undefined;
      return withDue(theirs, minus(theirs.next, left), minus(theirs.tasks, left));
    },
  },
  {
    id: "answer-given-twice",
    reason: "LangGraph.js gives an answer without an id once more, to the task's next question, when the run goes on",
    share: 0.02,
    parts: true,
    applies: ({ ours, before, answered, singly }) => {
      if (!singly || before?.ours.checkpoints !== ours.checkpoints) return false;
      if (ours.action !== "go on" && ours.action !== "resume") return false;
      // To the next question of a graph inside a task at once, whichever task that is.
      if (ours.questions.some((question) => question.includes("/"))) return true;
      return ours.action === "go on" && answered.length > 0 && ours.questions.length > 0;
    },
  },
  {
    id: "end-at-the-limit",
    reason:
      "LangGraph.js fails a run that is at its end, or at a breakpoint, after as many supersteps as the limit allows",
    share: 0.02,
    mend: ({ theirs, ours, boundaries }) => {
      const { outcome, ran } = ours;
      if (theirs.outcome === "limit" && outcome === "limit" && isLate(ours, boundaries)) return { ...theirs, ran };
      const rests = outcome === "ended" ? endsAtLimit(boundaries, 0) : stopsAtLimit(ours, boundaries);
      if (theirs.outcome !== "limit" || !rests) return undefined;
      // What came right before the limit is not told.
      const steps = [...theirs.steps, ...ours.steps.slice(-1)];
      const streamed = [...theirs.streamed, ...ours.streamed.slice(theirs.streamed.length).slice(0, 1)];
      return { ...theirs, outcome, steps, streamed };
    },
    applies: ({ theirs, ours, boundaries }) =>
      theirs.outcome === "limit" && (endsAtLimit(boundaries, 1) || isLate(ours, boundaries)),
  },
  {
    id: "deferred-beside-sends",
    reason: "LangGraph.js runs deferred nodes beside single calls that are due; here those are work that is waited for",
    share: 0.03,
    parts: true,
    applies: ({ boundaries, inside }) =>
      [...inside, ...boundaries].some(
        ({ due, sends, deferred }) => due.length === 0 && sends.length > 0 && deferred.length > 0,
      ),
  },
  {
    id: "join-and-turn",
    reason:
      "a node that a join and another edge start at once runs once here; LangGraph.js keeps the join for another time",
    share: 0.02,
    parts: true,
    applies: ({ given, boundaries, inside }) =>
      [...inside, ...boundaries]
        .flatMap(lineOf)
        .some((boundary) => startsTwice(graphAt(given.graph, boundary), boundary)),
  },
];

/** Kept for another time, a join may show much later. */
function lineOf(boundary: Boundary): readonly Boundary[] {
  return boundary.before ? [boundary, ...lineOf(boundary.before)] : [boundary];
}

/** In this superstep a join of a node came to its end, and a node ran that leads there otherwise. */
function startsTwice(
  { joins, edges, nodes, conditions }: GraphDescription,
  { ran, before, due, deferred, joins: left }: Boundary,
): boolean {
  return joins.some(({ from, to }) => {
    const name = nameOf(to);
    if (!due.includes(name) && !deferred.includes(name)) return false;
    const key = Object.keys(before?.joins ?? {}).concat(Object.keys(left));
    const seen = new Set([...ran, ...key.flatMap((one) => before?.joins[one] ?? [])]);
    if (!from.every((source) => seen.has(nameOf(source)))) return false;
    const leads = (node: number) =>
      edges.some(([a, b]) => a === node && b === to) ||
      nodes[node]?.goto.includes(to) === true ||
      conditions.some((one) => one.from === node && one.targets.includes(to));
    // A deferred one is started by both at once whenever they came before its turn.
    return ran.some((one) => leads(Number(one.slice(1)))) || nodes[to]?.defer === true;
  });
}

function isHandled(graph: GraphDescription, result: string): boolean {
  const node = nodeAt(graph, result.split(" ")[0]!);
  return node?.handled === true && node.fails > 0;
}

function withDue(seen: Seen, next: readonly string[], tasks: readonly string[]): Seen {
  return { ...seen, next, tasks, history: [tasks.join(), ...seen.history.slice(1)] };
}

function isFailure({ outcome }: Seen): boolean {
  return ["failed", "limit", "invalid"].includes(outcome);
}

function isEdit({ action, outcome }: Seen): boolean {
  return action.startsWith("update as") && outcome === "ended";
}

/** By name: tasks of the unfinished superstep that need not be run again. */
export function finishedOf(view: View | undefined): string[] {
  return view
    ? minus(
        view.tasks.map(({ name }) => name),
        view.next,
      )
    : [];
}

function nodeAt({ nodes }: GraphDescription, name: string): NodeDescription | undefined {
  return name.startsWith("n") ? nodes[Number(name.slice(1))] : undefined;
}

/** Wherever a node may lead. */
function leadsOf({ nodes, edges, joins, conditions, sequence }: GraphDescription, name: string): string[] {
  if (name.startsWith("s")) return [`s${Number(name.slice(1)) + 1}`];
  const node = Number(name.slice(1));
  const targets = [
    ...edges.filter(([from]) => from === node).map(([, to]) => to),
    ...joins.filter(({ from }) => from.includes(node)).map(({ to }) => to),
    ...conditions.filter(({ from }) => from === node).flatMap((one) => one.targets),
    ...(nodes[node]?.goto ?? []),
  ];
  return [...targets.map(nameOf), ...(node === nodes.length - 1 && sequence > 0 ? ["s0"] : [])];
}

function graphAt(graph: GraphDescription, { path }: Boundary): GraphDescription {
  return path.reduce((at, node) => at.nodes[node]?.inner ?? at, graph);
}

/** What is left of a list after each of the others has taken one away. */
function minus(list: readonly string[], others: readonly string[]): string[] {
  const left = [...list];
  for (const other of others) {
    const at = left.indexOf(other);
    if (at >= 0) left.splice(at, 1);
  }
  return left;
}

function endsAtLimit(boundaries: readonly Boundary[], depth: number): boolean {
  return boundaries.some(
    ({ path, taken, due, sends }) => path.length === depth && taken === stepLimit && due.length + sends.length === 0,
  );
}

/** A graph inside a task that is gone on with has the limit of the graph around it, of which two are for going on. */
function isLate({ action }: Seen, boundaries: readonly Boundary[]): boolean {
  return action !== "input" && boundaries.some(({ path, taken }) => path.length === 1 && taken >= stepLimit - 2);
}

/** At a breakpoint. */
function stopsAtLimit({ outcome, questions }: Seen, boundaries: readonly Boundary[]): boolean {
  return outcome === "waits" && questions.length === 0 && boundaries.at(-1)?.taken === stepLimit;
}

/** Two finished tasks of the superstep that is due wrote one channel of which it takes one write. */
function clash({ tasks }: View): boolean {
  const results = tasks.flatMap(({ result }) => (result ? [result] : []));
  const twice = (test: (result: Readonly<Record<string, unknown>>) => boolean) => results.filter(test).length > 1;
  return (
    twice((result) => "last" in result) ||
    twice((result) => "mark" in result) ||
    twice(({ log }) => typeof log === "object" && log !== null && "__overwrite__" in log)
  );
}
