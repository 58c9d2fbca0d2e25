/** Runs that a caller brings without a coordinator: the worker accepts them itself, into a slot that it keeps free. */
import { encodeValue } from "../checkpoint/codec.ts";
import { storedEnd } from "../checkpoint/ended.ts";
import { AgentmaticError, errorValue, invalid } from "../errors.ts";
import { sleep } from "../ports.ts";
import { changeRecord } from "../run/ledger.ts";
import type { Dispatch, NewRun, RunEnd } from "../run/link.ts";
import { isTerminal, type RunRecord } from "../run/record.ts";
import { makeSpec } from "../run/spec.ts";
import type { Admitted } from "../run/store.ts";
import { deadState, end as endState, handOff, isPoison } from "../run/transitions.ts";
import { StillWatch } from "../run/watch.ts";
import type { Follower } from "./feed.ts";
import type { Active, Slots } from "./slots.ts";

const watchMs = 200;

export interface AcceptedRun {
  readonly active: Active;
  /** False where another call has made the run: this caller only follows it. */
  readonly created: boolean;
}

/**
 * Accepts a run and begins it. A repeated `runId` is the same run: its end where it has ended, the run itself where it
 * is in a slot here. Where another process has it, it is taken over once its lease has stood still, and until then the
 * caller is told to ask again: `Unavailable`.
 */
export async function acceptNew(
  worker: Slots,
  run: NewRun,
  follower: Follower,
  signal: AbortSignal,
): Promise<AcceptedRun | RunEnd> {
  const release = worker.reserve();
  let admitted: Admitted;
  try {
    admitted = await admit(worker, run);
  } finally {
    release();
  }
  if (!admitted.created) return await followExisting(worker, admitted.record, run, follower, signal);
  try {
    return { active: worker.take(dispatchOf(admitted.record, run), follower), created: true };
  } catch (thrown) {
    // The worker began to drain meanwhile: refused is refused.
    const outcome = { checkpointId: null, error: errorValue(AgentmaticError.from(thrown)) };
    await changeRecord(worker.saver, admitted.record.spec.runId, (now) =>
      now.state.status === "queued" ? endState(now, "cancelled", outcome) : undefined,
    );
    throw thrown;
  }
}

async function admit(worker: Slots, run: NewRun): Promise<Admitted> {
  const plan = worker.plans.get(run.graph);
  if (!plan) {
    const known = [...worker.plans.keys()].join(", ") || "none";
    throw invalid("graph", `"${run.graph}" is not served here; served: ${known}`);
  }
  worker.checkResidency(run.context.residency);
  const resumes = run.resume !== undefined;
  if (resumes && run.input !== undefined) throw invalid("resume", "cannot stand beside input");
  const spec = await makeSpec(
    {
      ...(run.runId === "" ? {} : { runId: run.runId }),
      threadId: run.threadId === "" ? worker.ports.ids.next() : run.threadId,
      graph: { name: plan.name, version: plan.version },
      kind: resumes ? "resume" : "input",
      input: encodeValue(resumes ? { kind: "one", value: run.resume } : (run.input ?? {}), "input"),
      context: run.context,
      maxSteps: run.maxSteps || plan.maxSteps,
    },
    worker.ports,
  );
  return await worker.saver.admit({ spec, coordinator: null, whenBusy: "reject" });
}

async function followExisting(
  worker: Slots,
  found: RunRecord,
  run: NewRun,
  follower: Follower,
  signal: AbortSignal,
): Promise<AcceptedRun | RunEnd> {
  const { saver, ports, leaseMs } = worker;
  const { runId, threadId } = found.spec;
  const watch = new StillWatch(ports.clock, leaseMs);
  // Twice the lease: one to see it stand still, and some for the look that finds it moving.
  const untilMs = ports.clock.monotonicMs() + leaseMs * 2;
  for (let record: RunRecord | undefined = found; record; record = await saver.getRun(runId)) {
    const { state } = record;
    if (isTerminal(state.status)) return await storedEnd(saver, runId, threadId, state);
    const active = worker.find(runId);
    if (active) {
      active.feed.follow(follower, run.events);
      return { active, created: false };
    }
    if (state.coordinator !== null || ports.clock.monotonicMs() > untilMs) break;
    watch.round();
    if (watch.still(runId, `${state.attempt} ${state.lease}`)) {
      const dispatch = await takenOver(worker, record, run);
      if (dispatch) return { active: worker.take(dispatch, follower), created: false };
      continue;
    }
    await sleep(ports.timers, watchMs, signal);
  }
  const text = `run ${runId} is accepted and under way elsewhere; ask again for its end`;
  throw new AgentmaticError("Unavailable", text, { retryAfterMs: 1_000 });
}

/** Undefined where too many of the run's workers were lost: then it is dead (P14). */
async function takenOver({ saver, ports, id }: Slots, record: RunRecord, run: NewRun): Promise<Dispatch | undefined> {
  const next = { ...handOff(record, id, "recovered", ports.clock.wallMs()), coordinator: null };
  const { runId, maxAttempts } = record.spec;
  if (isPoison(next, maxAttempts)) {
    await saver.updateRun(runId, deadState(record, next.poison, next.history));
    return undefined;
  }
  return dispatchOf(await saver.updateRun(runId, next), run);
}

function dispatchOf({ spec, state }: RunRecord, { context, events }: NewRun): Dispatch {
  const { runId, threadId, graph } = spec;
  return { type: "dispatch", runId, threadId, attempt: state.attempt, graph, context, events };
}
