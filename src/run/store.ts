/**
 * The run half of the store port. One store keeps a thread and its runs, so that a claim can check the run record and
 * the last superstep's commit can end the run in one atomic step (P1, P9).
 */
import type { RunRecord, RunSpec, RunState, RunStatus } from "./record.ts";

export interface Admission {
  readonly spec: RunSpec;
  /** Incarnation id of the admitting coordinator; null where the run is claimed by nobody yet. */
  readonly coordinator: string | null;
  /** What to do when the thread already has a run that is not finished. */
  readonly whenBusy: "reject" | "enqueue";
}

export interface Admitted {
  readonly record: RunRecord;
  /** False where a record of this `runId` with the same input was there already (P12). */
  readonly created: boolean;
}

export interface RunQuery {
  /** An empty list asks for nothing. */
  readonly statuses?: readonly RunStatus[];
  readonly threadId?: string;
  readonly coordinator?: string;
  /** Only records whose coordinator is another (or none). */
  readonly notCoordinator?: string;
  /** Only runs whose id comes after this one, in code-point order; results come in that order. */
  readonly after?: string;
  /** At most this many; 1 to 1,000. */
  readonly limit: number;
}

export const runQueryMax = 1000;

/** A live process that says so: coordinators and peers. Only `beat` changing says that it lives; no clock is compared. */
export interface Member {
  /** Random incarnation id, made at the process's start. */
  readonly id: string;
  readonly beat: number;
}

/** How many members a store keeps; the oldest beats beyond are dropped by `beat`. */
export const membersMax = 1000;

export interface RunStore {
  /**
   * Writes the record durably, or finds the one that is there.
   * Throws `AlreadyExists` (same id, other `inputHash`), `ThreadBusy` (`reject` on a busy thread),
   * `ResidencyViolation` (ids of another zone).
   */
  admit(admission: Admission): Promise<Admitted>;

  getRun(runId: string): Promise<RunRecord | undefined>;

  listRuns(query: RunQuery): Promise<readonly RunRecord[]>;

  /**
   * Writes `next` if the record's revision still is `next.revision - 1`; otherwise throws `Conflict`. Terminal records
   * never change, and the lease is never set back: it is the worker's. When `next` is terminal and the run is its thread's active one, the same step raises the thread's
   * epoch with no holder (every older fence is out), releases the thread and makes the next queued run of the thread
   * (lowest ticket) its active one.
   */
  updateRun(runId: string, next: RunState): Promise<RunRecord>;

  /** Counts a member's beat up by one (from 1) and returns it. */
  beat(memberId: string): Promise<number>;
  members(): Promise<readonly Member[]>;
  removeMember(memberId: string): Promise<void>;
}
