/** The thread's row: its fence, its head and its active run. Every write of a thread reads it first. */

import type { Fence, ThreadHead } from "../../src/checkpoint/saver.ts";
import { AgentmaticError } from "../../src/errors.ts";
import type { Session } from "./connection.ts";
import { insertThread, selectThread } from "./statements.ts";

export interface ThreadRow {
  readonly id: number;
  readonly epoch: number;
  /** "" while nobody holds the thread. */
  readonly nonce: string;
  readonly commit_id: string | null;
  readonly seq: number;
  readonly checkpoint_id: string | null;
  readonly run_id: string | null;
  /** Id of the active run. */
  readonly active: string | null;
  /** The last ticket given. */
  readonly tickets: number;
}

export function findThread(session: Session, threadId: string): ThreadRow | undefined {
  return session.sql<ThreadRow>(selectThread).get(threadId);
}

export function makeThread(session: Session, threadId: string): ThreadRow {
  session.sql(insertThread).run(threadId);
  return findThread(session, threadId)!;
}

export function headOf(thread: ThreadRow): ThreadHead {
  return {
    commitId: thread.commit_id,
    seq: thread.seq,
    checkpointId: thread.checkpoint_id,
    runId: thread.run_id,
  };
}

export function holds(thread: ThreadRow, fence: Fence): boolean {
  return thread.epoch === fence.epoch && thread.nonce === fence.nonce && fence.nonce !== "";
}

export function fencedOut(fence: Fence): AgentmaticError {
  const message = `thread ${fence.threadId}: the claim of epoch ${fence.epoch} is over`;
  return new AgentmaticError("FencedOut", message, { details: { epoch: fence.epoch } });
}
