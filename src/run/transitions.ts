/**
 * The legal changes of a run's state by a coordinator, as pure functions: old state in, new state out.
 * The store writes the result by compare-and-set on `revision`, so a change decided on an old read is refused.
 * A worker's changes (claim, finish) are made by the store inside `claim` and `commit`.
 */
import { AgentmaticError } from "../errors.ts";
import {
  type AttemptRecord,
  type HandoffReason,
  historyMax,
  isTerminal,
  type RunOutcome,
  type RunRecord,
  type RunState,
} from "./record.ts";

/** A change that ends the run without a worker: the store also releases the thread and fences out any owner (P9). */
export type TerminalStatus = "cancelled" | "failed" | "dead";

export function initialState(coordinator: string | null): RunState {
  return {
    status: "queued",
    revision: 1,
    attempt: 1,
    poison: 0,
    owner: null,
    coordinator,
    lease: 0,
    claimSeq: null,
    base: undefined,
    cancelRequested: false,
    outcome: null,
    history: [],
  };
}

const poisonous: ReadonlySet<HandoffReason> = new Set(["lost", "silent", "recovered", "broken"]);

/** Gives the run to its next attempt. Only a worker lost without progress (dead, silent, its lease run out) counts as poison (P14). */
export function handOff(record: RunRecord, coordinator: string, reason: HandoffReason, atMs: number): RunState {
  const { state } = record;
  refuseTerminal(record, "handed off");
  const progressed = state.claimSeq === null || record.headSeq > state.claimSeq;
  const claimed = state.status === "running";
  // A lease that ran out (`recovered`) is a lost worker too, whoever found it.
  const lost = poisonous.has(reason);
  const poison = lost && claimed && !progressed ? state.poison + 1 : progressed ? 0 : state.poison;
  const entry: AttemptRecord = { attempt: state.attempt, worker: state.owner ?? "", reason, atMs };
  return {
    ...state,
    status: "queued",
    revision: state.revision + 1,
    attempt: state.attempt + 1,
    poison,
    coordinator,
    history: [...state.history, entry].slice(-historyMax),
  };
}

/** Another coordinator takes over placing and following; the attempt stays. */
export function adopt(record: RunRecord, coordinator: string): RunState {
  refuseTerminal(record, "adopted");
  return { ...record.state, revision: record.state.revision + 1, coordinator };
}

export function requestCancel(record: RunRecord): RunState {
  refuseTerminal(record, "cancelled");
  return { ...record.state, revision: record.state.revision + 1, cancelRequested: true };
}

export function end(record: RunRecord, status: TerminalStatus, outcome: RunOutcome): RunState {
  refuseTerminal(record, status);
  return { ...record.state, status, revision: record.state.revision + 1, outcome };
}

/** The end of a run whose workers were lost again and again: with its history, for people to look at and retry. */
export function deadState(record: RunRecord, poison: number, history: RunState["history"]): RunState {
  const message = `run ${record.spec.runId}: ${poison} attempts lost their worker without finishing a superstep`;
  const outcome: RunOutcome = { checkpointId: null, error: { code: "DeadLettered", message } };
  return { ...end(record, "dead", outcome), poison, history };
}

/** True where the next loss of a worker must dead-letter the run. */
export function isPoison(state: RunState, maxAttempts: number): boolean {
  return state.poison >= maxAttempts;
}

function refuseTerminal(record: RunRecord, what: string): void {
  if (isTerminal(record.state.status)) {
    throw new AgentmaticError("Conflict", `run ${record.spec.runId} is ${record.state.status} and cannot be ${what}`);
  }
}
