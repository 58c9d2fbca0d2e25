/**
 * Committed events that a follower has missed while a link was broken or its worker died, made again from the store
 * (PROTOCOL.md P16): `updates`, `values` and `checkpoints`.
 */

import { decodeBody, nodesOf, type StoredUpdate, type ToldCheckpoint } from "../checkpoint/body.ts";
import { encodeValue } from "../checkpoint/codec.ts";
import { decodeValues } from "../checkpoint/ended.ts";
import type { Saver, StoredCheckpoint } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import { type EventKind, eventOverheadBytes, type RunEvent, unreadBytesMax } from "../run/events.ts";

/** Checkpoints read at once, and in all: a reader has no room for more. */
const pageMax = 50;
const gapMax = 4_000;
/** Graphs inside the run whose commits are looked for. */
const namespacesMax = 1_000;

export interface Gap {
  readonly runId: string;
  readonly threadId: string;
  readonly attempt: number;
  readonly kinds: readonly EventKind[];
  /** The last commit whose events were passed on. */
  readonly afterSeq: number;
  /** True where graphs inside the run are followed too. */
  readonly subgraphs: boolean;
}

/** The run's committed events after a commit, in order. Throws `ResourceExhausted` where they are too many. */
export async function missedEvents(saver: Saver, gap: Gap): Promise<readonly RunEvent[]> {
  const { threadId, afterSeq, subgraphs } = gap;
  const namespaces = subgraphs ? await saver.namespaces({ threadId, afterSeq, limit: namespacesMax }) : [""];
  if (namespaces.length === namespacesMax) throw tooMany(`commits of more than ${namespacesMax} graphs`);
  const room = { checkpoints: gapMax, bytes: unreadBytesMax };
  const events: RunEvent[] = [];
  for (const ns of namespaces) await addMissed(saver, gap, ns, room, events);
  // Of one commit in the order in which they were made: a sort keeps that.
  return events.sort((a, b) => a.seq - b.seq);
}

async function addMissed(
  saver: Saver,
  gap: Gap,
  ns: string,
  room: { checkpoints: number; bytes: number },
  events: RunEvent[],
): Promise<void> {
  let before: string | undefined;
  let found = false;
  for (;;) {
    const query = { threadId: gap.threadId, ns, limit: pageMax };
    const page = await saver.list(before === undefined ? query : { ...query, before });
    for (const stored of page) {
      const { checkpoint } = stored;
      const own = checkpoint.runId === gap.runId;
      // Newest first: later runs of the thread, then this one's commits together, then what is older than it.
      if (checkpoint.seq <= gap.afterSeq || (!own && found)) return;
      if (--room.checkpoints < 0) throw tooMany(`more than ${gapMax} commits`);
      if (!own) continue;
      found = true;
      for (const event of eventsOf(stored, gap)) {
        room.bytes -= event.data.length + eventOverheadBytes;
        if (room.bytes < 0) throw tooMany(`over ${unreadBytesMax} bytes of events`);
        events.push(event);
      }
    }
    if (page.length < pageMax) return;
    before = page.at(-1)!.checkpoint.checkpointId;
  }
}

function tooMany(what: string): AgentmaticError {
  return new AgentmaticError("ResourceExhausted", `${what} were missed`);
}

function eventsOf({ checkpoint }: StoredCheckpoint, { runId, attempt, kinds }: Gap): RunEvent[] {
  const { seq, epoch, checkpointId, parentId, step, ns } = checkpoint;
  const place = { runId, attempt, epoch, seq, ns, node: "", taskId: "" };
  const events: RunEvent[] = [];
  const values = decodeValues(checkpoint);
  const { updates, source, next, sends } = decodeBody(checkpoint);
  if (kinds.includes("updates")) {
    for (const [node, data] of updatesOf(updates, values)) {
      events.push({ ...place, kind: "updates", node, data: encodeValue(data) });
    }
  }
  const wrote =
    updates === null || updates.some(([, last, folded, all]) => all ?? [...last, ...Object.keys(folded)].length > 0);
  if (kinds.includes("values") && (source !== "loop" || wrote)) {
    events.push({ ...place, kind: "values", data: encodeValue(values) });
  }
  if (kinds.includes("checkpoints")) {
    const told: ToldCheckpoint = { checkpointId, parentId, step, source, next, sends: nodesOf(sends), values };
    events.push({ ...place, kind: "checkpoints", data: encodeValue(told) });
  }
  return events;
}

/** What each task of the superstep wrote; where that could not be stored, an error in its place, as when it was sent. */
function updatesOf(
  updates: readonly StoredUpdate[] | null,
  values: Readonly<Record<string, unknown>>,
): [node: string, data: unknown][] {
  if (updates === null) {
    const message = "an update of this superstep cannot be stored, nor sent again";
    return [["", { error: { code: "StateNotSerializable", message } }]];
  }
  return updates.map(([node, last, folded, all]) => {
    if (all) return [node, all.map(([channel, value]) => ({ [channel]: value }))];
    return [node, { ...Object.fromEntries(last.map((channel) => [channel, values[channel]])), ...folded }];
  });
}
