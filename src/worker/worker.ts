/**
 * A worker: takes runs that are dispatched to it into its slots, claims and executes them, and tells whoever follows.
 * It keeps nothing that the store does not have.
 */
import type { WorkerEndpoint } from "../run/link.ts";
import { Endpoint } from "./endpoint.ts";
import { Slots, type WorkerOptions } from "./slots.ts";

export type { WorkerOptions } from "./slots.ts";

export class Worker extends Slots {
  /** What callers are given: directly, or through `rpc`. */
  readonly endpoint: WorkerEndpoint;

  constructor(options: WorkerOptions) {
    super(options);
    this.endpoint = new Endpoint(this);
  }
}
