/** The state of a graph at a superstep boundary, in memory. `ledger.ts` brings it into checkpoints. */
import type { Packet } from "../checkpoint/body.ts";
import { AgentmaticError } from "../errors.ts";
import { END, type Plan } from "../graph/plan.ts";
import { isPromised } from "../policy/thrown.ts";
import type { Values } from "./state.ts";

/** Never changed in place: each superstep makes a new one. */
export interface Snapshot {
  /** "" before a thread's first checkpoint. */
  readonly checkpointId: string;
  readonly step: number;
  readonly values: Values;
  /** Nodes due in the next superstep, by name. */
  readonly next: readonly string[];
  /** Single calls due in the next superstep, in order. */
  readonly sends: readonly Packet[];
  /** By a join's key: those of its sources that have finished since it last fired. */
  readonly joins: Readonly<Record<string, readonly string[]>>;
  /** Nodes that wait until nothing else is due. */
  readonly deferred: readonly string[];
}

/** Before anything is known of the thread. */
export const nothing: Snapshot = {
  checkpointId: "",
  step: -1,
  values: {},
  next: [],
  sends: [],
  joins: {},
  deferred: [],
};

export function emptySnapshot(plan: Plan): Snapshot {
  const values: Record<string, unknown> = {};
  for (const [name, channel] of plan.channels)
    if (channel.initial) values[name] = initialOf(plan, name, channel.initial);
  return { ...nothing, values };
}

function initialOf(plan: Plan, name: string, initial: () => unknown): unknown {
  try {
    const value = initial();
    if (isPromised(value)) throw new AgentmaticError("InvalidGraph", "it gave a promise, and must answer at once");
    return value;
  } catch (thrown) {
    const message = `graph "${plan.name}": the default of channel "${name}" threw: ${AgentmaticError.from(thrown).message}`;
    throw new AgentmaticError("InvalidGraph", message, { cause: thrown, details: { channel: name } });
  }
}

/** The part of the state that callers get. */
export function outputOf(plan: Plan, values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (!plan.output) return values;
  return Object.fromEntries(
    plan.output.filter((name) => Object.hasOwn(values, name)).map((name) => [name, values[name]]),
  );
}

/** The same as callers see it: of a functional graph its one value. */
export function shownOf(plan: Plan, values: Readonly<Record<string, unknown>>): unknown {
  return plan.functional ? values[END] : outputOf(plan, values);
}

/** A function of run and step alone, so that a second owner writes the same id (P10). */
export function checkpointIdOf(runId: string, step: number): string {
  return `${runId}.${step}`;
}
