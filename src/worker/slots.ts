/** The slots of a worker: takes runs into them, claims and executes them, hands them over when it drains. */
import { storedEnd } from "../checkpoint/ended.ts";
import type { Claim, Saver } from "../checkpoint/saver.ts";
import { LeaseKeeper } from "../engine/lease.ts";
import { executeRun } from "../engine/run.ts";
import { AgentmaticError, type ErrorValue, errorValue, invalid } from "../errors.ts";
import type { Plan } from "../graph/plan.ts";
import { type Ports, sleep } from "../ports.ts";
import { checkCount, checkMs } from "../run/check.ts";
import type { Dispatch, InlineRun, RunEnd, StoreRef, WorkerInfo } from "../run/link.ts";
import { isTerminal, type ResidencyRule, type RunState } from "../run/record.ts";
import { makeSpec } from "../run/spec.ts";
import { handOff } from "../run/transitions.ts";
import { type Metrics, noMetrics } from "../telemetry/metrics.ts";
import { metricNames } from "../telemetry/names.ts";
import { noSpans, type Spans } from "../telemetry/spans.ts";
import { Feed, type Follower } from "./feed.ts";

export interface WorkerOptions {
  readonly graphs: readonly Plan[];
  readonly saver: Saver;
  readonly ports: Ports;
  readonly name?: string;
  /** "" is unknown, which lies outside of every residency rule. */
  readonly region?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Runs at once. */
  readonly slots?: number;
  /** The worker says at least this often that it lives. */
  readonly heartbeatMs?: number;
  /** Without a renewal for this long others may take its runs over. */
  readonly leaseMs?: number;
  readonly packageVersion?: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly metrics?: Metrics;
  readonly spans?: Spans;
}

export const slotsDefault = 16;
const slotsMax = 100_000;
export const heartbeatMsDefault = 1_000;
/** Two thirds of it is the credit for starting tasks, which then ends no later than the default silence limit. */
export const workerLeaseMsDefault = 4_500;
const drainPollMs = 20;

/** A run in a slot. */
export interface Active {
  readonly dispatch: Dispatch;
  readonly feed: Feed;
  readonly cancel: AbortController;
  readonly end: Promise<RunEnd>;
}

export class Slots {
  readonly id: string;
  readonly ports: Ports;
  readonly saver: Saver;
  readonly slots: number;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly plans: ReadonlyMap<string, Plan>;
  readonly #options: WorkerOptions;
  readonly #active: Map<string, Active> = new Map();
  readonly #leases: LeaseKeeper;
  readonly #metrics: Metrics;
  readonly #listeners: Set<() => void> = new Set();
  #store: StoreRef | undefined;
  #draining = false;
  #reserved = 0;

  constructor(options: WorkerOptions) {
    const { slots = slotsDefault, heartbeatMs, leaseMs, graphs } = options;
    checkCount("slots", slots, 1, slotsMax);
    checkMs("heartbeatMs", heartbeatMs);
    checkMs("leaseMs", leaseMs);
    const twice = graphs.find(({ name }, index) => graphs.findIndex((other) => other.name === name) !== index);
    if (twice) throw invalid("graphs", `two of them are named "${twice.name}"`);
    this.#options = options;
    this.ports = options.ports;
    this.saver = options.saver;
    this.id = options.ports.ids.next();
    this.slots = options.slots ?? slotsDefault;
    this.heartbeatMs = options.heartbeatMs ?? heartbeatMsDefault;
    this.plans = new Map(options.graphs.map((plan) => [plan.name, plan]));
    this.#metrics = options.metrics ?? noMetrics;
    this.leaseMs = leaseMs ?? workerLeaseMsDefault;
    this.#leases = new LeaseKeeper(options.saver, options.ports, { leaseMs: this.leaseMs });
    this.#metrics.gauge(metricNames.slots, this.slots);
  }

  /** Sets the store up and learns which one it is. Throws `Unavailable`, `FailedPrecondition`. */
  async start(): Promise<void> {
    const { saver } = this;
    await saver.setup();
    const { id, zone, region } = await saver.identity();
    this.#store = { id, kind: saver.kind, zone, region, shared: saver.shared };
  }

  get info(): WorkerInfo {
    if (!this.#store) throw new AgentmaticError("Unavailable", "the worker is starting");
    const { name = "", region = "", labels = {}, packageVersion = "" } = this.#options;
    const graphs = [...this.plans.values()].map(({ name: graph, version }) => ({ name: graph, version }));
    const { id: workerId, slots, heartbeatMs } = this;
    return { workerId, name, region, labels, slots, graphs, store: this.#store, packageVersion, heartbeatMs };
  }

  get draining(): boolean {
    return this.#draining;
  }

  get active(): number {
    return this.#active.size;
  }

  get free(): number {
    return this.#draining ? 0 : Math.max(0, this.slots - this.#active.size - this.#reserved);
  }

  ready(): { readonly ok: boolean; readonly reasons: readonly string[] } {
    const reasons = [...(this.#store ? [] : ["starting"]), ...(this.#draining ? ["draining"] : [])];
    return { ok: reasons.length === 0, reasons };
  }

  /** Calls `listener` whenever a slot is taken or freed, or the worker begins to drain. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Keeps a slot free until the returned function is called. Throws `Unavailable` (draining), `ResourceExhausted`. */
  reserve(): () => void {
    if (this.#draining) throw new AgentmaticError("Unavailable", "the worker is draining");
    if (this.free === 0) throw new AgentmaticError("ResourceExhausted", "all slots are taken", { retryAfterMs: 1_000 });
    this.#reserved++;
    return () => {
      this.#reserved--;
    };
  }

  find(runId: string): Active | undefined {
    return this.#active.get(runId);
  }

  /**
   * Takes a run into a slot and begins its attempt. Throws, with the record untouched, `Unavailable` (draining),
   * `ResourceExhausted` (slots full), `FailedPrecondition` (graph or version not served), `ResidencyViolation`.
   */
  take(dispatch: Dispatch, follower?: Follower): Active {
    this.#check(dispatch);
    const feed = new Feed();
    if (follower) feed.follow(follower, dispatch.events);
    const cancel = new AbortController();
    const end = this.#attempt(dispatch, feed, cancel);
    const active: Active = { dispatch, feed, cancel, end };
    this.#active.set(dispatch.runId, active);
    this.#changed();
    end.then((frame) => {
      this.#active.delete(dispatch.runId);
      if (isTerminal(frame.status)) this.#metrics.add(metricNames.runs, 1, { status: frame.status });
      feed.end(frame);
      this.#changed();
    });
    return active;
  }

  /**
   * Takes no more runs, lets supersteps end, hands every run over and resolves when none is left; at the latest after
   * `graceMs`, when the rest is handed over in the middle of a superstep.
   */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    this.#changed();
    const startMs = this.ports.clock.monotonicMs();
    while (this.#active.size > 0 && this.ports.clock.monotonicMs() - startMs < graceMs) {
      await sleep(this.ports.timers, drainPollMs);
    }
    await Promise.all([...this.#active.values()].map((active) => this.#breakOff(active)));
  }

  async close(): Promise<void> {
    this.#draining = true;
    this.#leases.close();
  }

  #check({ runId, graph, context }: Dispatch): void {
    if (this.#draining) throw new AgentmaticError("Unavailable", "the worker is draining");
    if (!this.#store) throw new AgentmaticError("Unavailable", "the worker is starting");
    if (this.#active.has(runId)) throw new AgentmaticError("AlreadyExists", `run ${runId} is in a slot here`);
    if (this.#active.size + this.#reserved >= this.slots)
      throw new AgentmaticError("ResourceExhausted", "all slots are taken");
    const plan = this.plans.get(graph.name);
    if (plan?.version !== graph.version) {
      const here = plan ? `version ${plan.version}` : "no graph of this name";
      throw new AgentmaticError("FailedPrecondition", `graph ${graph.name} ${graph.version} is not served: ${here} is`);
    }
    this.checkResidency(context.residency);
  }

  /** Throws `ResidencyViolation` unless this worker and its store lie within the rule. Unknown lies outside. */
  checkResidency(rule: ResidencyRule | undefined): void {
    if (!rule) return;
    const { region = "" } = this.#options;
    if (region === "" || !rule.regions.includes(region)) {
      throw new AgentmaticError("ResidencyViolation", "the worker's region is outside of the run's rule");
    }
    const store = this.#store?.region ?? "";
    if (store === "" || !rule.regions.includes(store)) {
      throw new AgentmaticError("ResidencyViolation", "the store's region is outside of the run's rule");
    }
  }

  async #attempt(dispatch: Dispatch, feed: Feed, cancel: AbortController): Promise<RunEnd> {
    const { saver, ports } = this;
    const { runId, threadId, attempt, graph } = dispatch;
    const startMs = ports.clock.monotonicMs();
    let claim: Claim;
    try {
      const inline = dispatch.inline && !saver.shared ? await this.#admitInline(dispatch, dispatch.inline) : undefined;
      // What it ended with while nobody could be told.
      if (inline && isTerminal(inline.status)) return await storedEnd(saver, runId, threadId, inline);
      const held = inline?.attempt ?? attempt;
      claim = await saver.claim({ runId, threadId, attempt: held, owner: this.id, nonce: ports.ids.next() });
    } catch (thrown) {
      return stopped(dispatch, AgentmaticError.from(thrown));
    }
    const lease = this.#leases.hold(claim, startMs, () => cancel.abort());
    try {
      // The record decides, not what the dispatch says of it.
      this.checkResidency(claim.record.spec.residency);
      const { config } = this.#options;
      const end = await executeRun({
        plan: this.plans.get(graph.name)!,
        saver,
        claim,
        lease,
        ports,
        wants: (kind) => feed.wants(kind),
        emit: (event) => feed.emit(event),
        flow: () => feed.flow(),
        cancel: cancel.signal,
        draining: () => this.#draining,
        spans: this.#options.spans ?? noSpans,
        ...(dispatch.context.trace ? { trace: dispatch.context.trace } : {}),
        ...(config ? { config } : {}),
      });
      if (end.error?.code === "FencedOut") this.#metrics.add(metricNames.fencedOut, 1);
      if (end.status === "queued" && this.#draining) await this.#handOver(runId);
      return end;
    } catch (thrown) {
      return stopped(dispatch, AgentmaticError.from(thrown));
    } finally {
      lease.release();
      this.#metrics.observe(metricNames.runSeconds, (ports.clock.monotonicMs() - startMs) / 1_000);
    }
  }

  /** Without a shared store the record travels with the dispatch and lives here, for as long as this process does. */
  async #admitInline({ runId, threadId, graph, context }: Dispatch, inline: InlineRun): Promise<RunState> {
    const spec = await makeSpec({ runId, threadId, graph, context, ...inline }, this.ports);
    const { record } = await this.saver.admit({ spec, coordinator: null, whenBusy: "enqueue" });
    return record.state;
  }

  /** Hands a run over in the middle of a superstep, and says so: waiting for the stream to break would cost it an attempt. */
  async #breakOff({ dispatch, feed }: Active): Promise<void> {
    await this.#handOver(dispatch.runId);
    feed.end(stopped(dispatch, new AgentmaticError("Unavailable", "the worker is draining")));
  }

  /** Gives a run of this worker to its next attempt; whoever coordinates it places it. */
  async #handOver(runId: string): Promise<void> {
    try {
      const record = await this.saver.getRun(runId);
      if (!record || isTerminal(record.state.status) || record.state.owner !== this.id) return;
      if (record.state.status !== "running") return;
      const coordinator = record.state.coordinator ?? "";
      await this.saver.updateRun(runId, {
        ...handOff(record, coordinator, "drained", this.ports.clock.wallMs()),
        coordinator: record.state.coordinator,
      });
    } catch (thrown) {
      // Its lease runs out, and whoever finds that takes it over.
      const error = AgentmaticError.from(thrown);
      this.ports.logger.log("warn", "a run was not handed over", { runId, code: error.code });
    }
  }

  #changed(): void {
    this.#metrics.gauge(metricNames.activeRuns, this.#active.size);
    for (const listener of this.#listeners) listener();
  }
}

/** The attempt did not come to pass or broke off; the run is not over. */
function stopped(dispatch: Dispatch, error: AgentmaticError): RunEnd {
  const value: ErrorValue = errorValue(error);
  const { runId, attempt } = dispatch;
  return { type: "end", runId, attempt, epoch: 0, status: "queued", checkpointId: null, error: value };
}
