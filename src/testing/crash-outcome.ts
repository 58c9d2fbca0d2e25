/** What came of a thread, and where two of them differ. */
import type { Saver } from "../checkpoint/saver.ts";
import type { Plan } from "../graph/plan.ts";
import { readSnapshot } from "../local/snapshot.ts";
import { same, show } from "./assert.ts";

export interface CheckpointOutcome {
  readonly step: number;
  readonly source: string;
  readonly next: readonly string[];
  readonly values: unknown;
}

export interface Outcome {
  /** Of the last run. */
  readonly status: string;
  readonly code: string | undefined;
  readonly values: unknown;
  /** What it waits with. */
  readonly questions: readonly unknown[];
  /** Of the root graph, oldest first. */
  readonly checkpoints: readonly CheckpointOutcome[];
  readonly effects?: unknown;
}

const page = 500;

/** The thread's line of checkpoints, from the newest back. */
export async function readCheckpoints(plan: Plan, saver: Saver, threadId: string): Promise<CheckpointOutcome[]> {
  const all: CheckpointOutcome[] = [];
  for (let before: string | undefined; ; ) {
    const stored = await saver.list({ threadId, ns: "", limit: page, ...(before === undefined ? {} : { before }) });
    for (const one of stored) {
      const { step, source, next, tasks, values } = await readSnapshot(plan, one);
      // All that were due: which of them had been stored one by one is a matter of who was last.
      all.unshift({ step, source, next: tasks.length > 0 ? tasks.map(({ name }) => name) : next, values });
    }
    before = stored.at(-1)?.checkpoint.checkpointId;
    if (before === undefined || stored.length < page) return all;
  }
}

/** In words, what the first differs in: "… is 1, and 2"; undefined where they are the same. */
export function difference(one: Outcome, other: Outcome): string | undefined {
  const told = (what: string, a: unknown, b: unknown) => `${what} is ${show(a)}, and ${show(b)}`;
  if (one.status !== other.status || one.code !== other.code) {
    return told("its status", [one.status, one.code ?? ""].join(" "), [other.status, other.code ?? ""].join(" "));
  }
  const at = pathOf(one.values, other.values);
  if (at) return told(`${["its state", ...at.path].join(".")}`, at.one, at.other);
  if (!same(one.questions, other.questions)) return told("what it asks", one.questions, other.questions);
  const effects = pathOf(one.effects, other.effects);
  if (effects) return told(["what effects() gives", ...effects.path].join("."), effects.one, effects.other);
  if (one.checkpoints.length !== other.checkpoints.length) {
    return told("its count of checkpoints", one.checkpoints.length, other.checkpoints.length);
  }
  for (const [index, checkpoint] of one.checkpoints.entries()) {
    const step = pathOf(checkpoint, other.checkpoints[index]);
    if (step) return told([`its checkpoint ${checkpoint.step}`, ...step.path].join("."), step.one, step.other);
  }
  return undefined;
}

interface Difference {
  readonly path: readonly string[];
  readonly one: unknown;
  readonly other: unknown;
}

/** The first place at which they differ; undefined where they do not. */
function pathOf(one: unknown, other: unknown): Difference | undefined {
  if (same(one, other)) return undefined;
  if (!isBag(one) || !isBag(other) || Array.isArray(one) !== Array.isArray(other)) return { path: [], one, other };
  for (const key of new Set([...Object.keys(one), ...Object.keys(other)])) {
    const inner = pathOf(one[key], other[key]);
    if (inner) return { ...inner, path: [key, ...inner.path] };
  }
  return { path: [], one, other };
}

function isBag(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || Array.isArray(value);
}
