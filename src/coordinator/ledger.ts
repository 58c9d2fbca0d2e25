/** Changes to run records by compare-and-set. */
import type { Saver } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import { isTerminal, type RunRecord, type RunState } from "../run/record.ts";

const triesMax = 20;

/**
 * Writes what `decide` makes of the record, deciding anew when it has changed meanwhile. Undefined where the run had
 * ended before. Throws `NotFound`, and `Conflict` after `triesMax` changes by others.
 */
export async function changeRecord(
  saver: Saver,
  runId: string,
  decide: (record: RunRecord) => RunState,
): Promise<RunRecord | undefined> {
  for (let tries = 0; tries < triesMax; tries++) {
    const record = await saver.getRun(runId);
    if (!record) throw new AgentmaticError("NotFound", `run ${runId} is not in the store`);
    if (isTerminal(record.state.status)) return undefined;
    try {
      return await saver.updateRun(runId, decide(record));
    } catch (thrown) {
      if (!AgentmaticError.is(thrown, "Conflict")) throw thrown;
    }
  }
  throw new AgentmaticError("Conflict", `run ${runId} changed ${triesMax} times while it was to be written`);
}
