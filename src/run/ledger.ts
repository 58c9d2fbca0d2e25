/** Changes to run records by compare-and-set. */
import { AgentmaticError } from "../errors.ts";
import { isTerminal, type RunRecord, type RunState } from "./record.ts";
import type { RunStore } from "./store.ts";

const triesMax = 20;

/**
 * Writes what `decide` makes of the record, deciding anew when it has changed meanwhile; undefined leaves it as it is.
 * A run that had ended before comes back as it is. Throws `NotFound`, and `Conflict` after `triesMax` changes by others.
 */
export async function changeRecord(
  store: RunStore,
  runId: string,
  decide: (record: RunRecord) => RunState | undefined,
): Promise<RunRecord> {
  for (let tries = 0; tries < triesMax; tries++) {
    const record = await store.getRun(runId);
    if (!record) throw new AgentmaticError("NotFound", `run ${runId} is not in the store`);
    if (isTerminal(record.state.status)) return record;
    const next = decide(record);
    if (!next) return record;
    try {
      return await store.updateRun(runId, next);
    } catch (thrown) {
      if (!AgentmaticError.is(thrown, "Conflict")) throw thrown;
    }
  }
  throw new AgentmaticError("Conflict", `run ${runId} changed ${triesMax} times while it was to be written`);
}
