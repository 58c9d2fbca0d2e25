import type { Contender } from "./rounds.ts";

export interface Options {
  /** Time that one sample of a quick workload takes. */
  readonly sampleMs: number;
  readonly quick: boolean;
}

export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  /** Rounds in proportion to those of other workloads, where a round takes long. */
  readonly share?: number;
  readonly contenders: (options: Options) => Promise<Contender[]>;
}
