/**
 * A bounded queue between a writer and one reader that goes at its own pace: what a stream, a follower or a dispatcher
 * waits on. Nothing is ever dropped: a writer is told that there is no room, or waits for it.
 */
import { AgentmaticError, invalid } from "../errors.ts";

interface Sender<T> {
  readonly value: T;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Reader<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

const done: IteratorReturnResult<undefined> = { done: true, value: undefined };

export class Channel<T> implements AsyncIterable<T> {
  readonly capacity: number;
  #items: T[] = [];
  // Taken items stay in the array until half of it is taken: shifting each one would move all that follow.
  #taken = 0;
  readonly #senders: Sender<T>[] = [];
  #reader: Reader<T> | undefined;
  #room: PromiseWithResolvers<boolean> | undefined;
  #iterated = false;
  #closed = false;
  #error: unknown;

  /** Throws `InvalidArgument` unless `capacity` is a whole number of at least 1. */
  constructor(capacity: number) {
    if (!Number.isSafeInteger(capacity) || capacity < 1) throw invalid("capacity", "must be a whole number from 1");
    this.capacity = capacity;
  }

  /** Values written and not yet read, without those whose `send` still waits. */
  get size(): number {
    return this.#items.length - this.#taken;
  }

  /** True once nothing more can be written; what was written before can still be read. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Writes without waiting; false where the channel is full or closed. */
  push(value: T): boolean {
    if (this.#closed || this.#isFull()) return false;
    if (this.#reader) this.#answer({ done: false, value });
    else this.#items.push(value);
    return true;
  }

  /** Writes as soon as there is room, in the order of the calls. Rejects with `Cancelled`, or with the channel's error, when it closes first. */
  send(value: T): Promise<void> {
    if (this.push(value)) return Promise.resolve();
    if (this.#closed) return Promise.reject(this.#refusal());
    return new Promise((resolve, reject) => {
      this.#senders.push({ value, resolve, reject });
    });
  }

  /** Waits for room without taking it. False where the channel is closed. */
  ready(): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    if (!this.#isFull()) return Promise.resolve(true);
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }

  /** Ends the channel: the reader gets what was written, then the end, or the error where one is given. Only the first call counts. */
  close(error?: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    for (const sender of this.#senders.splice(0)) sender.reject(this.#refusal());
    this.#room?.resolve(false);
    const reader = this.#reader;
    this.#reader = undefined;
    if (error === undefined) reader?.resolve(done);
    else reader?.reject(error);
  }

  /** For one reader. Leaving the loop closes the channel and drops what is unread. */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    if (this.#iterated) throw new AgentmaticError("Internal", "a channel is read by one reader only");
    this.#iterated = true;
    return { next: () => this.#next(), return: () => this.#leave() };
  }

  #isFull(): boolean {
    return this.size >= this.capacity;
  }

  #next(): Promise<IteratorResult<T, undefined>> {
    if (this.size > 0) return Promise.resolve({ done: false, value: this.#take() });
    if (this.#closed) return this.#error === undefined ? Promise.resolve(done) : Promise.reject(this.#error);
    if (this.#reader) return Promise.reject(new AgentmaticError("Internal", "a channel is read one value at a time"));
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  #take(): T {
    const value = this.#items[this.#taken++] as T;
    if (this.#taken * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#taken);
      this.#taken = 0;
    }
    const sender = this.#senders.shift();
    if (sender) {
      this.#items.push(sender.value);
      sender.resolve();
    } else {
      this.#room?.resolve(true);
      this.#room = undefined;
    }
    return value;
  }

  #answer(result: IteratorResult<T, undefined>): void {
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.resolve(result);
  }

  #leave(): Promise<IteratorResult<T, undefined>> {
    this.close();
    this.#items = [];
    this.#taken = 0;
    return Promise.resolve(done);
  }

  #refusal(): unknown {
    return this.#error ?? new AgentmaticError("Cancelled", "the channel is closed");
  }
}
