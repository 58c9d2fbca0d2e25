/**
 * The queue of writes of one saver: whatever arrives while a transaction runs, or waits for another process's lock,
 * goes into the next one together, so that many threads' supersteps share one fsync. When idle nothing waits longer
 * than until the event loop's next turn.
 *
 * A job must check before it writes: one that throws having only read leaves the others of its transaction as they
 * are. One that fails while writing costs them a second run, each under a savepoint of its own.
 */
import { setImmediate } from "node:timers";
import { AgentmaticError } from "../../src/errors.ts";
import { sleep } from "../../src/ports.ts";
import { blocked, delayMs, type Waits } from "./backoff.ts";
import type { Connection, Session } from "./connection.ts";
import { failure, isBusy } from "./failure.ts";

/** Jobs that may wait; a further one is `ResourceExhausted`. */
export const queuedMax = 10_000;
/** A transaction takes no further job after this time, so that the event loop gets its turn. */
const transactionMsMax = 10;

/**
 * SQLite's lock is not fair: who asks again at once gets it again, and the others' waits grow to half a second. So one
 * that was refused not long ago, and hence has company, gives way for a moment after a turn of this length.
 */
const turnMsMax = 3;
const giveWayMs = 1;
const companyMs = 1000;

export type Job<T> = (session: Session) => T;

interface Entry {
  readonly job: Job<unknown>;
  readonly sinceMs: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: AgentmaticError) => void;
}

type Outcome = { readonly value: unknown } | { readonly error: unknown };

export interface QueueOptions {
  readonly path: string;
  readonly waits: Waits;
  readonly busyTimeoutMs: number;
  /** Test hook, called inside every transaction, before its COMMIT. */
  readonly inTransaction?: () => void;
}

/** Thrown inside a transaction to run it again with savepoints. */
const again: unique symbol = Symbol("again");

export class WriteQueue {
  readonly #connection: Connection;
  readonly #options: QueueOptions;
  #entries: Entry[] = [];
  #draining: Promise<void> | undefined;
  /** When another process's lock was last met, and for how long this one has held it since it last gave way. */
  #refusedMs = Number.NEGATIVE_INFINITY;
  #heldMs = 0;

  constructor(connection: Connection, options: QueueOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** Runs the job in a transaction, after all that were handed in before; resolves when it is durable. */
  add<T>(job: Job<T>): Promise<T> {
    if (this.#entries.length >= queuedMax) {
      const message = `SQLite ${this.#options.path}: ${queuedMax} writes are waiting`;
      return Promise.reject(new AgentmaticError("ResourceExhausted", message, { retryAfterMs: 100 }));
    }
    return new Promise<T>((resolve, reject) => {
      const sinceMs = this.#options.waits.clock.monotonicMs();
      this.#entries.push({ job, sinceMs, resolve: resolve as (value: unknown) => void, reject });
      this.#draining ??= this.#drain();
    });
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#draining) await this.#draining;
  }

  async #drain(): Promise<void> {
    const { clock, timers, random } = this.#options.waits;
    let refusals = 0;
    while (this.#entries.length > 0) {
      if (this.#shouldGiveWay()) await sleep(timers, giveWayMs);
      // The event loop's turn: what the last transaction's answers set off joins the next one.
      await new Promise<void>((resolve) => setImmediate(resolve));
      const began = clock.monotonicMs();
      if (this.#transact()) {
        refusals = 0;
        this.#heldMs += clock.monotonicMs() - began;
        continue;
      }
      this.#refusedMs = began;
      this.#heldMs = 0;
      this.#expire();
      if (this.#entries.length > 0) await sleep(timers, delayMs(++refusals, random));
    }
    this.#draining = undefined;
  }

  #shouldGiveWay(): boolean {
    if (this.#heldMs < turnMsMax) return false;
    this.#heldMs = 0;
    return this.#options.waits.clock.monotonicMs() - this.#refusedMs < companyMs;
  }

  /** False where another process holds the lock. */
  #transact(): boolean {
    let done: [Entry, Outcome][];
    try {
      this.#connection.begin("IMMEDIATE");
      done = this.#run();
      this.#options.inTransaction?.();
      this.#connection.commit();
    } catch (error) {
      this.#rollback();
      if (isBusy(error)) return false;
      // The disk is full, the file is gone: nobody's own fault, and nothing of it is in the store.
      const taken = this.#entries;
      this.#entries = [];
      for (const entry of taken) entry.reject(failure(this.#options.path, error));
      return true;
    }
    this.#entries = this.#entries.slice(done.length);
    for (const [entry, outcome] of done) {
      if ("error" in outcome) entry.reject(failure(this.#options.path, outcome.error));
      else entry.resolve(outcome.value);
    }
    return true;
  }

  /** An error here must not hide the one that led here; nothing was committed either way. */
  #rollback(): void {
    try {
      this.#connection.rollback();
    } catch {}
  }

  #run(): [Entry, Outcome][] {
    try {
      return this.#runJobs(refuseOnly);
    } catch (error) {
      if (error !== again) throw error;
      this.#connection.rollback();
      this.#connection.begin("IMMEDIATE");
      return this.#runJobs(underSavepoint);
    }
  }

  #runJobs(runJob: (connection: Connection, job: Job<unknown>) => Outcome): [Entry, Outcome][] {
    const { clock } = this.#options.waits;
    const until = clock.monotonicMs() + transactionMsMax;
    const done: [Entry, Outcome][] = [];
    for (const entry of this.#entries) {
      done.push([entry, runJob(this.#connection, entry.job)]);
      if (clock.monotonicMs() >= until) break;
    }
    return done;
  }

  /** Gives up on what has waited too long; what came later waits on. */
  #expire(): void {
    const { path, waits, busyTimeoutMs } = this.#options;
    const now = waits.clock.monotonicMs();
    const waiting: Entry[] = [];
    for (const entry of this.#entries) {
      if (now - entry.sinceMs < busyTimeoutMs) waiting.push(entry);
      else entry.reject(blocked(path, busyTimeoutMs));
    }
    this.#entries = waiting;
  }
}

/** An `AgentmaticError` is a refusal, thrown before any write; all else may have left half of a job behind. */
function refuseOnly(connection: Connection, job: Job<unknown>): Outcome {
  try {
    return { value: job(connection) };
  } catch (error) {
    if (error instanceof AgentmaticError) return { error };
    throw again;
  }
}

function underSavepoint(connection: Connection, job: Job<unknown>): Outcome {
  connection.sql("SAVEPOINT job").run();
  try {
    const value = job(connection);
    connection.sql("RELEASE job").run();
    return { value };
  } catch (error) {
    // Where SQLite has ended the whole transaction (disk full) this throws, and the whole batch fails.
    connection.sql("ROLLBACK TO job").run();
    connection.sql("RELEASE job").run();
    return { error };
  }
}
