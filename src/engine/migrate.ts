/** Brings a thread that another version of a graph has left to this one. */
import type { TaskWrites } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import type { Plan, StoredState } from "../graph/plan.ts";
import { isPromised } from "../policy/thrown.ts";
import { isPlainObject } from "../run/check.ts";
import { emptySnapshot, type Snapshot } from "./snapshot.ts";

/**
 * Throws `FailedPrecondition` where `migrate` throws, or gives back what this version cannot go on from; the thread then
 * stays as it is.
 */
export function migrated(plan: Plan, from: Snapshot, version: string): Snapshot {
  const { values, next, sends, joins, deferred } = from;
  const given: StoredState = { values, next, sends, joins, deferred };
  const refuse = (problem: string, cause?: unknown) => {
    const text = `graph "${plan.name}": migrate from version ${version} to ${plan.version}: ${problem}`;
    return new AgentmaticError("FailedPrecondition", text, cause === undefined ? {} : { cause });
  };
  let returned: Partial<StoredState>;
  try {
    returned = plan.migrate!(given, { from: version, to: plan.version });
  } catch (thrown) {
    throw refuse(`it threw: ${AgentmaticError.from(thrown).message}`, thrown);
  }
  isPromised(returned);
  if (!isPlainObject(returned) || !isPlainObject(returned.values) || !isNames(returned.next)) {
    throw refuse("it must return { values, next }, and no promise of it");
  }
  const all = { sends, joins, deferred, ...returned };
  if (!isNames(all.deferred)) throw refuse("deferred must be a list of node names");
  if (!Array.isArray(all.sends) || !all.sends.every(isPacket)) throw refuse("sends must be a list of { node, args }");
  if (!isPlainObject(all.joins) || !Object.values(all.joins).every(isNames)) {
    throw refuse("joins must be an object of lists of node names");
  }
  for (const name of Object.keys(returned.values)) {
    if (!plan.channels.has(name)) throw refuse(`values.${name} is no channel`);
  }
  const due = [...returned.next, ...all.sends.map(({ node }) => node), ...all.deferred];
  const unknown = due.find((name) => !plan.nodes.has(name));
  if (unknown !== undefined) throw refuse(`"${unknown}" is due, and is no node`);
  const keys = new Set(plan.joins.map(({ key }) => key));
  const lost = Object.keys(all.joins).find((key) => !keys.has(key));
  if (lost !== undefined) throw refuse(`joins["${lost}"] is half done, and there is no such join`);
  return {
    ...from,
    values: { ...emptySnapshot(plan).values, ...returned.values },
    next: [...returned.next],
    sends: all.sends,
    joins: all.joins,
    deferred: all.deferred,
  };
}

/** Ids of the tasks that were due, under the names of the version that planned them. */
export function tasksOf({ checkpointId, next, sends }: Snapshot, ns: string): ReadonlySet<string> {
  const prefix = ns === "" ? checkpointId : `${checkpointId}|${ns}`;
  return new Set([...next, ...sends.map(({ node }, index) => `${node}#${index}`)].map((name) => `${prefix}|${name}`));
}

/** What tasks did is in the channels of the version that ran them: they run again, with the keys that they had. */
export function current(writes: readonly TaskWrites[], outdated: ReadonlySet<string>): readonly TaskWrites[] {
  if (outdated.size === 0) return writes;
  return writes.filter(({ kind, taskId }) => kind !== "done" || !outdated.has(taskId));
}

function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((name) => typeof name === "string");
}

function isPacket(value: unknown): boolean {
  return isPlainObject(value) && typeof value.node === "string";
}
