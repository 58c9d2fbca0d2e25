/**
 * How a saver folder joins the conformance suite: `test/conformance/<folder>.ts` exports `harness`. `savers.test.ts`
 * walks `adapters/*` and fails for a folder with a `saver.ts` and no harness here.
 */
import type { ConformanceContext } from "../../src/testing/case.ts";

export interface Harness {
  /** The saver's `kind`. */
  readonly name: string;
  /** Undefined where the suite can run; otherwise what is missing and how to get it. Missing is a failure, not a skip. */
  available(): Promise<string | undefined>;
  /** A context whose stores are empty. Called once for each case. */
  create(): Promise<HarnessContext>;
}

export interface HarnessContext extends ConformanceContext {
  /** Closes every client that `open` gave out (a second close must do no harm) and removes the stores. */
  dispose(): Promise<void>;
}
