/** Hard conditions on a worker, each with the words for an error when nothing passes it. */
import { AgentmaticError } from "../errors.ts";
import type { Placeable, WorkerView } from "./view.ts";

export interface Filter {
  readonly name: string;
  /** True where it can only pass another worker, not this one at another time. */
  readonly lasting: boolean;
  passes(worker: WorkerView, run: Placeable): boolean;
  explain(workers: readonly WorkerView[], run: Placeable): string;
}

const graph: Filter = {
  name: "graph",
  lasting: true,
  passes: ({ info }, run) =>
    info.graphs.some(({ name, version }) => name === run.graph.name && version === run.graph.version),
  explain: (workers, run) => {
    const others = new Set(
      workers.flatMap(({ info }) =>
        info.graphs.filter(({ name }) => name === run.graph.name).map(({ version }) => version),
      ),
    );
    const here =
      others.size === 0 ? "no worker serves a graph of this name" : `workers serve version ${[...others].join(", ")}`;
    return `graph ${run.graph.name} version ${run.graph.version}: ${here}`;
  },
};

/** Fail closed: a worker or store without a region is outside of every rule. */
const residency: Filter = {
  name: "residency",
  lasting: true,
  passes: ({ info }, { regions }) =>
    regions === undefined || (within(regions, info.region) && within(regions, info.store.region)),
  explain: (_workers, { regions = [] }) => `no worker and store in the allowed regions (${regions.join(", ")})`,
};

const pinned: Filter = {
  name: "memory",
  lasting: true,
  passes: ({ info }, run) => run.pinned === undefined || info.workerId === run.pinned,
  explain: () => "the thread's state was in the memory of a worker that is gone: give the workers a shared store",
};

const health: Filter = {
  name: "health",
  lasting: false,
  passes: ({ healthy, draining }) => healthy && !draining,
  explain: () => "no worker is healthy",
};

const permits: Filter = {
  name: "permits",
  lasting: false,
  passes: (worker) => worker.permits > 0,
  explain: () => "all slots are taken",
};

export const filters: readonly Filter[] = [graph, residency, pinned, health, permits];

export interface Candidates {
  readonly workers: readonly WorkerView[];
  /** The first filter that nothing passed. */
  readonly failed?: Filter;
}

export function candidates(all: readonly WorkerView[], run: Placeable): Candidates {
  let workers = all;
  for (const filter of filters) {
    const passed = workers.filter((worker) => filter.passes(worker, run));
    if (passed.length === 0) return { workers: passed, failed: filter };
    workers = passed;
  }
  const fresh = run.avoid ? workers.filter(({ info }) => !run.avoid?.has(info.workerId)) : workers;
  return { workers: fresh.length > 0 ? fresh : workers };
}

/** Why none of the known workers could ever take the run; undefined where one could, now or later. */
export function impossible(all: readonly WorkerView[], run: Placeable): AgentmaticError | undefined {
  let workers = all;
  for (const filter of filters.filter(({ lasting }) => lasting)) {
    const passed = workers.filter((worker) => filter.passes(worker, run));
    if (passed.length === 0) {
      const code = filter === residency ? "ResidencyViolation" : filter === pinned ? "DataLoss" : "FailedPrecondition";
      return new AgentmaticError(code, `no worker can take the run: ${filter.explain(workers, run)}`, {
        details: { filter: filter.name },
      });
    }
    workers = passed;
  }
  return undefined;
}

function within(regions: readonly string[], region: string): boolean {
  return region !== "" && regions.includes(region);
}
