/** A thread's state as callers see it, with LangGraph.js's names beside our own. */
import { decodeBody, nodesOf, type Source } from "../checkpoint/body.ts";
import { decodeValue } from "../checkpoint/codec.ts";
import { type OpenInterrupt, pendingInterrupts, readInterrupts } from "../checkpoint/interrupts.ts";
import type { Saver, StoredCheckpoint } from "../checkpoint/saver.ts";
import { commandsOf } from "../engine/commands.ts";
import { Ledger } from "../engine/ledger.ts";
import { current } from "../engine/migrate.ts";
import { resultOf } from "../engine/report.ts";
import { nestedNs, threadNs } from "../engine/scope.ts";
import { nothing, type Snapshot, shownOf } from "../engine/snapshot.ts";
import { applyCommands, planTasks, type Task } from "../engine/step.ts";
import type { ErrorValue } from "../errors.ts";
import type { ChannelSpec, StateOf } from "../graph/channels.ts";
import type { Plan } from "../graph/plan.ts";
import type { Configurable } from "./config.ts";

export interface CheckpointConfig {
  readonly configurable: Configurable & { readonly thread_id: string; readonly checkpoint_ns: string };
}

export interface TaskSnapshot {
  readonly id: string;
  readonly name: string;
  readonly path: string;
  readonly interrupts: readonly OpenInterrupt[];
  /** Where its last try ended. */
  readonly error?: ErrorValue;
  /** What it wrote, where it has finished while others of its superstep have not. */
  readonly result?: Readonly<Record<string, unknown>>;
  /** Of a graph inside it: its state where `subgraphs` was asked for, else where that is to be found. */
  readonly state?: StateSnapshot<ChannelSpec> | CheckpointConfig;
}

export interface StateSnapshot<S extends ChannelSpec> {
  readonly values: StateOf<S>;
  /** Nodes that run next, but for those that have finished already; of a named checkpoint or in a history: all of them. */
  readonly next: readonly string[];
  readonly config: CheckpointConfig;
  readonly metadata: { readonly source: Source; readonly step: number; readonly run_id: string };
  /** ISO 8601, by the clock of the process that wrote it. */
  readonly createdAt?: string;
  readonly parentConfig?: CheckpointConfig;
  readonly tasks: readonly TaskSnapshot[];
  readonly checkpointId: string;
  readonly parentId: string | null;
  readonly runId: string;
  readonly step: number;
  readonly source: Source;
  readonly interrupts: readonly OpenInterrupt[];
}

export function configAt(threadId: string, ns: string, checkpointId?: string): CheckpointConfig {
  const id = checkpointId === undefined ? {} : { checkpoint_id: checkpointId };
  return { configurable: { thread_id: threadId, checkpoint_ns: ns, ...id } };
}

/** With `saver` the states of graphs inside waiting tasks are read as well. */
export async function readSnapshot<S extends ChannelSpec>(
  plan: Plan,
  stored: StoredCheckpoint,
  saver?: Saver,
): Promise<StateSnapshot<S>> {
  const { checkpoint } = stored;
  const { threadId, ns, checkpointId, parentId, runId, step } = checkpoint;
  const { source, atMs } = decodeBody(checkpoint);
  const { snapshot, writes } = standing(plan, stored);
  const done = new Map(writes.filter(({ kind }) => kind === "done").map((write) => [write.taskId, write]));
  const due = plannable(plan, [...snapshot.next, ...nodesOf(snapshot.sends)]) ? planTasks(plan, snapshot, ns) : [];
  const tasks: TaskSnapshot[] = [];
  for (const task of due) tasks.push(await taskOf(plan, stored, task, done.get(task.id)?.data, saver));
  const left = due.filter(({ id }) => !done.has(id)).map(({ node }) => node.name);
  return {
    values: shownOf(plan, snapshot.values) as StateOf<S>,
    next: due.length > 0 ? left : [...snapshot.next, ...snapshot.sends.map(({ node }) => node)],
    config: configAt(threadId, ns, checkpointId),
    metadata: { source, step, run_id: runId },
    ...(atMs === undefined ? {} : { createdAt: new Date(atMs).toISOString() }),
    ...(parentId === null ? {} : { parentConfig: configAt(threadId, ns, parentId) }),
    tasks,
    checkpointId,
    parentId,
    runId,
    step,
    source,
    interrupts: pendingInterrupts(stored),
  };
}

/** As one of many: which of its tasks were stored one by one, and which with the next checkpoint, is a matter of chance. */
export function asPast<S extends ChannelSpec>(snapshot: StateSnapshot<S>): StateSnapshot<S> {
  const { tasks } = snapshot;
  return tasks.length > 0 ? { ...snapshot, next: tasks.map(({ name }) => name) } : snapshot;
}

/** Where a graph stands at a checkpoint: with what callers gave it together with an answer. */
export function snapshotOf(plan: Plan, stored: StoredCheckpoint): Snapshot {
  return standing(plan, stored).snapshot;
}

function standing(
  plan: Plan,
  { checkpoint, writes }: StoredCheckpoint,
): Pick<StoredCheckpoint, "writes"> & {
  readonly snapshot: Snapshot;
} {
  const { snapshot, outdated } = new Ledger(plan).load(checkpoint);
  const commands = commandsOf(checkpoint.checkpointId, writes);
  return { snapshot: applyCommands(plan, snapshot, commands).snapshot, writes: current(writes, outdated) };
}

/** A thread of another version may have nodes due that this one does not know: its state can be read nevertheless. */
function plannable(plan: Plan, next: readonly string[]): boolean {
  return next.every((name) => plan.nodes.has(name));
}

async function taskOf(
  plan: Plan,
  stored: StoredCheckpoint,
  task: Task,
  done: Uint8Array | undefined,
  saver: Saver | undefined,
): Promise<TaskSnapshot> {
  const { checkpoint, writes } = stored;
  const { threadId } = checkpoint;
  const open = new Set(pendingInterrupts(stored).map(({ id }) => id));
  const asked = writes.filter(({ kind, taskId }) => kind === "interrupt" && taskId === task.id).flatMap(readInterrupts);
  const failed = writes.find(({ kind, taskId }) => kind === "error" && taskId === task.id);
  const place = {
    plan,
    ns: checkpoint.ns,
    checkpointId: checkpoint.checkpointId,
    step: checkpoint.step + 1,
    fresh: false,
  };
  const ns = nsOf(place, task);
  const inner = ns !== undefined && saver ? await saver.get(threadId, ns) : undefined;
  const state = inner ? await readSnapshot(task.node.subgraph!.plan, inner, saver) : ns && configAt(threadId, ns);
  const updates = done && (decodeValue(done) as [readonly [string, unknown][]])[0];
  return {
    id: task.id,
    name: task.node.name,
    path: task.path,
    interrupts: asked.filter(({ id }) => open.has(id)).map(({ id, value }) => ({ id, value })),
    ...(failed ? { error: (decodeValue(failed.data) as { error: ErrorValue }).error } : {}),
    ...(updates ? { result: resultOf(updates) } : {}),
    ...(state ? { state } : {}),
  };
}

/** Where the checkpoints of the graph that stands for the task's node lie; undefined where there is none. */
function nsOf(place: Parameters<typeof nestedNs>[0], { node, index }: Task): string | undefined {
  if (!node.subgraph || node.subgraph.state === "none") return undefined;
  return node.subgraph.state === "thread" ? threadNs(place, node.name, "0") : nestedNs(place, node.name, index, "0");
}

export interface DueAt {
  readonly threadId: string;
  readonly ns: string;
  readonly checkpointId: string;
  readonly step: number;
  readonly next: readonly string[];
  readonly sends: readonly string[];
}

/** The tasks that are due at a checkpoint which was told of, before any of them has done anything. */
export function dueTasks(plan: Plan, { threadId, ns, checkpointId, step, next, sends }: DueAt): TaskSnapshot[] {
  if (!plannable(plan, [...next, ...sends])) return [];
  const place = { plan, ns, checkpointId, step: step + 1, fresh: false };
  const packets = sends.map((node) => ({ node, args: undefined }));
  return planTasks(plan, { ...nothing, checkpointId, step, next, sends: packets }, ns).map((task) => {
    const inner = nsOf(place, task);
    const state = inner === undefined ? {} : { state: configAt(threadId, inner) };
    return { id: task.id, name: task.node.name, path: task.path, interrupts: [], ...state };
  });
}

/** The graph that a namespace is of: the segments name the nodes that called. Undefined where they are not graphs. */
export function planAt(plan: Plan, ns: string): Plan | undefined {
  let at: Plan | undefined = plan;
  if (ns === "") return at;
  for (const segment of ns.split("|")) at = at?.nodes.get(segment.slice(0, segment.indexOf(":")))?.subgraph?.plan;
  return at;
}
