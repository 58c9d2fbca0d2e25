/**
 * What the store has of a graph's channels, and what the next checkpoint must therefore write: a full value, a piece of
 * a long list, or nothing.
 */
import { decodeBody, encodeBody, type Source, type StoredUpdate } from "../checkpoint/body.ts";
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import type { Checkpoint, NewCheckpoint } from "../checkpoint/saver.ts";
import {
  applySplice,
  decodePiece,
  encodePiece,
  foldPieces,
  joined,
  type Splice,
  spliceBetween,
} from "../checkpoint/splice.ts";
import { isOverwrite } from "../graph/command.ts";
import type { Plan } from "../graph/plan.ts";
import { migrated, tasksOf } from "./migrate.ts";
import { emptySnapshot, type Snapshot } from "./snapshot.ts";
import type { TaskResult } from "./step.ts";

interface Piece {
  readonly seq: number;
  /** How often it was merged. */
  readonly level: number;
  readonly bytes: Uint8Array;
}

interface Entry {
  /** The commit with the full value. */
  readonly version: number;
  readonly fullBytes: number;
  readonly pieces: readonly Piece[];
  readonly pieceBytes: number;
  /** Of a list: the items that were stored last, in a list of their own, as reducers may push to the state's. */
  readonly items?: unknown[];
}

/** Values below this size are stored whole: one read is worth more than the bytes. */
const wholeBytesMax = 2_048;
/** So many pieces of one level become one of the next: reading folds at most this many for each level. */
const mergeAt = 32;
const levelMax = 3;
/** Pieces may grow to this many times the full value, and this much, before the value is written whole again. */
const growthMax = 4;
const growthBytes = 1_048_576;
/** Pieces of one channel, whatever their levels; the store's own bound is above it. */
const piecesMax = 192;

export interface CheckpointFields {
  readonly ns: string;
  readonly parentId: string | null;
  readonly runId: string;
  readonly changed: ReadonlySet<string>;
  /** Objects that nodes have written since the last checkpoint, items of lists one by one. */
  readonly written: ReadonlySet<unknown>;
  readonly source: Source;
  readonly taken: number;
  readonly updates: readonly StoredUpdate[];
  readonly caller?: string;
  readonly atMs: number;
}

export interface Loaded {
  readonly snapshot: Snapshot;
  /** Channels whose value the store does not have like this. */
  readonly changed: ReadonlySet<string>;
  /** Tasks whose stored results are of another version's channels. */
  readonly outdated: ReadonlySet<string>;
}

const nothingElse: ReadonlySet<string> = new Set();

export class Ledger {
  readonly #plan: Plan;
  readonly #entries: Map<string, Entry> = new Map();

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /**
   * The checkpoint that brings the store from what it has to `snapshot`, as commit `seq`; takes it for written. Throws
   * `StateNotSerializable` with the path of the value that cannot be stored.
   */
  checkpoint(snapshot: Snapshot, seq: number, fields: CheckpointFields): NewCheckpoint {
    const values: Record<string, Uint8Array> = {};
    const changes: Record<string, Uint8Array> = {};
    for (const name of fields.changed) this.#write(name, snapshot.values, fields.written, seq, values, changes);
    const versions: Record<string, number> = {};
    let deltas: Record<string, readonly number[]> | undefined;
    for (const [name, entry] of this.#entries) {
      versions[name] = entry.version;
      if (entry.pieces.length === 0) continue;
      deltas ??= {};
      deltas[name] = entry.pieces.map((piece) => piece.seq);
    }
    const { next, sends, joins, deferred, step, checkpointId } = snapshot;
    const { source, taken, updates, caller, atMs } = fields;
    const { version } = this.#plan;
    const waiting = deferred.length > 0 ? deferred : undefined;
    const body = encodeBody({ source, version, taken, next, sends, joins, deferred: waiting, caller, atMs, updates });
    const { ns, parentId, runId } = fields;
    const whole = { ns, checkpointId, parentId, runId, step, versions, values, body };
    if (!deltas) return whole;
    return Object.keys(changes).length > 0 ? { ...whole, deltas, changes } : { ...whole, deltas };
  }

  /** The snapshot of a stored checkpoint, migrated where another version of the graph wrote it. */
  load(checkpoint: Checkpoint): Loaded {
    const plan = this.#plan;
    const body = decodeBody(checkpoint);
    const migrates = plan.migrate !== undefined && body.version !== undefined && body.version !== plan.version;
    const values: Record<string, unknown> = migrates ? {} : { ...emptySnapshot(plan).values };
    this.#entries.clear();
    for (const [name, bytes] of Object.entries(checkpoint.values)) {
      if (!plan.channels.has(name) && !migrates) continue;
      // By what is its own: a channel may have the name of what every object has, such as "constructor".
      const pieces = Object.hasOwn(checkpoint.pieces, name) ? checkpoint.pieces[name]! : [];
      values[name] = foldPieces(decodeValue(bytes), pieces.map(decodePiece));
      this.#entries.set(name, loaded(name, checkpoint, bytes.length, pieces, values[name]));
    }
    const { next, sends, joins, deferred = [] } = body;
    const { checkpointId, step } = checkpoint;
    const snapshot: Snapshot = { checkpointId, step, values, next, sends, joins, deferred };
    if (!migrates) return { snapshot, changed: nothingElse, outdated: nothingElse };
    const now = migrated(plan, snapshot, body.version ?? "");
    // All of it is written with the next checkpoint.
    this.#entries.clear();
    return { snapshot: now, changed: new Set(Object.keys(now.values)), outdated: tasksOf(snapshot, checkpoint.ns) };
  }

  #write(
    name: string,
    state: Readonly<Record<string, unknown>>,
    written: ReadonlySet<unknown>,
    seq: number,
    values: Record<string, Uint8Array>,
    changes: Record<string, Uint8Array>,
  ): void {
    const kind = this.#plan.channels.get(name)?.kind;
    if (kind === "untracked") return;
    if (!Object.hasOwn(state, name)) {
      this.#entries.delete(name);
      return;
    }
    const value = state[name];
    const before = this.#entries.get(name);
    // A node that writes a whole list may have changed any item of it: only what a reducer made is compared by identity.
    const folds = kind === "reduce" || kind === "topic";
    const piece = folds && before && Array.isArray(value) ? this.#pieceFor(name, before, value, written) : undefined;
    if (before && piece) {
      const { entry, bytes } = grown(before, piece, seq, name);
      for (const splice of piece.splices) applySplice(before.items!, splice);
      this.#entries.set(name, entry);
      changes[name] = bytes;
      return;
    }
    const bytes = encodeValue(value, name);
    values[name] = bytes;
    const items = folds && Array.isArray(value) ? { items: value.slice() } : {};
    this.#entries.set(name, { version: seq, fullBytes: bytes.length, pieces: [], pieceBytes: 0, ...items });
  }

  #pieceFor(
    name: string,
    before: Entry,
    value: readonly unknown[],
    written: ReadonlySet<unknown>,
  ): { splices: readonly Splice[]; bytes: Uint8Array } | undefined {
    if (!before.items) return undefined;
    if (before.fullBytes + before.pieceBytes < wholeBytesMax || before.pieces.length >= piecesMax) return undefined;
    const splice = spliceBetween(before.items, value, written);
    if (!splice) return undefined;
    const bytes = encodePiece([splice], name);
    if (before.pieceBytes + bytes.length > before.fullBytes * growthMax + growthBytes) return undefined;
    return { splices: [splice], bytes };
  }
}

/** The objects of a task's updates, items of lists one by one. */
export function addWritten({ updates }: Pick<TaskResult, "updates">, to: Set<unknown>): void {
  for (const [, update] of updates) {
    const value = isOverwrite(update) ? update.__overwrite__ : update;
    if (!Array.isArray(value)) add(value, to);
    else for (const item of value) add(item, to);
  }
}

function add(value: unknown, to: Set<unknown>): void {
  if (typeof value === "object" && value !== null) to.add(value);
}

/** The entry with one more piece, merged with the ones before it where there are enough of its level. */
function grown(
  before: Entry,
  piece: { readonly splices: readonly Splice[]; readonly bytes: Uint8Array },
  seq: number,
  name: string,
): { entry: Entry; bytes: Uint8Array } {
  let pieces: readonly Piece[] = before.pieces;
  let { bytes } = piece;
  let level = 0;
  for (; level < levelMax; level++) {
    const tail = pieces.slice(-(mergeAt - 1));
    if (tail.length < mergeAt - 1 || tail.some((one) => one.level !== level)) break;
    bytes = encodePiece(joined([...tail.flatMap((one) => decodePiece(one.bytes)), ...decodePiece(bytes)]), name);
    pieces = pieces.slice(0, -(mergeAt - 1));
  }
  const all = [...pieces, { seq, level, bytes }];
  const pieceBytes = all.reduce((sum, one) => sum + one.bytes.length, 0);
  return { entry: { ...before, pieces: all, pieceBytes }, bytes };
}

function loaded(
  name: string,
  checkpoint: Checkpoint,
  fullBytes: number,
  pieces: readonly Uint8Array[],
  value: unknown,
): Entry {
  const seqs = pieces.length > 0 ? checkpoint.deltas![name]! : [];
  // How often each was merged is not stored: told by its size against the smallest it will do for the next merge.
  const all = pieces.map((bytes, index): Piece => ({ seq: seqs[index]!, level: levelOf(bytes), bytes }));
  const pieceBytes = all.reduce((sum, one) => sum + one.bytes.length, 0);
  const items = Array.isArray(value) ? { items: value.slice() } : {};
  return { version: checkpoint.versions[name]!, fullBytes, pieces: all, pieceBytes, ...items };
}

/** By the items that it brings: a piece of one step brings few. */
function levelOf(bytes: Uint8Array): number {
  const items = decodePiece(bytes).reduce((sum, [, , added]) => sum + Math.max(1, added.length), 0);
  let level = 0;
  for (let size = mergeAt; items >= size && level < levelMax; size *= mergeAt) level++;
  return level;
}
