/** Run records: each function is one step inside a transaction, and checks before it writes. */

import type { Claim, ClaimRequest, RenewRequest, RenewResult, RunFinish } from "../../src/checkpoint/saver.ts";
import { readSpec, specJson } from "../../src/checkpoint/spec-json.ts";
import { AgentmaticError } from "../../src/errors.ts";
import { isTerminal, type RunRecord, type RunState, type RunStatus } from "../../src/run/record.ts";
import type { Admission, Admitted, RunQuery } from "../../src/run/store.ts";
import { initialState } from "../../src/run/transitions.ts";
import type { Session } from "./connection.ts";
import {
  countUpLease,
  giveTicket,
  insertRun,
  insertSpec,
  raiseEpoch,
  releaseThread,
  selectCancel,
  selectRunById,
  selectRuns,
  updateState,
} from "./statements.ts";
import { fencedOut, findThread, headOf, holds, makeThread } from "./threads.ts";

interface RunRow {
  readonly id: number;
  readonly thread: number;
  readonly ticket: number;
  readonly lease: number;
  readonly state: string;
  readonly spec: string;
  readonly input: Uint8Array;
  readonly active: number;
  readonly seq: number;
}

interface StoredRun {
  readonly id: number;
  readonly thread: number;
  readonly record: RunRecord;
}

export function findRun(session: Session, runId: string): StoredRun | undefined {
  const row = session.sql<RunRow>(selectRunById).get(runId);
  return row && { id: row.id, thread: row.thread, record: recordOf(row) };
}

export function admit(session: Session, { spec, coordinator, whenBusy }: Admission): Admitted {
  const existing = findRun(session, spec.runId)?.record;
  if (existing) {
    if (existing.spec.inputHash === spec.inputHash) return { record: existing, created: false };
    throw new AgentmaticError("AlreadyExists", `runId: ${spec.runId} was admitted with another input`);
  }
  const found = findThread(session, spec.threadId);
  if (found && found.active !== null && whenBusy === "reject") {
    throw new AgentmaticError("ThreadBusy", `thread ${spec.threadId} has the active run ${found.active}`);
  }
  const thread = found ?? makeThread(session, spec.threadId);
  const ticket = thread.tickets + 1;
  session.sql(giveTicket).run(ticket, spec.runId, thread.id);
  const state = initialState(coordinator);
  session
    .sql(insertRun)
    .run(
      spec.runId,
      thread.id,
      ticket,
      ...stateColumns(state),
      state.lease,
      Number(state.cancelRequested),
      stateText(state),
    );
  session.sql(insertSpec).run(JSON.stringify(specJson(spec)), spec.input, spec.runId);
  return { record: findRun(session, spec.runId)!.record, created: true };
}

export function updateRun(session: Session, runId: string, next: RunState): RunRecord {
  const run = findRun(session, runId);
  if (!run) throw new AgentmaticError("NotFound", `run ${runId} is not in the store`);
  const { state } = run.record;
  if (isTerminal(state.status) || state.revision !== next.revision - 1) {
    throw new AgentmaticError("Conflict", `run ${runId} changed: it is at revision ${state.revision}`);
  }
  writeState(session, run.id, next);
  if (isTerminal(next.status)) release(session, run, true);
  return findRun(session, runId)!.record;
}

export function claim(session: Session, request: ClaimRequest): Claim {
  const thread = findThread(session, request.threadId);
  const run = findRun(session, request.runId);
  if (!thread || !run || run.thread !== thread.id || thread.active !== request.runId) {
    throw stale(request, "it is not the thread's active run");
  }
  const { spec, state } = run.record;
  if (isTerminal(state.status)) throw stale(request, `it is ${state.status}`);
  if (state.attempt !== request.attempt) throw stale(request, `its attempt is ${state.attempt}`);
  if (thread.nonce === request.nonce) {
    const fence = { threadId: request.threadId, epoch: thread.epoch, nonce: thread.nonce };
    return { fence, head: headOf(thread), record: run.record };
  }
  const epoch = Math.max(thread.epoch + 1, request.proposedEpoch ?? 0);
  session.sql(raiseEpoch).run(epoch, request.nonce, thread.id);
  writeState(session, run.id, {
    ...state,
    status: "running",
    revision: state.revision + 1,
    owner: request.owner,
    claimSeq: thread.seq,
    base: state.base === undefined ? (spec.fromCheckpointId ?? thread.checkpoint_id) : state.base,
  });
  countLease(session, run.id);
  const fence = { threadId: request.threadId, epoch, nonce: request.nonce };
  return { fence, head: headOf(thread), record: findRun(session, request.runId)!.record };
}

export function renew(session: Session, { fence, runId }: RenewRequest): RenewResult {
  const thread = findThread(session, fence.threadId);
  if (!thread || thread.active !== runId || !holds(thread, fence)) throw fencedOut(fence);
  const run = session.sql<{ id: number; cancel: number }>(selectCancel).get(runId);
  if (!run) throw fencedOut(fence);
  countLease(session, run.id);
  return { ok: true, cancelRequested: run.cancel === 1 };
}

/** The last commit's part in ending its run (P9): nobody holds the thread then, at the same epoch. */
export function finish(session: Session, { runId, status, outcome }: RunFinish): void {
  const run = findRun(session, runId);
  if (!run) return;
  const { state } = run.record;
  writeState(session, run.id, { ...state, status, outcome, revision: state.revision + 1 });
  release(session, run, false);
}

export function listRuns(session: Session, query: RunQuery): RunRecord[] {
  const { statuses, threadId, coordinator, notCoordinator, after, limit } = query;
  const text = selectRuns({
    thread: threadId !== undefined,
    coordinator: coordinator !== undefined,
    notCoordinator: notCoordinator !== undefined,
    after: after !== undefined,
    statuses: statuses?.length,
    live: statuses?.every((status) => !isTerminal(status)) ?? false,
  });
  const values = [threadId, coordinator, notCoordinator, after, ...(statuses ?? [])];
  const rows = session.sql<RunRow>(text).all(...values.filter((value) => value !== undefined), limit);
  return rows.map(recordOf);
}

/** Gives the thread to its next queued run; `fenceOut` raises the epoch where the holder did not end the run itself. */
function release(session: Session, { thread, record }: StoredRun, fenceOut: boolean): void {
  session.sql(releaseThread).run(fenceOut ? 1 : 0, thread, record.spec.runId);
}

/** All but the lease, which belongs to the worker that counts it up, whatever a coordinator read before. */
function writeState(session: Session, id: number, state: RunState): void {
  session
    .sql(updateState)
    .run(...stateColumns(state), Number(state.cancelRequested), stateText(state), isTerminal(state.status) ? 0 : 1, id);
}

function countLease(session: Session, id: number): void {
  session.sql(countUpLease).run(id);
}

function stateColumns(state: RunState): [RunStatus, string | null, number] {
  return [state.status, state.coordinator, state.revision];
}

function stateText({ lease: _, ...state }: RunState): string {
  return JSON.stringify(state);
}

function recordOf(row: RunRow): RunRecord {
  const state = JSON.parse(row.state) as Omit<RunState, "lease">;
  return {
    spec: readSpec(JSON.parse(row.spec), row.input),
    // JSON leaves `base: undefined` (not claimed yet) out.
    state: { ...state, base: state.base, lease: row.lease },
    ticket: row.ticket,
    active: row.active === 1,
    headSeq: row.seq,
  };
}

function stale({ runId, attempt }: ClaimRequest, why: string): AgentmaticError {
  return new AgentmaticError("StaleAttempt", `run ${runId} cannot be claimed for attempt ${attempt}: ${why}`);
}
