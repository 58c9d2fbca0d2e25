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
  let before: string | undefined;
  for (let looked = 0; looked < gapMax; ) {
    const query = { threadId: run.threadId, limit: pageMax };
    const page = await saver.list(before === undefined ? query : { ...query, before });
    for (const stored of page) {
      const { checkpoint } = stored;
      const own = checkpoint.runId === run.runId;
      // Newest first: later runs of the thread, then this one's commits together, then what is older than it.
      if (checkpoint.seq <= afterSeq || (!own && missed.length > 0)) return inOrder(missed, run, kinds);
      if (own) missed.push(stored);
    }
    if (page.length < pageMax) return inOrder(missed, run, kinds);
    looked += page.length;
    before = page.at(-1)!.checkpoint.checkpointId;
  }
  throw new AgentmaticError("ResourceExhausted", `more than ${gapMax} events were missed`);
}

function inOrder(
  newestFirst: readonly StoredCheckpoint[],
  run: { readonly runId: string; readonly attempt: number },
  kinds: readonly EventKind[],
): readonly RunEvent[] {
  return newestFirst.toReversed().flatMap((one) => eventsOf(one, run, kinds));
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
