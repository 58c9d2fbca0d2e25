/**
 * The coordinator: admits runs, queues them, places them on workers, follows them and hands them off.
 *
 * Everything it decides is written to the store by compare-and-set, so that a second coordinator, or this one after a
 * restart, can go on from there. What it keeps in memory is only who waits for what.
 */

import { storedEnd } from "../checkpoint/ended.ts";
import type { Saver, StoreIdentity } from "../checkpoint/saver.ts";
import { AgentmaticError, errorValue } from "../errors.ts";
import { candidates, impossible } from "../placement/filters.ts";
import { leastLoaded, type Strategy } from "../placement/strategies.ts";
import type { Placeable, WorkerView } from "../placement/view.ts";
import type { Ports } from "../ports.ts";
import type { Dialer, GraphRef, RunEnd, StoreRef, ToCoordinator } from "../run/link.ts";
import { type HandoffReason, isTerminal, type RunRecord, type RunState } from "../run/record.ts";
import type { RunHandle, Runner, RunRequest } from "../run/runner.ts";
import { makeSpec } from "../run/spec.ts";
import { adopt, end as endState, handOff, isPoison, requestCancel, type TerminalStatus } from "../run/transitions.ts";
import { type Metrics, noMetrics } from "../telemetry/metrics.ts";
import { metricNames } from "../telemetry/names.ts";
import { noSpans, type Spans } from "../telemetry/spans.ts";
import { WorkerLink } from "./link.ts";
import { MemoryMirror } from "./mirror.ts";
import { RunQueue } from "./queue.ts";
import { Recovery } from "./recovery.ts";
import { Tracked } from "./tracked.ts";

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
/** How long the first run waits for all workers to be tried. */
const firstLookMs = 1_000;
const changeTriesMax = 20;
const storeRetryFirstMs = 50;
const storeRetryMaxMs = 2_000;
const refusalDelayMs = 20;
const refusalDelayMaxMs = 2_000;

export class Coordinator implements Runner {
  /** Random, made at the start: a restarted coordinator is another one. */
  readonly id: string;
  readonly #options: CoordinatorOptions;
  readonly #ports: Ports;
  readonly #saver: Saver;
  readonly #strategy: Strategy;
  readonly #metrics: Metrics;
  readonly #graphs: Map<string, GraphRef> = new Map();
  readonly #addresses: Set<string>;
  readonly #links: Map<string, WorkerLink> = new Map();
  readonly #tracked: Map<string, Tracked> = new Map();
  readonly #queue: RunQueue;
  readonly #mirror: MemoryMirror;
  readonly #recovery: Recovery;
  readonly #listeners: Set<(event: CoordinatorEvent) => void> = new Set();
  #identity: StoreIdentity | undefined;
  #starting: Promise<void> | undefined;
  #closed = false;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
    this.#ports = options.ports;
    this.#saver = options.saver;
    this.#strategy = options.strategy ?? leastLoaded();
    this.#metrics = options.metrics ?? noMetrics;
    this.id = options.ports.ids.next();
    this.#queue = new RunQueue(options.queueMax ?? queueMaxDefault, (depth) => {
      this.#metrics.gauge(metricNames.queueDepth, depth);
    });
    this.#addresses = new Set(options.workers);
    for (const graph of options.graphs ?? []) this.serve(graph);
    this.#mirror = new MemoryMirror(options.saver, options.ports);
    this.#recovery = new Recovery({
      saver: options.saver,
      ports: options.ports,
      coordinatorId: this.id,
      takeoverMs: options.takeoverMs ?? takeoverMsDefault,
      isTracked: (runId) => this.#tracked.has(runId),
      isConnected: (workerId) => this.#linkOf(workerId) !== undefined,
      take: (record) => this.#takeOver(record),
      waiting: () => firstOf(this.#waiting()),
      look: (tracked) => void this.#reconsider(tracked, "recovered"),
    });
  }

  /** Adds a graph to those that are compared with the workers'. */
  serve(graph: GraphRef): void {
    this.#graphs.set(graph.name, graph);
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
    if (this.#closed) throw new AgentmaticError("Unavailable", "the coordinator is closed");
    await this.#saver.setup();
    this.#identity = await this.#saver.identity();
    for (const address of this.#addresses) this.#link(address);
    this.#recovery.start();
    // A moment for a first look at the workers: what none of them could ever do is then an error and not a long wait.
    const tried = Promise.all([...this.#links.values()].map((link) => link.tried));
    let cancel = () => {};
    const patience = new Promise<void>((resolve) => {
      cancel = this.#ports.timers.after(firstLookMs, resolve);
    });
    await Promise.race([tried, patience]);
    cancel();
  }

  /** Adds a worker; the coordinator connects to it now, or with the others when it connects at all. */
  addWorker(address: string): void {
    this.#addresses.add(address);
    if (this.#identity) this.#link(address);
  }

  /** Lets go of a worker; its runs are handed off. */
  async removeWorker(address: string): Promise<void> {
    this.#addresses.delete(address);
    const link = this.#links.get(address);
    if (!link) return;
    this.#links.delete(address);
    await link.close();
    this.#lost(link, "lost");
  }

  /** The workers that were ever reached. */
  workers(): readonly WorkerView[] {
    return [...this.#links.values()].flatMap(({ view }) => (view ? [view] : []));
  }

  /** Why a configured worker cannot be used, by address. */
  problems(): ReadonlyMap<string, AgentmaticError> {
    const problems = new Map<string, AgentmaticError>();
    for (const [address, link] of this.#links) {
      const problem = link.problem ?? this.#versionProblem(link);
      if (problem) problems.set(address, problem);
    }
    return problems;
  }

  /** Accepted runs that are not placed. */
  get queueDepth(): number {
    return this.#queue.size;
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
    const known = this.#tracked.get(spec.runId);
    if (!known) this.#checkAdmission(this.#placeable(spec.runId, spec));
    const { record } = await this.#saver.admit({ spec, coordinator: this.id, whenBusy: request.whenBusy ?? "enqueue" });
    const tracked = this.#track(record);
    const handle = tracked.handle(request.events);
    if (tracked.phase === "checking") await this.#admitted(tracked);
    if (signal) {
      const onAbort = () => void this.cancel(spec.runId).catch(() => undefined);
      signal.addEventListener("abort", onAbort, { once: true });
      tracked.end.finally(() => signal.removeEventListener("abort", onAbort)).catch(() => undefined);
      if (signal.aborted) onAbort();
    }
    return handle;
  }

  /** Asks for a run's end; it either comes before the run's own end or finds it done (P9). */
  async cancel(runId: string): Promise<void> {
    const record = await this.#change(runId, (current) =>
      current.state.status === "queued" && !this.#isPlaced(runId)
        ? endState(current, "cancelled", {
            checkpointId: null,
            error: { code: "Cancelled", message: "the run was cancelled" },
          })
        : requestCancel(current),
    );
    const tracked = this.#tracked.get(runId);
    if (!record || !tracked) return;
    if (isTerminal(record.state.status)) await this.#ended(tracked, record);
    else tracked.link?.cancel(runId);
  }

  get(runId: string): Promise<RunRecord | undefined> {
    return this.#saver.getRun(runId);
  }

  /** Follows a run that was accepted before, here or elsewhere, to its end. Throws `NotFound`. */
  async join(runId: string, events: RunRequest["events"] = []): Promise<RunHandle> {
    await this.connect();
    const tracked = this.#tracked.get(runId);
    if (tracked) return tracked.handle(events);
    const record = await this.#saver.getRun(runId);
    if (!record) throw new AgentmaticError("NotFound", `run ${runId} is not in the store`);
    const taken = this.#track(record);
    const handle = taken.handle(events);
    if (taken.phase === "checking") await this.#reconsider(taken, "recovered");
    return handle;
  }

  /** Lets go of everything; accepted runs stay in the store, workers go on with theirs. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#queue.close();
    await this.#recovery.close();
    const error = new AgentmaticError("Unavailable", "the coordinator is closed; the run goes on");
    for (const tracked of this.#tracked.values()) tracked.fail(error);
    this.#tracked.clear();
    await Promise.all([...this.#links.values()].map((link) => link.close()));
  }

  #checkAdmission(run: Placeable): void {
    if (this.#closed) throw new AgentmaticError("Unavailable", "the coordinator is closed");
    if (this.#queue.full) {
      const text = `the queue is full: ${this.#queue.size} runs wait for a worker`;
      throw new AgentmaticError("ResourceExhausted", text, { retryAfterMs: 1_000 });
    }
    // "Ever" can only be said of workers that are known: one that was not reached yet might be the one (P13).
    const links = [...this.#links.values()];
    if (links.length === 0 || links.some(({ view }) => !view)) return;
    const problem = impossible(this.workers(), run);
    if (problem) throw problem;
  }

  async #admitted(tracked: Tracked): Promise<void> {
    const { record } = tracked;
    if (isTerminal(record.state.status)) await this.#ended(tracked, record);
    else if (record.state.status === "running" || record.state.coordinator !== this.id) {
      await this.#reconsider(tracked, "recovered");
    } else this.#enqueue(tracked);
  }

  #track(record: RunRecord): Tracked {
    const { runId } = record.spec;
    let tracked = this.#tracked.get(runId);
    if (!tracked) {
      tracked = new Tracked(record);
      this.#tracked.set(runId, tracked);
    }
    return tracked;
  }

  #enqueue(tracked: Tracked, delayMs = 0): void {
    if (this.#closed || tracked.phase === "ended") return;
    tracked.link = undefined;
    if (!tracked.record.active) {
      tracked.phase = "waiting";
      return;
    }
    tracked.phase = "queued";
    tracked.notBeforeMs = this.#ports.clock.monotonicMs() + delayMs;
    // A run that was begun goes before those that were not: its hand-off must not take as long as the backlog.
    this.#queue.add(tracked, tracked.record.state.attempt > 1);
    if (delayMs === 0) this.#pump();
    else this.#ports.timers.after(delayMs, () => this.#pump());
  }

  /** Places what can be placed, in the order of the queue. */
  #pump(): void {
    if (this.#closed) return;
    const nowMs = this.#ports.clock.monotonicMs();
    this.#queue.drain((tracked) => {
      if (tracked.notBeforeMs > nowMs) return "keep";
      const workers = this.workers();
      if (!workers.some(({ permits, healthy }) => healthy && permits > 0)) return "stop";
      const run = this.#placeable(tracked.runId, tracked.record.spec, tracked.avoid);
      const { workers: fit, failed } = candidates(workers, run);
      if (failed) {
        if (failed.name === "memory") this.#failMemory(tracked);
        return failed.name === "memory" ? "done" : "keep";
      }
      return this.#place(tracked, this.#strategy.choose(fit, run)) ? "done" : "keep";
    });
  }

  #place(tracked: Tracked, worker: WorkerView): boolean {
    const link = this.#linkOf(worker.info.workerId);
    if (!link) return false;
    const { spec, state } = tracked.record;
    const span = (this.#options.spans ?? noSpans).start(
      "agentmatic.cluster.dispatch",
      {
        "agentmatic.run.id": spec.runId,
        "agentmatic.worker.id": worker.info.workerId,
        "agentmatic.attempt": state.attempt,
      },
      spec.trace,
    );
    const trace = span.trace ?? spec.trace;
    const sent = link.dispatch({
      type: "dispatch",
      runId: spec.runId,
      threadId: spec.threadId,
      attempt: state.attempt,
      graph: spec.graph,
      context: {
        correlationId: spec.correlationId,
        ...(spec.caller === undefined ? {} : { caller: spec.caller }),
        ...(spec.residency ? { residency: spec.residency } : {}),
        ...(trace ? { trace } : {}),
      },
      events: tracked.kinds,
      ...(this.#mirror.needed(worker.info.store, this.#identity!) ? { inline: this.#mirror.inline(spec, worker) } : {}),
    });
    if (!sent) {
      span.end();
      return false;
    }
    tracked.span = span;
    tracked.phase = "placed";
    tracked.link = link;
    return true;
  }

  #link(address: string): void {
    if (this.#links.has(address)) return;
    const { dialer, silentMs = silentMsDefault, packageVersion = "" } = this.#options;
    const { id, zone, region } = this.#identity!;
    const store: StoreRef = { id, kind: this.#saver.kind, zone, region, shared: this.#saver.shared };
    this.#links.set(
      address,
      new WorkerLink({
        address,
        dialer,
        ports: this.#ports,
        coordinatorId: this.id,
        store,
        graphs: () => [...this.#graphs.values()],
        silentMs,
        packageVersion,
        listener: {
          up: (link, same) => this.#workerUp(link, same),
          down: (link, workerId, reason) => {
            this.#tell({ type: "worker-down", workerId, address: link.address, reason });
            this.#lost(link, reason);
          },
          frame: (link, frame) => this.#receive(link, frame),
          changed: () => this.#pump(),
        },
      }),
    );
  }

  #workerUp(link: WorkerLink, same: boolean): void {
    const { info } = link.view!;
    const problem = this.#versionProblem(link);
    if (problem) this.#ports.logger.log("warn", problem.message, { worker: link.address });
    this.#tell({ type: "worker-up", workerId: info.workerId, address: link.address });
    // The stream broke and the worker is still there: go on following instead of handing off (P14).
    if (same) for (const tracked of this.#placedOn(link)) this.#attach(tracked, link);
    this.#pump();
  }

  #attach(tracked: Tracked, link: WorkerLink): void {
    tracked.phase = "placed";
    tracked.link = link;
    if (!link.attach(tracked.runId, tracked.record.state.attempt, tracked.kinds))
      void this.#reconsider(tracked, "lost");
  }

  #versionProblem(link: WorkerLink): AgentmaticError | undefined {
    for (const { name, version } of link.view?.info.graphs ?? []) {
      const ours = this.#graphs.get(name);
      if (!ours || ours.version === version) continue;
      const text = `graph ${name}: the application has version ${ours.version}, worker ${link.address} has ${version}`;
      return new AgentmaticError("FailedPrecondition", text, {
        details: { graph: name, ours: ours.version, theirs: version },
      });
    }
    return undefined;
  }

  #lost(link: WorkerLink, reason: "lost" | "silent"): void {
    link.active.clear();
    for (const tracked of this.#placedOn(link)) {
      if (this.#mirror.needed(link.view!.info.store, this.#identity!)) this.#failMemory(tracked);
      else void this.#reconsider(tracked, reason, link.view?.info.workerId);
    }
  }

  #receive(link: WorkerLink, frame: ToCoordinator): void {
    if (frame.type === "events") {
      for (const event of frame.events) {
        const follower = this.#tracked.get(event.runId);
        // What a worker says of a run that was handed off is void.
        if (follower?.link === link) follower.event(event);
      }
      return;
    }
    if (frame.type !== "end" && frame.type !== "refusal") return;
    const tracked = this.#tracked.get(frame.runId);
    if (!tracked || tracked.link !== link || tracked.phase !== "placed") return;
    if (frame.type === "end" && isTerminal(frame.status)) void this.#finished(tracked, link, frame);
    else if (frame.type === "end") this.#stopped(tracked, link, frame);
    else this.#refused(tracked, link, frame.error.code);
  }

  async #finished(tracked: Tracked, link: WorkerLink, end: RunEnd): Promise<void> {
    if (this.#mirror.needed(link.view!.info.store, this.#identity!)) await this.#mirror.finish(tracked.record, end);
    this.#complete(tracked, end);
  }

  #complete(tracked: Tracked, end: RunEnd): void {
    this.#tracked.delete(tracked.runId);
    tracked.finish(end);
    this.#metrics.add(metricNames.runs, 1, { status: end.status });
    const next = firstOf(this.#waiting().filter(({ record }) => record.spec.threadId === tracked.record.spec.threadId));
    for (const other of next) void this.#reconsider(other, "recovered");
  }

  /** The attempt is over, the run is not. The record says what comes next. */
  #stopped(tracked: Tracked, link: WorkerLink, end: RunEnd): void {
    const code = end.error?.code;
    const reason: HandoffReason = code === "FencedOut" || code === "StaleAttempt" ? "fenced" : "refused";
    if (code === "ResidencyViolation" && link.view) tracked.avoid.add(link.view.info.workerId);
    tracked.refusals++;
    void this.#reconsider(tracked, reason, link.view?.info.workerId);
  }

  #refused(tracked: Tracked, link: WorkerLink, code: string): void {
    tracked.refusals++;
    if (code === "NotFound") {
      // The answer to an attach: it ended there while the link was broken, or never began.
      void this.#reconsider(tracked, "lost", link.view?.info.workerId);
      return;
    }
    if (link.view && code !== "ResourceExhausted") tracked.avoid.add(link.view.info.workerId);
    this.#enqueue(tracked, this.#refusalDelay(tracked));
  }

  #refusalDelay({ refusals }: Tracked): number {
    return refusals < 2 ? 0 : Math.min(refusalDelayMaxMs, refusalDelayMs * 2 ** Math.min(refusals, 10));
  }

  /**
   * Reads the record and does what it says: it ended, somebody else follows it, it waits for its turn, or it is ours to
   * place, after a hand-off where its owner is not to be waited for. `gone`: the worker that is known not to have it.
   */
  async #reconsider(tracked: Tracked, reason: HandoffReason, gone?: string): Promise<void> {
    if (tracked.phase === "ended") return;
    tracked.phase = "checking";
    tracked.span?.end();
    for (let delayMs = storeRetryFirstMs; !this.#closed; delayMs = Math.min(storeRetryMaxMs, delayMs * 2)) {
      try {
        if (await this.#decide(tracked, reason, gone)) return;
      } catch (thrown) {
        const error = AgentmaticError.from(thrown);
        this.#ports.logger.log("warn", "a run's record was not read or written", {
          runId: tracked.runId,
          code: error.code,
        });
      }
      const { timers, random } = this.#ports;
      await new Promise<void>((resolve) => timers.after(delayMs * (0.5 + random.next() / 2), resolve));
    }
  }

  /** False: look again soon. */
  async #decide(tracked: Tracked, reason: HandoffReason, gone: string | undefined): Promise<boolean> {
    const record = await this.#saver.getRun(tracked.runId);
    if (!record) {
      this.#fail(tracked, new AgentmaticError("DataLoss", `run ${tracked.runId} is gone from the store`));
      return true;
    }
    tracked.record = record;
    const { state } = record;
    if (isTerminal(state.status)) {
      await this.#ended(tracked, record);
      return true;
    }
    const owner = state.status === "running" && state.owner !== null ? this.#linkOf(state.owner) : undefined;
    if (owner && state.owner !== gone) {
      if (state.coordinator !== this.id && !this.#recovery.orphaned(record)) return this.#watch(tracked);
      if (state.coordinator !== this.id)
        tracked.record = await this.#saver.updateRun(tracked.runId, adopt(record, this.id));
      this.#attach(tracked, owner);
      return true;
    }
    if (state.status === "queued") {
      if (state.coordinator !== this.id) {
        if (!this.#recovery.orphaned(record)) return this.#watch(tracked);
        tracked.record = await this.#saver.updateRun(tracked.runId, adopt(record, this.id));
      }
      // A dispatch may still be under way to a worker that is only slow: its attempt must be stale when it arrives.
      if (reason === "lost" || reason === "silent") return await this.#handOff(tracked, tracked.record, reason);
      this.#enqueue(tracked, this.#refusalDelay(tracked));
      return true;
    }
    if (state.coordinator !== this.id && !this.#recovery.leaseExpired(record)) return this.#watch(tracked);
    if (state.coordinator === this.id && reason === "recovered" && !this.#recovery.leaseExpired(record))
      return this.#watch(tracked);
    return await this.#handOff(tracked, record, reason);
  }

  /** Somebody else is at it: look again when the recovery does. */
  #watch(tracked: Tracked): true {
    tracked.phase = "waiting";
    return true;
  }

  async #handOff(tracked: Tracked, record: RunRecord, reason: HandoffReason): Promise<boolean> {
    const next = handOff(record, this.id, reason, this.#ports.clock.wallMs());
    if (isPoison(next, record.spec.maxAttempts)) {
      const { poison, history } = next;
      const text = `${poison} attempts lost their worker without finishing a superstep`;
      const error = errorValue(new AgentmaticError("DeadLettered", `run ${tracked.runId}: ${text}`));
      const dead = { ...endState(record, "dead", { checkpointId: null, error }), poison, history };
      await this.#ended(tracked, await this.#saver.updateRun(tracked.runId, dead));
      return true;
    }
    tracked.record = await this.#saver.updateRun(tracked.runId, next);
    if (record.state.status === "running") this.#handedOff(tracked, record, reason);
    this.#enqueue(tracked, reason === "lost" || reason === "silent" ? 0 : this.#refusalDelay(tracked));
    return true;
  }

  #handedOff(tracked: Tracked, { state }: RunRecord, reason: HandoffReason): void {
    tracked.retract(state.attempt);
    tracked.refusals = 0;
    this.#metrics.add(metricNames.handoffs, 1, { reason });
    const { runId } = tracked;
    this.#tell({ type: "handoff", runId, workerId: state.owner ?? "", reason, atMs: this.#ports.clock.monotonicMs() });
  }

  async #ended(tracked: Tracked, record: RunRecord): Promise<void> {
    const { runId, threadId } = record.spec;
    this.#queue.remove(tracked);
    this.#complete(tracked, await storedEnd(this.#saver, runId, threadId, record.state));
  }

  #fail(tracked: Tracked, error: AgentmaticError): void {
    this.#tracked.delete(tracked.runId);
    this.#queue.remove(tracked);
    tracked.fail(error);
  }

  /** The store was a lost worker's memory: the run cannot go on, and starting it again in silence is no option. */
  #failMemory(tracked: Tracked): void {
    const text = `run ${tracked.runId}: its worker is gone, and with it the memory that held its checkpoints; give the workers a shared store (Postgres, Redis, S3 or SQLite on one host) and runs are handed off`;
    const error = new AgentmaticError("DataLoss", text);
    void this.#terminate(tracked, "failed", error);
  }

  async #terminate(tracked: Tracked, status: TerminalStatus, error: AgentmaticError): Promise<void> {
    tracked.phase = "checking";
    const outcome = { checkpointId: null, error: errorValue(error) };
    const record = await this.#change(tracked.runId, (current) => endState(current, status, outcome));
    if (record) await this.#ended(tracked, record);
  }

  /** Changes a record by compare-and-set, deciding anew when it has changed; undefined where it had ended before. */
  async #change(runId: string, decide: (record: RunRecord) => RunState): Promise<RunRecord | undefined> {
    for (let tries = 0; tries < changeTriesMax; tries++) {
      const record = await this.#saver.getRun(runId);
      if (!record) throw new AgentmaticError("NotFound", `run ${runId} is not in the store`);
      if (isTerminal(record.state.status)) return undefined;
      try {
        return await this.#saver.updateRun(runId, decide(record));
      } catch (thrown) {
        if (!AgentmaticError.is(thrown, "Conflict")) throw thrown;
      }
    }
    throw new AgentmaticError("Conflict", `run ${runId} changed ${changeTriesMax} times while it was to be written`);
  }

  #takeOver(record: RunRecord): void {
    if (this.#closed || this.#tracked.has(record.spec.runId)) return;
    void this.#reconsider(this.#track(record), "recovered");
  }

  #placeable(runId: string, spec: RunRecord["spec"], avoid?: ReadonlySet<string>): Placeable {
    const pinned = this.#mirror.workerOf(spec.threadId);
    return {
      runId,
      threadId: spec.threadId,
      graph: spec.graph,
      ...(spec.residency ? { regions: spec.residency.regions } : {}),
      ...(pinned === undefined ? {} : { pinned }),
      ...(avoid && avoid.size > 0 ? { avoid } : {}),
    };
  }

  #placedOn(link: WorkerLink): Tracked[] {
    return [...this.#tracked.values()].filter((tracked) => tracked.phase === "placed" && tracked.link === link);
  }

  #waiting(): Tracked[] {
    return [...this.#tracked.values()].filter(({ phase }) => phase === "waiting");
  }

  #isPlaced(runId: string): boolean {
    return this.#tracked.get(runId)?.phase === "placed";
  }

  #linkOf(workerId: string): WorkerLink | undefined {
    for (const link of this.#links.values()) {
      const view = link.view;
      if (view?.healthy && view.info.workerId === workerId) return link;
    }
    return undefined;
  }

  #tell(event: CoordinatorEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

/** Of each thread only the run that is next by admission: those behind it cannot become active before it. */
function firstOf(waiting: readonly Tracked[]): Tracked[] {
  const first = new Map<string, Tracked>();
  for (const tracked of waiting) {
    const { threadId } = tracked.record.spec;
    const other = first.get(threadId);
    if (!other || tracked.record.ticket < other.record.ticket) first.set(threadId, tracked);
  }
  return [...first.values()];
}
