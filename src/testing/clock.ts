/** Time, timers, randomness and ids that do as a test says: the same each time, and without waiting. */
import { AgentmaticError, invalid } from "../errors.ts";
import type { Clock, Logger, Ports, Timers } from "../ports.ts";

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export interface SettleOptions {
  /** Milliseconds that may pass on the clock. Default: a day. */
  readonly limitMs?: number;
}

const dayMs = 86_400_000;
const delayMsMax = 2 ** 31;
const startMonotonicMs = 1_000;
const startWallMs = 1_700_000_000_000;
/** Looks, a millisecond or so apart, at a promise that no timer will bring on: what it waits for is outside. */
const looksMax = 500;

/** Stands still but when it is told to go on; timers fire at their very moment, and promises settle between them. */
export class VirtualClock implements Clock, Timers {
  #nowMs = startMonotonicMs;
  #made = 0;
  readonly #timers: Set<Timer> = new Set();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return startWallMs + this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    if (!(delayMs >= 0 && delayMs < delayMsMax)) throw invalid("delayMs", `a timer cannot wait ${delayMs} ms`);
    const timer: Timer = { atMs: this.#nowMs + delayMs, order: this.#made++, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that were neither fired nor cancelled. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Timers that were ever made. */
  get made(): number {
    return this.#made;
  }

  /** Lets `ms` milliseconds pass, with all that falls due in them. */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw invalid("ms", "must not be below 0");
    const untilMs = this.#nowMs + ms;
    await turn();
    while (await this.#fireNext(untilMs));
    this.#nowMs = untilMs;
  }

  /** Lets time pass until no timer is set; false where `limitMs` pass before that. */
  async runUntilIdle({ limitMs = dayMs }: SettleOptions = {}): Promise<boolean> {
    const untilMs = this.#nowMs + limitMs;
    await turn();
    while (await this.#fireNext(untilMs));
    return this.#timers.size === 0;
  }

  /**
   * Lets time pass until `promise` has settled, and gives what it gives. Rejects with `DeadlineExceeded` where `limitMs`
   * pass before that, or where it waits and no timer is set. What waits for anything but timers of this clock and
   * promises, such as a socket, must not have timers beside it that would be fired in the meantime.
   */
  async settle<T>(promise: Promise<T>, { limitMs = dayMs }: SettleOptions = {}): Promise<T> {
    const untilMs = this.#nowMs + limitMs;
    let settled = false;
    const note = () => {
      settled = true;
    };
    promise.then(note, note);
    for (let looks = 0; looks < looksMax; looks++) {
      await turn();
      while (!settled && (await this.#fireNext(untilMs))) looks = 0;
      if (settled) return await promise;
      if (this.#timers.size > 0) throw late(`it did not settle within ${limitMs} ms`);
    }
    throw late("it waits, and no timer is set that would bring it on");
  }

  async #fireNext(untilMs: number): Promise<boolean> {
    let next: Timer | undefined;
    for (const timer of this.#timers) if (!next || timer.atMs < next.atMs) next = timer;
    if (!next || next.atMs > untilMs) return false;
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    this.#timers.delete(next);
    next.run();
    await turn();
    return true;
  }
}

export interface LogLine {
  readonly level: Parameters<Logger["log"]>[0];
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

/** To be handed to `compile({ ports })`; with the clock's own methods beside, to let time pass. */
export interface VirtualPorts extends Ports {
  readonly clock: VirtualClock;
  readonly timers: VirtualClock;
  /** What was logged. */
  readonly lines: readonly LogLine[];
  advance(ms: number): Promise<void>;
  runUntilIdle(options?: SettleOptions): Promise<boolean>;
  settle<T>(promise: Promise<T>, options?: SettleOptions): Promise<T>;
}

export interface VirtualPortsOptions {
  /** What random numbers and ids come from. Default 1. */
  readonly seed?: number;
  /** Numbers in [0, 1) instead of the seed's. */
  readonly random?: () => number;
}

/** Ports that are the same for the same seed. */
export function virtualPorts({ seed = 1, random = numbers(seed) }: VirtualPortsOptions = {}): VirtualPorts {
  const clock = new VirtualClock();
  const lines: LogLine[] = [];
  const letters = numbers(seed ^ 0x5bd1e995);
  return {
    clock,
    timers: clock,
    random: { next: random },
    ids: { next: () => Array.from({ length: 22 }, () => alphabet[Math.floor(letters() * 64)]).join("") },
    logger: { log: (level, message, fields) => void lines.push({ level, message, fields }) },
    lines,
    advance: (ms) => clock.advance(ms),
    runUntilIdle: (options) => clock.runUntilIdle(options),
    settle: (promise, options) => clock.settle(promise, options),
  };
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** splitmix32. */
function numbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** Lets every promise settle that can: a real timer comes after all of them, and after what has come in from outside. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

function late(problem: string): AgentmaticError {
  return new AgentmaticError("DeadlineExceeded", `settle: ${problem}`);
}
