/**
 * Conformance as data: what every saver must do, as cases that any test runner can walk over. Nothing here imports one.
 *
 * A runner makes, for each case, a context over stores that are empty, calls `run`, and takes a rejection as a failure.
 */
import type { Saver } from "../checkpoint/saver.ts";

/** The rules of the protocol that a case shows (`P6`), or `port` for a promise that only the port's own text makes. */
export type Rule = `P${number}` | "port";

export interface ConformanceCase {
  readonly name: string;
  readonly rules: readonly Rule[];
  run(context: ConformanceContext): Promise<void>;
}

export interface OpenOptions {
  /** Which of the context's stores; each name is another store, empty and not set up at its first use. Default "main". */
  readonly store?: string;
  /** The zone that the store keeps; the same for every client of a store. Default "". */
  readonly zone?: string;
  /** The region that the store's data lies in; the same for every client of a store. Default "". */
  readonly region?: string;
  /** False gives a client whose `setup()` was not called. Default true. */
  readonly setup?: boolean;
}

export interface ConformanceContext {
  /**
   * A fresh client on the named store: with connections (or a file handle) of its own, as another process would have.
   * Closing one client changes nothing for the others; a client opened after all were closed finds the data.
   * A property, because cases take it from its context.
   */
  readonly open: (options?: OpenOptions) => Promise<Saver>;
  /** Rounds of the race between two writers; the default is 1,000. */
  readonly raceRounds?: number;
}

/** The heading a runner should show: the rules first, so that a failing one is found by its number. */
export function title(one: ConformanceCase): string {
  return `${one.rules.join(", ")}: ${one.name}`;
}
