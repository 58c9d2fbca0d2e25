/** What a run tells of itself: stored updates, events, span attributes. */
import type { StoredUpdate } from "../checkpoint/body.ts";
import { encodeValue } from "../checkpoint/codec.ts";
import { AgentmaticError, errorValue } from "../errors.ts";
import { isOverwrite } from "../graph/command.ts";
import type { Plan } from "../graph/plan.ts";
import type { EventKind, RunEvent } from "../run/events.ts";
import type { RunScope } from "./scope.ts";
import type { TaskOutcome, TaskResult } from "./step.ts";

type Writes = TaskResult["updates"];

/** What a node wrote, as its followers are told: an object, or a list where it wrote a channel more than once. */
export function updateOf(writes: Writes): unknown {
  if (!repeats(writes)) return Object.fromEntries(writes);
  return writes.map(([name, value]) => ({ [name]: value }));
}

/** True where a channel was written more than once. */
function repeats(writes: Writes): boolean {
  return writes.length > 1 && new Set(writes.map(([name]) => name)).size < writes.length;
}

/** The same where a task's result is told: several writes of one channel stand together, as in LangGraph.js. */
export function resultOf(writes: Writes): Readonly<Record<string, unknown>> {
  const byName = new Map<string, unknown[]>();
  for (const [name, value] of writes) byName.set(name, [...(byName.get(name) ?? []), value]);
  return Object.fromEntries([...byName].map(([name, all]) => [name, all.length === 1 ? all[0] : { $writes: all }]));
}

/** Values that stand in the checkpoint as they were written are named, the others kept. */
export function storedUpdate(plan: Plan, { task, result }: TaskOutcome): StoredUpdate {
  if (repeats(result.updates)) {
    return [task.node.name, [], {}, result.updates.filter(([name]) => plan.channels.get(name)?.kind !== "untracked")];
  }
  const last: string[] = [];
  const folded: Record<string, unknown> = {};
  for (const [name, value] of result.updates) {
    const kind = plan.channels.get(name)?.kind;
    if (kind === "last" && !isOverwrite(value)) last.push(name);
    else if (kind !== "untracked") folded[name] = value;
  }
  return [task.node.name, last, folded];
}

export interface EventFields {
  readonly node?: string;
  readonly taskId?: string;
  readonly data: unknown;
}

/** `commit` is the commit's number, 0 for what is provisional: so is everything of a graph whose state nobody keeps. */
export function eventOf(scope: RunScope, ns: string, kind: EventKind, fields: EventFields, commit = 0): RunEvent {
  const { runId, epoch, attempt, journal } = scope;
  const seq = journal.keeps ? commit : 0;
  const { node = "", taskId = "", data } = fields;
  const event: RunEvent = { runId, kind, epoch, attempt, seq, ns, node, taskId, data: eventBytes(kind, data) };
  return seq > 0 && !journal.durable ? { ...event, durable: false } : event;
}

/** A value that cannot be sent fails nobody's run: a follower gets the reason in its place. */
export function eventBytes(kind: EventKind, data: unknown): Uint8Array {
  try {
    return encodeValue(data, kind);
  } catch (thrown) {
    return encodeValue({ error: errorValue(AgentmaticError.from(thrown)) });
  }
}

export function spanAttributes(
  scope: Pick<RunScope, "runId" | "threadId" | "attempt" | "epoch" | "correlationId">,
  graph: string,
): Record<string, string | number> {
  return {
    "agentmatic.run.id": scope.runId,
    "agentmatic.thread.id": scope.threadId,
    "agentmatic.graph": graph,
    "agentmatic.attempt": scope.attempt,
    "agentmatic.epoch": scope.epoch,
    "agentmatic.correlation.id": scope.correlationId,
  };
}
