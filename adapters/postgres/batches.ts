/** What goes in batches: each kind of entry, its statement, and what the answers mean. */
import type { Claim, ClaimRequest, Commit, Fence, TaskWritesRequest, WriteResult } from "../../src/checkpoint/saver.ts";
import { AgentmaticError, invalid } from "../../src/errors.ts";
import type { RunRecord } from "../../src/run/record.ts";
import { again, Batcher } from "./batch.ts";
import {
  type AdmitEntry,
  admitParameters,
  bytesOf,
  type CommitEntry,
  claimParameters,
  commitParameters,
  putWritesParameters,
  shapeOf,
} from "./entries.ts";
import { afterRecord, type Row, toHead, toRecord } from "./rows.ts";
import type { Store } from "./store.ts";

/** Entries in one statement, and the bytes after which it takes no further one. */
export const batchEntriesMax = 128;
const batchBytesMax = 1024 * 1024;
/** Entries of one kind, and statements, that may wait. */
export const queueMax = 10_000;
/** Small entries come one by one, and their statements are the dearer the fewer they hold. */
const smallLanes = 2;

/** Answers the record, or undefined where none was made. */
export type AdmitBatcher = Batcher<AdmitEntry, RunRecord | undefined>;

export interface Batches {
  readonly commits: Batcher<CommitEntry, WriteResult>;
  readonly writes: Batcher<TaskWritesRequest, WriteResult>;
  readonly claims: Batcher<ClaimRequest, Claim>;
  readonly admits: { readonly enqueue: AdmitBatcher; readonly reject: AdmitBatcher };
}

export function makeBatches(store: Store, lanes: number): Batches {
  const small = Math.min(lanes, smallLanes);
  return {
    commits: commitBatcher(store, lanes),
    writes: writesBatcher(store, lanes),
    claims: claimBatcher(store, small),
    admits: { enqueue: admitBatcher(store, small, true), reject: admitBatcher(store, small, false) },
  };
}

function commitBatcher(store: Store, lanes: number): Batcher<CommitEntry, WriteResult> {
  return new Batcher<CommitEntry, WriteResult>({
    ...limits(lanes),
    line: ({ commit }) => commit.fence.threadId,
    bytes: ({ bytes }) => bytes,
    // A second commit of a thread builds on the first, which a statement cannot see while it writes it (P18).
    joins: () => false,
    async send(entries) {
      const shape = shapeOf(entries);
      const options = { urgent: true, batch: entries.length > 1 };
      const rows = await store.client.run(store.statements.commit(shape), commitParameters(entries, shape), options);
      const verdicts = new Map(rows.map(([n, verdict]) => [Number(n), String(verdict)]));
      return entries.map(({ commit }, index) => judge(commit, verdicts.get(index + 1)));
    },
  });
}

function judge({ fence, finish }: Commit, verdict: string | undefined): WriteResult | typeof again {
  const thread = `thread ${fence.threadId}`;
  if (verdict === "ok" || verdict === "done") return { ok: true };
  if (verdict === "again") return again;
  if (verdict === "conflict") {
    return { ok: false, error: new AgentmaticError("Conflict", `${thread}: the head is another`) };
  }
  if (verdict === "ends") {
    return { ok: false, error: invalid("finish.runId", `${finish?.runId} is not the active run of ${thread}`) };
  }
  return refused(fence);
}

function writesBatcher(store: Store, lanes: number): Batcher<TaskWritesRequest, WriteResult> {
  return new Batcher<TaskWritesRequest, WriteResult>({
    ...limits(lanes),
    line: ({ fence }) => fence.threadId,
    bytes: ({ writes }) => bytesOf(writes),
    joins: (earlier, later) => earlier.fence.epoch === later.fence.epoch && earlier.fence.nonce === later.fence.nonce,
    async send(entries) {
      const options = { urgent: true, batch: entries.length > 1 };
      const rows = await store.client.run(store.statements.putWrites, putWritesParameters(entries), options);
      const held = new Set(rows.map(([n]) => Number(n)));
      return entries.map(({ fence }, index) => (held.has(index + 1) ? { ok: true } : refused(fence)));
    },
  });
}

function claimBatcher(store: Store, lanes: number): Batcher<ClaimRequest, Claim> {
  return new Batcher<ClaimRequest, Claim>({
    ...limits(lanes),
    line: ({ threadId }) => threadId,
    bytes: () => 0,
    joins: () => false,
    async send(entries) {
      const options = { urgent: true, batch: entries.length > 1 };
      const rows = await store.client.run(store.statements.claim, claimParameters(entries), options);
      const found = new Map(rows.map((row) => [Number(row[afterRecord]), row]));
      return entries.map((request, index) => toClaim(request, found.get(index + 1)));
    },
  });
}

function toClaim(request: ClaimRequest, row: Row | undefined): Claim | AgentmaticError {
  if (!row) return stale(request, "it is not the thread's active run");
  const [verdict, epoch, commitId, checkpointId, headRun, status, attempt] = row.slice(afterRecord + 1);
  if (verdict === "inactive") return stale(request, "it is not the thread's active run");
  if (verdict === "ended") return stale(request, `it is ${String(status)}`);
  if (verdict === "attempt") return stale(request, `its attempt is ${String(attempt)}`);
  const record = toRecord(row);
  const fence: Fence = { threadId: request.threadId, epoch: Number(epoch), nonce: request.nonce };
  return { fence, head: toHead(commitId, record.headSeq, checkpointId, headRun), record };
}

function admitBatcher(store: Store, lanes: number, enqueue: boolean): AdmitBatcher {
  return new Batcher<AdmitEntry, RunRecord | undefined>({
    ...limits(lanes),
    line: ({ spec }) => spec.threadId,
    bytes: ({ encoded, spec }) => encoded.length + spec.input.length,
    joins: () => false,
    async send(entries) {
      const options = { batch: entries.length > 1 };
      const rows = await store.client.run(store.statements.admit(enqueue), admitParameters(entries), options);
      const made = new Map(rows.map((row) => [Number(row[0]), row]));
      return entries.map((entry, index) => toAdmitted(entry, made.get(index + 1)));
    },
  });
}

function toAdmitted({ spec, state }: AdmitEntry, row: Row | undefined): RunRecord | undefined {
  return row && { spec, state, ticket: Number(row[1]), active: row[2] === true, headSeq: Number(row[3]) };
}

function limits(lanes: number) {
  return {
    lanes,
    entriesMax: batchEntriesMax,
    bytesMax: batchBytesMax,
    queueMax,
    // Where the server refused a statement, one of its entries may be why; out of reach it is so for all.
    divisible: (thrown: unknown) => AgentmaticError.is(thrown) && thrown.details.sqlstate !== undefined,
  };
}

export function refused(fence: Fence): { ok: false; error: AgentmaticError } {
  const message = `thread ${fence.threadId}: the claim of epoch ${fence.epoch} is over`;
  return { ok: false, error: new AgentmaticError("FencedOut", message, { details: { epoch: fence.epoch } }) };
}

function stale({ runId, attempt }: ClaimRequest, why: string): AgentmaticError {
  return new AgentmaticError("StaleAttempt", `run ${runId} cannot be claimed for attempt ${attempt}: ${why}`);
}
