/** The engine's part of a checkpoint: what is due next, and who wrote what. Read by the engine, and to replay events. */
import { AgentmaticError } from "../errors.ts";
import { decodeValue, encodeJson, jsonOf } from "./codec.ts";
import type { Checkpoint } from "./saver.ts";

export interface Packet {
  readonly node: string;
  readonly args: unknown;
}

/** `fork`: a run that starts from a checkpoint which is not the thread's current one. `update`: an edit from outside. */
export type Source = "input" | "loop" | "fork" | "update";

/**
 * What one task wrote: the names of the channels whose values stand in the checkpoint as they were written, and the
 * updates of the others, which only the reducer has seen. `all`: every write in order, of a task that wrote a channel
 * more than once; the other two are then empty.
 */
export type StoredUpdate = readonly [
  node: string,
  last: readonly string[],
  folded: Readonly<Record<string, unknown>>,
  all?: readonly (readonly [channel: string, value: unknown])[],
];

export interface CheckpointBody {
  readonly source: Source;
  /** Version of the graph that wrote it; absent in checkpoints of the first format. */
  readonly version?: string;
  /** Supersteps that the run has taken up to here. */
  readonly taken: number;
  readonly next: readonly string[];
  readonly sends: readonly Packet[];
  readonly joins: Readonly<Record<string, readonly string[]>>;
  /** Nodes that wait until nothing else is due. */
  readonly deferred?: readonly string[];
  /** In a subgraph with one line of checkpoints for all its calls: the task that called it. */
  readonly caller?: string;
  /** Wall-clock milliseconds: for people. */
  readonly atMs?: number;
  /** Null where an update is of a kind that cannot be stored (a function for a reducer, for instance). */
  readonly updates: readonly StoredUpdate[] | null;
}

/** What followers are told of a checkpoint; how it looks to a reader is for the reader's end to say. */
export interface ToldCheckpoint {
  readonly checkpointId: string;
  readonly parentId: string | null;
  readonly step: number;
  readonly source: Source;
  /** Nodes that are due, by name, and those of the single calls, in order. */
  readonly next: readonly string[];
  readonly sends: readonly string[];
  readonly values: Readonly<Record<string, unknown>>;
}

export function nodesOf(sends: readonly Packet[]): readonly string[] {
  return sends.map(({ node }) => node);
}

/** Throws `StateNotSerializable` for a packet that cannot be stored. */
export function encodeBody(body: CheckpointBody): Uint8Array {
  // Written by hand, as there is one for each superstep and `JSON.stringify` takes three times as long.
  const { source, version, taken, next, sends, joins, deferred, caller, atMs, updates } = body;
  let json = `{"source":${text(source)},"taken":${taken},"next":${texts(next)}`;
  json += `,"sends":${sends.length === 0 ? "[]" : jsonOf(sends, "next.sends")}`;
  json += `,"joins":${isEmpty(joins) ? "{}" : JSON.stringify(joins)}`;
  if (version !== undefined) json += `,"version":${text(version)}`;
  if (deferred !== undefined) json += `,"deferred":${texts(deferred)}`;
  if (caller !== undefined) json += `,"caller":${text(caller)}`;
  if (atMs !== undefined) json += `,"atMs":${atMs}`;
  return encodeJson(`${json},"updates":${updates ? updatesJson(updates) : "null"}}`, "next");
}

function updatesJson(updates: readonly StoredUpdate[]): string {
  try {
    return `[${updates.map(updateJson).join(",")}]`;
  } catch {
    return "null";
  }
}

function updateJson([node, last, folded, all]: StoredUpdate): string {
  const rest = isEmpty(folded) ? "{}" : jsonOf(folded, "updates");
  return `[${text(node)},${texts(last)},${rest}${all ? `,${jsonOf(all, "updates")}` : ""}]`;
}

function texts(names: readonly string[]): string {
  if (names.length === 1) return `[${text(names[0]!)}]`;
  return `[${names.map(text).join(",")}]`;
}

const needsNoEscape = /^[\w .:|#/-]*$/;

function text(name: string): string {
  return needsNoEscape.test(name) ? `"${name}"` : JSON.stringify(name);
}

function isEmpty(object: object): boolean {
  for (const _key in object) return false;
  return true;
}

/** Throws `DataLoss`. */
export function decodeBody(checkpoint: Pick<Checkpoint, "body" | "checkpointId">): CheckpointBody {
  const body = decodeValue(checkpoint.body) as Partial<CheckpointBody> | null;
  if (!body || !Array.isArray(body.next) || !Array.isArray(body.sends)) {
    throw new AgentmaticError("DataLoss", `checkpoint ${checkpoint.checkpointId}: its body is not one`);
  }
  return body as CheckpointBody;
}
