import type { EndLine, ProcessLine, StartLine, TrailEntry, WitnessLine } from "./witness.ts";

/** A run as the store holds it after the job. */
export interface Outcome {
  /** The run record's status, or null where the store has no such run. */
  readonly status: string | null;
  /** The executions in the thread's final state. */
  readonly trail: readonly TrailEntry[];
  /** The classifier's label, or null where the run did not get that far. */
  readonly label: string | null;
}

/** What the launcher did to a worker process, on the witness's clock. */
export interface Fault {
  readonly kind: "kill" | "freeze";
  readonly pid: number;
  readonly t: number;
  /** When a frozen process was let go on. */
  readonly until?: number;
}

export interface Evidence {
  /** Every run that was acknowledged, with the truth about its mail where the mail was held out from training. */
  readonly accepted: readonly { readonly runId: string; readonly truth: string | null }[];
  readonly outcomes: ReadonlyMap<string, Outcome>;
  /** One list of lines for each witness file. */
  readonly witness: readonly (readonly WitnessLine[])[];
  readonly faults: readonly Fault[];
  readonly seconds: number;
}

export interface Report {
  readonly accepted: number;
  readonly finished: number;
  /** Accepted and not succeeded. */
  readonly lost: number;
  /** Tasks of which more than one execution, or one execution twice, was seen in a committed state. */
  readonly committedTwice: number;
  /** Starts of a task after another execution of it had been seen as committed. */
  readonly finishedTasksRerun: number;
  /** Such starts under an older epoch whose writes were never seen: a thawed process between check and start. */
  readonly staleStarts: number;
  /** Executions that were seen as committed and are missing in the run's final state. */
  readonly vanished: number;
  /** Tasks that were started again while nobody had seen them committed: in flight at a fault, which is allowed. */
  readonly repeatedInFlight: number;
  readonly handoffs: number;
  readonly handoffP50Ms: number | null;
  readonly handoffP99Ms: number | null;
  readonly killHandoffs: number;
  readonly killP99Ms: number | null;
  readonly freezeHandoffs: number;
  readonly freezeP99Ms: number | null;
  readonly runsPerSecond: number;
  readonly stepsPerSecond: number;
  readonly accuracy: number | null;
  readonly measured: number;
}

/** One hand-off: a run that another process went on with. */
export interface Handoff {
  readonly runId: string;
  readonly kind: Fault["kind"];
  /** From the fault to the first start by the other process, in milliseconds. */
  readonly ms: number;
}

/** Reads a witness file. The last line may be torn by a kill; any other that cannot be read is an error. */
export function parseWitness(text: string): WitnessLine[] {
  const lines = text.split("\n");
  lines.pop();
  return lines.map((line) => JSON.parse(line) as WitnessLine);
}

export function report(evidence: Evidence): Report {
  const starts = evidence.witness.flatMap((lines) => startsOf(lines)).sort((a, b) => a.t - b.t);
  const runs = Map.groupBy(starts, (start) => start.runId);
  const total = { committedTwice: 0, finishedTasksRerun: 0, staleStarts: 0, vanished: 0, repeatedInFlight: 0 };
  for (const runId of new Set([...runs.keys(), ...evidence.outcomes.keys()])) {
    const counts = countRun(runs.get(runId) ?? [], evidence.outcomes.get(runId)?.trail ?? []);
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += counts[key];
  }
  const handoffs = evidence.faults.flatMap((fault) => handoffsOf(fault, runs));
  const times = (kind?: Fault["kind"]) =>
    handoffs.filter((each) => kind === undefined || each.kind === kind).map((each) => each.ms);
  const steps = [...evidence.outcomes.values()].reduce((sum, { trail }) => sum + trail.length, 0);
  const finished = evidence.accepted.filter(({ runId }) => evidence.outcomes.get(runId)?.status === "succeeded").length;
  return {
    accepted: evidence.accepted.length,
    finished,
    lost: evidence.accepted.length - finished,
    ...total,
    handoffs: handoffs.length,
    handoffP50Ms: percentile(times(), 0.5),
    handoffP99Ms: percentile(times(), 0.99),
    killHandoffs: times("kill").length,
    killP99Ms: percentile(times("kill"), 0.99),
    freezeHandoffs: times("freeze").length,
    freezeP99Ms: percentile(times("freeze"), 0.99),
    runsPerSecond: rate(finished, evidence.seconds),
    stepsPerSecond: rate(steps, evidence.seconds),
    ...accuracy(evidence),
  };
}

type Start = StartLine & { readonly pid: number; readonly ended: EndLine | undefined };

function startsOf(lines: readonly WitnessLine[]): Start[] {
  const pid = lines.find((line): line is ProcessLine => line.kind === "process")?.pid ?? -1;
  const ends = new Map(lines.filter((line): line is EndLine => line.kind === "end").map((line) => [line.exec, line]));
  return lines
    .filter((line): line is StartLine => line.kind === "start")
    .map((line) => ({ ...line, pid, ended: ends.get(line.exec) }));
}

/** Counts one run. `starts` in order of time. */
function countRun(
  starts: readonly Start[],
  trail: readonly TrailEntry[],
): Pick<Report, "committedTwice" | "finishedTasksRerun" | "staleStarts" | "vanished" | "repeatedInFlight"> {
  const taskOf = new Map<string, string>(starts.map((start) => [start.exec, start.taskId]));
  for (const entry of trail) taskOf.set(entry.exec, entry.taskId);
  const firstSeen = seenTimes(starts, trail);
  const byTask = Map.groupBy(firstSeen.keys(), (exec) => taskOf.get(exec) ?? `unknown task of ${exec}`);
  const doubled = doubledTasks(starts, trail, taskOf);
  for (const [task, execs] of byTask) if (execs.length > 1) doubled.add(task);
  const inTrail = new Set(trail.map((entry) => entry.exec));
  const again = countRestarts(starts, byTask, firstSeen);
  const vanished = [...firstSeen.keys()].filter((exec) => !inTrail.has(exec)).length;
  return { committedTwice: doubled.size, vanished, ...again };
}

/** When each execution was first seen in a node's input; what only the final state shows was seen after all starts. */
function seenTimes(starts: readonly Start[], trail: readonly TrailEntry[]): Map<string, number> {
  const times = new Map<string, number>();
  for (const start of starts) {
    for (const exec of start.seen) if (!times.has(exec)) times.set(exec, start.t);
  }
  for (const { exec } of trail) if (!times.has(exec)) times.set(exec, Number.POSITIVE_INFINITY);
  return times;
}

/** Tasks with one execution listed twice in one state: the same writes were applied twice. */
function doubledTasks(
  starts: readonly Start[],
  trail: readonly TrailEntry[],
  taskOf: ReadonlyMap<string, string>,
): Set<string> {
  const doubled = new Set<string>();
  for (const seen of [...starts.map((start) => start.seen), trail.map((entry) => entry.exec)]) {
    if (new Set(seen).size === seen.length) continue;
    const once = new Set<string>();
    for (const exec of seen) once.has(exec) ? doubled.add(taskOf.get(exec) ?? exec) : once.add(exec);
  }
  return doubled;
}

function countRestarts(
  starts: readonly Start[],
  byTask: ReadonlyMap<string, readonly string[]>,
  firstSeen: ReadonlyMap<string, number>,
): Pick<Report, "finishedTasksRerun" | "staleStarts" | "repeatedInFlight"> {
  const count = { finishedTasksRerun: 0, staleStarts: 0, repeatedInFlight: 0 };
  const startedTasks = new Set<string>();
  let newestEpoch = 0;
  for (const start of starts) {
    newestEpoch = Math.max(newestEpoch, start.epoch);
    const others = (byTask.get(start.taskId) ?? []).filter((exec) => exec !== start.exec);
    const finished = others.some((exec) => firstSeen.get(exec)! < start.t);
    // The newest epoch as of this start: measured against a later one, a real rerun would pass as stale.
    const stale = start.epoch < newestEpoch && !firstSeen.has(start.exec);
    if (finished) count[stale ? "staleStarts" : "finishedTasksRerun"]++;
    else if (startedTasks.has(start.taskId)) count.repeatedInFlight++;
    startedTasks.add(start.taskId);
  }
  return count;
}

/** The runs that another process continued because of the fault. */
export function handoffsOf(
  fault: Fault,
  runs: ReadonlyMap<string, readonly (StartLine & { pid: number })[]>,
): Handoff[] {
  const found: Handoff[] = [];
  for (const [runId, starts] of runs) {
    const next = starts.findIndex((start) => start.t > fault.t && start.pid !== fault.pid);
    if (next < 0) continue;
    const before = starts.slice(0, next);
    const atFault = before.findLast((start) => start.t <= fault.t);
    // A frozen process that went on with the run by itself lost it later, for another reason.
    const resumed = before.some((start) => fault.until !== undefined && start.t > fault.until);
    if (atFault?.pid === fault.pid && !resumed) found.push({ runId, kind: fault.kind, ms: starts[next]!.t - fault.t });
  }
  return found;
}

function accuracy(evidence: Evidence): Pick<Report, "accuracy" | "measured"> {
  const heldOut = evidence.accepted.filter(({ truth }) => truth !== null);
  const judged = heldOut.filter(({ runId }) => (evidence.outcomes.get(runId)?.label ?? null) !== null);
  const right = judged.filter(({ runId, truth }) => evidence.outcomes.get(runId)?.label === truth).length;
  return { accuracy: judged.length === 0 ? null : round(right / judged.length, 4), measured: judged.length };
}

/** The value at or below which the share lies (nearest rank); null of nothing. */
export function percentile(values: readonly number[], share: number): number | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  return round(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!, 1);
}

function rate(count: number, seconds: number): number {
  return seconds > 0 ? round(count / seconds, 1) : 0;
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
