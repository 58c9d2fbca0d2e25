import { type CompiledGraph, decodeValue, type Saver } from "agentmatic";
import type { TriageChannels, TriageState } from "./graph.ts";
import type { Outcome } from "./report.ts";

/** Threads that are read at once. */
const READERS = 8;

/** The ids of one job's runs, one thread a run: a store may hold those of earlier jobs too. */
export class Ids {
  readonly #prefix: string;

  constructor(jobId: string) {
    this.#prefix = `mail-${jobId}-`;
  }

  run(index: number): string {
    return `${this.#prefix}${index}`;
  }

  thread(index: number): string {
    return `${this.#prefix}thread-${index}`;
  }

  owns(runId: string): boolean {
    return runId.startsWith(this.#prefix);
  }
}

/** Reads back from the store how each mail's run ended, after the job and past whatever anybody reported of it. */
export async function readOutcomes(
  graph: CompiledGraph<TriageChannels>,
  saver: Saver,
  mails: readonly number[],
  ids: Ids,
): Promise<Map<string, Outcome>> {
  const outcomes = new Map<string, Outcome>();
  const rest = mails.values();
  const reader = async () => {
    for (const index of rest) outcomes.set(ids.run(index), await readOutcome(graph, saver, index, ids));
  };
  await Promise.all(Array.from({ length: READERS }, reader));
  return outcomes;
}

async function readOutcome(
  graph: CompiledGraph<TriageChannels>,
  saver: Saver,
  index: number,
  ids: Ids,
): Promise<Outcome> {
  const record = await saver.getRun(ids.run(index));
  const state = await graph.getState({ threadId: ids.thread(index) });
  return outcome(record?.state.status ?? null, state?.values);
}

/** What a worker sent when the run ended: all there is where its state lives in that worker's memory. */
export function endOutcome(status: string, values: Uint8Array | undefined): Outcome {
  return outcome(status, values === undefined ? undefined : (decodeValue(values) as TriageState));
}

function outcome(status: string | null, values: Partial<TriageState> | undefined): Outcome {
  return { status, trail: values?.trail ?? [], label: values?.verdict?.label ?? null };
}
