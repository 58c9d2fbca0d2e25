/**
 * Committed events that a follower has missed while a link was broken or its worker died, made again from the store
 * (PROTOCOL.md P16): `values` and `checkpoints`. What each node wrote is not stored by node, so `updates` are not.
 */
import { encodeValue } from "../checkpoint/codec.ts";
import { decodeValues } from "../checkpoint/ended.ts";
import type { Saver, StoredCheckpoint } from "../checkpoint/saver.ts";
import type { EventKind, RunEvent } from "../run/events.ts";

/** Checkpoints looked at for one gap; older ones are not made again. */
const gapMax = 200;

/** The run's committed events after commit `afterSeq`, in order. */
export async function missedEvents(
  saver: Saver,
  run: { readonly runId: string; readonly threadId: string; readonly attempt: number },
  kinds: readonly EventKind[],
  afterSeq: number,
): Promise<readonly RunEvent[]> {
  if (!kinds.includes("values") && !kinds.includes("checkpoints")) return [];
  const stored = await saver.list({ threadId: run.threadId, limit: gapMax });
  return stored
    .filter(({ checkpoint }) => checkpoint.runId === run.runId && checkpoint.seq > afterSeq)
    .sort((a, b) => a.checkpoint.seq - b.checkpoint.seq)
    .flatMap((one) => eventsOf(one, run, kinds));
}

function eventsOf(
  { checkpoint }: StoredCheckpoint,
  { runId, attempt }: { readonly runId: string; readonly attempt: number },
  kinds: readonly EventKind[],
): RunEvent[] {
  const { seq, epoch, checkpointId, step } = checkpoint;
  const place = { runId, attempt, epoch, seq, ns: "", node: "", taskId: "" };
  const events: RunEvent[] = [];
  if (kinds.includes("values")) events.push({ ...place, kind: "values", data: encodeValue(decodeValues(checkpoint)) });
  if (kinds.includes("checkpoints")) {
    events.push({ ...place, kind: "checkpoints", data: encodeValue({ checkpointId, step }) });
  }
  return events;
}
