/** The end of a run as the store tells it, for those who did not follow it. */

import type { RunEnd } from "../run/link.ts";
import type { RunState } from "../run/record.ts";
import { decodeValue, encodeValue } from "./codec.ts";
import { pendingInterrupts } from "./interrupts.ts";
import type { Checkpoint, Saver } from "./saver.ts";
import { decodePiece, foldPieces } from "./splice.ts";

export async function storedEnd(saver: Saver, runId: string, threadId: string, state: RunState): Promise<RunEnd> {
  const checkpointId = state.outcome?.checkpointId ?? null;
  const stored = checkpointId === null ? undefined : await saver.get(threadId, "", checkpointId);
  const interrupts = stored && state.status === "interrupted" ? pendingInterrupts(stored) : [];
  return {
    type: "end",
    runId,
    attempt: state.attempt,
    epoch: stored?.checkpoint.epoch ?? 0,
    status: state.status,
    checkpointId,
    ...(state.outcome?.error ? { error: state.outcome.error } : {}),
    values: encodeValue(stored ? decodeValues(stored.checkpoint) : {}),
    ...(interrupts.length > 0 ? { interrupts: encodeValue(interrupts) } : {}),
  };
}

/** Every channel's value by name. */
export function decodeValues(checkpoint: Pick<Checkpoint, "values" | "pieces">): Record<string, unknown> {
  const { values, pieces } = checkpoint;
  return Object.fromEntries(
    Object.entries(values).map(([name, bytes]) => [
      name,
      decodeChannel(bytes, Object.hasOwn(pieces, name) ? pieces[name]! : []),
    ]),
  );
}

/** A channel's value from its full value and the pieces that follow it. Throws `DataLoss`. */
export function decodeChannel(full: Uint8Array, pieces: readonly Uint8Array[]): unknown {
  return foldPieces(decodeValue(full), pieces.map(decodePiece));
}
