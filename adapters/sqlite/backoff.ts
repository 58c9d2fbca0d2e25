/** Waiting for another process's lock without holding the event loop: jittered, growing, capped. */
import { AgentmaticError } from "../../src/errors.ts";
import { type Clock, type Random, sleep, type Timers } from "../../src/ports.ts";
import { isBusy } from "./failure.ts";

/**
 * SQLite tells nobody when a lock is free, and a writer holds it for a millisecond or so: a low ceiling keeps four busy
 * processes' waits at 20 ms (99th percentile), a ceiling of 16 ms made it 65. Only who has waited long asks seldom.
 */
const delayMaxMs = 2;
const patientRefusals = 200;
const delayPatientMs = 20;

export interface Waits {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
}

/** Milliseconds to wait after the `refusals`th refusal in a row (from 1). */
export function delayMs(refusals: number, random: Random): number {
  const ceiling = refusals < patientRefusals ? delayMaxMs : delayPatientMs;
  return ceiling * (0.5 + random.next() / 2);
}

/** Calls `body` until it is not refused as busy. Throws `Unavailable` when that has lasted `timeoutMs`. */
export async function whenFree<T>(waits: Waits, path: string, timeoutMs: number, body: () => T): Promise<Awaited<T>> {
  const deadline = waits.clock.monotonicMs() + timeoutMs;
  for (let refusals = 1; ; refusals++) {
    try {
      return await body();
    } catch (error) {
      if (!isBusy(error)) throw error;
      if (waits.clock.monotonicMs() >= deadline) throw blocked(path, timeoutMs, error);
      await sleep(waits.timers, delayMs(refusals, waits.random));
    }
  }
}

export function blocked(path: string, timeoutMs: number, cause?: unknown): AgentmaticError {
  const message = `SQLite ${path}: another process has held the write lock for ${timeoutMs} ms`;
  return new AgentmaticError("Unavailable", message, { cause, retryAfterMs: 1000 });
}
