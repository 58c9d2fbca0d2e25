/** Load balancing: which of the workers that pass every filter gets the run. */
import { AgentmaticError, invalid } from "../errors.ts";
import type { Placeable, WorkerView } from "./view.ts";

export interface Strategy {
  readonly name: string;
  /** `workers` is never empty; permits in them already count this coordinator's own dispatches. */
  choose(workers: readonly WorkerView[], run: Placeable): WorkerView;
}

export type LoadBalancing = "least-loaded" | "round-robin" | "consistent-hash";

/** The worker with the most free permits; among equals the one with the fewest runs of ours, then by id. */
export function leastLoaded(): Strategy {
  return {
    name: "least-loaded",
    choose: (workers) => workers.reduce((best, worker) => (compare(worker, best) < 0 ? worker : best)),
  };
}

/** Each worker in turn, by id, so that joins and leaves do not start the round afresh. */
export function roundRobin(): Strategy {
  let last = "";
  return {
    name: "round-robin",
    choose: (workers) => {
      const sorted = [...workers].sort((a, b) => (a.info.workerId < b.info.workerId ? -1 : 1));
      const next = sorted.find(({ info }) => info.workerId > last) ?? sorted[0]!;
      last = next.info.workerId;
      return next;
    },
  };
}

/** Throws `InvalidArgument` for an unknown name. A strategy of one's own is taken as it is. */
export function strategyOf(choice: LoadBalancing | Strategy): Strategy {
  if (typeof choice === "object") return choice;
  if (choice === "least-loaded") return leastLoaded();
  if (choice === "round-robin") return roundRobin();
  if (choice === "consistent-hash") {
    throw new AgentmaticError(
      "Unsupported",
      "loadBalancing: consistent-hash is not there yet; use least-loaded or round-robin",
    );
  }
  throw invalid("loadBalancing", `"${String(choice)}" is not least-loaded, round-robin or consistent-hash`);
}

function compare(a: WorkerView, b: WorkerView): number {
  return b.permits - a.permits || a.active - b.active || (a.info.workerId < b.info.workerId ? -1 : 1);
}
