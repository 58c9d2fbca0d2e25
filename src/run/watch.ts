/** Says when something that should grow has stood still for a time, by this process's own monotonic clock (P4). */
import type { Clock } from "../ports.ts";

interface Seen {
  value: string;
  sinceMs: number;
}

export class StillWatch {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #seen: Map<string, Seen> = new Map();
  #lookedMs: number;

  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#lookedMs = clock.monotonicMs();
  }

  /** Call once before each round of looks: after a pause of this process everything starts afresh. */
  round(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lookedMs > this.#limitMs / 2) this.#seen.clear();
    this.#lookedMs = nowMs;
  }

  /** True once `value` under `key` has been the same for the whole limit. */
  still(key: string, value: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    const seen = this.#seen.get(key);
    if (seen?.value !== value) {
      this.#seen.set(key, { value, sinceMs: nowMs });
      return false;
    }
    return nowMs - seen.sinceMs >= this.#limitMs;
  }

  /** Forgets all keys but these. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#seen.keys()) if (!keys.has(key)) this.#seen.delete(key);
  }
}
