/**
 * A long list that changes a little at each step is stored as what changed: pieces on top of a full value. A piece is a
 * list of splices, so that it can be read by whoever has the bytes, whatever reducer made them, and pieces that follow
 * each other merge by concatenation.
 */
import { AgentmaticError } from "../errors.ts";
import { decodeValue, encodeValue } from "./codec.ts";

/** At `start`, `removed` items give way to `added`. */
export type Splice = readonly [start: number, removed: number, added: readonly unknown[]];

/**
 * What makes `after` of `before`, by identity of their items; undefined where hardly anything is left of it. Items in
 * `written` may have been changed in place and handed in again: they count as new.
 */
export function spliceBetween(
  before: readonly unknown[],
  after: readonly unknown[],
  written: ReadonlySet<unknown>,
): Splice | undefined {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  start = firstOf(written, after, start);
  let same = 0;
  const { length } = after;
  while (same < shorter - start && before[before.length - 1 - same] === after[length - 1 - same]) same++;
  same = length - 1 - lastOf(written, after, length - 1 - same);
  const added = after.length - start - same;
  // More than half new: the full value costs as much and reads faster.
  if (added * 2 > after.length) return undefined;
  return [start, before.length - start - same, after.slice(start, start + added)];
}

/** With more of them a look at each item is quicker than a search for each. */
const searchesMax = 8;

/** Where the first of them stands before `end`, or `end`. */
function firstOf(written: ReadonlySet<unknown>, list: readonly unknown[], end: number): number {
  let first = end;
  if (written.size > searchesMax) {
    first = list.findIndex((item, index) => index >= end || written.has(item));
    return first < 0 ? end : first;
  }
  for (const item of written) {
    const at = list.indexOf(item);
    if (at >= 0 && at < first) first = at;
  }
  return first;
}

/** Where the last of them stands after `start`, or `start`. */
function lastOf(written: ReadonlySet<unknown>, list: readonly unknown[], start: number): number {
  if (start === list.length - 1) return start;
  if (written.size > searchesMax) return list.findLastIndex((item, index) => index <= start || written.has(item));
  let last = start;
  for (const item of written) {
    const at = list.lastIndexOf(item);
    if (at > last) last = at;
  }
  return last;
}

/** Changes the list. */
export function applySplice(list: unknown[], [start, removed, added]: Splice): void {
  // Not all at once where they are many: a call takes a bounded number of arguments.
  if (start === list.length) for (const item of added) list.push(item);
  else list.splice(start, removed, ...added);
}

/** Splices in a row as fewer of them where one appends to the other. */
export function joined(splices: readonly Splice[]): Splice[] {
  const all: Splice[] = [];
  for (const next of splices) {
    const last = all.at(-1);
    if (last && next[1] === 0 && next[0] === last[0] + last[2].length) {
      all[all.length - 1] = [last[0], last[1], [...last[2], ...next[2]]];
    } else all.push(next);
  }
  return all;
}

/** Throws `StateNotSerializable` with the path. */
export function encodePiece(splices: readonly Splice[], path: string): Uint8Array {
  return encodeValue(splices, path);
}

/** Throws `DataLoss`. */
export function decodePiece(bytes: Uint8Array): readonly Splice[] {
  const splices = decodeValue(bytes);
  if (Array.isArray(splices) && splices.every(isSplice)) return splices as Splice[];
  throw new AgentmaticError("DataLoss", "a stored piece of a list is not one");
}

/** The value that a channel's full value and its pieces make together. Throws `DataLoss`. */
export function foldPieces(full: unknown, pieces: readonly (readonly Splice[])[]): unknown {
  if (pieces.length === 0) return full;
  if (!Array.isArray(full)) throw new AgentmaticError("DataLoss", "pieces of a list are stored, and no list");
  const list: unknown[] = [...(full as unknown[])];
  for (const piece of pieces) {
    for (const splice of piece) {
      const [start, removed] = splice;
      if (start + removed > list.length) throw new AgentmaticError("DataLoss", "a stored piece does not fit its list");
      applySplice(list, splice);
    }
  }
  return list;
}

function isSplice(value: unknown): boolean {
  if (!Array.isArray(value) || value.length !== 3 || !Array.isArray(value[2])) return false;
  return Number.isSafeInteger(value[0]) && value[0] >= 0 && Number.isSafeInteger(value[1]) && value[1] >= 0;
}
