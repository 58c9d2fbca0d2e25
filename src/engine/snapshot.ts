/** The state of a thread at a superstep boundary, in memory and as a checkpoint. */
import { decodeBody, encodeBody, type Packet, type Source, type StoredUpdate } from "../checkpoint/body.ts";
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import type { Checkpoint, NewCheckpoint } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import type { Plan } from "../graph/plan.ts";

/** Never changed in place: each superstep makes a new one. */
export interface Snapshot {
  /** "" before a thread's first checkpoint. */
  readonly checkpointId: string;
  readonly step: number;
  readonly values: Readonly<Record<string, unknown>>;
  /** For every channel with a value, the number of the commit that wrote it. */
  readonly versions: Readonly<Record<string, number>>;
  /** Nodes due in the next superstep, by name. */
  readonly next: readonly string[];
  /** Single calls due in the next superstep, in order. */
  readonly sends: readonly Packet[];
  /** By a join's key: those of its sources that have finished since it last fired. */
  readonly joins: Readonly<Record<string, readonly string[]>>;
}

/** Before anything is known of the thread. */
export const nothing: Snapshot = {
  checkpointId: "",
  step: -1,
  values: {},
  versions: {},
  next: [],
  sends: [],
  joins: {},
};

export function emptySnapshot(plan: Plan): Snapshot {
  const values: Record<string, unknown> = {};
  for (const [name, channel] of plan.channels)
    if (channel.initial) values[name] = initialOf(plan, name, channel.initial);
  return { checkpointId: "", step: -1, values, versions: {}, next: [], sends: [], joins: {} };
}

function initialOf(plan: Plan, name: string, initial: () => unknown): unknown {
  try {
    return initial();
  } catch (thrown) {
    const message = `graph "${plan.name}": the default of channel "${name}" threw: ${AgentmaticError.from(thrown).message}`;
    throw new AgentmaticError("InvalidGraph", message, { cause: thrown, details: { channel: name } });
  }
}

/** A function of run and step alone, so that a second owner writes the same id (P10). */
export function checkpointIdOf(runId: string, step: number): string {
  return `${runId}.${step}`;
}

export interface CheckpointFields {
  readonly ns: string;
  readonly parentId: string | null;
  readonly runId: string;
  readonly changed: Iterable<string>;
  readonly source: Source;
  readonly taken: number;
  readonly updates: readonly StoredUpdate[];
}

/** Throws `StateNotSerializable` with the path of the value that cannot be stored. */
export function toCheckpoint(snapshot: Snapshot, fields: CheckpointFields): NewCheckpoint {
  const { next, sends, joins, step, checkpointId, versions } = snapshot;
  const values: Record<string, Uint8Array> = {};
  for (const name of fields.changed) values[name] = encodeValue(snapshot.values[name], name);
  return {
    ns: fields.ns,
    checkpointId,
    parentId: fields.parentId,
    runId: fields.runId,
    step,
    versions,
    values,
    body: encodeBody({ source: fields.source, taken: fields.taken, next, sends, joins, updates: fields.updates }),
  };
}

export function fromCheckpoint(plan: Plan, checkpoint: Checkpoint): Snapshot {
  const { next, sends, joins } = decodeBody(checkpoint);
  const values: Record<string, unknown> = { ...emptySnapshot(plan).values };
  for (const [name, bytes] of Object.entries(checkpoint.values)) {
    if (plan.channels.has(name)) values[name] = decodeValue(bytes);
  }
  const { checkpointId, step, versions } = checkpoint;
  return { checkpointId, step, values, versions, next, sends, joins };
}
