/**
 * The one thing that ends an attempt from outside its nodes: a cancel, a lost claim, a store out of reach. Graphs that a
 * try of a task has started have a branch of it, which ends with that try.
 */

export class Stop {
  #reason: unknown;
  #stopped = false;
  // Made when the first node asks for its signal: most never do, and one costs as much as a superstep.
  #controller: AbortController | undefined;
  readonly #waiting: Set<(reason: unknown) => void> = new Set();
  readonly #parent: Stop | undefined;
  #branches: Set<Stop> | undefined;

  constructor(parent?: Stop) {
    this.#parent = parent;
  }

  /** Of the whole attempt. */
  get root(): Stop {
    return this.#parent?.root ?? this;
  }

  /** One that is stopped with this one, and by itself. To be released once nothing of it is at work any more. */
  branch(): Stop {
    const branch = new Stop(this);
    this.#branches ??= new Set();
    if (this.#stopped) branch.stop(this.#reason);
    else this.#branches.add(branch);
    return branch;
  }

  release(): void {
    if (this.#parent) this.#parent.#branches?.delete(this);
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  get reason(): unknown {
    return this.#reason;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#stopped) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Only the first call counts. */
  stop(reason: unknown): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#reason = reason;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const reject of waiting) reject(reason);
    for (const branch of this.#branches ?? []) branch.stop(reason);
    this.#branches = undefined;
    this.#controller?.abort(reason);
  }

  /** Throws the reason once it is stopped. */
  check(): void {
    if (this.#stopped) throw this.#reason;
  }

  /** The promise's own end, or a rejection with the reason as soon as it is stopped. */
  race<T>(work: Promise<T>): Promise<T> {
    if (this.#stopped) {
      work.catch(() => undefined);
      return Promise.reject(this.#reason);
    }
    return new Promise<T>((resolve, reject) => {
      this.#waiting.add(reject);
      work.then(
        (value) => {
          this.#waiting.delete(reject);
          resolve(value);
        },
        (thrown: unknown) => {
          this.#waiting.delete(reject);
          reject(thrown);
        },
      );
    });
  }
}
