/**
 * Group commit without waiting: while statements are in flight new entries collect, and go together in the next. An idle
 * store sends an entry at once.
 */
import { AgentmaticError } from "../../src/errors.ts";

/** How often an entry may be told `again` before it is given up. */
const againMax = 64;

export const again: unique symbol = Symbol("again");

export interface BatchOptions<E, A> {
  /** Statements in flight at the same time. */
  readonly lanes: number;
  readonly entriesMax: number;
  /** A batch ends with the entry that passes this, so that one large entry still goes. */
  readonly bytesMax: number;
  /** Entries waiting, those in flight not counted. */
  readonly queueMax: number;
  /** Entries of one line are sent in their order, and never in two statements at the same time. */
  line(entry: E): string;
  bytes(entry: E): number;
  /** Whether the later entry of a line may go in the same statement as the earlier one. */
  joins(earlier: E, later: E): boolean;
  /** One answer for each entry, an error where that entry alone failed; throws where the whole statement did. */
  send(entries: readonly E[]): Promise<readonly (A | AgentmaticError | typeof again)[]>;
  /** True where the statement may have failed because of some of its entries only. */
  divisible(thrown: unknown): boolean;
}

interface Waiting<E, A> {
  readonly entry: E;
  readonly resolve: (answer: A) => void;
  readonly reject: (thrown: unknown) => void;
  tries: number;
}

export class Batcher<E, A> {
  readonly #options: BatchOptions<E, A>;
  readonly #lines: Map<string, Waiting<E, A>[]> = new Map();
  /** Lines with entries and nothing in flight, oldest first. A Set keeps that order and forgets in constant time. */
  readonly #ready: Set<string> = new Set();
  #queued = 0;
  #inFlight = 0;
  #scheduled = false;

  constructor(options: BatchOptions<E, A>) {
    this.#options = options;
  }

  /** Throws `ResourceExhausted` where the queue is full, else what `send` throws for this entry alone. */
  add(entry: E): Promise<A> {
    if (this.#queued >= this.#options.queueMax) {
      const message = `the store's queue has its most of ${this.#options.queueMax} entries`;
      return Promise.reject(new AgentmaticError("ResourceExhausted", message, { retryAfterMs: 100 }));
    }
    return new Promise((resolve, reject) => {
      const key = this.#options.line(entry);
      const line = this.#lines.get(key);
      const waiting = { entry, resolve, reject, tries: 0 };
      this.#queued += 1;
      if (line) line.push(waiting);
      else {
        this.#lines.set(key, [waiting]);
        this.#ready.add(key);
      }
      this.#schedule();
    });
  }

  /** After the current turn, so that all that is handed in by one turn goes together. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#inFlight < this.#options.lanes && this.#ready.size > 0) {
      const { keys, batch } = this.#take();
      this.#inFlight += 1;
      void this.#issue(batch).then((later) => {
        this.#inFlight -= 1;
        this.#putBack(keys, later);
        this.#pump();
      });
    }
  }

  #take(): { keys: string[]; batch: Waiting<E, A>[] } {
    const { entriesMax, bytesMax } = this.#options;
    const keys: string[] = [];
    const batch: Waiting<E, A>[] = [];
    let bytes = 0;
    for (const key of this.#ready) {
      if (batch.length >= entriesMax || bytes > bytesMax) break;
      this.#ready.delete(key);
      keys.push(key);
      const line = this.#lines.get(key) ?? [];
      let taken = 0;
      for (const waiting of line) {
        const first = line[0]!;
        if (taken > 0 && (batch.length >= entriesMax || bytes > bytesMax)) break;
        if (taken > 0 && !this.#options.joins(first.entry, waiting.entry)) break;
        batch.push(waiting);
        bytes += this.#options.bytes(waiting.entry);
        taken += 1;
      }
      line.splice(0, taken);
    }
    this.#queued -= batch.length;
    return { keys, batch };
  }

  /** Settles the entries and returns those that must be sent once more. Never throws. */
  async #issue(batch: readonly Waiting<E, A>[]): Promise<Waiting<E, A>[]> {
    try {
      const answers = await this.#options.send(batch.map(({ entry }) => entry));
      return batch.filter((waiting, index) => this.#settle(waiting, answers[index]!));
    } catch (thrown) {
      if (batch.length > 1 && this.#options.divisible(thrown)) {
        const half = batch.length >> 1;
        return [...(await this.#issue(batch.slice(0, half))), ...(await this.#issue(batch.slice(half)))];
      }
      for (const { reject } of batch) reject(thrown);
      return [];
    }
  }

  #settle(waiting: Waiting<E, A>, answer: A | AgentmaticError | typeof again): boolean {
    if (answer !== again) {
      if (answer instanceof AgentmaticError) waiting.reject(answer);
      else waiting.resolve(answer);
      return false;
    }
    waiting.tries += 1;
    if (waiting.tries <= againMax) return true;
    waiting.reject(new AgentmaticError("Unavailable", `others changed the thread ${againMax} times meanwhile`));
    return false;
  }

  #putBack(keys: readonly string[], later: readonly Waiting<E, A>[]): void {
    for (const waiting of [...later].reverse()) this.#lines.get(this.#options.line(waiting.entry))?.unshift(waiting);
    this.#queued += later.length;
    for (const key of keys) {
      if (this.#lines.get(key)?.length === 0) this.#lines.delete(key);
      else this.#ready.add(key);
    }
  }
}
