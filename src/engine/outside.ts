/** Tells errors of the surroundings from the run's own: after the first kind another attempt goes on. */
import { AgentmaticError, type ErrorCode } from "../errors.ts";

/** An error that is not the run's: the store's, the lease's, or that the worker drains. What nodes throw is never one. */
export class Outside {
  readonly error: AgentmaticError;

  constructor(thrown: unknown) {
    this.error = AgentmaticError.from(thrown);
  }
}

export async function outside<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (thrown) {
    throw new Outside(thrown);
  }
}

/** Codes with which another attempt goes on from the last commit. */
export const passing: readonly ErrorCode[] = ["FencedOut", "Unavailable", "Conflict", "ResourceExhausted"];
