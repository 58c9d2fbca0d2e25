/** Stops one run at its next superstep boundary, from which it can be gone on with. Names as in LangGraph.js. */
export class RunControl {
  #reason: string | undefined;
  #drained = false;

  /** What is at work comes to its end first. The first reason counts; for one run, as it cannot be taken back. */
  requestDrain(reason = "shutdown"): void {
    this.#reason ??= reason;
  }

  get drainRequested(): boolean {
    return this.#reason !== undefined;
  }

  get drainReason(): string | undefined {
    return this.#reason;
  }

  /** True once the run has stopped for it; false where the run was at its end, or waited for an answer, by itself. */
  get drained(): boolean {
    return this.#drained;
  }

  /** For the engine, at a boundary that more follows: true where the run stops there. */
  stopsHere(): boolean {
    if (this.#reason === undefined) return false;
    this.#drained = true;
    return true;
  }
}
