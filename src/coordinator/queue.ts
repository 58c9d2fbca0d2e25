/** Accepted runs that wait for a worker: first those that were begun, then the others, each in the order of coming. */
import type { Tracked } from "./tracked.ts";

export type Verdict = "done" | "keep" | "stop";

export class RunQueue {
  readonly #onDepth: (depth: number) => void;
  readonly #begun: Set<Tracked> = new Set();
  readonly #fresh: Set<Tracked> = new Set();
  #draining = false;
  #again = false;

  constructor(onDepth: (depth: number) => void) {
    this.#onDepth = onDepth;
  }

  get size(): number {
    return this.#begun.size + this.#fresh.size;
  }

  add(tracked: Tracked, begun: boolean): void {
    (begun ? this.#begun : this.#fresh).add(tracked);
    this.#onDepth(this.size);
  }

  remove(tracked: Tracked): void {
    if (this.#begun.delete(tracked) || this.#fresh.delete(tracked)) this.#onDepth(this.size);
  }

  /** Offers each run to `place` until it says stop. A call from within `place` is done after the current one. */
  drain(place: (tracked: Tracked) => Verdict): void {
    if (this.#draining) {
      this.#again = true;
      return;
    }
    this.#draining = true;
    try {
      do {
        this.#again = false;
        if (this.#offer(this.#begun, place)) this.#offer(this.#fresh, place);
      } while (this.#again);
    } finally {
      this.#draining = false;
    }
  }

  /** False where placing was stopped. */
  #offer(runs: ReadonlySet<Tracked>, place: (tracked: Tracked) => Verdict): boolean {
    for (const tracked of runs) {
      const verdict = place(tracked);
      if (verdict === "stop") return false;
      if (verdict === "done") this.remove(tracked);
    }
    return true;
  }

  close(): void {
    this.#begun.clear();
    this.#fresh.clear();
    this.#onDepth(0);
  }
}
