// Differences that are meant, each with its reason: at most ten. A difference is looked for in the first action whose
// traces differ; what follows it differs for the same reason.
import type { Case, GraphDescription } from "./description.ts";
import type { Seen } from "./drive.ts";

export interface Difference {
  readonly id: string;
  readonly reason: string;
  /** `before` is what was seen here after the action before. */
  readonly applies: (given: Case, theirs: Seen, ours: Seen, before: Seen | undefined) => boolean;
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
const without = (seen: Seen, ...keys: (keyof Seen)[]) =>
  Object.fromEntries(Object.entries(seen).filter(([key]) => key !== "partial" && !keys.includes(key as keyof Seen)));

function isLedTo({ nodes, edges, conditions }: GraphDescription, node: number): boolean {
  return (
    edges.some(([, to]) => to === node) ||
    nodes.some(({ goto }) => goto.includes(node)) ||
    conditions.some(({ targets }) => targets.includes(node))
  );
}

function some(graph: GraphDescription, test: (graph: GraphDescription) => boolean): boolean {
  return test(graph) || graph.nodes.some(({ inner }) => inner !== null && some(inner, test));
}

export const differences: readonly Difference[] = [
  {
    id: "next-while-asking",
    reason:
      "LangGraph.js leaves a node out of `next` once one of its questions is answered, though it waits with another",
    applies: (_given, theirs, ours) =>
      same(without(theirs, "next"), without(ours, "next")) &&
      ours.questions.length > 0 &&
      theirs.next.every((name) => ours.next.includes(name)),
  },
  {
    id: "questions-of-finished-tasks",
    reason:
      "LangGraph.js lists the question of a task that was answered and has finished, while others of its superstep wait",
    applies: (_given, theirs, ours) =>
      same(without(theirs, "questions", "next"), without(ours, "questions", "next")) &&
      theirs.questions.length > ours.questions.length &&
      ours.questions.every((question) => theirs.questions.includes(question)),
  },
  {
    id: "unreadable-state",
    reason: "LangGraph.js cannot read the state of a thread whose superstep has writes that do not go together",
    applies: (_given, theirs) => theirs.values === "unreadable",
  },
  {
    id: "deferred-beside-sends",
    reason: "LangGraph.js runs deferred nodes beside single calls that are due; here those are work that is waited for",
    applies: ({ graph }) =>
      some(graph, ({ nodes, conditions }) => nodes.some(({ defer }) => defer) && conditions.some(({ sends }) => sends)),
  },
  {
    id: "edit-of-a-deferred-node",
    reason: "an edit as a deferred node leaves that node due in LangGraph.js",
    applies: ({ graph }, theirs, ours) =>
      ours.action.startsWith("update as") &&
      graph.nodes.some(({ defer }) => defer) &&
      same(without(theirs, "next"), without(ours, "next")) &&
      ours.next.every((name) => theirs.next.includes(name)),
  },
  {
    id: "edit-of-an-unfinished-superstep",
    reason:
      "here an edit completes the superstep, with what its finished tasks have written and where they lead; LangGraph.js keeps only part of it",
    applies: (_given, theirs, ours, before) =>
      ours.action.startsWith("update as") && before?.partial === true && theirs.checkpoints === ours.checkpoints,
  },
  {
    id: "beside-a-failure",
    reason: "here a task beside one that fails comes to its end and is not run again; LangGraph.js drops some of them",
    applies: (_given, theirs, ours) =>
      ours.outcome === "failed" &&
      same(without(theirs, "next", "questions"), without(ours, "next", "questions")) &&
      ours.next.every((name) => theirs.next.includes(name)),
  },
  {
    id: "join-and-turn",
    reason:
      "a node that a join and another edge start at once runs once here; LangGraph.js keeps the join for another time",
    applies: ({ graph }) => some(graph, (one) => one.joins.some(({ to }) => isLedTo(one, to))),
  },
  {
    id: "end-at-the-limit",
    reason: "LangGraph.js fails a run that is at its end after as many supersteps as the limit allows",
    applies: (_given, theirs, ours) =>
      theirs.outcome === "limit" &&
      ours.outcome === "ended" &&
      ours.next.length === 0 &&
      same(without(theirs, "outcome", "steps"), without(ours, "outcome", "steps")),
  },
];

export function classify(given: Case, theirs: readonly Seen[], ours: readonly Seen[]): "same" | Difference | undefined {
  const length = Math.max(theirs.length, ours.length);
  for (let index = 0; index < length; index++) {
    const one = theirs[index];
    const two = ours[index];
    if (one && two && same(without(one, "partial"), without(two, "partial"))) continue;
    return one && two ? differences.find(({ applies }) => applies(given, one, two, ours[index - 1])) : undefined;
  }
  return "same";
}

export { some };
