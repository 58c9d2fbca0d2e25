/**
 * The store port: threads, checkpoints and task writes under fences, and the runs beside them.
 *
 * Obligations of every implementation, in the order in which they matter (PROTOCOL.md P1-P12):
 * 1. A fence is (epoch, nonce), compared for equality inside the writing statement itself, never before it.
 * 2. A commit compares (epoch, nonce, expected head, seq) and moves the head to its own commit id, all or nothing.
 *    Found already at its own commit id under the same fence, it is a success: the answer to a lost answer.
 * 3. Nothing of a refused entry is in the store, not a row.
 * 4. What was acknowledged is durable at the store's documented level before the promise resolves.
 * 5. Bytes come back as they went in. A saver never decodes a value.
 */
import type { AgentmaticError } from "../errors.ts";
import type { RunOutcome, RunRecord, RunStatus } from "../run/record.ts";
import type { RunStore } from "../run/store.ts";

/** Proof of a claim; travels with every write. */
export interface Fence {
  readonly threadId: string;
  readonly epoch: number;
  /** 22 random characters or more, made by the claimer. */
  readonly nonce: string;
}

/** Where a thread stands. A thread without commits has seq 0 and nulls. */
export interface ThreadHead {
  /** Id of the last commit, whatever its namespace. */
  readonly commitId: string | null;
  /** The store's count of commits on the thread. */
  readonly seq: number;
  /** The root namespace's current checkpoint. */
  readonly checkpointId: string | null;
  /** The run that wrote that checkpoint. */
  readonly runId: string | null;
}

export interface ClaimRequest {
  readonly threadId: string;
  readonly runId: string;
  readonly attempt: number;
  /** Incarnation id of the claiming worker. */
  readonly owner: string;
  /** Fresh for each claim, kept when the same claim is issued again after a lost answer. */
  readonly nonce: string;
  /** The epoch becomes max(stored + 1, this). */
  readonly proposedEpoch?: number;
}

export interface Claim {
  readonly fence: Fence;
  readonly head: ThreadHead;
  /** As the claim left it: `running`, with owner, base and claimSeq set. */
  readonly record: RunRecord;
}

/** Values of channels by name, encoded by the state codec. */
export type EncodedValues = Readonly<Record<string, Uint8Array>>;

/** A checkpoint as its writer hands it in. */
export interface NewCheckpoint {
  /** "" for the root graph; a subgraph's contains its parent's task id (P10). */
  readonly ns: string;
  /** A function of (namespace, run, step), never of the epoch. */
  readonly checkpointId: string;
  readonly parentId: string | null;
  readonly runId: string;
  readonly step: number;
  /** For every channel that has a value: the commit number of its last full value; own `seq` if in `values`. */
  readonly versions: Readonly<Record<string, number>>;
  /** Only the channels whose full value this commit writes. */
  readonly values: EncodedValues;
  /**
   * For channels kept in pieces: the commits, oldest first, whose pieces follow the full value; own `seq` last if in
   * `changes`. At most `piecesMax` for a channel; a later list may leave out what a merged piece has replaced.
   */
  readonly deltas?: Readonly<Record<string, readonly number[]>>;
  /** The pieces that this commit writes, by channel: bytes that the engine makes, merges and folds. */
  readonly changes?: EncodedValues;
  /** The engine's own part (next tasks, barriers, metadata), opaque here. */
  readonly body: Uint8Array;
}

/** Commits whose pieces one channel of a checkpoint may name. */
export const piecesMax = 256;

/** A checkpoint as read: `values` holds every channel in `versions`, `pieces` every one in `deltas`. */
export interface Checkpoint extends Omit<NewCheckpoint, "changes"> {
  /** By channel, in the order of `deltas`. */
  readonly pieces: Readonly<Record<string, readonly Uint8Array[]>>;
  readonly threadId: string;
  /** The commit number that wrote it. */
  readonly seq: number;
  readonly epoch: number;
}

/** `done`: the task's writes. `interrupt`: what it asked. `resume`: the answers given to it. `error`: what it threw. */
export type TaskWriteKind = "done" | "interrupt" | "resume" | "error";

/** What one task of a superstep left behind; at most one for each (checkpoint, task, kind), a later one replaces it. */
export interface TaskWrites {
  readonly ns: string;
  /** The checkpoint whose superstep the task belongs to: the one it was planned from. */
  readonly checkpointId: string;
  readonly taskId: string;
  /** Sorts the writes of a superstep, by code point. */
  readonly path: string;
  readonly kind: TaskWriteKind;
  readonly data: Uint8Array;
}

export interface TaskWritesRequest {
  readonly fence: Fence;
  readonly writes: readonly TaskWrites[];
}

/** Ends the run together with the commit that carries it (P9). */
export interface RunFinish {
  readonly runId: string;
  readonly status: Extract<RunStatus, "succeeded" | "interrupted" | "failed" | "cancelled">;
  readonly outcome: RunOutcome;
}

export interface Commit {
  readonly fence: Fence;
  /** The head's commit id that this builds on; null for a thread without commits. */
  readonly expectedHead: string | null;
  /** Random, made once before the first try, and kept over every retry. */
  readonly commitId: string;
  /** The expected head's seq + 1. */
  readonly seq: number;
  /** Absent where the commit only ends the run. */
  readonly checkpoint?: NewCheckpoint;
  /** Writes that become durable together with the checkpoint (an interrupt's, an error's). */
  readonly writes?: readonly TaskWrites[];
  /** Ends the run, releases the thread (no holder) and makes its next queued run active, in the same step. */
  readonly finish?: RunFinish;
}

/** Entries of a batch are answered one by one: one that is refused does not fail the others. */
export type WriteResult = { readonly ok: true } | { readonly ok: false; readonly error: AgentmaticError };

export type RenewResult =
  | { readonly ok: true; readonly cancelRequested: boolean }
  | { readonly ok: false; readonly error: AgentmaticError };

export interface RenewRequest {
  readonly fence: Fence;
  readonly runId: string;
}

export interface CheckpointQuery {
  readonly threadId: string;
  /** The root namespace where it is absent. */
  readonly ns?: string;
  /** Only checkpoints committed before this one; nothing where it is not there. */
  readonly before?: string;
  /** At most this many, newest commit first; 1 to 1,000. */
  readonly limit: number;
}

export const checkpointQueryMax = 1000;

export interface NamespaceQuery {
  readonly threadId: string;
  /** Only of checkpoints that a later commit wrote. */
  readonly afterSeq: number;
  /** At most this many; 1 to 1,000. */
  readonly limit: number;
}

export interface StoredCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Ordered by (path, taskId, kind), by code point. */
  readonly writes: readonly TaskWrites[];
}

export interface StoreIdentity {
  /** Random, written once when the store was made: two processes with the same id see the same data. */
  readonly id: string;
  /** The residency zone whose ids this store keeps; "" where zones are not used. */
  readonly zone: string;
  /** The region the store's data lies in; "" = unknown, which is outside of every residency rule. */
  readonly region: string;
  /** The stored format this process writes. */
  readonly format: number;
}

export interface Saver extends RunStore {
  /** `memory`, `sqlite`, `postgres`, … for spans, metrics and messages. */
  readonly kind: string;
  /** False where only this process can read it: a lost worker's runs are then lost too. */
  readonly shared: boolean;

  /** Makes the tables or keys if they are missing. May be called by many processes at once, any number of times. */
  setup(): Promise<void>;
  /** Throws `FailedPrecondition` where the store is not set up or has a newer format; `Unavailable` out of reach. */
  identity(): Promise<StoreIdentity>;

  /**
   * Takes the thread for writing, for one attempt of its active run. Throws `StaleAttempt`, with the epoch untouched,
   * unless the run is the thread's active one, is not terminal and holds exactly this attempt (P1). Issued again with
   * the same nonce while still in force it returns the same fence. Sets the run to `running`.
   */
  claim(request: ClaimRequest): Promise<Claim>;
  /**
   * Counts the leases up; `FencedOut` for those whose claim is over, or whose run is not the thread's active one. Also
   * the cheapest fence check (P4, P5).
   */
  renew(batch: readonly RenewRequest[]): Promise<readonly RenewResult[]>;
  /** Stores finished tasks' writes. `FencedOut` per entry; all of an entry's writes or none (P10). */
  putWrites(batch: readonly TaskWritesRequest[]): Promise<readonly WriteResult[]>;
  /**
   * Supersteps of any number of threads, several of one thread in the order of their `seq`.
   * `FencedOut` per entry where the fence is over, `Conflict` where the fence holds and the head is another,
   * `InvalidArgument` for a finish of a run that does not hold the thread. Issued again after a lost answer, the newest
   * commit of a thread is answered `ok`; one that it builds on may be answered `Conflict`, although it is there.
   */
  commit(batch: readonly Commit[]): Promise<readonly WriteResult[]>;

  /** Undefined before the thread's first commit. */
  head(threadId: string): Promise<ThreadHead | undefined>;
  /** The named checkpoint, or the current one of the namespace. Reads never claim. */
  get(threadId: string, ns: string, checkpointId?: string): Promise<StoredCheckpoint | undefined>;
  list(query: CheckpointQuery): Promise<readonly StoredCheckpoint[]>;
  /** Namespaces in which the thread has checkpoints, each once, by code point. */
  namespaces(query: NamespaceQuery): Promise<readonly string[]>;
  /** Removes a thread's data and its ended runs, leaves a tombstone with the epoch (P2). `ThreadBusy` with a live run. */
  deleteThread(threadId: string): Promise<void>;

  close(): Promise<void>;
}
