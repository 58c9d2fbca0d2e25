/** Finds the graphs that a module exports: compiled graphs, agents, or lists and objects of them under `graphs`. */
import { AgentmaticError } from "../../src/errors.ts";
import type { Plan } from "../../src/graph/plan.ts";

/** A compiled graph, or an agent that has one. */
type Carrier = { readonly plan: Plan } | { readonly graph: { readonly plan: Plan } };

export type Graphs = readonly Carrier[] | Readonly<Record<string, unknown>>;

/** Throws `InvalidArgument`, saying what was found, where there is no graph or two of one name. */
export function plansOf(graphs: Graphs, field = "graphs"): Plan[] {
  const plans = [...new Set([...values(graphs)].flatMap(planOf))];
  if (plans.length === 0) {
    const names = Array.isArray(graphs) ? `a list of ${graphs.length}` : Object.keys(graphs).join(", ") || "nothing";
    throw refused(field, `has no compiled graph among its exports (found: ${names})`);
  }
  const names = new Set<string>();
  for (const { name } of plans) {
    if (names.has(name)) throw refused(field, `has two graphs named "${name}": give compile({ name }) another one`);
    names.add(name);
  }
  return plans;
}

function* values(graphs: Graphs): Generator<unknown> {
  for (const value of Object.values(graphs)) {
    yield value;
    // `export const graphs = [a, b]` and `export default { graphs: { a, b } }` say the same as `export { a, b }`.
    if (typeof value !== "object" || value === null || planOf(value).length > 0) continue;
    if (Array.isArray(value)) yield* value;
    else if ("graphs" in value && typeof value.graphs === "object" && value.graphs)
      yield* values(value.graphs as Graphs);
    else if (isPlain(value)) yield* Object.values(value);
  }
}

function planOf(value: unknown): Plan[] {
  if (typeof value !== "object" || value === null) return [];
  if ("plan" in value && isPlan(value.plan)) return [value.plan];
  return "graph" in value && value.graph !== value ? planOf(value.graph) : [];
}

function isPlan(value: unknown): value is Plan {
  if (typeof value !== "object" || value === null) return false;
  const { name, version, nodes } = value as Partial<Plan>;
  return typeof name === "string" && typeof version === "string" && nodes instanceof Map;
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function refused(field: string, problem: string): AgentmaticError {
  return new AgentmaticError("InvalidArgument", `${field} ${problem}`, { details: { field } });
}
