/**
 * Committed events that a follower has missed while a link was broken or its worker died, made again from the store
 * (PROTOCOL.md P16): `updates`, `values` and `checkpoints`.
 */

import { decodeBody } from "../checkpoint/body.ts";
import { encodeValue } from "../checkpoint/codec.ts";
import { decodeValues } from "../checkpoint/ended.ts";
import type { Checkpoint, Saver, StoredCheckpoint } from "../checkpoint/saver.ts";
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
  const values = decodeValues(checkpoint);
  if (kinds.includes("updates")) {
    for (const [node, data] of updatesOf(checkpoint, values)) {
      events.push({ ...place, kind: "updates", node, data: encodeValue(data) });
    }
  }
  if (kinds.includes("values")) events.push({ ...place, kind: "values", data: encodeValue(values) });
  if (kinds.includes("checkpoints")) {
    events.push({ ...place, kind: "checkpoints", data: encodeValue({ checkpointId, step }) });
  }
  return events;
}

/** What each task of the superstep wrote; where that could not be stored, an error in its place, as when it was sent. */
function updatesOf(checkpoint: Checkpoint, values: Readonly<Record<string, unknown>>): [node: string, data: unknown][] {
  const { updates } = decodeBody(checkpoint);
  if (updates === null) {
    const message = "an update of this superstep cannot be stored, nor sent again";
    return [["", { error: { code: "StateNotSerializable", message } }]];
  }
  return updates.map(([node, last, folded]) => {
    return [node, { ...Object.fromEntries(last.map((channel) => [channel, values[channel]])), ...folded }];
  });
}
