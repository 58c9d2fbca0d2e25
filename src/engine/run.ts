/** One attempt of a run, from its claim to its end: the superstep loop over the pure functions of `step.ts`. */
import { decodeBody, type Source } from "../checkpoint/body.ts";
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import { type OpenInterrupt, openInterrupts } from "../checkpoint/interrupts.ts";
import type { Claim, Commit, RunFinish, Saver, StoredCheckpoint, TaskWrites } from "../checkpoint/saver.ts";
import { AgentmaticError, errorValue } from "../errors.ts";
import type { Plan } from "../graph/plan.ts";
import type { Ports } from "../ports.ts";
import { orAborted } from "../run/abort.ts";
import type { EventKind, RunEvent } from "../run/events.ts";
import type { RunEnd } from "../run/link.ts";
import { isTerminal, type TraceContext } from "../run/record.ts";
import { noSpans, type Span, type Spans } from "../telemetry/spans.ts";
import { type Answers, answersFrom, forkWrites, resumeWrites } from "./answers.ts";
import { commitDurably, putWritesDurably } from "./durable.ts";
import type { HeldLease } from "./lease.ts";
import { Outside, outside, passing } from "./outside.ts";
import { eventBytes, spanAttributes, storedUpdate } from "./report.ts";
import { checkpointIdOf, emptySnapshot, fromCheckpoint, nothing, type Snapshot, toCheckpoint } from "./snapshot.ts";
import {
  type Advanced,
  advance,
  applyInput,
  inputUpdates,
  planTasks,
  type Task,
  type TaskOutcome,
  type TaskResult,
} from "./step.ts";
import { Superstep } from "./superstep.ts";
import { runEntry } from "./task.ts";

export interface RunOptions {
  readonly plan: Plan;
  readonly saver: Saver;
  readonly claim: Claim;
  readonly lease: HeldLease;
  readonly ports: Ports;
  /** Which kinds of events somebody wants now; others are not made. */
  readonly wants: (kind: EventKind) => boolean;
  readonly emit: (event: RunEvent) => void;
  /** Resolves once followers have room again: awaited at each superstep boundary, so that a slow one slows the run. */
  readonly flow?: () => Promise<void> | undefined;
  /** Aborts to cancel the run; to fail it, where the reason is an `AgentmaticError` of another code. */
  readonly cancel: AbortSignal;
  /** True when the run should stop at the next superstep boundary for another worker to go on. */
  readonly draining: () => boolean;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly spans?: Spans;
  /** The parent of the run's span; the record's own where it is absent. */
  readonly trace?: TraceContext;
}

/**
 * Executes the claimed attempt. Resolves with a terminal end, or with `queued` and an error where the attempt is over
 * and the run is not: `FencedOut` (another owner), `Unavailable` (draining, or the store is out of reach).
 */
export async function executeRun(options: RunOptions): Promise<RunEnd> {
  const attempt = new Attempt(options);
  try {
    return await attempt.run();
  } catch (thrown) {
    return attempt.stopped(thrown instanceof Outside ? thrown.error : AgentmaticError.from(thrown));
  } finally {
    attempt.dispose();
  }
}

class Attempt {
  readonly #options: RunOptions;
  readonly #abort: AbortController = new AbortController();
  readonly #onCancel: () => void;
  readonly #onLost: () => void;
  #snapshot: Snapshot;
  #commitId: string | null;
  #seq: number;
  #interrupts: readonly OpenInterrupt[] = [];
  /** The current checkpoint with what earlier attempts or runs stored beside it. */
  #pending: StoredCheckpoint | undefined;
  /** Supersteps that this run has taken, over all of its attempts. */
  #taken = 0;
  /** Finished tasks of a superstep that failed. */
  #leftover: readonly TaskWrites[] = [];
  readonly #spans: Spans;
  readonly #span: Span;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#snapshot = nothing;
    this.#spans = options.spans ?? noSpans;
    this.#span = this.#spans.start(
      "agentmatic.graph.run",
      spanAttributes(options.claim),
      options.trace ?? options.claim.record.spec.trace,
    );
    this.#commitId = options.claim.head.commitId;
    this.#seq = options.claim.head.seq;
    this.#onCancel = () => {
      const { reason } = options.cancel;
      this.#abort.abort(
        AgentmaticError.is(reason) ? reason : new AgentmaticError("Cancelled", "the run was cancelled"),
      );
    };
    this.#onLost = () => this.#abort.abort(options.lease.lost.reason);
    options.cancel.addEventListener("abort", this.#onCancel, { once: true });
    options.lease.lost.addEventListener("abort", this.#onLost, { once: true });
    if (options.cancel.aborted || options.claim.record.state.cancelRequested) this.#onCancel();
    if (options.lease.lost.aborted) this.#onLost();
  }

  dispose(): void {
    this.#options.cancel.removeEventListener("abort", this.#onCancel);
    this.#options.lease.lost.removeEventListener("abort", this.#onLost);
    this.#abort.abort(new AgentmaticError("Cancelled", "the run has ended"));
    this.#span.end();
  }

  get #trace(): TraceContext | undefined {
    return this.#span.trace ?? this.#options.claim.record.spec.trace;
  }

  async run(): Promise<RunEnd> {
    try {
      const begun = await this.#begin();
      if (begun) return begun;
      const { spec } = this.#options.claim.record;
      for (;;) {
        const tasks = planTasks(this.#options.plan, this.#snapshot, "");
        if (tasks.length === 0) return await this.#finish("succeeded");
        if (this.#taken >= spec.maxSteps) {
          throw new AgentmaticError(
            "StepLimit",
            `the run took ${this.#taken} supersteps, its limit, and is not at an end`,
          );
        }
        if (this.#options.draining()) throw new Outside(new AgentmaticError("Unavailable", "the worker is draining"));
        const flow = this.#options.flow?.();
        if (flow) await orAborted(this.#abort.signal, flow);
        const end = await this.#superstep(tasks);
        if (end) return end;
      }
    } catch (thrown) {
      return await this.#failed(thrown);
    }
  }

  /** The attempt is over without a word to the store; the run goes on elsewhere. */
  stopped(error: AgentmaticError): RunEnd {
    return this.#end("queued", error);
  }

  /** Brings the thread to where this attempt starts; an end where the run needs no superstep. */
  async #begin(): Promise<RunEnd | undefined> {
    const { claim, plan, saver } = this.#options;
    const { spec, state } = claim.record;
    this.#snapshot = emptySnapshot(plan);
    const continuing = claim.head.runId === spec.runId;
    const from = continuing ? claim.head.checkpointId : (state.base ?? null);
    const stored = from === null ? undefined : await outside(saver.get(spec.threadId, "", from));
    if (from !== null && !stored)
      throw new AgentmaticError("NotFound", `thread ${spec.threadId}: checkpoint ${from} is not there`);
    if (stored) this.#snapshot = fromCheckpoint(plan, stored.checkpoint);
    this.#pending = stored;
    if (continuing) {
      if (stored) this.#taken = decodeBody(stored.checkpoint).taken;
      return undefined;
    }
    if (spec.kind === "resume") return this.#answer(stored);
    if (spec.kind !== "input") throw new AgentmaticError("Unsupported", `runs of kind ${spec.kind} are not known`);
    return this.#input();
  }

  async #input(): Promise<RunEnd | undefined> {
    const { plan, claim } = this.#options;
    const updates = inputUpdates(plan, decodeValue(claim.record.spec.input));
    const context = this.#superstepOf([]).context("__start__", `${claim.record.spec.runId}|input`);
    const entry: TaskResult = await orAborted(this.#abort.signal, runEntry(plan, this.#snapshot, updates, context));
    const applied = applyInput(plan, this.#snapshot, updates, entry, this.#to());
    this.#pending = undefined;
    return await this.#commit(applied, "input", []);
  }

  async #answer(stored: StoredCheckpoint | undefined): Promise<undefined> {
    const { claim } = this.#options;
    const answers: Answers = answersFrom(decodeValue(claim.record.spec.input));
    const { runId, fromCheckpointId } = claim.record.spec;
    if (stored && fromCheckpointId !== undefined && fromCheckpointId !== claim.head.checkpointId) {
      return await this.#fork(stored, answers);
    }
    const writes = resumeWrites(stored, answers, runId);
    if (writes.length > 0) {
      await this.#putWrites(writes);
      // Read back as a successor would, so that both see the same answers.
      const { threadId } = claim.record.spec;
      this.#pending = await outside(this.#options.saver.get(threadId, "", stored!.checkpoint.checkpointId));
    }
    return undefined;
  }

  /**
   * A checkpoint of the run's own before its first superstep: its tasks then have ids, keys, writes and answers of their
   * own, and those of the branch that it leaves stay as they are.
   */
  async #fork(stored: StoredCheckpoint, answers: Answers): Promise<undefined> {
    const { runId, threadId } = this.#options.claim.record.spec;
    const from = this.#snapshot;
    const snapshot: Snapshot = { ...from, checkpointId: checkpointIdOf(runId, from.step) };
    const { checkpointId } = snapshot;
    const writes = forkWrites(stored, answers, runId, checkpointId);
    const fields = { ns: "", taken: 0, parentId: from.checkpointId, runId, changed: [], updates: [] };
    await this.#write({ checkpoint: toCheckpoint(snapshot, { ...fields, source: "fork" }), writes });
    this.#snapshot = snapshot;
    this.#pending = writes.length > 0 ? await outside(this.#options.saver.get(threadId, "", checkpointId)) : undefined;
    this.#committedEvents("fork", []);
  }

  async #superstep(tasks: readonly Task[]): Promise<RunEnd | undefined> {
    const superstep = this.#superstepOf(tasks);
    const { outcomes, unsaved, interrupted } = await superstep.run().catch((thrown: unknown) => {
      this.#leftover = superstep.unsaved;
      throw thrown;
    });
    if (interrupted.length > 0) {
      this.#interrupts = openInterrupts(interrupted);
      return await this.#finish("interrupted", undefined, [...unsaved, ...interrupted]);
    }
    return await this.#commit(advance(this.#options.plan, this.#snapshot, outcomes, this.#to()), "loop", outcomes);
  }

  #superstepOf(tasks: readonly Task[]): Superstep {
    return new Superstep({
      ...this.#options,
      tasks,
      snapshot: this.#snapshot,
      pending: this.#pending,
      abort: this.#abort.signal,
      check: () => {
        const check = this.#options.lease.check();
        return check && outside(check);
      },
      save: (writes) => this.#putWrites(writes),
      event: (kind, fields) => this.#emit(kind, fields),
      ...(this.#trace ? { trace: this.#trace } : {}),
    });
  }

  /** Commits a superstep; with its end where nothing is due after it, or where a breakpoint stops the run there. */
  async #commit(
    { snapshot, changed }: Advanced,
    source: Source,
    outcomes: readonly TaskOutcome[],
  ): Promise<RunEnd | undefined> {
    const { plan, claim } = this.#options;
    const { runId } = claim.record.spec;
    const due = snapshot.next.length + snapshot.sends.length > 0;
    const stops = due && this.#stopsAt(plan, snapshot, outcomes);
    const finish: RunFinish | undefined =
      due && !stops
        ? undefined
        : {
            runId,
            status: stops ? "interrupted" : "succeeded",
            outcome: { checkpointId: snapshot.checkpointId },
          };
    const taken = source === "loop" ? this.#taken + 1 : this.#taken;
    const checkpoint = toCheckpoint(snapshot, {
      ns: "",
      taken,
      parentId: this.#snapshot.checkpointId || null,
      runId,
      changed,
      source,
      updates: outcomes.map((outcome) => storedUpdate(plan, outcome)),
    });
    await this.#write({ checkpoint, ...(finish ? { finish } : {}) });
    this.#snapshot = snapshot;
    this.#taken = taken;
    this.#pending = undefined;
    this.#committedEvents(source, outcomes);
    return finish && this.#end(finish.status);
  }

  #stopsAt(plan: Plan, snapshot: Snapshot, outcomes: readonly TaskOutcome[]): boolean {
    if (plan.interruptAfter.size > 0 && outcomes.some(({ task }) => plan.interruptAfter.has(task.node.name)))
      return true;
    if (plan.interruptBefore.size === 0) return false;
    return [...snapshot.next, ...snapshot.sends.map(({ node }) => node)].some((name) => plan.interruptBefore.has(name));
  }

  /** Ends the run with a commit that carries no checkpoint. */
  async #finish(
    status: RunFinish["status"],
    error?: AgentmaticError,
    writes: readonly TaskWrites[] = [],
  ): Promise<RunEnd> {
    const outcome = {
      checkpointId: this.#snapshot.checkpointId || null,
      ...(error ? { error: errorValue(error) } : {}),
    };
    await this.#write({ finish: { runId: this.#options.claim.record.spec.runId, status, outcome }, writes });
    return this.#end(status, error);
  }

  async #failed(thrown: unknown): Promise<RunEnd> {
    const { lease } = this.#options;
    if (lease.lost.aborted) return this.stopped(AgentmaticError.from(lease.lost.reason));
    const own = this.#abort.signal.aborted ? this.#abort.signal.reason : thrown;
    if (own instanceof Outside) {
      if (AgentmaticError.is(own.error, ...passing)) return this.stopped(own.error);
      return await this.#finish("failed", own.error, this.#leftover);
    }
    const error = AgentmaticError.from(own);
    return await this.#finish(AgentmaticError.is(error, "Cancelled") ? "cancelled" : "failed", error, this.#leftover);
  }

  async #write(parts: Pick<Commit, "checkpoint" | "writes" | "finish">): Promise<void> {
    const { saver, claim, ports } = this.#options;
    const commit: Commit = {
      fence: claim.fence,
      expectedHead: this.#commitId,
      commitId: ports.ids.next(),
      seq: this.#seq + 1,
      ...parts,
    };
    const span = this.#spans.start(
      "agentmatic.checkpoint.write",
      {
        "agentmatic.store": saver.kind,
        "agentmatic.seq": commit.seq,
      },
      this.#trace,
    );
    try {
      await commitDurably(saver, commit, ports, this.#options.lease.lost);
    } catch (thrown) {
      span.fail(AgentmaticError.from(thrown));
      throw new Outside(thrown);
    } finally {
      span.end();
    }
    this.#commitId = commit.commitId;
    this.#seq = commit.seq;
  }

  #putWrites(writes: readonly TaskWrites[]): Promise<void> {
    const { saver, claim, ports, lease } = this.#options;
    return outside(putWritesDurably(saver, { fence: claim.fence, writes }, ports, lease.lost));
  }

  #to(): { runId: string; seq: number } {
    return { runId: this.#options.claim.record.spec.runId, seq: this.#seq + 1 };
  }

  #committedEvents(source: Source, outcomes: readonly TaskOutcome[]): void {
    const { wants } = this.#options;
    if (wants("updates")) {
      for (const { task, result } of outcomes) {
        this.#emit("updates", { node: task.node.name, data: Object.fromEntries(result.updates) }, this.#seq);
      }
    }
    if (wants("values")) this.#emit("values", { data: this.#snapshot.values }, this.#seq);
    if (wants("checkpoints")) {
      const { checkpointId, step, next } = this.#snapshot;
      this.#emit("checkpoints", { data: { checkpointId, step, source, next } }, this.#seq);
    }
  }

  #emit(kind: EventKind, fields: { node?: string; taskId?: string; data: unknown }, seq = 0): void {
    const { claim, emit } = this.#options;
    const { runId } = claim.record.spec;
    const { node = "", taskId = "" } = fields;
    const data = eventBytes(kind, fields.data);
    emit({
      runId,
      kind,
      epoch: claim.fence.epoch,
      attempt: claim.record.state.attempt,
      seq,
      ns: "",
      node,
      taskId,
      data,
    });
  }

  #end(status: RunEnd["status"], error?: AgentmaticError): RunEnd {
    const { record, fence } = this.#options.claim;
    return {
      type: "end",
      runId: record.spec.runId,
      attempt: record.state.attempt,
      epoch: fence.epoch,
      status,
      checkpointId: this.#snapshot.checkpointId || null,
      ...(error ? { error: errorValue(error) } : {}),
      ...(isTerminal(status) ? { values: encodeValue(this.#snapshot.values) } : {}),
      ...(this.#interrupts.length > 0 ? { interrupts: encodeValue(this.#interrupts) } : {}),
    };
  }
}
