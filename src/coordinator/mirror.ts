/**
 * A cluster over memory savers, for trying out: the worker keeps the thread in its own memory, the coordinator keeps a
 * copy of the run record in its own. A thread stays with the worker that has it; when that one is gone, so is the thread.
 */
import type { Saver, StoreIdentity } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import type { WorkerView } from "../placement/view.ts";
import type { Ports } from "../ports.ts";
import type { InlineRun, RunEnd, StoreRef } from "../run/link.ts";
import type { RunRecord, RunSpec } from "../run/record.ts";

/** Threads whose worker is remembered; the oldest are forgotten beyond it. */
const threadsMax = 100_000;

export class MemoryMirror {
  readonly #saver: Saver;
  readonly #ports: Ports;
  readonly #workers: Map<string, string> = new Map();

  constructor(saver: Saver, ports: Ports) {
    this.#saver = saver;
    this.#ports = ports;
  }

  /** True where coordinator and worker each have a memory of their own. */
  needed(theirs: StoreRef, ours: StoreIdentity): boolean {
    return !theirs.shared && theirs.id !== ours.id;
  }

  workerOf(threadId: string): string | undefined {
    return this.#workers.get(threadId);
  }

  inline(spec: RunSpec, worker: WorkerView): InlineRun {
    const { kind, input, maxSteps, threadId, settings, fromCheckpointId, deadlineMs } = spec;
    this.#workers.set(threadId, worker.info.workerId);
    for (const oldest of this.#workers.keys()) {
      if (this.#workers.size <= threadsMax) break;
      this.#workers.delete(oldest);
    }
    return {
      kind,
      input,
      maxSteps,
      ...(settings ? { settings } : {}),
      ...(fromCheckpointId === undefined ? {} : { fromCheckpointId }),
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
    };
  }

  /** Ends the copy of the record as the worker ended the run. */
  async finish({ spec, state }: RunRecord, end: RunEnd): Promise<void> {
    if (end.status === "queued" || end.status === "running" || end.status === "dead") return;
    const { runId, threadId } = spec;
    const nonce = this.#ports.ids.next();
    try {
      const { fence, head } = await this.#saver.claim({ runId, threadId, attempt: state.attempt, owner: "", nonce });
      const outcome = { checkpointId: null, ...(end.error ? { error: end.error } : {}) };
      await this.#saver.commit([
        {
          fence,
          expectedHead: head.commitId,
          commitId: this.#ports.ids.next(),
          seq: head.seq + 1,
          finish: { runId, status: end.status, outcome },
        },
      ]);
    } catch (thrown) {
      this.#ports.logger.log("warn", "a run's copy was not ended", { runId, code: AgentmaticError.from(thrown).code });
    }
  }
}
