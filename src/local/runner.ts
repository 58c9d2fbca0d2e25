/** Runs graphs in this process: admits, claims and executes, with the same records and fences as a worker. */

import { storedEnd } from "../checkpoint/ended.ts";
import type { Claim, Saver } from "../checkpoint/saver.ts";
import { LeaseKeeper } from "../engine/lease.ts";
import { executeRun } from "../engine/run.ts";
import { AgentmaticError, fromErrorValue } from "../errors.ts";
import type { Plan } from "../graph/plan.ts";
import { type Ports, sleep } from "../ports.ts";
import { Channel } from "../run/channel.ts";
import type { RunEvent } from "../run/events.ts";
import type { RunEnd } from "../run/link.ts";
import { isTerminal, type RunRecord } from "../run/record.ts";
import type { RunHandle, Runner, RunRequest } from "../run/runner.ts";
import { makeSpec } from "../run/spec.ts";
import { handOff, requestCancel } from "../run/transitions.ts";

export interface LocalRunnerOptions {
  readonly plan: Plan;
  readonly saver: Saver;
  readonly ports: Ports;
  readonly leaseMs?: number;
  readonly config?: Readonly<Record<string, unknown>>;
}

export const leaseMsDefault = 10_000;
/** Events of one run that wait for their reader. */
const eventBufferMax = 1_024;
const pollMs = 50;
/** Tries to write a change to a record that others change at the same time. */
const changeTriesMax = 20;

export class LocalRunner implements Runner {
  readonly #options: LocalRunnerOptions;
  readonly #leases: LeaseKeeper;
  readonly #leaseMs: number;
  readonly #incarnation: string;

  constructor(options: LocalRunnerOptions) {
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? leaseMsDefault;
    this.#leases = new LeaseKeeper(options.saver, options.ports, { leaseMs: this.#leaseMs });
    this.#incarnation = options.ports.ids.next();
  }

  async start(request: RunRequest, signal?: AbortSignal): Promise<RunHandle> {
    const { saver, ports } = this.#options;
    const spec = await makeSpec(request, ports);
    const { record } = await saver.admit({ spec, coordinator: null, whenBusy: request.whenBusy ?? "enqueue" });
    const events = new Channel<RunEvent>(eventBufferMax);
    const flow: Flow = { last: undefined };
    const end = this.#drive(record, request, { events, flow }, signal);
    // What the last superstep said is still on its way to the reader when the run has ended.
    const close = () => (flow.last ?? Promise.resolve()).then(() => events.close());
    end.then(close, close);
    return { runId: spec.runId, events, end };
  }

  /** Brings the run to its end, and before it whatever run of the thread was left behind by a process that died. */
  async #drive(admitted: RunRecord, request: RunRequest, outlet: Outlet, signal?: AbortSignal): Promise<RunEnd> {
    const { saver, ports } = this.#options;
    const { runId, threadId } = admitted.spec;
    const watch = new LeaseWatch(ports, this.#leaseMs);
    for (let mine = admitted; ; ) {
      if (isTerminal(mine.state.status)) return await this.#ended(mine);
      const active = mine.active ? mine : await this.#activeRun(threadId);
      if (active && this.#mayExecute(active, watch)) {
        const own = active.spec.runId === runId;
        const end = await this.#attempt(active, request, own ? outlet : undefined, own ? signal : undefined);
        if (own && end && isTerminal(end.status)) return end;
      } else {
        if (signal?.aborted) await this.#cancel(runId);
        await sleep(ports.timers, pollMs);
      }
      const next = await saver.getRun(runId);
      if (!next) throw new AgentmaticError("NotFound", `run ${runId} is gone from the store`);
      mine = next;
    }
  }

  async #activeRun(threadId: string): Promise<RunRecord | undefined> {
    const runs = await this.#options.saver.listRuns({ threadId, statuses: ["queued", "running"], limit: 1_000 });
    return runs.find(({ active }) => active);
  }

  /** A run that nobody works on, or whose owner has not renewed its lease for a whole one. */
  #mayExecute({ spec, state }: RunRecord, watch: LeaseWatch): boolean {
    const { plan } = this.#options;
    if (spec.graph.name !== plan.name || spec.graph.version !== plan.version) return false;
    if (state.status === "queued" && state.coordinator === null) return true;
    return watch.expired(spec.runId, state.attempt, state.lease);
  }

  async #attempt(
    record: RunRecord,
    request: RunRequest,
    outlet?: Outlet,
    signal?: AbortSignal,
  ): Promise<RunEnd | undefined> {
    const { plan, saver, ports, config } = this.#options;
    const claimedMs = ports.clock.monotonicMs();
    let claim: Claim;
    try {
      claim = await this.#claim(record);
    } catch (thrown) {
      // Somebody else was quicker: look again.
      if (AgentmaticError.is(thrown, "StaleAttempt", "Conflict")) return undefined;
      throw thrown;
    }
    const cancel = new AbortController();
    const onAbort = () => cancel.abort();
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const lease = this.#leases.hold(claim, claimedMs, onAbort);
    const wanted = new Set(outlet ? request.events : []);
    try {
      const end = await executeRun({
        plan,
        saver,
        claim,
        lease,
        ports,
        wants: (kind) => wanted.has(kind),
        // A reader who has left closes the channel: its events go nowhere.
        emit: (event) => {
          if (outlet) outlet.flow.last = outlet.events.send(event).catch(() => undefined);
        },
        flow: () => outlet?.flow.last,
        cancel: cancel.signal,
        draining: () => false,
        ...(config ? { config } : {}),
      });
      if (isTerminal(end.status) || end.error?.code === "FencedOut") return end;
      throw end.error ? fromErrorValue(end.error) : new AgentmaticError("Internal", "the run stopped without a reason");
    } finally {
      signal?.removeEventListener("abort", onAbort);
      lease.release();
    }
  }

  async #claim(record: RunRecord): Promise<Claim> {
    const { saver, ports } = this.#options;
    let { attempt } = record.state;
    if (record.state.status === "running") {
      const next = handOff(record, this.#incarnation, "recovered", ports.clock.wallMs());
      attempt = (await saver.updateRun(record.spec.runId, next)).state.attempt;
    }
    const { runId, threadId } = record.spec;
    return await saver.claim({ threadId, runId, attempt, owner: this.#incarnation, nonce: ports.ids.next() });
  }

  async #cancel(runId: string): Promise<void> {
    for (let tries = 0; tries < changeTriesMax; tries++) {
      const record = await this.#options.saver.getRun(runId);
      if (!record || isTerminal(record.state.status) || record.state.cancelRequested) return;
      try {
        await this.#options.saver.updateRun(runId, requestCancel(record));
        return;
      } catch (thrown) {
        if (!AgentmaticError.is(thrown, "Conflict")) throw thrown;
      }
    }
  }

  /** The end of a run that was over before this call looked: read back from the store. */
  async #ended({ spec, state }: RunRecord): Promise<RunEnd> {
    return await storedEnd(this.#options.saver, spec.runId, spec.threadId, state);
  }
}

interface Flow {
  /** Settles when the last event was taken, or its reader has left. */
  last: Promise<void> | undefined;
}

interface Outlet {
  readonly events: Channel<RunEvent>;
  readonly flow: Flow;
}

/** Says when a lease has stood still for its whole length, by this process's own clock (P4). */
class LeaseWatch {
  readonly #ports: Ports;
  readonly #leaseMs: number;
  #seen = "";
  #sinceMs = 0;
  #lastMs = 0;

  constructor(ports: Ports, leaseMs: number) {
    this.#ports = ports;
    this.#leaseMs = leaseMs;
  }

  expired(runId: string, attempt: number, lease: number): boolean {
    const nowMs = this.#ports.clock.monotonicMs();
    const seen = `${runId} ${attempt} ${lease}`;
    // Looking too rarely is like not looking: start afresh after a pause of our own.
    if (seen !== this.#seen || nowMs - this.#lastMs > this.#leaseMs / 2) {
      this.#seen = seen;
      this.#sinceMs = nowMs;
    }
    this.#lastMs = nowMs;
    return nowMs - this.#sinceMs >= this.#leaseMs;
  }
}
