/**
 * Places accepted runs on workers, follows them and hands them off.
 *
 * What comes next for a run is always read from its record and written back by compare-and-set, so that it does not
 * matter who decides, how often, or after what pause. This file is long because every way in which an attempt can end
 * leads to that one decision (`#decide`), and the two halves of it are easier to compare side by side.
 */
import { storedEnd } from "../checkpoint/ended.ts";
import type { Saver, StoreIdentity } from "../checkpoint/saver.ts";
import { AgentmaticError, errorCodes, errorValue } from "../errors.ts";
import { candidates } from "../placement/filters.ts";
import type { Strategy } from "../placement/strategies.ts";
import type { Placeable, WorkerView } from "../placement/view.ts";
import type { Ports } from "../ports.ts";
import type { EventKind } from "../run/events.ts";
import { changeRecord } from "../run/ledger.ts";
import type { Dispatch, RunEnd, ToCoordinator } from "../run/link.ts";
import { type HandoffReason, isTerminal, type RunRecord } from "../run/record.ts";
import type { RunHandle } from "../run/runner.ts";
import { adopt, deadState, end as endState, handOff, isPoison } from "../run/transitions.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { metricNames } from "../telemetry/names.ts";
import type { Spans } from "../telemetry/spans.ts";
import { catchUp } from "./catch-up.ts";
import type { Fleet } from "./fleet.ts";
import type { WorkerLink } from "./link.ts";
import { MemoryMirror } from "./mirror.ts";
import { RunQueue } from "./queue.ts";
import { Recovery } from "./recovery.ts";
import { type PhaseCounts, Tracked } from "./tracked.ts";

export interface DispatcherOptions {
  readonly saver: Saver;
  readonly ports: Ports;
  readonly fleet: Fleet;
  readonly coordinatorId: string;
  readonly strategy: Strategy;
  readonly takeoverMs: number;
  readonly metrics: Metrics;
  readonly spans: Spans;
  readonly onHandoff: (runId: string, workerId: string, reason: HandoffReason) => void;
}

const storeRetryFirstMs = 50;
const storeRetryMaxMs = 2_000;
const refusalDelayMs = 20;
const refusalDelayMaxMs = 2_000;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #tracked: Map<string, Tracked> = new Map();
  readonly #queue: RunQueue;
  readonly #mirror: MemoryMirror;
  readonly #recovery: Recovery;
  #store: StoreIdentity | undefined;
  readonly #phases: PhaseCounts = { waiting: 0, queued: 0, placed: 0, checking: 0, ended: 0 };
  readonly #pauses: Set<() => void> = new Set();
  #closed = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    const { saver, ports, coordinatorId, takeoverMs, metrics, fleet } = options;
    this.#queue = new RunQueue((depth) => metrics.gauge(metricNames.queueDepth, depth));
    this.#mirror = new MemoryMirror(saver, ports);
    this.#recovery = new Recovery({
      saver,
      ports,
      coordinatorId,
      takeoverMs,
      isTracked: (runId) => this.#tracked.has(runId),
      isConnected: (workerId) => fleet.of(workerId) !== undefined,
      take: (record) => this.#takeOver(record),
      waiting: () => firstOf(this.#waiting()),
      look: (tracked) => void this.reconsider(tracked, "recovered"),
    });
  }

  start(store: StoreIdentity): void {
    this.#store = store;
    this.#recovery.start();
  }

  /** Lets go of every run: `error` goes to those who wait. */
  async close(error: AgentmaticError): Promise<void> {
    this.#closed = true;
    this.#queue.close();
    for (const over of [...this.#pauses]) over();
    await this.#recovery.close();
    for (const tracked of this.#tracked.values()) tracked.fail(error);
    this.#tracked.clear();
  }

  get queueDepth(): number {
    return this.#queue.size;
  }

  /** Accepted runs that are on no worker: queued, behind another run of their thread, or being looked at. */
  get waiting(): number {
    const { waiting, queued, checking } = this.#phases;
    return waiting + queued + checking;
  }

  find(runId: string): Tracked | undefined {
    return this.#tracked.get(runId);
  }

  track(record: RunRecord): Tracked {
    const { runId } = record.spec;
    let tracked = this.#tracked.get(runId);
    if (!tracked) {
      tracked = new Tracked(record, this.#phases);
      this.#tracked.set(runId, tracked);
      this.#watchDeadline(tracked);
    }
    return tracked;
  }

  /** Brings a run that was just accepted on its way, or finds out what became of it. */
  begin(tracked: Tracked): void {
    const { status, coordinator } = tracked.record.state;
    if (status === "queued" && coordinator === this.#options.coordinatorId) this.#enqueue(tracked);
    else void this.reconsider(tracked, "recovered");
  }

  /** A handle for one more reader; its kinds of events are asked for where the run is under way. */
  follow(tracked: Tracked, kinds: readonly EventKind[]): RunHandle {
    const before = new Set(tracked.kinds);
    const handle = tracked.handle(kinds);
    const { phase, link, record } = tracked;
    if (phase === "placed" && link && kinds.some((kind) => !before.has(kind))) {
      link.attach(tracked.runId, record.state.attempt, tracked.kinds);
    }
    return handle;
  }

  placeable({ runId, threadId, graph, residency }: RunRecord["spec"], avoid?: ReadonlySet<string>): Placeable {
    const pinned = this.#mirror.workerOf(threadId);
    return {
      runId,
      threadId,
      graph,
      ...(residency ? { regions: residency.regions } : {}),
      ...(pinned === undefined ? {} : { pinned }),
      ...(avoid && avoid.size > 0 ? { avoid } : {}),
    };
  }

  workerUp(link: WorkerLink, same: boolean): void {
    // The stream broke and the worker is still there: go on following instead of handing off (P14).
    if (same) for (const tracked of this.#placedOn(link)) void this.#reattach(tracked, link);
    this.pump();
  }

  workerDown(link: WorkerLink, reason: "lost" | "silent"): void {
    link.active.clear();
    for (const tracked of this.#placedOn(link)) {
      if (this.#ownMemory(link)) void this.#failMemory(tracked);
      else void this.reconsider(tracked, reason, link.view?.info.workerId);
    }
  }

  receive(link: WorkerLink, frame: ToCoordinator): void {
    if (frame.type === "events") {
      for (const event of frame.events) {
        const follower = this.#tracked.get(event.runId);
        // What a worker says of a run that was handed off is void.
        if (follower?.link !== link) continue;
        if (follower.behind) void this.#catchUp(follower);
        follower.event(event);
      }
      return;
    }
    if (frame.type !== "end" && frame.type !== "refusal") return;
    const tracked = this.#tracked.get(frame.runId);
    if (tracked?.link !== link || tracked.phase !== "placed") return;
    if (frame.type === "end" && isTerminal(frame.status)) void this.#finished(tracked, link, frame);
    else if (frame.type === "end") this.#stopped(tracked, link, frame);
    else this.#refused(tracked, link, frame.error.code);
  }

  /** Places what can be placed, in the order of the queue. */
  pump(): void {
    if (this.#closed) return;
    const nowMs = this.#options.ports.clock.monotonicMs();
    this.#queue.drain((tracked) => {
      if (tracked.notBeforeMs > nowMs) return "keep";
      const workers = this.#options.fleet.views();
      if (!workers.some(({ permits, healthy }) => healthy && permits > 0)) return "stop";
      const run = this.placeable(tracked.record.spec, tracked.avoid);
      const { workers: fit, failed } = candidates(workers, run);
      if (failed?.name === "memory") {
        void this.#failMemory(tracked);
        return "done";
      }
      if (failed) return "keep";
      return this.#place(tracked, this.#options.strategy.choose(fit, run)) ? "done" : "keep";
    });
  }

  #enqueue(tracked: Tracked, delayMs = 0): void {
    if (this.#closed || tracked.phase === "ended") return;
    tracked.link = undefined;
    tracked.phase = tracked.record.active ? "queued" : "waiting";
    if (leftMs(tracked, this.#options.ports) <= 0) void this.#expire(tracked);
    if (tracked.phase !== "queued") return;
    const { clock } = this.#options.ports;
    // A pause is a little shorter or longer than asked for: the run may be placed when it is over, whichever it was.
    tracked.notBeforeMs = clock.monotonicMs() + delayMs / 2;
    // A run that was begun goes before those that were not: its hand-off must not take as long as the backlog.
    this.#queue.add(tracked, tracked.record.state.attempt > 1);
    if (delayMs === 0) this.pump();
    else void this.#pause(delayMs).then(() => this.pump());
  }

  #place(tracked: Tracked, worker: WorkerView): boolean {
    const link = this.#options.fleet.of(worker.info.workerId);
    if (!link) return false;
    const { spec, state } = tracked.record;
    const span = this.#options.spans.start(
      "agentmatic.cluster.dispatch",
      {
        "agentmatic.run.id": spec.runId,
        "agentmatic.worker.id": worker.info.workerId,
        "agentmatic.attempt": state.attempt,
        "agentmatic.correlation.id": spec.correlationId,
      },
      spec.trace,
    );
    const trace = span.trace ?? spec.trace;
    const dispatch: Dispatch = {
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
      ...(this.#ownMemory(link) ? { inline: this.#mirror.inline(spec, worker) } : {}),
    };
    if (!link.dispatch(dispatch)) {
      span.end();
      return false;
    }
    // An attempt that ended without a hand-off of ours, as by a drain, is over all the same.
    if (tracked.placedAttempt < state.attempt) tracked.retract(tracked.placedAttempt);
    tracked.placedAttempt = state.attempt;
    tracked.span = span;
    tracked.phase = "placed";
    tracked.link = link;
    // An earlier attempt may have committed what nobody here was told of.
    tracked.behind = state.claimSeq !== null;
    tracked.sayFlow();
    return true;
  }

  #attach(tracked: Tracked, link: WorkerLink): void {
    tracked.phase = "placed";
    tracked.link = link;
    const { attempt } = tracked.record.state;
    if (link.attach(tracked.runId, attempt, tracked.kinds)) tracked.sayFlow();
    else void this.reconsider(tracked, "lost");
  }

  #reattach(tracked: Tracked, link: WorkerLink): Promise<void> {
    this.#attach(tracked, link);
    if (tracked.settings.durability === "exit" && tracked.replayable.length > 0) {
      const text = `run ${tracked.runId} goes on; what was missed of its events is not stored before its end (durability "exit")`;
      tracked.breakOff(new AgentmaticError("Unavailable", text));
    }
    const caughtUp = this.#catchUp(tracked);
    // Commits between that look and the worker's hearing of the new follower are found at the next event, or at the end.
    tracked.behind = true;
    return caughtUp;
  }

  async #finished(tracked: Tracked, link: WorkerLink, end: RunEnd): Promise<void> {
    if (this.#ownMemory(link)) await this.#mirror.finish(tracked.record, end);
    else if (tracked.behind || tracked.holding) await this.#catchUp(tracked);
    this.#complete(tracked, end);
  }

  #complete(tracked: Tracked, end: RunEnd): void {
    if (tracked.phase === "ended") return;
    this.#tracked.delete(tracked.runId);
    tracked.finish(end);
    this.#options.metrics.add(metricNames.runs, 1, { status: end.status });
    const { threadId } = tracked.record.spec;
    const next = firstOf(this.#waiting().filter(({ record }) => record.spec.threadId === threadId));
    for (const other of next) void this.reconsider(other, "recovered");
  }

  /** The attempt is over, the run is not. The record says what comes next. */
  #stopped(tracked: Tracked, link: WorkerLink, end: RunEnd): void {
    const code = end.error?.code;
    const fenced = code === "FencedOut" || code === "StaleAttempt";
    // What no other attempt could do better either counts like a lost worker: it must come to an end (P14).
    const hopeless = code !== undefined && !fenced && !errorCodes[code].retryable && code !== "ResidencyViolation";
    const reason: HandoffReason = fenced ? "fenced" : hopeless ? "broken" : "refused";
    if (code === "ResidencyViolation" && link.view) tracked.avoid.add(link.view.info.workerId);
    tracked.refusals++;
    void this.reconsider(tracked, reason, link.view?.info.workerId);
  }

  #refused(tracked: Tracked, link: WorkerLink, code: string): void {
    tracked.refusals++;
    if (code === "NotFound") {
      // The answer to an attach: it ended there while the link was broken, or never began.
      void this.reconsider(tracked, "lost", link.view?.info.workerId);
      return;
    }
    if (link.view && code !== "ResourceExhausted") tracked.avoid.add(link.view.info.workerId);
    this.#enqueue(tracked, refusalDelay(tracked));
  }

  /**
   * Reads the record and does what it says: it ended, somebody else follows it, it waits for its turn, or it is ours to
   * place, after a hand-off where its owner is not to be waited for. `gone`: the worker that is known not to have it.
   */
  async reconsider(tracked: Tracked, reason: HandoffReason, gone?: string): Promise<void> {
    if (tracked.phase === "ended") return;
    tracked.phase = "checking";
    tracked.span?.end();
    const { logger } = this.#options.ports;
    for (let delayMs = storeRetryFirstMs; !this.#closed; delayMs = Math.min(storeRetryMaxMs, delayMs * 2)) {
      try {
        await this.#decide(tracked, reason, gone);
        return;
      } catch (thrown) {
        const { code } = AgentmaticError.from(thrown);
        logger.log("warn", "a run's record was not read or written", { runId: tracked.runId, code });
      }
      await this.#pause(delayMs);
    }
  }

  async #decide(tracked: Tracked, reason: HandoffReason, gone: string | undefined): Promise<void> {
    const { saver, coordinatorId, fleet } = this.#options;
    const record = await saver.getRun(tracked.runId);
    if (!record)
      return this.#fail(tracked, new AgentmaticError("DataLoss", `run ${tracked.runId} is gone from the store`));
    const { attempt } = tracked.record.state;
    // Somebody else gave it to its next attempt: its worker that drains, another coordinator.
    if (record.state.attempt > attempt) tracked.retract(attempt);
    tracked.record = record;
    const { state } = record;
    if (isTerminal(state.status)) return await this.ended(tracked, record);
    const mine = state.coordinator === coordinatorId;
    if (state.status === "queued") {
      if (!mine && !this.#recovery.orphaned(record)) return this.#watch(tracked);
      if (state.cancelRequested) return await this.#cancelled(tracked, record);
      // A dispatch may still be under way to a worker that is only slow: its attempt must be stale when it arrives.
      if (reason === "lost" || reason === "silent") return await this.#handOff(tracked, record, reason);
      if (!mine) tracked.record = await saver.updateRun(tracked.runId, adopt(record, coordinatorId));
      return this.#enqueue(tracked, refusalDelay(tracked));
    }
    const owner = state.owner === null || state.owner === gone ? undefined : fleet.of(state.owner);
    if (owner) {
      // Followed in any case, taken over only from a coordinator that is gone.
      if (!mine && this.#recovery.orphaned(record)) {
        tracked.record = await saver.updateRun(tracked.runId, adopt(record, coordinatorId));
      }
      return await this.#reattach(tracked, owner);
    }
    // Nobody here has lost it: its owner may live on without being known here. Only its lease can tell.
    const known = mine && reason !== "recovered";
    if (!known && !this.#recovery.leaseExpired(record)) return this.#watch(tracked);
    await this.#handOff(tracked, record, reason);
  }

  #catchUp(tracked: Tracked, over = false): Promise<void> {
    const { saver, ports } = this.#options;
    return catchUp(tracked, over, { saver, ports, pause: (ms) => this.#pause(ms), closed: () => this.#closed });
  }

  /** A run that nobody has begun ends here when its time is over; one on a worker ends there. */
  #watchDeadline(tracked: Tracked): void {
    const { ports } = this.#options;
    if (tracked.record.spec.deadlineMs === undefined) return;
    const cancel = ports.timers.after(Math.max(0, leftMs(tracked, ports)), () => void this.#expire(tracked));
    tracked.end.then(cancel, cancel);
  }

  async #expire(tracked: Tracked): Promise<void> {
    if (this.#closed || (tracked.phase !== "queued" && tracked.phase !== "waiting")) return;
    this.#queue.remove(tracked);
    tracked.phase = "checking";
    const { saver, ports } = this.#options;
    const text = `the run did not end within ${tracked.record.spec.deadlineMs} ms; it was on no worker when they were over`;
    const outcome = { checkpointId: null, error: errorValue(new AgentmaticError("DeadlineExceeded", text)) };
    try {
      const record = await changeRecord(saver, tracked.runId, (now) =>
        now.state.status === "queued" ? endState(now, "failed", outcome) : undefined,
      );
      if (isTerminal(record.state.status)) await this.ended(tracked, record);
      else await this.reconsider(tracked, "recovered");
    } catch (thrown) {
      ports.logger.log("warn", "a run past its deadline was not ended", {
        runId: tracked.runId,
        code: AgentmaticError.from(thrown).code,
      });
      // Looked at again once the store is back, and found late again.
      await this.reconsider(tracked, "refused");
    }
  }

  #pause(delayMs: number): Promise<void> {
    const { timers, random } = this.#options.ports;
    return new Promise((resolve) => {
      const over = () => {
        cancel();
        this.#pauses.delete(over);
        resolve();
      };
      const cancel = timers.after(delayMs * (0.5 + random.next() / 2), over);
      this.#pauses.add(over);
    });
  }

  /** Somebody else is at it: looked at again at the next sweep. */
  #watch(tracked: Tracked): void {
    tracked.phase = "waiting";
  }

  async #handOff(tracked: Tracked, record: RunRecord, reason: HandoffReason): Promise<void> {
    const { saver, coordinatorId, ports, metrics, onHandoff } = this.#options;
    if (record.state.cancelRequested) return await this.#cancelled(tracked, record);
    const next = handOff(record, coordinatorId, reason, ports.clock.wallMs());
    if (isPoison(next, record.spec.maxAttempts)) {
      const dead = await saver.updateRun(tracked.runId, deadState(record, next.poison, next.history));
      return await this.ended(tracked, dead);
    }
    tracked.record = await saver.updateRun(tracked.runId, next);
    if (record.state.status === "running") {
      tracked.retract(record.state.attempt);
      metrics.add(metricNames.handoffs, 1, { reason });
      onHandoff(tracked.runId, record.state.owner ?? "", reason);
    }
    const delayMs = refusalDelay(tracked);
    if (reason === "lost" || reason === "silent") tracked.refusals = 0;
    this.#enqueue(tracked, tracked.refusals === 0 ? 0 : delayMs);
  }

  /** Nobody is left who could end it, and nobody needs to go on. */
  async #cancelled(tracked: Tracked, record: RunRecord): Promise<void> {
    const error = { code: "Cancelled", message: "the run was cancelled" } as const;
    const next = endState(record, "cancelled", { checkpointId: null, error });
    await this.ended(tracked, await this.#options.saver.updateRun(tracked.runId, next));
  }

  /** The record is terminal: whoever waits is told what it says. */
  async ended(tracked: Tracked, record: RunRecord): Promise<void> {
    const { runId, threadId } = record.spec;
    this.#queue.remove(tracked);
    const end = await storedEnd(this.#options.saver, runId, threadId, record.state);
    await this.#catchUp(tracked, true);
    this.#complete(tracked, end);
  }

  #fail(tracked: Tracked, error: AgentmaticError): void {
    this.#tracked.delete(tracked.runId);
    this.#queue.remove(tracked);
    tracked.fail(error);
  }

  /** True where coordinator and worker keep their state each in a memory of its own. */
  #ownMemory(link: WorkerLink): boolean {
    return this.#mirror.needed(link.view!.info.store, this.#store!);
  }

  /** The store was a lost worker's memory: the run cannot go on, and starting it again in silence is no option. */
  async #failMemory(tracked: Tracked): Promise<void> {
    tracked.phase = "checking";
    const text = `run ${tracked.runId}: its worker is gone, and with it the memory that held its checkpoints; give the workers a shared store (Postgres, Redis, S3, or SQLite on one host) and runs are handed off`;
    const outcome = { checkpointId: null, error: errorValue(new AgentmaticError("DataLoss", text)) };
    const record = await changeRecord(this.#options.saver, tracked.runId, (now) => endState(now, "failed", outcome));
    await this.ended(tracked, record);
  }

  #takeOver(record: RunRecord): void {
    if (this.#closed || this.#tracked.has(record.spec.runId)) return;
    void this.reconsider(this.track(record), "recovered");
  }

  #placedOn(link: WorkerLink): Tracked[] {
    return [...this.#tracked.values()].filter((tracked) => tracked.phase === "placed" && tracked.link === link);
  }

  #waiting(): Tracked[] {
    return [...this.#tracked.values()].filter(({ phase }) => phase === "waiting");
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

/** Milliseconds until the run's deadline, by the wall clock as at its admission; no bound where it has none. */
function leftMs({ record }: Tracked, { clock }: Ports): number {
  const { deadlineMs, createdAtMs } = record.spec;
  return deadlineMs === undefined ? Number.POSITIVE_INFINITY : createdAtMs + deadlineMs - clock.wallMs();
}

function refusalDelay({ refusals }: Tracked): number {
  return refusals < 2 ? 0 : Math.min(refusalDelayMaxMs, refusalDelayMs * 2 ** Math.min(refusals, 10));
}
