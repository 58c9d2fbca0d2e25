/**
 * Whether the store answers, looked at in the background at a bounded pace: a probe of the port costs the store
 * nothing, and a store that hangs does not make the probe hang.
 */
import type { Saver } from "../../src/checkpoint/saver.ts";
import { AgentmaticError } from "../../src/errors.ts";
import type { Ports } from "../../src/ports.ts";

/** How often the store is asked. */
const everyMs = 2000;
/** A store that takes longer to answer is not there. */
const answerMs = 5000;

export class StoreWatch {
  readonly #saver: Saver;
  readonly #ports: Ports;
  #problem: string | undefined = "the store was not asked yet";
  #cancel: (() => void) | undefined;
  #closed = false;

  constructor(saver: Saver, ports: Ports) {
    this.#saver = saver;
    this.#ports = ports;
  }

  /** Why the worker is not ready; undefined where the store answers. Holds a code and no words of the store. */
  get problem(): string | undefined {
    return this.#problem;
  }

  start(): void {
    void this.#look();
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  async #look(): Promise<void> {
    const cancel = this.#ports.timers.after(answerMs, () => this.#found("the store does not answer"));
    try {
      await this.#saver.identity();
      this.#found(undefined);
    } catch (thrown) {
      this.#found(`the store does not answer (${AgentmaticError.from(thrown).code})`);
    } finally {
      cancel();
    }
    if (!this.#closed) this.#cancel = this.#ports.timers.after(everyMs, () => void this.#look());
  }

  #found(problem: string | undefined): void {
    if (problem !== undefined && this.#problem === undefined) this.#ports.logger.log("warn", problem);
    if (problem === undefined && this.#problem !== undefined) this.#ports.logger.log("debug", "the store answers");
    this.#problem = problem;
  }
}
