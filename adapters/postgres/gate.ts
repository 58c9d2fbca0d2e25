/**
 * Lets as many statements through as there are connections. The rest wait here and not in the driver, so that a lease's
 * renewal does not stand behind a thousand admissions, and a silent server can be told from a long queue.
 */
import { AgentmaticError } from "../../src/errors.ts";

export class Gate {
  readonly #queueMax: number;
  readonly #urgent: (() => void)[] = [];
  readonly #others: (() => void)[] = [];
  #free: number;

  constructor(slots: number, queueMax: number) {
    this.#free = slots;
    this.#queueMax = queueMax;
  }

  /** Resolves when a slot is the caller's, who gives it back with `leave`. Throws `ResourceExhausted` on a full queue. */
  async enter(urgent: boolean): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    const queue = urgent ? this.#urgent : this.#others;
    if (queue.length >= this.#queueMax) {
      const message = `${this.#queueMax} statements wait for a connection to Postgres already`;
      throw new AgentmaticError("ResourceExhausted", message, { retryAfterMs: 100 });
    }
    await new Promise<void>((resolve) => queue.push(resolve));
  }

  leave(): void {
    const next = this.#urgent.shift() ?? this.#others.shift();
    if (next) next();
    else this.#free += 1;
  }
}
