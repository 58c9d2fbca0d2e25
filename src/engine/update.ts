/** Edits of a thread's state from outside: as a node, as a copy, or as the beginning of a branch. */
import type { Packet } from "../checkpoint/body.ts";
import { decodeBody } from "../checkpoint/body.ts";
import type { StoredCheckpoint } from "../checkpoint/saver.ts";
import { AgentmaticError, invalid } from "../errors.ts";
import { END, type Plan } from "../graph/plan.ts";
import { isObject } from "../run/check.ts";
import { TaskContext } from "./context.ts";
import type { GraphLoop, Rest } from "./loop.ts";
import type { RunScope } from "./scope.ts";
import { checkpointIdOf } from "./snapshot.ts";
import { advance, entryNode, withOutcomes } from "./step.ts";
import { outcomeOf, runEntry } from "./task.ts";

/**
 * `update`: as if `asNode` had returned `values`; END drops what is due, nothing at all makes a copy. `branch`: the state
 * of another thread, for a new one.
 */
export type Edit =
  | { readonly kind: "update"; readonly values: unknown; readonly asNode?: string }
  | {
      readonly kind: "branch";
      readonly values: Readonly<Record<string, unknown>>;
      readonly next: readonly string[];
      readonly sends: readonly Packet[];
      readonly joins: Readonly<Record<string, readonly string[]>>;
      readonly deferred: readonly string[];
      readonly step: number;
    };

export function readEdit(input: unknown): Edit {
  if (isObject(input) && (input.kind === "update" || input.kind === "branch")) return input as unknown as Edit;
  throw invalid("update", "is not an edit of the state");
}

/** Commits the edit as one checkpoint, with the end of the run. */
export async function applyEdit(
  edit: Edit,
  stored: StoredCheckpoint | undefined,
  loop: GraphLoop,
  scope: RunScope,
  plan: Plan,
): Promise<Rest> {
  const { snapshot: from } = loop;
  if (edit.kind === "branch") {
    if (stored) throw new AgentmaticError("FailedPrecondition", "threadId: the thread of a branch must be a new one");
    const { values, next, sends, joins, deferred, step } = edit;
    for (const name of Object.keys(values)) {
      if (!plan.channels.has(name)) throw invalid(`values.${name}`, `graph "${plan.name}" has no such channel`);
    }
    const snapshot = { checkpointId: checkpointIdOf(scope.runId, step), step, values, next, sends, joins, deferred };
    await loop.place({ snapshot, changed: new Set(Object.keys(values)) }, "fork", [], "succeeded");
    return { status: "succeeded", interrupts: [] };
  }
  const { values, asNode } = edit;
  const step = from.step + 1;
  const checkpointId = checkpointIdOf(scope.runId, step);
  if (values === null || values === undefined) {
    if (asNode === undefined) {
      await loop.place({ snapshot: { ...from, checkpointId, step }, changed: new Set() }, "update", [], "succeeded");
      return { status: "succeeded", interrupts: [] };
    }
    if (asNode === END) {
      const snapshot = { ...from, checkpointId, step, next: [], sends: [], deferred: [], joins: {} };
      await loop.place({ snapshot, changed: new Set() }, "update", [], "succeeded");
      return { status: "succeeded", interrupts: [] };
    }
  }
  const name = asNode ?? lastWriter(plan, stored);
  const place = { plan, ns: "", checkpointId: from.checkpointId, step, fresh: false };
  const call = () => Promise.reject(new AgentmaticError("Unsupported", "a conditional edge makes no durable calls"));
  const context = (node: string) =>
    new TaskContext({
      scope,
      place,
      task: { id: `${scope.runId}|update`, node: { name: node } },
      retryAttempt: 1,
      trace: scope.trace,
      call,
    });
  if (name === "__start__" || name === "input") {
    const entry = entryNode(plan);
    const updates = Object.entries((values ?? {}) as object);
    const result = await runEntry(plan, from, entry, updates, context("__start__"));
    const advanced = advance(plan, from, [{ task: { node: entry, path: "" }, result }], scope.runId);
    await loop.place(advanced, "update", [], "succeeded");
    return { status: "succeeded", interrupts: [] };
  }
  const node = plan.nodes.get(name);
  if (!node) throw invalid("asNode", `graph "${plan.name}" has no node "${name}"`);
  // Tasks of the same superstep that had finished are part of what the edit completes: it comes after them.
  const finished = loop.finished();
  const seen = { ...from, values: withOutcomes(plan, from, finished) };
  const { result } = await outcomeOf(plan, seen, node, values, context(name));
  const edited = { task: { node, path: `0|${name}` }, result };
  await loop.place(advance(plan, from, finished, scope.runId, edited), "update", [], "succeeded");
  return { status: "succeeded", interrupts: [] };
}

/** The node whose update it would be: the only one that wrote last. Throws `InvalidArgument` where that is not clear. */
function lastWriter(plan: Plan, stored: StoredCheckpoint | undefined): string {
  if (!stored) return "__start__";
  const { updates, source } = decodeBody(stored.checkpoint);
  if (plan.nodes.size === 1) return [...plan.nodes.keys()][0]!;
  const writers = [...new Set((updates ?? []).map(([node]) => node))].filter((node) => plan.nodes.has(node));
  if (writers.length === 1) return writers[0]!;
  if (writers.length === 0 && source === "input") return "__start__";
  throw invalid("asNode", "must be given: it is not clear which node the update would be of");
}
