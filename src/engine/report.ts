/** What a run tells of itself: stored updates, events, span attributes. */
import type { StoredUpdate } from "../checkpoint/body.ts";
import { encodeValue } from "../checkpoint/codec.ts";
import { AgentmaticError, errorValue } from "../errors.ts";
import { isOverwrite } from "../graph/command.ts";
import type { Plan } from "../graph/plan.ts";
import type { EventKind, RunEvent } from "../run/events.ts";
import type { RunScope } from "./scope.ts";
import type { TaskOutcome } from "./step.ts";

/** Values that stand in the checkpoint as they were written are named, the others kept. */
export function storedUpdate(plan: Plan, { task, result }: TaskOutcome): StoredUpdate {
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

/** `seq` is the commit's number, 0 for what is provisional. */
export function eventOf(scope: RunScope, ns: string, kind: EventKind, fields: EventFields, seq = 0): RunEvent {
  const { runId, epoch, attempt, journal } = scope;
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
