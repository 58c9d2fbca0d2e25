/** One thing to do to a worker, once so many runs have finished. */
export interface PlannedFault {
  readonly kind: "kill" | "freeze";
  /** Finished runs at which it is due. */
  readonly at: number;
}

/**
 * Spreads the faults over the job: one kill falls after a third, one freeze at the half, more of them evenly, and none at
 * the very end, where nothing would be left to hand off.
 */
export function planFaults(runs: number, kills: number, freezes: number): PlannedFault[] {
  const spread = (kind: PlannedFault["kind"], count: number, shift: number): PlannedFault[] =>
    Array.from({ length: count }, (_, i) => ({ kind, at: Math.floor((runs * (i + 1 + shift)) / (count + 2)) }));
  return [...spread("kill", kills, 0), ...spread("freeze", freezes, 0.5)].sort((a, b) => a.at - b.at);
}
