/** The superstep as pure functions: which tasks are due, and what their results make of the state. */

import type { Packet } from "../checkpoint/body.ts";
import { compareCodePoints } from "../checkpoint/order.ts";
import { AgentmaticError, invalid } from "../errors.ts";
import { type Plan, type PlanNode, START } from "../graph/plan.ts";
import { checkpointIdOf, type Snapshot } from "./snapshot.ts";
import { StateWriter } from "./state.ts";

export interface Task {
  readonly id: string;
  readonly node: PlanNode;
  /** Orders the writes of a superstep, by code point: nodes by name first, then single calls by position. */
  readonly path: string;
  /** Only for a single call: its own input. */
  readonly packet?: Packet;
  /** Its place among the single calls. */
  readonly index?: number;
}

/** What a task did, in the shape in which it is stored. */
export interface TaskResult {
  readonly updates: readonly (readonly [channel: string, value: unknown])[];
  readonly goto: readonly string[];
  readonly sends: readonly Packet[];
  /** True where an error handler stood in for the node: its own edges are not followed then. */
  readonly handled?: boolean;
}

export interface TaskOutcome {
  readonly task: Pick<Task, "node" | "path">;
  readonly result: TaskResult;
  /** The state with this task's writes alone, where its conditional edges have seen it already. */
  readonly preview?: StateWriter;
}

export const emptyResult: TaskResult = { updates: [], goto: [], sends: [] };

/** The due tasks of a snapshot, in path order. The same snapshot gives the same ids on every worker (P10). */
export function planTasks(plan: Plan, snapshot: Snapshot, ns: string): Task[] {
  const { next, sends } = snapshot;
  if (sends.length + next.length > plan.fanOutMax) {
    const text = `graph "${plan.name}": a superstep of ${sends.length + next.length} tasks; ${plan.fanOutMax} is the most`;
    throw new AgentmaticError("ResourceExhausted", text);
  }
  const prefix = ns === "" ? snapshot.checkpointId : `${snapshot.checkpointId}|${ns}`;
  const tasks: Task[] = [];
  for (const name of next) tasks.push({ id: `${prefix}|${name}`, node: nodeOf(plan, name), path: `0|${name}` });
  for (let index = 0; index < sends.length; index++) {
    const packet = sends[index]!;
    const path = `1|${String(index).padStart(5, "0")}`;
    tasks.push({ id: `${prefix}|${packet.node}#${index}`, node: nodeOf(plan, packet.node), path, packet, index });
  }
  return tasks;
}

export interface Advanced {
  readonly snapshot: Snapshot;
  readonly changed: ReadonlySet<string>;
}

/**
 * Applies the results of a superstep, in path order, and finds what is due next; an edit from outside comes after them.
 * Throws `InvalidGraph` where two tasks wrote one last-value channel, naming both.
 */
export function advance(
  plan: Plan,
  from: Snapshot,
  outcomes: readonly TaskOutcome[],
  runId: string,
  edit?: TaskOutcome,
): Advanced {
  const preview = outcomes.length === 1 ? outcomes[0]!.preview : undefined;
  const state = preview ?? new StateWriter(plan, from.values);
  const due = new Due(plan, from);
  for (const { task, result } of inPathOrder(outcomes)) {
    if (!preview) for (const [channel, value] of result.updates) state.write(task.node.name, channel, value);
    due.after(task.node, result);
  }
  if (edit) {
    state.again();
    for (const [channel, value] of edit.result.updates) state.write(edit.task.node.name, channel, value);
    due.after(edit.task.node, edit.result);
  }
  const { values, changed } = state.end();
  const step = from.step + 1;
  return { snapshot: { checkpointId: checkpointIdOf(runId, step), step, values, ...due.end() }, changed };
}

/** The snapshot that a new input makes of the thread's state; what was due before is dropped, as in LangGraph.js. */
export function applyInput(plan: Plan, from: Snapshot, outcome: TaskResult, runId: string): Advanced {
  const start: PlanNode = { ...entryNode(plan) };
  const advanced = advance(plan, from, [{ task: { node: start, path: "" }, result: outcome }], runId);
  // Defaults become part of the first checkpoint, so that a later change of the default leaves the thread alone.
  if (from.checkpointId !== "") return advanced;
  return { snapshot: advanced.snapshot, changed: new Set([...advanced.changed, ...Object.keys(from.values)]) };
}

/** What follows an input, in the shape of a node. */
export function entryNode(plan: Plan): PlanNode {
  return { name: "input", run: () => undefined, ends: [], defer: false, ...plan.entry };
}

/** Throws `InvalidArgument` naming the field unless the input is an object of the graph's channels. */
export function inputUpdates(plan: Plan, input: unknown): TaskResult["updates"] {
  if (plan.functional) return [[START, input]];
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw invalid("input", `must be an object with channels of graph "${plan.name}"`);
  }
  const updates = Object.entries(input);
  for (const [name] of updates) {
    if (!plan.channels.has(name)) throw invalid(`input.${name}`, `graph "${plan.name}" has no such channel`);
    if (plan.input && !plan.input.includes(name)) throw invalid(`input.${name}`, "is not part of the graph's input");
  }
  return updates;
}

/** The state with a task's own writes in it: what its conditional edges see. */
export function withUpdates(plan: Plan, from: Snapshot, node: string, updates: TaskResult["updates"]): StateWriter {
  const state = new StateWriter(plan, from.values);
  for (const [channel, value] of updates) state.write(node, channel, value);
  return state.fold();
}

/** The values with what several tasks of a superstep have written. */
export function withOutcomes(plan: Plan, from: Snapshot, outcomes: readonly TaskOutcome[]): Snapshot["values"] {
  const state = new StateWriter(plan, from.values);
  for (const { task, result } of inPathOrder(outcomes))
    for (const [channel, value] of result.updates) state.write(task.node.name, channel, value);
  return state.fold().values;
}

function inPathOrder(outcomes: readonly TaskOutcome[]): readonly TaskOutcome[] {
  if (outcomes.length < 2) return outcomes;
  return [...outcomes].sort((a, b) => compareCodePoints(a.task.path, b.task.path));
}

/** Applies updates and turns of callers to a snapshot that stays where it is: the due tasks keep their ids. */
export function applyCommands(plan: Plan, from: Snapshot, commands: readonly TaskResult[]): Advanced {
  let { values } = from;
  const changed = new Set<string>();
  const next = new Set(from.next);
  const sends = [...from.sends];
  for (const command of commands) {
    const state = new StateWriter(plan, values);
    for (const [channel, value] of command.updates) state.write("__input__", channel, value);
    values = state.fold().values;
    for (const name of state.changed) changed.add(name);
    for (const name of command.goto) next.add(name);
    sends.push(...command.sends);
  }
  return { snapshot: { ...from, values, next: sorted(next), sends }, changed };
}

/** Finds what is due after a superstep. */
class Due {
  readonly #plan: Plan;
  readonly #next: Set<string> = new Set();
  readonly #sends: Packet[] = [];
  readonly #deferred: Set<string>;
  #joins: Record<string, readonly string[]>;
  #joinsCopied = false;
  /** Joins that a task of this superstep belongs to. */
  #reached: Set<number> | undefined;

  constructor(plan: Plan, from: Snapshot) {
    this.#plan = plan;
    this.#joins = from.joins as Record<string, readonly string[]>;
    this.#deferred = new Set(from.deferred);
  }

  after(node: PlanNode, result: TaskResult): void {
    for (const name of result.goto) this.#add(name);
    for (const packet of result.sends) this.#sends.push(packet);
    if (result.handled) return;
    for (const name of node.edges) this.#add(name);
    for (const index of node.joins) this.#arrive(index, node.name);
  }

  end(): Pick<Snapshot, "next" | "sends" | "joins" | "deferred"> {
    for (const index of this.#reached ?? []) this.#fire(index);
    const idle = this.#next.size === 0 && this.#sends.length === 0;
    if (idle && this.#deferred.size > 0) this.#empty();
    const next = sorted(idle ? this.#deferred : this.#next);
    return { next, sends: this.#sends, joins: this.#joins, deferred: idle ? [] : sorted(this.#deferred) };
  }

  #add(name: string): void {
    if (this.#plan.nodes.get(name)?.defer) this.#deferred.add(name);
    else this.#next.add(name);
  }

  #arrive(index: number, node: string): void {
    const { key } = this.#plan.joins[index]!;
    this.#reached ??= new Set();
    this.#reached.add(index);
    const seen = this.#joins[key] ?? [];
    if (seen.includes(node)) return;
    this.#copyJoins();
    this.#joins[key] = [...seen, node];
  }

  /** At the end, so that it does not matter which of a superstep's tasks comes first. */
  #fire(index: number): void {
    const { key, sources, target } = this.#plan.joins[index]!;
    if (this.#joins[key]!.length < sources.length) return;
    const node = this.#plan.nodes.get(target);
    // Until its deferred target runs it stays full: who comes once more until then is part of the same turn.
    if (!node?.defer) delete this.#joins[key];
    if (node) this.#add(target);
  }

  #empty(): void {
    for (const { key, sources, target } of this.#plan.joins) {
      if (!this.#deferred.has(target) || (this.#joins[key]?.length ?? 0) < sources.length) continue;
      this.#copyJoins();
      delete this.#joins[key];
    }
  }

  #copyJoins(): void {
    if (!this.#joinsCopied) this.#joins = { ...this.#joins };
    this.#joinsCopied = true;
  }
}

const noNames: readonly string[] = [];

function sorted(names: ReadonlySet<string>): readonly string[] {
  if (names.size === 0) return noNames;
  return names.size < 2 ? [...names] : [...names].sort(compareCodePoints);
}

export function nodeOf(plan: Plan, name: string): PlanNode {
  const node = plan.nodes.get(name);
  if (node) return node;
  const message = `graph "${plan.name}" (version ${plan.version}) has no node "${name}", which is due on this thread`;
  throw new AgentmaticError("FailedPrecondition", message, { details: { node: name } });
}
