/** One attempt of a run, from its claim to its end. The supersteps are `loop.ts`. */
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import type { Claim, Saver, StoredCheckpoint, TaskWrites } from "../checkpoint/saver.ts";
import { AgentmaticError, errorValue } from "../errors.ts";
import { Command, Send } from "../graph/command.ts";
import type { Interrupt } from "../graph/context.ts";
import type { Plan } from "../graph/plan.ts";
import type { Ports } from "../ports.ts";
import type { RunControl } from "../run/control.ts";
import type { EventKind, RunEvent } from "../run/events.ts";
import type { RunEnd } from "../run/link.ts";
import { isTerminal, type TraceContext } from "../run/record.ts";
import { type RunSettings, readSettings } from "../run/settings.ts";
import { noSpans, type Span, type Spans } from "../telemetry/spans.ts";
import { answersIn, forkWrites, type Resumption, readResumption, resumeWrites } from "./answers.ts";
import { commandsOf, commandWrite } from "./commands.ts";
import { type Journal, openJournal } from "./journal.ts";
import type { HeldLease } from "./lease.ts";
import { GraphLoop, type Rest } from "./loop.ts";
import { runNested } from "./nested.ts";
import { Outside, outside, passing } from "./outside.ts";
import { spanAttributes } from "./report.ts";
import type { RunScope } from "./scope.ts";
import { checkpointIdOf, outputOf, type Snapshot } from "./snapshot.ts";
import { Stop } from "./stop.ts";
import { ParentCommand, readReturn } from "./task.ts";
import { applyEdit, readEdit } from "./update.ts";

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
  /** Stops the run, for whoever started it here to go on later. */
  readonly control?: RunControl | undefined;
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
  readonly #stop: Stop = new Stop();
  readonly #onCancel: () => void;
  readonly #onLost: () => void;
  readonly #settings: RunSettings;
  readonly #scope: RunScope;
  readonly #loop: GraphLoop;
  readonly #span: Span;
  readonly #answers: Map<string, unknown> = new Map();
  #cancelDeadline: (() => void) | undefined;
  #interrupts: readonly Interrupt[] = [];

  constructor(options: RunOptions) {
    const { claim, plan, spans = noSpans, ports, lease, cancel } = options;
    const { spec, state } = claim.record;
    this.#options = options;
    this.#settings = spec.settings ? readSettings(decodeValue(spec.settings)) : {};
    const { runId, threadId, correlationId, maxSteps } = spec;
    const about = { runId, threadId, correlationId, attempt: state.attempt, epoch: claim.fence.epoch };
    this.#span = spans.start("agentmatic.graph.run", spanAttributes(about, plan.name), options.trace ?? spec.trace);
    const trace = this.#span.trace ?? spec.trace;
    this.#scope = {
      ...about,
      maxSteps,
      ports,
      stop: this.#stop,
      journal: this.#openJournal(spans),
      answers: this.#answers,
      check: () => {
        const check = lease.check();
        return check && outside(check);
      },
      draining: options.draining,
      control: options.control,
      flow: options.flow ?? (() => undefined),
      wants: options.wants,
      emit: options.emit,
      config: options.config ?? {},
      settings: this.#settings,
      deadlineMs: this.#deadline(),
      spans,
      trace,
      nest: runNested,
    };
    this.#loop = new GraphLoop({ scope: this.#scope, plan, ns: "", trace });
    this.#onCancel = () => {
      const { reason } = cancel;
      this.#stop.stop(AgentmaticError.is(reason) ? reason : new AgentmaticError("Cancelled", "the run was cancelled"));
    };
    this.#onLost = () => this.#stop.stop(lease.lost.reason);
    cancel.addEventListener("abort", this.#onCancel, { once: true });
    lease.lost.addEventListener("abort", this.#onLost, { once: true });
    if (cancel.aborted || state.cancelRequested) this.#onCancel();
    if (lease.lost.aborted) this.#onLost();
  }

  dispose(): void {
    this.#options.cancel.removeEventListener("abort", this.#onCancel);
    this.#options.lease.lost.removeEventListener("abort", this.#onLost);
    this.#cancelDeadline?.();
    this.#stop.stop(ended);
    this.#span.end();
  }

  async run(): Promise<RunEnd> {
    try {
      this.#stop.check();
      const rest = (await this.#begin()) ?? (await this.#loop.run());
      this.#interrupts = rest.interrupts;
      return this.#end(rest.status);
    } catch (thrown) {
      return await this.#failed(thrown);
    }
  }

  /** The attempt is over without a word to the store; the run goes on elsewhere. */
  stopped(error: AgentmaticError): RunEnd {
    return this.#end("queued", error);
  }

  #openJournal(spans: Spans): Journal {
    const { saver, claim, ports, lease } = this.#options;
    const options = { saver, claim, ports, lost: lease.lost, spans, trace: () => this.#scope.trace };
    return openJournal(this.#settings.durability ?? "sync", options, (thrown) => this.#stop.stop(thrown));
  }

  /** Monotonic time by which the run must have ended, from the wall-clock time of its admission; sets the alarm. */
  #deadline(): number | undefined {
    const { ports, claim } = this.#options;
    const { deadlineMs, createdAtMs } = claim.record.spec;
    if (deadlineMs === undefined) return undefined;
    const leftMs = Math.max(0, createdAtMs + deadlineMs - ports.clock.wallMs());
    const error = new AgentmaticError("DeadlineExceeded", `the run did not end within ${deadlineMs} ms`);
    this.#cancelDeadline = ports.timers.after(leftMs, () => this.#stop.stop(error));
    return ports.clock.monotonicMs() + leftMs;
  }

  /** Brings the thread to where this attempt starts; a rest where the run needs no superstep. */
  async #begin(): Promise<Rest | undefined> {
    const { claim } = this.#options;
    const { spec, state } = claim.record;
    const continuing = claim.head.runId === spec.runId;
    const from = continuing ? claim.head.checkpointId : (state.base ?? null);
    const stored = from === null ? undefined : await this.#scope.journal.load("", from);
    if (from !== null && !stored)
      throw new AgentmaticError("NotFound", `thread ${spec.threadId}: checkpoint ${from} is not there`);
    this.#loop.open();
    if (stored) {
      this.#loop.load(stored, continuing);
      this.#learn(stored.writes);
    }
    if (continuing) return undefined;
    if (spec.kind === "input") return await this.#loop.input(decodeValue(spec.input));
    return spec.kind === "resume" ? await this.#resume(stored) : await this.#update(stored);
  }

  async #resume(stored: StoredCheckpoint | undefined): Promise<undefined> {
    const { claim } = this.#options;
    const { runId, fromCheckpointId, input } = claim.record.spec;
    const resumption = readResumption(decodeValue(input));
    const commanded = resumption.update !== undefined || (resumption.goto ?? []).length > 0;
    if (stored && fromCheckpointId !== undefined && fromCheckpointId !== claim.head.checkpointId) {
      if (commanded)
        throw new AgentmaticError("Unsupported", "input.update: cannot stand beside a fork; use updateState");
      return await this.#fork(stored, resumption);
    }
    const writes = resumeWrites(stored, resumption.answers, runId);
    if (commanded) writes.push(...this.#commandWrites(stored, resumption, runId));
    if (writes.length === 0) return undefined;
    await this.#scope.journal.save(writes);
    this.#loop.add(writes);
    this.#learn(writes);
    return undefined;
  }

  #commandWrites(stored: StoredCheckpoint | undefined, { update, goto }: Resumption, runId: string): TaskWrites[] {
    if (!stored) throw new AgentmaticError("FailedPrecondition", "input: the thread has no checkpoint to go on from");
    const { checkpointId, ns } = stored.checkpoint;
    // A second attempt of this run finds what the first has stored.
    if (stored.writes.some(({ taskId }) => taskId === `${checkpointId}||${runId}`)) return [];
    const command = new Command({
      goto: (goto ?? []).map(targetOf),
      ...(update === undefined ? {} : { update: update as object }),
    });
    const result = readReturn(this.#options.plan, "__input__", command);
    return [commandWrite({ ns, checkpointId }, result, runId, commandsOf(checkpointId, stored.writes).length)];
  }

  /**
   * A checkpoint of the run's own before its first superstep: its tasks then have ids, keys, writes and answers of their
   * own, and those of the branch that it leaves stay as they are.
   */
  async #fork(stored: StoredCheckpoint, { answers }: Resumption): Promise<undefined> {
    const { runId } = this.#scope;
    const { snapshot: from } = this.#loop;
    const snapshot: Snapshot = { ...from, checkpointId: checkpointIdOf(runId, from.step) };
    const writes = forkWrites(stored, answers, runId, snapshot.checkpointId);
    this.#learn(writes);
    await this.#loop.place({ snapshot, changed: new Set() }, "fork", writes);
    return undefined;
  }

  /** An edit from outside: one checkpoint, and the run is at its end. */
  async #update(stored: StoredCheckpoint | undefined): Promise<Rest> {
    const edit = readEdit(decodeValue(this.#options.claim.record.spec.input));
    return await applyEdit(edit, stored, this.#loop, this.#scope, this.#options.plan);
  }

  #learn(writes: readonly TaskWrites[]): void {
    for (const [id, value] of answersIn(writes)) this.#answers.set(id, value);
  }

  async #failed(thrown: unknown): Promise<RunEnd> {
    const { lease } = this.#options;
    if (lease.lost.aborted) return this.stopped(AgentmaticError.from(lease.lost.reason));
    const own = this.#stop.stopped ? this.#stop.reason : thrown;
    if (own instanceof Outside) {
      if (AgentmaticError.is(own.error, ...passing)) return this.stopped(own.error);
      return await this.#finish("failed", own.error);
    }
    if (own instanceof ParentCommand) {
      const text = `graph "${this.#options.plan.name}": a Command for Command.PARENT, and there is no graph around this one`;
      return await this.#finish("failed", new AgentmaticError("InvalidGraph", text));
    }
    const error = AgentmaticError.from(own);
    return await this.#finish(AgentmaticError.is(error, "Cancelled") ? "cancelled" : "failed", error);
  }

  async #finish(status: "failed" | "cancelled", error: AgentmaticError): Promise<RunEnd> {
    await this.#loop.finish(status, error, this.#loop.leftover);
    return this.#end(status, error);
  }

  #end(status: RunEnd["status"], error?: AgentmaticError): RunEnd {
    const { runId, attempt, epoch } = this.#scope;
    const { snapshot } = this.#loop;
    const interrupts = this.#interrupts.map(({ id, value }) => ({ id, value }));
    return {
      type: "end",
      runId,
      attempt,
      epoch,
      status,
      checkpointId: snapshot.checkpointId || null,
      ...(error ? { error: errorValue(error) } : {}),
      ...(isTerminal(status) ? { values: encodeValue(outputOf(this.#options.plan, snapshot.values)) } : {}),
      ...(interrupts.length > 0 ? { interrupts: encodeValue(interrupts) } : {}),
    };
  }
}

/** Made once: an error's stack costs as much as several supersteps. */
const ended: AgentmaticError = new AgentmaticError("Cancelled", "the run has ended");

/** Targets of a stored Command are names, and packets as plain objects. */
function targetOf(target: unknown): string | Send {
  if (typeof target === "string") return target;
  const { node, args } = target as { readonly node: string; readonly args: unknown };
  return new Send(node, args);
}
