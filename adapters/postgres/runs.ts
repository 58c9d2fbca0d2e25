/** The run half of the store: admission, records, members. */

import { checkLimit } from "../../src/checkpoint/memory.ts";
import { AgentmaticError } from "../../src/errors.ts";
import { type RunRecord, type RunState, type RunStatus, terminalStatuses } from "../../src/run/record.ts";
import {
  type Admission,
  type Admitted,
  type Member,
  membersMax,
  type RunQuery,
  runQueryMax,
} from "../../src/run/store.ts";
import type { AdmitBatcher } from "./batches.ts";
import { admitEntry } from "./entries.ts";
import { byteLiteral, checkText, textArray } from "./literals.ts";
import { afterRecord, encodeJson, toRecord } from "./rows.ts";
import type { Store } from "./store.ts";

/** How often a statement is issued again that found what others had changed while it waited. */
export const againMax = 64;
/** How often an admission may meet another one of the same id that is just being written. */
const admitTriesMax = 3;

const statuses: readonly RunStatus[] = ["queued", "running", ...terminalStatuses];

export async function admit(store: Store, admits: AdmitBatcher, admission: Admission): Promise<Admitted> {
  const { runId, threadId, inputHash } = admission.spec;
  await store.checkIds({ threadId, runId });
  const entry = admitEntry(admission);
  for (let tries = 1; ; tries++) {
    try {
      const record = await admits.add(entry);
      if (record) return { record, created: true };
      break;
    } catch (error) {
      // Somebody is admitting the same id: once that is written it is found below.
      if (!isKeyTaken(error) || tries === admitTriesMax) throw error;
    }
  }
  const existing = await getRun(store, runId);
  if (existing) return admitted(inputHash, existing);
  throw new AgentmaticError("ThreadBusy", `thread ${threadId} has a run that is not finished`);
}

function isKeyTaken(error: unknown): boolean {
  return AgentmaticError.is(error) && error.details.sqlstate === "23505";
}

function admitted(inputHash: string, record: RunRecord): Admitted {
  if (record.spec.inputHash === inputHash) return { record, created: false };
  throw new AgentmaticError("AlreadyExists", `runId: ${record.spec.runId} was admitted with another input`);
}

export async function getRun(store: Store, runId: string): Promise<RunRecord | undefined> {
  await store.checkIds({ runId });
  const [row] = await store.client.run(store.statements.getRun, [runId]);
  return row && toRecord(row);
}

export async function listRuns(store: Store, query: RunQuery): Promise<readonly RunRecord[]> {
  checkLimit(query.limit, runQueryMax);
  await store.ready();
  const { threadId } = query;
  const parameters = [
    query.after ?? "",
    query.coordinator ?? null,
    query.notCoordinator ?? null,
    textArray([...new Set(query.statuses ?? statuses)]),
    query.limit,
  ];
  const rows =
    threadId === undefined
      ? await store.client.run(store.statements.listRuns, parameters)
      : await store.client.run(store.statements.listThreadRuns, [...parameters, threadId]);
  return rows.map(toRecord);
}

export async function updateRun(store: Store, runId: string, next: RunState): Promise<RunRecord> {
  await store.checkIds({ runId });
  const parameters = stateParameters(runId, next);
  let lost = false;
  const onLost = () => {
    lost = true;
  };
  for (let tries = 0; tries < againMax; tries++) {
    const [row] = await store.client.run(store.statements.updateRun, parameters, { onLost });
    if (!row) throw new AgentmaticError("NotFound", `run ${runId} is not in the store`);
    const verdict = row[afterRecord];
    if (verdict === "again") continue;
    const record = toRecord(row);
    // A change whose answer was lost is found as it was written (P7).
    if (verdict === "ok" || (lost && sameState(record.state, next))) return record;
    throw new AgentmaticError("Conflict", `run ${runId} changed: it is at revision ${record.state.revision}`);
  }
  throw new AgentmaticError("Unavailable", `run ${runId}: others changed its thread ${againMax} times meanwhile`);
}

/** Without the lease: that belongs to the worker that renews it, whatever a coordinator read before. */
function stateParameters(runId: string, next: RunState): (string | number | boolean | null)[] {
  for (const field of ["owner", "coordinator", "base"] as const) checkText(field, next[field] ?? "");
  return [
    runId,
    next.status,
    next.revision,
    next.attempt,
    next.poison,
    next.owner,
    next.coordinator,
    next.claimSeq,
    next.base !== undefined,
    next.base ?? null,
    next.cancelRequested,
    next.outcome && byteLiteral(encodeJson(next.outcome)),
    byteLiteral(encodeJson(next.history)),
  ];
}

function sameState(found: RunState, next: RunState): boolean {
  return JSON.stringify(stateParameters("", found)) === JSON.stringify(stateParameters("", next));
}

export async function beat(store: Store, memberId: string): Promise<number> {
  checkText("memberId", memberId);
  await store.ready();
  const [row] = await store.client.run(store.statements.beat, [memberId, membersMax], { urgent: true });
  return Number(row?.[0]);
}

export async function members(store: Store): Promise<readonly Member[]> {
  await store.ready();
  const rows = await store.client.run(store.statements.members, []);
  return rows.map(([id, count]) => ({ id: String(id), beat: Number(count) }));
}

export async function removeMember(store: Store, memberId: string): Promise<void> {
  checkText("memberId", memberId);
  await store.ready();
  await store.client.run(store.statements.removeMember, [memberId]);
}
