/** What a run is told that took more supersteps than it may. */
import { AgentmaticError } from "../errors.ts";
import type { Plan } from "../graph/plan.ts";
import type { Task } from "./step.ts";

const namesShown = 5;

/** Says which nodes would be next, and which round they go in, where the graph shows one. */
export function stepLimit(plan: Plan, taken: number, tasks: readonly Task[]): AgentmaticError {
  const due = [...new Set(tasks.map(({ node }) => node.name))];
  const round = due.map((name) => roundOf(plan, name)).find((found) => found !== undefined);
  const why = round
    ? `the round ${round.join(" -> ")} has no way out but an interrupt or a Command`
    : `${due.slice(0, namesShown).join(", ")} would be next`;
  const text = `graph "${plan.name}": the run took ${taken} supersteps, its limit, and is not at an end: ${why}`;
  return new AgentmaticError("StepLimit", text, { details: { graph: plan.name, node: due[0] ?? "" } });
}

/** The round of plain edges that a node stands in, where there is no other way on. */
function roundOf(plan: Plan, start: string): readonly string[] | undefined {
  const path: string[] = [];
  for (let name = start; !path.includes(name); ) {
    path.push(name);
    const node = plan.nodes.get(name);
    if (!node || node.branches.length > 0 || node.edges.length !== 1 || node.joins.length > 0) return undefined;
    name = node.edges[0]!;
    if (name === start) return [...path, start];
  }
  return undefined;
}
