/** The superstep as pure functions: which tasks are due, and what their results make of the state. */

import type { Packet } from "../checkpoint/body.ts";
import { compareCodePoints } from "../checkpoint/order.ts";
import { AgentmaticError, invalid } from "../errors.ts";
import { fanOutMax, type Plan, type PlanNode } from "../graph/plan.ts";
import { checkpointIdOf, type Snapshot } from "./snapshot.ts";

export interface Task {
  readonly id: string;
  readonly node: PlanNode;
  /** Orders the writes of a superstep, by code point: nodes by name first, then single calls by position. */
  readonly path: string;
  /** Only for a single call: its own input. */
  readonly packet?: Packet;
}

/** What a task did, in the shape in which it is stored. */
export interface TaskResult {
  readonly updates: readonly (readonly [channel: string, value: unknown])[];
  readonly goto: readonly string[];
  readonly sends: readonly Packet[];
}

export interface TaskOutcome {
  readonly task: Pick<Task, "node" | "path">;
  readonly result: TaskResult;
}

/** The due tasks of a snapshot, in path order. The same snapshot gives the same ids on every worker (P10). */
export function planTasks(plan: Plan, snapshot: Snapshot, ns: string): Task[] {
  if (snapshot.sends.length + snapshot.next.length > fanOutMax) {
    throw new AgentmaticError("ResourceExhausted", `graph "${plan.name}": a superstep of over ${fanOutMax} tasks`);
  }
  const prefix = ns === "" ? snapshot.checkpointId : `${snapshot.checkpointId}|${ns}`;
  const tasks: Task[] = [];
  for (const name of snapshot.next) {
    tasks.push({ id: `${prefix}|${name}`, node: nodeOf(plan, name), path: `0|${name}` });
  }
  snapshot.sends.forEach((packet, index) => {
    const node = nodeOf(plan, packet.node);
    const place = String(index).padStart(5, "0");
    tasks.push({ id: `${prefix}|${packet.node}#${index}`, node, path: `1|${place}`, packet });
  });
  return tasks;
}

export interface Advance {
  readonly runId: string;
  /** The number of the commit that will carry the new snapshot. */
  readonly seq: number;
}

export interface Advanced {
  readonly snapshot: Snapshot;
  readonly changed: ReadonlySet<string>;
}

/**
 * Applies the results of a superstep, in path order, and finds what is due next. Throws `InvalidGraph` where two tasks
 * wrote one last-value channel, naming both.
 */
export function advance(plan: Plan, from: Snapshot, outcomes: readonly TaskOutcome[], to: Advance): Advanced {
  const sorted =
    outcomes.length > 1 ? [...outcomes].sort((a, b) => compareCodePoints(a.task.path, b.task.path)) : outcomes;
  const state = new StateWriter(plan, from, to.seq);
  const next = new Set<string>();
  const sends: Packet[] = [];
  const joins: Record<string, readonly string[]> = { ...from.joins };
  for (const { task, result } of sorted) {
    for (const [channel, value] of result.updates) state.write(task.node.name, channel, value);
    for (const name of task.node.edges) next.add(name);
    for (const name of result.goto) next.add(name);
    for (const packet of result.sends) sends.push(packet);
    for (const index of task.node.joins) arrive(plan, joins, index, task.node.name, next);
  }
  const step = from.step + 1;
  return {
    snapshot: {
      checkpointId: checkpointIdOf(to.runId, step),
      step,
      values: state.values,
      versions: state.versions,
      next: [...next].sort(compareCodePoints),
      sends,
      joins,
    },
    changed: state.changed,
  };
}

/** The snapshot that a new input makes of the thread's state; what was due before is dropped, as in LangGraph.js. */
export function applyInput(
  plan: Plan,
  from: Snapshot,
  updates: TaskResult["updates"],
  entry: TaskResult,
  to: Advance,
): Advanced {
  const start: PlanNode = { name: "input", run: () => undefined, ...plan.entry };
  const outcome: TaskOutcome = { task: { node: start, path: "" }, result: { ...entry, updates } };
  const first = from.checkpointId === "" ? initialChannels(from) : [];
  const advanced = advance(plan, { ...from, joins: {} }, [outcome], to);
  if (first.length === 0) return advanced;
  // Defaults become part of the first checkpoint, so that a later change of the default leaves the thread alone.
  const versions = { ...advanced.snapshot.versions };
  for (const name of first) versions[name] = to.seq;
  return {
    snapshot: { ...advanced.snapshot, versions },
    changed: new Set([...advanced.changed, ...first]),
  };
}

/** Throws `InvalidArgument` naming the field unless the input is an object of the graph's channels. */
export function inputUpdates(plan: Plan, input: unknown): TaskResult["updates"] {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw invalid("input", `must be an object with channels of graph "${plan.name}"`);
  }
  const updates = Object.entries(input);
  for (const [name] of updates) {
    if (!plan.channels.has(name)) throw invalid(`input.${name}`, `graph "${plan.name}" has no such channel`);
  }
  return updates;
}

/** The state with a task's own writes in it: what its conditional edges see. */
export function withUpdates(
  plan: Plan,
  from: Snapshot,
  node: string,
  updates: TaskResult["updates"],
): Record<string, unknown> {
  const state = new StateWriter(plan, from, 0);
  for (const [channel, value] of updates) state.write(node, channel, value);
  return state.values;
}

class StateWriter {
  readonly values: Record<string, unknown>;
  readonly versions: Record<string, number>;
  readonly changed: Set<string> = new Set();
  readonly #plan: Plan;
  readonly #seq: number;
  readonly #writers: Map<string, string> = new Map();

  constructor(plan: Plan, from: Snapshot, seq: number) {
    this.#plan = plan;
    this.#seq = seq;
    this.values = { ...from.values };
    this.versions = { ...from.versions };
  }

  #reduce(name: string, reduce: (current: unknown, update: unknown) => unknown, value: unknown): unknown {
    try {
      return reduce(this.values[name], value);
    } catch (thrown) {
      const message = `graph "${this.#plan.name}": the reducer of channel "${name}" threw: ${AgentmaticError.from(thrown).message}`;
      throw new AgentmaticError("NodeFailed", message, { cause: thrown, details: { channel: name } });
    }
  }

  write(node: string, name: string, value: unknown): void {
    const channel = this.#plan.channels.get(name);
    if (!channel) throw unknownChannel(this.#plan, node, name);
    if (channel.reduce) {
      const empty = !Object.hasOwn(this.values, name);
      this.values[name] = empty ? value : this.#reduce(name, channel.reduce, value);
    } else {
      const other = this.#writers.get(name);
      if (other !== undefined) throw twoWriters(this.#plan, name, other, node);
      this.#writers.set(name, node);
      this.values[name] = value;
    }
    this.versions[name] = this.#seq;
    this.changed.add(name);
  }
}

export function unknownChannel(plan: Plan, node: string, channel: string): AgentmaticError {
  const message = `graph "${plan.name}", node "${node}": wrote "${channel}", which is no channel of the state`;
  return new AgentmaticError("InvalidGraph", message, { details: { node, channel } });
}

function twoWriters(plan: Plan, channel: string, first: string, second: string): AgentmaticError {
  const message = `graph "${plan.name}": nodes "${first}" and "${second}" both wrote "${channel}" in one superstep; a channel with several writers needs a reducer`;
  return new AgentmaticError("InvalidGraph", message, { details: { channel, node: second } });
}

function initialChannels(from: Snapshot): string[] {
  return Object.keys(from.values);
}

function arrive(
  plan: Plan,
  joins: Record<string, readonly string[]>,
  index: number,
  node: string,
  next: Set<string>,
): void {
  const join = plan.joins[index]!;
  const key = `${join.sources.join("+")}>${join.target}`;
  const seen = joins[key] ?? [];
  const now = seen.includes(node) ? seen : [...seen, node];
  if (now.length < join.sources.length) {
    joins[key] = now;
    return;
  }
  delete joins[key];
  if (plan.nodes.has(join.target)) next.add(join.target);
}

function nodeOf(plan: Plan, name: string): PlanNode {
  const node = plan.nodes.get(name);
  if (node) return node;
  const message = `graph "${plan.name}" (version ${plan.version}) has no node "${name}", which is due on this thread`;
  throw new AgentmaticError("FailedPrecondition", message, { details: { node: name } });
}
