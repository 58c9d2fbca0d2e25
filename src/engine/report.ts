/** What a run tells of itself: stored updates, events, span attributes. */
import type { StoredUpdate } from "../checkpoint/body.ts";
import { encodeValue } from "../checkpoint/codec.ts";
import type { Claim } from "../checkpoint/saver.ts";
import { AgentmaticError, errorValue } from "../errors.ts";
import type { Plan } from "../graph/plan.ts";
import type { EventKind } from "../run/events.ts";
import type { TaskOutcome } from "./step.ts";

export function storedUpdate(plan: Plan, { task, result }: TaskOutcome): StoredUpdate {
  const folded = result.updates.filter(([channel]) => plan.channels.get(channel)?.reduce);
  const last = result.updates.map(([channel]) => channel).filter((channel) => !plan.channels.get(channel)?.reduce);
  return [task.node.name, last, Object.fromEntries(folded)];
}

/** A value that cannot be sent fails nobody's run: a follower gets the reason in its place. */
export function eventBytes(kind: EventKind, data: unknown): Uint8Array {
  try {
    return encodeValue(data, kind);
  } catch (thrown) {
    return encodeValue({ error: errorValue(AgentmaticError.from(thrown)) });
  }
}

export function spanAttributes({ record, fence }: Claim): Record<string, string | number> {
  return {
    "agentmatic.run.id": record.spec.runId,
    "agentmatic.thread.id": record.spec.threadId,
    "agentmatic.graph": record.spec.graph.name,
    "agentmatic.attempt": record.state.attempt,
    "agentmatic.epoch": fence.epoch,
    "agentmatic.correlation.id": record.spec.correlationId,
  };
}
