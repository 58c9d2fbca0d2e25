/** Which nodes of a picture a state marks. */
import { invalid } from "../errors.ts";
import type { Plan, PlanNode } from "../graph/plan.ts";

/**
 * What is known of a thread; the answer of `getState` is one. Nodes are named by themselves, those of a graph inside with
 * the names that lead there: `"research:search"`.
 */
export interface PictureState {
  /** Nodes that run next. */
  readonly next: readonly string[];
  readonly finished?: readonly string[];
  readonly failed?: readonly string[];
  readonly interrupted?: readonly string[];
  /** Says the same of single tasks, and of graphs inside them. */
  readonly tasks?: readonly PictureTask[];
}

export interface PictureTask {
  readonly name: string;
  readonly error?: unknown;
  readonly interrupts?: readonly unknown[];
  /** What it wrote, where it has finished while others of its superstep have not. */
  readonly result?: unknown;
  /** A `PictureState`; whatever else it is, is passed over. */
  readonly state?: unknown;
}

export type Mark = "finished" | "current" | "interrupted" | "failed";

export interface Marks {
  /** The gravest mark of a node; where the graph inside it is not drawn, of all that is inside, too. */
  of(id: string, isClosed: boolean): Mark | undefined;
  /** All marked nodes, those of graphs that are not drawn included. */
  readonly all: ReadonlyMap<string, Mark>;
}

const gravity: Readonly<Record<Mark, number>> = { finished: 1, current: 2, interrupted: 3, failed: 4 };

/** Throws `InvalidArgument` for a state that is none, or that names a node which the graph does not have. */
export function marksOf(plan: Plan, state: PictureState | undefined): Marks {
  const all = new Map<string, Mark>();
  // The same with what lies inside a node counted as its own.
  const closed = new Map<string, Mark>();
  const put = (map: Map<string, Mark>, id: string, mark: Mark): void => {
    const known = map.get(id);
    if (!known || gravity[known] < gravity[mark]) map.set(id, mark);
  };
  const mark = (field: string, id: string, as: Mark): void => {
    if (!isThere(plan, id))
      throw invalid(field, `graph "${plan.name}" has no node ${JSON.stringify(id.slice(0, 200))}`);
    put(all, id, as);
    for (let end = id.length; end > 0; end = id.lastIndexOf(":", end - 1)) put(closed, id.slice(0, end), as);
  };
  if (state !== undefined) read(state, "state", "", mark);
  return { all, of: (id, isClosed) => (isClosed ? closed : all).get(id) };
}

function read(
  state: PictureState,
  field: string,
  path: string,
  mark: (field: string, id: string, as: Mark) => void,
): void {
  if (!isState(state)) throw invalid(field, "must be an object with `next`, a list of nodes");
  const lists = { finished: "finished", next: "current", interrupted: "interrupted", failed: "failed" } as const;
  for (const [key, as] of Object.entries(lists)) {
    const names = state[key as keyof typeof lists] ?? [];
    if (!Array.isArray(names)) throw invalid(`${field}.${key}`, "must be a list of nodes");
    for (const name of names as unknown[]) {
      if (typeof name !== "string") throw invalid(`${field}.${key}`, "must be a list of nodes");
      mark(`${field}.${key}`, path + name, as);
    }
  }
  const tasks: unknown = state.tasks ?? [];
  if (!Array.isArray(tasks) || !tasks.every(isTask)) throw invalid(`${field}.tasks`, "must be a list of tasks");
  for (const [at, { name, error, interrupts = [], result, state: inside }] of tasks.entries()) {
    const id = path + name;
    if (result !== undefined) mark(`${field}.tasks`, id, "finished");
    if (interrupts.length > 0) mark(`${field}.tasks`, id, "interrupted");
    if (error !== undefined) mark(`${field}.tasks`, id, "failed");
    if (isState(inside)) read(inside, `${field}.tasks[${at}].state`, `${id}:`, mark);
  }
}

function isTask(value: unknown): value is PictureTask {
  return typeof value === "object" && value !== null && "name" in value && typeof value.name === "string";
}

function isState(value: unknown): value is PictureState {
  return typeof value === "object" && value !== null && "next" in value && Array.isArray(value.next);
}

function isThere(plan: Plan, id: string): boolean {
  let inside: Plan | undefined = plan;
  for (const name of id.split(":")) {
    const node: PlanNode | undefined = inside?.nodes.get(name);
    if (!node) return false;
    inside = node.subgraph?.plan;
  }
  return true;
}
