/**
 * The coordinator: accepts runs, and has them placed on workers, followed and handed off.
 *
 * Everything it decides is written to the store, so that a second coordinator, or this one after a restart, can go on
 * from there. What it keeps in memory is only who waits for what.
 */
import type { Saver } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import { impossible } from "../placement/filters.ts";
import { leastLoaded, type Strategy } from "../placement/strategies.ts";
import type { WorkerView } from "../placement/view.ts";
import type { Ports } from "../ports.ts";
import { checkCount, checkMs } from "../run/check.ts";
import { changeRecord } from "../run/ledger.ts";
import type { Dialer, GraphRef } from "../run/link.ts";
import { type HandoffReason, isTerminal, type RunRecord, type RunSpec } from "../run/record.ts";
import type { RunHandle, Runner, RunRequest } from "../run/runner.ts";
import { makeSpec } from "../run/spec.ts";
import { end as endState, requestCancel } from "../run/transitions.ts";
import { type Metrics, noMetrics } from "../telemetry/metrics.ts";
import { noSpans, type Spans } from "../telemetry/spans.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Fleet } from "./fleet.ts";
import type { WorkerLink } from "./link.ts";

export interface CoordinatorOptions {
  readonly saver: Saver;
  readonly dialer: Dialer;
  readonly workers: readonly string[];
  readonly ports: Ports;
  readonly strategy?: Strategy;
  /** What the application means by its graphs' names; compared with the workers' at connect. */
  readonly graphs?: readonly GraphRef[];
  /** A worker unheard for this long has its runs handed off. */
  readonly silentMs?: number;
  /** A coordinator or a lease that stands still for this long is taken over. */
  readonly takeoverMs?: number;
  /** Accepted runs that are not placed yet; beyond it new ones are refused (before they are accepted). */
  readonly queueMax?: number;
  readonly packageVersion?: string;
  readonly metrics?: Metrics;
  readonly spans?: Spans;
}

/** `atMs` is this process's monotonic clock. */
export type CoordinatorEvent =
  | {
      readonly type: "handoff";
      readonly runId: string;
      readonly workerId: string;
      readonly reason: HandoffReason;
      readonly atMs: number;
    }
  | { readonly type: "worker-up"; readonly workerId: string; readonly address: string }
  | {
      readonly type: "worker-down";
      readonly workerId: string;
      readonly address: string;
      readonly reason: "lost" | "silent";
    };

export const silentMsDefault = 3_000;
export const takeoverMsDefault = 6_000;
export const queueMaxDefault = 10_000;

export class Coordinator implements Runner {
  /** Random, made at the start: a restarted coordinator is another one. */
  readonly id: string;
  readonly #saver: Saver;
  readonly #ports: Ports;
  readonly #fleet: Fleet;
  readonly #dispatcher: Dispatcher;
  readonly #listeners: Set<(event: CoordinatorEvent) => void> = new Set();
  #starting: Promise<void> | undefined;
  readonly #queueMax: number;
  /** Runs on their way into the store. */
  #admitting = 0;
  #closed = false;

  constructor(options: CoordinatorOptions) {
    const { saver, ports, dialer, workers, graphs = [], packageVersion = "" } = options;
    checkMs("silentMs", options.silentMs);
    checkMs("takeoverMs", options.takeoverMs);
    checkCount("queueMax", options.queueMax ?? queueMaxDefault, 1, Number.MAX_SAFE_INTEGER);
    this.#saver = saver;
    this.#ports = ports;
    this.id = ports.ids.next();
    this.#queueMax = options.queueMax ?? queueMaxDefault;
    this.#fleet = new Fleet({
      saver,
      dialer,
      ports,
      coordinatorId: this.id,
      workers,
      graphs,
      silentMs: options.silentMs ?? silentMsDefault,
      packageVersion,
      listener: {
        up: (link, same) => this.#up(link, same),
        down: (link, reason) => this.#down(link, reason),
        frame: (link, frame) => this.#dispatcher.receive(link, frame),
        changed: () => this.#dispatcher.pump(),
      },
    });
    this.#dispatcher = new Dispatcher({
      saver,
      ports,
      fleet: this.#fleet,
      coordinatorId: this.id,
      strategy: options.strategy ?? leastLoaded(),
      takeoverMs: options.takeoverMs ?? takeoverMsDefault,
      metrics: options.metrics ?? noMetrics,
      spans: options.spans ?? noSpans,
      onHandoff: (runId, workerId, reason) => {
        this.#tell({ type: "handoff", runId, workerId, reason, atMs: ports.clock.monotonicMs() });
      },
    });
  }

  /** Sets the store up and connects to the workers. Called by the first `start` by itself. */
  connect(): Promise<void> {
    this.#starting ??= this.#connect().catch((error) => {
      this.#starting = undefined;
      throw error;
    });
    return this.#starting;
  }

  async #connect(): Promise<void> {
    this.#refuseClosed();
    await this.#saver.setup();
    const store = await this.#saver.identity();
    this.#dispatcher.start(store);
    await this.#fleet.connect(store);
  }

  /** Adds a graph to those that are compared with the workers'. */
  serve(graph: GraphRef): void {
    this.#fleet.serve(graph);
  }

  /** Adds a worker; the coordinator connects to it now, or with the others when it connects at all. */
  addWorker(address: string): void {
    this.#fleet.add(address);
  }

  /** Lets go of a worker; its runs are handed off. */
  async removeWorker(address: string): Promise<void> {
    await this.#fleet.remove(address);
  }

  /** The workers that were ever reached. */
  workers(): readonly WorkerView[] {
    return this.#fleet.views();
  }

  /** Why a configured worker cannot be used, by address. */
  problems(): ReadonlyMap<string, AgentmaticError> {
    return this.#fleet.problems();
  }

  /** Accepted runs that are not placed. */
  get queueDepth(): number {
    return this.#dispatcher.queueDepth;
  }

  observe(listener: (event: CoordinatorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Accepts a run: resolves once its record is durable. Throws before that, and only before: `InvalidArgument`,
   * `AlreadyExists`, `ThreadBusy`, `ResourceExhausted` (queue full), `ResidencyViolation` and `FailedPrecondition`
   * where every configured worker is known and none could ever take it.
   */
  async start(request: RunRequest, signal?: AbortSignal): Promise<RunHandle> {
    this.serve(request.graph);
    const spec = await makeSpec(request, this.#ports);
    await this.connect();
    if (!this.#dispatcher.find(spec.runId)) this.#checkAdmission(spec);
    this.#admitting++;
    const admission = { spec, coordinator: this.id, whenBusy: request.whenBusy ?? "enqueue" } as const;
    const { record } = await this.#saver.admit(admission).finally(() => {
      this.#admitting--;
    });
    const known = this.#dispatcher.find(spec.runId);
    const tracked = known ?? this.#dispatcher.track(record);
    const handle = this.#dispatcher.follow(tracked, request.events);
    if (this.#closed) tracked.fail(closed());
    else if (!known) this.#dispatcher.begin(tracked);
    if (signal) this.#cancelOn(signal, spec.runId, tracked.end);
    return handle;
  }

  /** Asks for a run's end; it either comes before the run's own end or finds it done (P9). Throws `NotFound`. */
  async cancel(runId: string): Promise<void> {
    const tracked = this.#dispatcher.find(runId);
    const error = { code: "Cancelled", message: "the run was cancelled" } as const;
    const record = await changeRecord(this.#saver, runId, (now) =>
      now.state.status === "queued" && tracked?.phase !== "placed"
        ? endState(now, "cancelled", { checkpointId: null, error })
        : requestCancel(now),
    );
    if (!tracked) return;
    if (isTerminal(record.state.status)) await this.#dispatcher.ended(tracked, record);
    else tracked.link?.cancel(runId);
  }

  get(runId: string): Promise<RunRecord | undefined> {
    return this.#saver.getRun(runId);
  }

  /** Follows a run that was accepted before, here or elsewhere, to its end. Throws `NotFound`. */
  async join(runId: string, events: RunRequest["events"] = []): Promise<RunHandle> {
    await this.connect();
    this.#refuseClosed();
    const known = this.#dispatcher.find(runId);
    if (known) return this.#dispatcher.follow(known, events);
    const record = await this.#saver.getRun(runId);
    if (!record) throw new AgentmaticError("NotFound", `run ${runId} is not in the store`);
    const tracked = this.#dispatcher.track(record);
    const handle = this.#dispatcher.follow(tracked, events);
    if (this.#closed) tracked.fail(closed());
    else void this.#dispatcher.reconsider(tracked, "recovered");
    return handle;
  }

  /** Lets go of everything; accepted runs stay in the store, workers go on with theirs. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#dispatcher.close(closed());
    await this.#fleet.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #checkAdmission(spec: RunSpec): void {
    this.#refuseClosed();
    const waiting = this.#dispatcher.waiting + this.#admitting;
    if (waiting >= this.#queueMax) {
      const text = `the queue is full: ${waiting} runs wait for a worker or for their turn`;
      throw new AgentmaticError("ResourceExhausted", text, { retryAfterMs: 1_000 });
    }
    if (!this.#fleet.known) return;
    const problem = impossible(this.workers(), this.#dispatcher.placeable(spec));
    if (problem) throw problem;
  }

  #refuseClosed(): void {
    if (this.#closed) throw new AgentmaticError("Unavailable", "the coordinator is closed");
  }

  #cancelOn(signal: AbortSignal, runId: string, end: Promise<unknown>): void {
    const onAbort = () => {
      this.cancel(runId).catch((thrown) => {
        this.#ports.logger.log("warn", "a run was not cancelled", { runId, code: AgentmaticError.from(thrown).code });
      });
    };
    signal.addEventListener("abort", onAbort, { once: true });
    const done = () => signal.removeEventListener("abort", onAbort);
    end.then(done, done);
    if (signal.aborted) onAbort();
  }

  #up(link: WorkerLink, same: boolean): void {
    const { view } = link;
    if (view) this.#tell({ type: "worker-up", workerId: view.info.workerId, address: link.address });
    this.#dispatcher.workerUp(link, same);
  }

  #down(link: WorkerLink, reason: "lost" | "silent"): void {
    const { view } = link;
    if (view) this.#tell({ type: "worker-down", workerId: view.info.workerId, address: link.address, reason });
    this.#dispatcher.workerDown(link, reason);
  }

  #tell(event: CoordinatorEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (thrown) {
        // The application's fault must not cost a run its hand-off.
        this.#ports.logger.log("error", "an observer threw", { error: AgentmaticError.from(thrown).message });
      }
    }
  }
}

function closed(): AgentmaticError {
  return new AgentmaticError("Unavailable", "the coordinator is closed; the run goes on");
}
