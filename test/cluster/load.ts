/** Many relays at once, their results checked, and the times of hand-offs out of the witness. */
import { expect } from "vitest";
import type { Coordinator } from "../../adapters/cluster/mod.ts";
import { decodeValue } from "../../src/checkpoint/codec.ts";
import type { EventKind } from "../../src/run/events.ts";
import type { RunEnd } from "../../src/run/link.ts";
import { bind } from "./bind.ts";
import type { Cluster } from "./cluster.ts";
import { gated, type RelayInput, relay, relayResult, relayStart } from "./graphs.ts";
import type { Mark, Start } from "./witness.ts";

/** Where a relay stands on its thread, if it does not have one of its own. */
export interface Place {
  readonly threadId: string;
  /** 1 for the thread's first run. */
  readonly nth: number;
}

/** Starts a relay; its id counts as accepted once that is acknowledged. */
export async function startRelay(
  cluster: Cluster,
  coordinator: Coordinator,
  runId: string,
  input: RelayInput,
  { threadId, nth }: Place = { threadId: `t-${runId}`, nth: 1 },
) {
  const graph = bind(relay, coordinator, cluster.saver);
  const handle = await graph.start(relayStart(input), { threadId, runId }, []);
  cluster.accepted.push(runId);
  return { runId, end: handle.end.then((end) => expectResult(end, runId, input, nth)) };
}

/** Starts a run that stands in its second step until the file `gate` is there. */
export async function startGated(
  cluster: Cluster,
  coordinator: Coordinator,
  runId: string,
  gate: string,
  kinds: readonly EventKind[] = [],
) {
  const graph = bind(gated, coordinator, cluster.saver);
  const handle = await graph.start({ gate }, { threadId: `t-${runId}`, runId }, kinds);
  cluster.accepted.push(runId);
  return handle;
}

export function expectResult(end: RunEnd, runId: string, input: RelayInput, nth = 1): RunEnd {
  expect(end, `the end of ${runId}`).toMatchObject({ status: "succeeded" });
  const { sum, trail } = decodeValue(end.values!) as { sum: number; trail: Mark[] };
  const result = relayResult(input);
  expect({ runId, sum, tasks: new Set(trail.map(({ taskId }) => taskId)).size }).toEqual({
    runId,
    sum: nth * result.sum,
    tasks: nth * result.tasks,
  });
  return end;
}

/** Keeps so many relays under way, one after the other in each lane, until it is stopped. */
export class Load {
  readonly #lanes: Promise<unknown>;
  #stop = false;

  /** `run`: starts a relay under the id that it is given and resolves with its end. */
  constructor(lanes: number, run: (runId: string) => Promise<unknown>) {
    const lane = async (index: number) => {
      for (let n = 0; !this.#stop; n++) await run(`r${index}-${n}`);
    };
    this.#lanes = Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)));
    // Reported by `stop`.
    this.#lanes.catch(() => undefined);
  }

  /** Begins no more runs and waits for those under way. Throws what the first that failed threw. */
  async stop(): Promise<void> {
    this.#stop = true;
    await this.#lanes;
  }
}

/** Runs of which nodes are being executed by a process right now. */
export function open(cluster: Cluster, pid: number): Set<string> {
  const lines = cluster.witness.lines();
  const ended = new Set(lines.flatMap((line) => (line.at === "end" ? [line.exec] : [])));
  const starts = lines.filter((line) => line.at === "start" && line.pid === pid && !ended.has(line.exec));
  return new Set((starts as Start[]).map(({ runId }) => runId));
}

/** For each run that was at `pid` at the time `t`: milliseconds until another process began a node of it. */
export function handoffs(starts: readonly Start[], pid: number, t: number): number[] {
  const spans: number[] = [];
  for (const run of Map.groupBy(starts, ({ runId }) => runId).values()) {
    const sorted = run.toSorted((a, b) => a.t - b.t);
    const last = sorted.findLast((start) => start.t <= t);
    const next = sorted.find((start) => start.t > t && start.pid !== pid);
    if (last?.pid === pid && next) spans.push(next.t - t);
  }
  return spans;
}

export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number) => Math.round(sorted[Math.ceil(sorted.length * part) - 1] ?? Number.NaN);
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

export function spreadText({ count, p50, p99, max }: Spread): string {
  return `p50 ${p50} ms, p99 ${p99} ms, max ${max} ms (${count})`;
}
