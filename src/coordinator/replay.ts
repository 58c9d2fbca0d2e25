/**
 * Committed events that a follower has missed while a link was broken or its worker died, made again from the store
 * (PROTOCOL.md P16): `values` and `checkpoints`. What each node wrote is not stored by node, so `updates` are not.
 */

import { encodeValue } from "../checkpoint/codec.ts";
import { decodeValues } from "../checkpoint/ended.ts";
import type { Saver, StoredCheckpoint } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import type { EventKind, RunEvent } from "../run/events.ts";

/** Checkpoints read at once, and in all: a reader has no room for more. */
const pageMax = 200;
const gapMax = 4_000;

/** The run's committed events after commit `afterSeq`, in order. Throws `ResourceExhausted` where they are too many. */
export async function missedEvents(
  saver: Saver,
  run: { readonly runId: string; readonly threadId: string; readonly attempt: number },
  kinds: readonly EventKind[],
  afterSeq: number,
): Promise<readonly RunEvent[]> {
  const missed: StoredCheckpoint[] = [];
  for (let before: string | undefined; missed.length < gapMax; ) {
    const query = { threadId: run.threadId, limit: pageMax };
    const page = await saver.list(before === undefined ? query : { ...query, before });
    // Newest first, and a run's commits stand together: what follows the first foreign one is older than the run.
    const own = page.findIndex(({ checkpoint }) => checkpoint.runId !== run.runId || checkpoint.seq <= afterSeq);
    missed.push(...(own < 0 ? page : page.slice(0, own)));
    if (own >= 0 || page.length < pageMax) return missed.reverse().flatMap((one) => eventsOf(one, run, kinds));
    before = page.at(-1)!.checkpoint.checkpointId;
  }
  throw new AgentmaticError("ResourceExhausted", `more than ${gapMax} events were missed`);
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
