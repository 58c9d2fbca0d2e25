import { setTimeout as sleep } from "node:timers/promises";
import type { WorkerProcess } from "./fleet.ts";
import type { Fault } from "./report.ts";
import { monotonicMs } from "./witness.ts";

/** One thing to do to a worker, once so many runs have finished. */
export interface PlannedFault {
  readonly kind: Fault["kind"];
  /** Finished runs at which it is due. */
  readonly at: number;
}

/** How long a frozen worker stays so: twice the heartbeat limit of three seconds, so that its runs are handed off. */
export const FREEZE_MS: number = 6_000;
/** A frozen worker is looked at this often: does it hold up the store? */
const LOOK_MS = 100;
/** How often a freeze that had to end in a kill is tried again on another worker. */
const FREEZE_TRIES = 3;
/** Runs that must have ended since the last fault, so that the next one meets workers in the midst of their work. */
const WARM_RUNS = 20;
/** Then up to this long again: whoever strikes just when a run has ended finds workers between two runs. */
const JITTER_MS = 200;
/** How long to wait for a victim. */
const VICTIM_MS = 10_000;
const VICTIM_POLL_MS = 2;

/**
 * Spreads the faults over the job: one kill falls after a third, one freeze at the half, more of them evenly, and none at
 * the very end, where nothing would be left to hand off.
 */
export function planFaults(runs: number, kills: number, freezes: number): PlannedFault[] {
  const spread = (kind: PlannedFault["kind"], count: number, shift: number): PlannedFault[] =>
    Array.from({ length: count }, (_, i) => ({ kind, at: Math.floor((runs * (i + 1 + shift)) / (count + 2)) }));
  return [...spread("kill", kills, 0), ...spread("freeze", freezes, 0.5)].sort((a, b) => a.at - b.at);
}

/** What the faults need of the cluster. */
export interface FaultTarget {
  up(): readonly WorkerProcess[];
  /** Those of them that hold the most runs now; none where nobody holds any. */
  busy(): readonly WorkerProcess[];
  kill(name: string): Promise<void>;
  freeze(name: string): void;
  thaw(name: string): void;
  /** True where the frozen process holds a lock without which nobody can write to the store. */
  blocksStore(frozen: WorkerProcess): Promise<boolean>;
  /** Starts a worker in the place of one that was killed, and resolves when the coordinator can use it. */
  replace(killed: WorkerProcess): Promise<void>;
}

export interface FaultOptions {
  readonly plan: readonly PlannedFault[];
  readonly target: FaultTarget;
  readonly random: () => number;
  readonly note: (text: string) => void;
  /** How far the job may be ahead of a fault: at least as many runs as are under way at once. */
  readonly leadRuns: number;
  readonly freezeMs?: number;
  readonly warmRuns?: number;
  readonly jitterMs?: number;
}

/** Does what was planned, one thing after the other, and keeps the list of what was really done and when. */
export class Saboteur {
  readonly done: Fault[] = [];
  readonly #options: FaultOptions;
  readonly #ended: AbortController = new AbortController();
  readonly #warmRuns: number;
  #due = 0;
  #finished = 0;
  /** Faults whose victim was found. */
  #struck = 0;
  /** True while a fault waits for a worker with runs. */
  #armed = false;
  #work: Promise<void> | undefined;
  #failure: unknown;
  #held: (() => void)[] = [];

  constructor(options: FaultOptions) {
    this.#options = options;
    this.#warmRuns = options.warmRuns ?? WARM_RUNS;
  }

  /** Tells how many runs have finished; starts the faults that are due by now. */
  advance(finished: number): void {
    const { plan } = this.#options;
    this.#finished = finished;
    while (this.#due < plan.length && plan[this.#due]!.at <= finished) {
      const { kind } = plan[this.#due++]!;
      // The next one waits until the fleet is whole again: two faults at once would leave a run without any worker.
      this.#work = (this.#work ?? Promise.resolve())
        .then(() => (this.#ended.signal.aborted ? undefined : this.#inflict(kind)))
        .catch((error) => {
          this.#failure ??= error;
          this.#wake();
        });
    }
  }

  /**
   * Resolves when the next run may be started, `started` being under way or over: while a replacement starts the job
   * must not run away from the plan, or nothing is left for the later faults.
   */
  async room(started: number): Promise<void> {
    while (!this.#open(started)) await new Promise<void>((resolve) => this.#held.push(resolve));
  }

  /** Lets a frozen worker go on and waits for what is under way. @throws what starting a replacement threw. */
  async finish(): Promise<void> {
    this.#ended.abort();
    this.#wake();
    await this.#work;
    if (this.#failure !== undefined) throw this.#failure;
  }

  #open(started: number): boolean {
    const next = this.#options.plan[this.#struck];
    const held = next !== undefined && started >= next.at + this.#options.leadRuns;
    return !held || this.#armed || this.#failure !== undefined || this.#ended.signal.aborted;
  }

  #wake(): void {
    for (const resolve of this.#held.splice(0)) resolve();
  }

  async #inflict(kind: Fault["kind"]): Promise<void> {
    const victim = await this.#victim(kind);
    this.#struck++;
    this.#armed = false;
    this.#wake();
    if (victim === undefined) return;
    if (kind === "kill") await this.#kill(victim);
    else await this.#freeze(victim);
  }

  /** One that holds runs: a fault that hits nothing shows nothing. */
  async #victim(kind: Fault["kind"]): Promise<WorkerProcess | undefined> {
    const { target, random, note, jitterMs = JITTER_MS } = this.#options;
    if (target.up().length < 2) {
      note(`no ${kind}: fewer than two workers are up`);
      return undefined;
    }
    this.#armed = true;
    this.#wake();
    const warm = this.#finished + this.#warmRuns;
    const deadline = monotonicMs() + VICTIM_MS;
    let strikeMs = Number.POSITIVE_INFINITY;
    for (; monotonicMs() < deadline; await sleep(VICTIM_POLL_MS)) {
      if (strikeMs === Number.POSITIVE_INFINITY && this.#finished >= warm) {
        strikeMs = monotonicMs() + random() * jitterMs;
      }
      const candidates = monotonicMs() >= strikeMs ? target.busy() : [];
      const victim = candidates[Math.floor(random() * candidates.length)];
      if (victim !== undefined) return victim;
      if (this.#ended.signal.aborted) return undefined;
    }
    note(`no ${kind}: no worker had runs for ${VICTIM_MS / 1000} s`);
    return undefined;
  }

  async #kill(victim: WorkerProcess): Promise<void> {
    const { target, note } = this.#options;
    note(`${victim.name} (process ${victim.pid}) is killed with SIGKILL`);
    this.done.push({ kind: "kill", pid: victim.pid, t: monotonicMs() });
    await target.kill(victim.name);
    await target.replace(victim);
  }

  async #freeze(victim: WorkerProcess, tries = FREEZE_TRIES): Promise<void> {
    const { target, note, freezeMs = FREEZE_MS } = this.#options;
    note(`${victim.name} (process ${victim.pid}) is frozen with SIGSTOP for ${freezeMs / 1000} s`);
    const t = monotonicMs();
    target.freeze(victim.name);
    if (await this.#harmless(victim, freezeMs)) {
      this.done.push({ kind: "freeze", pid: victim.pid, t, until: monotonicMs() });
      target.thaw(victim.name);
      note(`${victim.name} goes on with SIGCONT`);
      return;
    }
    note(`${victim.name} was frozen inside a transaction and holds the store's lock: whoever froze it must end it`);
    await this.#kill(victim);
    const next = tries > 1 ? await this.#victim("freeze") : undefined;
    this.#armed = false;
    if (next !== undefined) await this.#freeze(next, tries - 1);
  }

  /** Waits for the time, or for the job's end; false as soon as the frozen process keeps the others from writing. */
  async #harmless(frozen: WorkerProcess, freezeMs: number): Promise<boolean> {
    const { target } = this.#options;
    const { signal } = this.#ended;
    for (const end = monotonicMs() + freezeMs; monotonicMs() < end && !signal.aborted; ) {
      if (await target.blocksStore(frozen)) return false;
      await sleep(Math.min(LOOK_MS, Math.max(0, end - monotonicMs())), undefined, { signal }).catch(() => undefined);
    }
    return true;
  }
}
