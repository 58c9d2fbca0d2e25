/** What every saver checks of a commit's pieces before it writes them. */
import { AgentmaticError, invalid } from "../errors.ts";
import type { Changed } from "./pack.ts";
import { type EncodedValues, type NewCheckpoint, piecesMax } from "./saver.ts";

/** `InvalidArgument` naming the channel for lists that could not be read back; undefined where all is well. */
export function checkPieces(
  { values, versions, deltas = {}, changes = {} }: NewCheckpoint,
  seq: number,
): AgentmaticError | undefined {
  for (const [channel, seqs] of Object.entries(deltas)) {
    const field = `deltas.${channel}`;
    const version = Object.hasOwn(versions, channel) ? versions[channel]! : 0;
    if (seqs.length === 0 || seqs.length > piecesMax) return invalid(field, `must name 1 to ${piecesMax} commits`);
    for (let index = 0; index < seqs.length; index++) {
      const at = seqs[index]!;
      const after = index === 0 ? version : seqs[index - 1]!;
      if (!Number.isSafeInteger(at) || at <= after || at > seq)
        return invalid(field, "must name commits in their order");
    }
    if (seqs.at(-1) === seq && !Object.hasOwn(changes, channel))
      return invalid(field, "names this commit, which has no piece of it");
  }
  for (const channel of Object.keys(changes)) {
    if (Object.hasOwn(values, channel)) return invalid(`changes.${channel}`, "stands beside a full value");
    const seqs = Object.hasOwn(deltas, channel) ? deltas[channel]! : [];
    if (seqs.at(-1) !== seq) return invalid(`changes.${channel}`, "must be the last piece of its channel");
  }
  return undefined;
}

/** What a row's `versions` column holds: the versions alone, as in the first format, or with the pieces' commits. */
export function versionsJson({ versions, deltas }: Pick<NewCheckpoint, "versions" | "deltas">): unknown {
  return deltas ? [versions, deltas] : versions;
}

export interface Versions {
  readonly versions: Readonly<Record<string, number>>;
  readonly deltas?: Readonly<Record<string, readonly number[]>>;
}

export function readVersions(json: unknown): Versions {
  if (!Array.isArray(json)) return { versions: json as Versions["versions"] };
  return { versions: json[0] as Versions["versions"], deltas: json[1] as NonNullable<Versions["deltas"]> };
}

/** Every commit that a checkpoint's values and pieces lie in. */
export function sourcesOf({ versions, deltas = {} }: Versions): Set<number> {
  return new Set([...Object.values(versions), ...Object.values(deltas).flat()]);
}

/** A checkpoint's values and pieces from the commits that wrote them. Throws `DataLoss` where one is missing. */
export function gathered(
  threadId: string,
  { versions, deltas = {} }: Versions,
  commit: (seq: number) => Changed | undefined,
): { readonly values: EncodedValues; readonly pieces: Readonly<Record<string, readonly Uint8Array[]>> } {
  const part = (seq: number, channel: string, kind: "values" | "changes"): Uint8Array => {
    const from = commit(seq)?.[kind];
    if (from && Object.hasOwn(from, channel)) return from[channel]!;
    const what = kind === "values" ? "" : "a piece of ";
    throw new AgentmaticError("DataLoss", `thread ${threadId}: ${what}channel ${channel} of commit ${seq} is missing`);
  };
  // From entries, not by assignment: a channel may be called `__proto__`.
  const values = Object.entries(versions).map(([channel, seq]) => [channel, part(seq, channel, "values")] as const);
  const pieces = Object.entries(deltas).map(
    ([channel, seqs]) => [channel, seqs.map((seq) => part(seq, channel, "changes"))] as const,
  );
  return { values: Object.fromEntries(values), pieces: Object.fromEntries(pieces) };
}
