/** The closed sets of names, and their numbers on the wire. A number without a name is refused, never guessed. */
import { invalid } from "../errors.ts";
import type { EventKind } from "../run/events.ts";
import type { RunKind, RunStatus } from "../run/record.ts";
import { EventKind as WireKind, RunStatus as WireStatus } from "./gen/agentmatic/v1/run_pb.ts";
import { RunKind as WireRunKind } from "./gen/agentmatic/v1/worker_pb.ts";

const statusNumbers: Readonly<Record<RunStatus, WireStatus>> = {
  queued: WireStatus.QUEUED,
  running: WireStatus.RUNNING,
  succeeded: WireStatus.SUCCEEDED,
  interrupted: WireStatus.INTERRUPTED,
  failed: WireStatus.FAILED,
  cancelled: WireStatus.CANCELLED,
  dead: WireStatus.DEAD,
};

const kindNumbers: Readonly<Record<EventKind, WireKind>> = {
  values: WireKind.VALUES,
  updates: WireKind.UPDATES,
  messages: WireKind.MESSAGES,
  custom: WireKind.CUSTOM,
  tasks: WireKind.TASKS,
  checkpoints: WireKind.CHECKPOINTS,
  retract: WireKind.RETRACT,
};

const runKindNumbers: Readonly<Record<RunKind, WireRunKind>> = {
  input: WireRunKind.INPUT,
  resume: WireRunKind.RESUME,
  update: WireRunKind.UPDATE,
};

const runKinds = byNumber(runKindNumbers);
const statuses = byNumber(statusNumbers);
const kinds = byNumber(kindNumbers);

export function statusToWire(status: RunStatus): WireStatus {
  return statusNumbers[status];
}

export function statusFromWire(field: string, status: WireStatus): RunStatus {
  return named(statuses, field, status);
}

export function kindToWire(kind: EventKind): WireKind {
  return kindNumbers[kind];
}

export function kindFromWire(field: string, kind: WireKind): EventKind {
  return named(kinds, field, kind);
}

export function runKindToWire(kind: RunKind): WireRunKind {
  return runKindNumbers[kind];
}

export function runKindFromWire(field: string, kind: WireRunKind): RunKind {
  return named(runKinds, field, kind);
}

function byNumber<Name extends string>(numbers: Readonly<Record<Name, number>>): ReadonlyMap<number, Name> {
  return new Map((Object.entries(numbers) as [Name, number][]).map(([name, number]) => [number, name]));
}

function named<Name>(names: ReadonlyMap<number, Name>, field: string, number: number): Name {
  const name = names.get(number);
  if (name === undefined) throw invalid(field, number === 0 ? "is not set" : `has the unknown value ${number}`);
  return name;
}
