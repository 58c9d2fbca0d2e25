import type { Clock, Ports, Timers } from "../../../src/ports.ts";

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** Time that stands still but in `advance`; timers fire at their very moment, and promises settle between them. */
export class VirtualClock implements Clock, Timers {
  #nowMs = 1_000;
  #made = 0;
  readonly #timers: Set<Timer> = new Set();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    if (!(delayMs >= 0 && delayMs < 2 ** 31)) throw new Error(`a timer cannot wait ${delayMs} ms`);
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

  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (let next = this.#next(); next && next.atMs <= untilMs; next = this.#next()) {
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#timers.delete(next);
      next.run();
      await settle();
    }
    this.#nowMs = untilMs;
  }

  #next(): Timer | undefined {
    return [...this.#timers].sort((one, other) => one.atMs - other.atMs || one.order - other.order)[0];
  }
}

/** Lets every promise that can settle do so. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

export interface VirtualPorts {
  readonly clock: VirtualClock;
  readonly ports: Omit<Ports, "ids">;
  readonly lines: Line[];
}

export function virtualPorts(random: () => number = () => 0.5): VirtualPorts {
  const clock = new VirtualClock();
  const lines: Line[] = [];
  const log: Ports["logger"]["log"] = (level, message, fields) => lines.push({ level, message, fields });
  return { clock, ports: { clock, timers: clock, random: { next: random }, logger: { log } }, lines };
}

/** What a promise has come to so far. */
export interface Watched<T> {
  state: "pending" | "resolved" | "rejected";
  value?: T;
  reason?: unknown;
}

export function watched<T>(promise: Promise<T>): Watched<T> {
  const seen: Watched<T> = { state: "pending" };
  promise.then(
    (value) => Object.assign(seen, { state: "resolved", value }),
    (reason: unknown) => Object.assign(seen, { state: "rejected", reason }),
  );
  return seen;
}

export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

export function deferred<T>(): Deferred<T> {
  return Promise.withResolvers<T>();
}
