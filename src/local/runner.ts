/** Runs graphs in this process: admits, claims and executes, with the same records and fences as a worker. */

import { storedEnd } from "../checkpoint/ended.ts";
import type { Claim, Saver } from "../checkpoint/saver.ts";
import { LeaseKeeper } from "../engine/lease.ts";
import { executeRun } from "../engine/run.ts";
import { AgentmaticError, errorValue, fromErrorValue } from "../errors.ts";
import type { Plan } from "../graph/plan.ts";
import { type Ports, sleep } from "../ports.ts";
import type { RunControl } from "../run/control.ts";
import { changeRecord } from "../run/ledger.ts";
import type { RunEnd } from "../run/link.ts";
import { isTerminal, type ResidencyRule, type RunRecord, type RunState } from "../run/record.ts";
import type { RunHandle, Runner, RunRequest } from "../run/runner.ts";
import { makeSpec } from "../run/spec.ts";
import { deadState, end as endState, handOff, isPoison, requestCancel } from "../run/transitions.ts";
import { StillWatch } from "../run/watch.ts";
import { Outlet } from "./outlet.ts";

export interface LocalRunnerOptions {
  readonly plan: Plan;
  readonly saver: Saver;
  readonly ports: Ports;
  readonly leaseMs?: number;
  /** Where this process is; "" is unknown, which is outside of every residency rule. */
  readonly region?: string;
  readonly config?: Readonly<Record<string, unknown>>;
}

export const leaseMsDefault = 10_000;
const pollMs = 50;
/** Looks at a run of another graph version at the head of the thread before it counts as in the way for good. */
const strangerPolls = 5;

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

  async start(request: RunRequest, signal?: AbortSignal, control?: RunControl): Promise<RunHandle> {
    const { saver, ports } = this.#options;
    const spec = await makeSpec(request, ports);
    if (spec.residency) await this.#checkResidency(spec.residency);
    const { record, created } = await saver.admit({ spec, coordinator: null, whenBusy: request.whenBusy ?? "enqueue" });
    const outlet = new Outlet();
    const end = this.#drive(record, created, request, outlet, signal, control);
    const close = () => outlet.close();
    end.then(close, close);
    return { runId: spec.runId, events: outlet.events(), end };
  }

  /** This process is one place among others: without a known region it lies outside of every rule. */
  async #checkResidency({ regions }: ResidencyRule): Promise<void> {
    const { region = "", saver } = this.#options;
    const store = await saver.identity();
    for (const [what, where] of [
      ["process", region],
      ["store", store.region],
    ] as const) {
      if (where !== "" && regions.includes(where)) continue;
      const text = `residency.regions: this ${what} is in ${where === "" ? "no known region" : where}, outside of ${regions.join(", ")}`;
      throw new AgentmaticError("ResidencyViolation", text, { details: { filter: "residency" } });
    }
  }

  /** Brings the run to its end, and before it whatever run of the thread was left behind by a process that died. */
  async #drive(
    admitted: RunRecord,
    created: boolean,
    request: RunRequest,
    outlet: Outlet,
    signal?: AbortSignal,
    control?: RunControl,
  ): Promise<RunEnd> {
    const { saver, ports } = this.#options;
    const { runId, threadId } = admitted.spec;
    const watch = new StillWatch(ports.clock, this.#leaseMs);
    let strangers = 0;
    for (let mine = admitted; ; ) {
      if (isTerminal(mine.state.status)) return await this.#ended(mine);
      const active = mine.active ? mine : await this.#activeRun(threadId);
      const own = active?.spec.runId === runId;
      if (active && this.#mayExecute(active, own && created, watch)) {
        if (own) {
          const end = await this.#attempt(active, request, outlet, signal, control);
          if (end && isTerminal(end.status)) return end;
        } else await this.#orOver(this.#attempt(active, request), mine, signal);
      } else {
        strangers = active ? this.#inTheWay(active, watch, strangers) : 0;
        if (strangers > strangerPolls) return await this.#blocked(runId, active!);
        if (signal?.aborted) await this.#cancel(runId);
        await this.#expire(mine);
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

  /** A run that this call has made, while nobody has it; any other, also one that a repeated id names, only once it has stood still for a whole lease (P4). */
  #mayExecute(record: RunRecord, own: boolean, watch: StillWatch): boolean {
    const { spec, state } = record;
    if (!this.#serves(record)) return false;
    if (own && state.status === "queued" && state.coordinator === null) return true;
    watch.round();
    return watch.still(spec.runId, `${state.attempt} ${state.lease}`);
  }

  /**
   * Looks in a row at a run of another graph that is no coordinator's: begun by nobody, or by a process that is gone, as
   * is certain once it has stood still for a whole lease.
   */
  #inTheWay(record: RunRecord, watch: StillWatch, looks: number): number {
    const { status, coordinator, attempt, lease } = record.state;
    if (this.#serves(record) || coordinator !== null) return 0;
    if (status === "queued") return looks + 1;
    watch.round();
    return watch.still(record.spec.runId, `${attempt} ${lease}`) ? Number.POSITIVE_INFINITY : 0;
  }

  /** A run of another version is gone on with where the graph says how. */
  #serves({ spec }: RunRecord): boolean {
    const { name, version, migrate } = this.#options.plan;
    return spec.graph.name === name && (spec.graph.version === version || migrate !== undefined);
  }

  /** Before this run there is one on the thread that this process cannot execute, and nobody else does. */
  async #blocked(runId: string, { spec }: RunRecord): Promise<RunEnd> {
    const { name, version } = this.#options.plan;
    const text = `thread ${spec.threadId} is held by run ${spec.runId} of graph ${spec.graph.name} version ${spec.graph.version}, which nobody executes; this process has ${name} version ${version}: end it with its own version, or compile with migrate`;
    const error = errorValue(new AgentmaticError("FailedPrecondition", text));
    const record = await this.#change(runId, (mine) => endState(mine, "failed", { checkpointId: null, error }));
    return await this.#ended(record);
  }

  async #attempt(
    record: RunRecord,
    request: RunRequest,
    outlet?: Outlet,
    signal?: AbortSignal,
    control?: RunControl,
  ): Promise<RunEnd | undefined> {
    const { plan, saver, ports, config } = this.#options;
    const claimedMs = ports.clock.monotonicMs();
    let claim: Claim;
    try {
      const claimed = await this.#claim(record);
      if (!claimed) return undefined;
      claim = claimed;
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
        emit: (event) => outlet?.emit(event),
        flow: () => outlet?.flow(),
        cancel: cancel.signal,
        draining: () => false,
        control,
        ...(config ? { config } : {}),
      });
      if (isTerminal(end.status) || end.error?.code === "FencedOut") return end;
      throw end.error ? fromErrorValue(end.error) : new AgentmaticError("Internal", "the run stopped without a reason");
    } finally {
      signal?.removeEventListener("abort", onAbort);
      lease.release();
    }
  }

  async #claim(record: RunRecord): Promise<Claim | undefined> {
    const { saver, ports } = this.#options;
    let { attempt } = record.state;
    const { runId, threadId } = record.spec;
    if (record.state.status === "running") {
      // Its process died, or we would not be here: without progress that counts (P14).
      const next = handOff(record, this.#incarnation, "lost", ports.clock.wallMs());
      if (isPoison(next, record.spec.maxAttempts)) return await this.#bury(record, next);
      attempt = (await saver.updateRun(runId, next)).state.attempt;
    }
    return await saver.claim({ threadId, runId, attempt, owner: this.#incarnation, nonce: ports.ids.next() });
  }

  async #bury(record: RunRecord, { poison, history }: RunState): Promise<undefined> {
    await this.#options.saver.updateRun(record.spec.runId, deadState(record, poison, history));
    return undefined;
  }

  /** Waits for the run before this one, which goes on by itself where this one is cancelled or its time is over. */
  async #orOver(other: Promise<unknown>, { spec }: RunRecord, signal: AbortSignal | undefined): Promise<void> {
    const { clock, timers } = this.#options.ports;
    const { promise, resolve } = Promise.withResolvers<void>();
    const { deadlineMs, createdAtMs } = spec;
    const leftMs = deadlineMs === undefined ? undefined : Math.max(0, createdAtMs + deadlineMs - clock.wallMs());
    const cancel = leftMs === undefined ? () => {} : timers.after(leftMs, resolve);
    const onAbort = () => resolve();
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) resolve();
    try {
      await Promise.race([other, promise]);
    } finally {
      cancel();
      signal?.removeEventListener("abort", onAbort);
      other.catch(() => undefined);
    }
  }

  /** Its time may be over before its turn has come. */
  async #expire({ spec }: RunRecord): Promise<void> {
    const { runId, deadlineMs, createdAtMs } = spec;
    if (deadlineMs === undefined || this.#options.ports.clock.wallMs() < createdAtMs + deadlineMs) return;
    const text = `the run did not end within ${deadlineMs} ms; it waited for another run of its thread`;
    const error = errorValue(new AgentmaticError("DeadlineExceeded", text));
    await this.#change(runId, (mine) =>
      mine.state.status === "queued" ? endState(mine, "failed", { checkpointId: null, error }) : undefined,
    );
  }

  async #cancel(runId: string): Promise<void> {
    await this.#change(runId, (record) => (record.state.cancelRequested ? undefined : requestCancel(record)));
  }

  async #change(runId: string, decide: (record: RunRecord) => RunState | undefined): Promise<RunRecord> {
    return await changeRecord(this.#options.saver, runId, decide);
  }

  /** The end of a run that was over before this call looked: read back from the store. */
  async #ended({ spec, state }: RunRecord): Promise<RunEnd> {
    return await storedEnd(this.#options.saver, spec.runId, spec.threadId, state);
  }
}
