/** What followers are told of a commit. */
import { nodesOf, type Source, type ToldCheckpoint } from "../checkpoint/body.ts";
import type { Plan } from "../graph/plan.ts";
import { followed } from "./context.ts";
import { eventOf, updateOf } from "./report.ts";
import type { RunScope } from "./scope.ts";
import { outputOf, type Snapshot } from "./snapshot.ts";
import type { TaskOutcome } from "./step.ts";

export interface ToldCommit {
  readonly seq: number;
  readonly source: Source;
  /** The checkpoint that it was made from. */
  readonly parentId: string | null;
  readonly snapshot: Snapshot;
  readonly outcomes: readonly TaskOutcome[];
}

export function tellCommit(
  scope: RunScope,
  plan: Plan,
  ns: string,
  { seq, source, parentId, snapshot, outcomes }: ToldCommit,
): void {
  if (!followed(scope, { ns })) return;
  const { wants, emit } = scope;
  if (wants("updates")) {
    for (const { task, result } of outcomes) {
      emit(eventOf(scope, ns, "updates", { node: task.node.name, data: updateOf(result.updates) }, seq));
    }
  }
  // A superstep in which nobody wrote anything leaves the state as it was; so does an input, for a functional graph.
  if (
    wants("values") &&
    !(plan.functional && source === "input") &&
    (source !== "loop" || outcomes.some(({ result }) => result.updates.length > 0))
  ) {
    emit(eventOf(scope, ns, "values", { data: outputOf(plan, snapshot.values) }, seq));
  }
  if (wants("checkpoints")) {
    const { checkpointId, step, next, sends, values } = snapshot;
    const data: ToldCheckpoint = { checkpointId, parentId, step, source, next, sends: nodesOf(sends), values };
    emit(eventOf(scope, ns, "checkpoints", { data }, seq));
  }
}
