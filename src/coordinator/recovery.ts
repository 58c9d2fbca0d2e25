/**
 * Finds runs that nobody looks after: those of a coordinator that is gone, and those whose owner's lease stands still.
 *
 * PROTOCOL.md P4: only what was *seen* to stand still for a whole limit, on this process's own clock, is taken over;
 * live owners are re-attached to first. P12: this is also the sweep that places runs whose admission was cut short.
 */
import type { Saver } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import type { Ports } from "../ports.ts";
import type { RunRecord } from "../run/record.ts";
import type { RunQuery } from "../run/store.ts";
import { StillWatch } from "../run/watch.ts";
import type { Tracked } from "./tracked.ts";

export interface RecoveryOptions {
  readonly saver: Saver;
  readonly ports: Ports;
  readonly coordinatorId: string;
  readonly takeoverMs: number;
  readonly isTracked: (runId: string) => boolean;
  readonly isConnected: (workerId: string) => boolean;
  readonly take: (record: RunRecord) => void;
  /** Tracked runs that wait for another run or another coordinator. */
  readonly waiting: () => readonly Tracked[];
  readonly look: (tracked: Tracked) => void;
}

/** Sweeps within one take-over limit. */
const sweepsPerLimit = 6;
/** Every so many sweeps this coordinator's own records are looked at as well. */
const ownSweepEvery = 4;
/** Records read in one page of a sweep, and pages in one sweep. */
const pageMax = 500;
const pagesMax = 20;

export class Recovery {
  readonly #options: RecoveryOptions;
  readonly #members: StillWatch;
  readonly #leases: StillWatch;
  /** Own records that nobody here follows: their admission was cut short by a lost answer. */
  readonly #own: StillWatch;
  #dead: ReadonlySet<string> = new Set();
  #known: ReadonlySet<string> = new Set();
  #cancel: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #sweeps = 0;
  #started = false;
  #closed = false;

  constructor(options: RecoveryOptions) {
    this.#options = options;
    this.#members = new StillWatch(options.ports.clock, options.takeoverMs);
    this.#leases = new StillWatch(options.ports.clock, options.takeoverMs);
    this.#own = new StillWatch(options.ports.clock, options.takeoverMs * 2);
  }

  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#next();
  }

  #next(): void {
    if (this.#closed) return;
    this.#running = this.#sweep().finally(() => {
      if (this.#closed) return;
      this.#cancel = this.#options.ports.timers.after(this.#options.takeoverMs / sweepsPerLimit, () => this.#next());
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#running;
    await this.#options.saver.removeMember(this.#options.coordinatorId).catch(() => undefined);
  }

  /** True where the run's coordinator is gone; one that was never in the list is judged by the record's standing still. */
  orphaned({ spec, state }: RunRecord): boolean {
    const still = this.#leases.still(spec.runId, leaseMark(state));
    const { coordinator } = state;
    return coordinator === null || !this.#known.has(coordinator) ? still : this.#dead.has(coordinator);
  }

  leaseExpired({ spec, state }: RunRecord): boolean {
    return this.#leases.still(spec.runId, leaseMark(state));
  }

  /** Never rejects: a store out of reach is tried again at the next sweep. */
  async #sweep(): Promise<void> {
    const { saver, coordinatorId, ports } = this.#options;
    try {
      await saver.beat(coordinatorId);
      await this.#watchMembers();
      this.#leases.round();
      const seen = new Set<string>();
      await this.#eachRun({ notCoordinator: coordinatorId }, (record) => {
        seen.add(record.spec.runId);
        if (this.#mayTake(record)) this.#options.take(record);
      });
      if (this.#sweeps++ % ownSweepEvery === 0) await this.#sweepOwn();
      for (const tracked of this.#options.waiting()) {
        seen.add(tracked.runId);
        this.#options.look(tracked);
      }
      this.#leases.keep(seen);
    } catch (thrown) {
      ports.logger.log("warn", "the sweep for lost runs failed", { code: AgentmaticError.from(thrown).code });
    }
  }

  /** P12: a run that was stored while its answer was lost is accepted, whatever its caller heard. */
  async #sweepOwn(): Promise<void> {
    this.#own.round();
    const seen = new Set<string>();
    await this.#eachRun({ coordinator: this.#options.coordinatorId }, (record) => {
      seen.add(record.spec.runId);
      if (this.#own.still(record.spec.runId, leaseMark(record.state))) this.#options.take(record);
    });
    this.#own.keep(seen);
  }

  async #watchMembers(): Promise<void> {
    const members = await this.#options.saver.members();
    this.#members.round();
    const dead = new Set<string>();
    for (const { id, beat } of members) if (this.#members.still(id, String(beat))) dead.add(id);
    const now = new Set(members.map(({ id }) => id));
    // One that was there and took itself off the list has left for good.
    for (const id of this.#known) if (!now.has(id)) dead.add(id);
    this.#known = new Set([...this.#known, ...now]);
    this.#members.keep(this.#known);
    this.#dead = dead;
  }

  async #eachRun(
    whose: Pick<RunQuery, "coordinator" | "notCoordinator">,
    visit: (record: RunRecord) => void,
  ): Promise<void> {
    const { saver, isTracked } = this.#options;
    let after: string | undefined;
    for (let page = 0; page < pagesMax; page++) {
      const records = await saver.listRuns({
        statuses: ["queued", "running"],
        ...whose,
        limit: pageMax,
        ...(after === undefined ? {} : { after }),
      });
      for (const record of records) if (!isTracked(record.spec.runId)) visit(record);
      if (records.length < pageMax) return;
      after = records.at(-1)!.spec.runId;
    }
  }

  #mayTake(record: RunRecord): boolean {
    const { state } = record;
    if (!this.orphaned(record)) return false;
    if (state.status === "queued") return true;
    return this.leaseExpired(record) || (state.owner !== null && this.#options.isConnected(state.owner));
  }
}

function leaseMark({ revision, lease }: RunRecord["state"]): string {
  return `${revision} ${lease}`;
}
