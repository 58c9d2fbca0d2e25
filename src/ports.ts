/**
 * What the core needs from outside and may not take by itself: time, timers, randomness, ids, and the "current task".
 * Tests hand in virtual ones; `systemPorts` is made of web standards that every runtime has.
 */

export interface Clock {
  /** Milliseconds that only grow, from an arbitrary start: for durations and leases. */
  monotonicMs(): number;
  /** Milliseconds since 1970 by the wall: for people to read, never for a decision. */
  wallMs(): number;
}

export interface Timers {
  /** Calls `run` once after `delayMs`; the returned function cancels it and may be called any number of times. */
  after(delayMs: number, run: () => void): () => void;
}

export interface Random {
  /** A number in [0, 1). */
  next(): number;
}

export interface Ids {
  /** A fresh, unguessable id of 22 or more URL-safe characters. */
  next(): string;
}

/** Carries a value along an async call chain (AsyncLocalStorage where the runtime has it). */
export interface AsyncContext {
  run<T>(value: unknown, body: () => T): T;
  get(): unknown;
}

/** Structured log lines. Never hand in state content or secrets. */
export interface Logger {
  log(level: "debug" | "info" | "warn" | "error", message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface Ports {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly ids: Ids;
  readonly logger: Logger;
}

export const silentLogger: Logger = { log() {} };

export const systemPorts: Ports = {
  clock: { monotonicMs: () => performance.now(), wallMs: () => Date.now() },
  timers: {
    after(delayMs, run) {
      const handle = setTimeout(run, delayMs);
      return () => clearTimeout(handle);
    },
  },
  random: { next: () => Math.random() },
  ids: { next: randomId },
  logger: silentLogger,
};

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const idBytes = 22;
// Asked for many at a time: each call into the system costs as much as a dozen ids.
const pool = new Uint8Array(idBytes * 256);
let taken = pool.length;
const codes = Array.from(alphabet, (letter) => letter.charCodeAt(0));
const id = new Array<number>(idBytes).fill(0);

/** 132 random bits in 22 characters. */
function randomId(): string {
  if (taken === pool.length) {
    crypto.getRandomValues(pool);
    taken = 0;
  }
  // At once: a text that grows letter by letter stays in pieces, which cost more than the rest together.
  for (let index = 0; index < idBytes; index++) id[index] = codes[pool[taken++]! & 63]!;
  return String.fromCharCode(...id);
}

/** Resolves after `delayMs`, or rejects with the signal's reason as soon as it aborts. */
export function sleep(timers: Timers, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = timers.after(delayMs, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
