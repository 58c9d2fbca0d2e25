/** One life of a thread: its runs one after the other, of which a process may die at one write. */
import { decodeValue } from "../checkpoint/codec.ts";
import { pendingInterrupts } from "../checkpoint/interrupts.ts";
import type { Saver, StoredCheckpoint } from "../checkpoint/saver.ts";
import { LeaseKeeper } from "../engine/lease.ts";
import { executeRun } from "../engine/run.ts";
import { AgentmaticError } from "../errors.ts";
import { Command } from "../graph/command.ts";
import type { Plan } from "../graph/plan.ts";
import { encodeSettings } from "../local/config.ts";
import { encodeInput } from "../local/input.ts";
import { readSnapshot } from "../local/snapshot.ts";
import type { Ports } from "../ports.ts";
import type { RunEvent } from "../run/events.ts";
import { isTerminal, type RunRecord } from "../run/record.ts";
import type { RunRequest } from "../run/runner.ts";
import type { RunSettings } from "../run/settings.ts";
import { makeSpec } from "../run/spec.ts";
import { handOff } from "../run/transitions.ts";
import { type Cut, mortal } from "./crash-mortal.ts";
import { type Outcome, readCheckpoints } from "./crash-outcome.ts";
import { NodeWatch } from "./crash-plan.ts";

export interface Question {
  readonly id: string;
  readonly value: unknown;
}

export interface ScenarioOptions {
  /** Called for each process. */
  readonly plan: () => Plan;
  readonly open: () => Saver;
  readonly ports: Ports;
  readonly cut: Cut | undefined;
  readonly settings: RunSettings;
  readonly input: Pick<RunRequest, "kind" | "input">;
  readonly maxSteps: number;
  readonly answer: (questions: readonly Question[], round: number) => unknown;
}

const threadId = "crash";
const leaseMs = 60_000;
/** Answers that one thread is given: more is a graph that asks for ever. */
const roundsMax = 1_000;
/** Attempts of one run: the process dies once, and more is a mistake of this check. */
const attemptsMax = 2;

export class Scenario {
  readonly #options: ScenarioOptions;
  readonly #front: Saver;
  readonly #watch: NodeWatch = new NodeWatch();
  #plan: Plan;
  #process: Saver;
  /** Tasks whose results the store has, by id, and supersteps that are over. */
  readonly #finished: Set<string> = new Set();
  readonly #over: Set<string> = new Set();
  /** Writes that processes have begun. */
  writes = 0;
  /** Tasks and durable calls that were begun. */
  begun = 0;
  died: string | undefined;
  repeated: string | undefined;

  constructor(options: ScenarioOptions) {
    this.#options = options;
    this.#front = options.open();
    this.#plan = this.#watch.watched(options.plan());
    this.#process = this.#newProcess();
  }

  async run(): Promise<Omit<Outcome, "effects">> {
    await this.#front.setup();
    let what: Pick<RunRequest, "kind" | "input"> | undefined = this.#options.input;
    let answered = 0;
    let record: RunRecord | undefined;
    for (let round = 0; what; round++) {
      if (round >= roundsMax) throw new AgentmaticError("ResourceExhausted", `answers: over ${roundsMax} rounds`);
      record = await this.#runToEnd(`run-${round + 1}`, what);
      what = undefined;
      if (record.state.status !== "interrupted") break;
      const questions = await this.#questions();
      if (questions.length === 0) what = encodeInput(this.#plan, null);
      else {
        const answer = this.#options.answer(questions, answered++);
        if (answer !== undefined) what = encodeInput(this.#plan, new Command({ resume: answer }));
      }
    }
    const { status, outcome } = record!.state;
    const stored = await this.#stored();
    return {
      status,
      code: outcome?.error?.code,
      values: stored && (await readSnapshot(this.#plan, stored)).values,
      questions: await this.#questions(),
      checkpoints: await readCheckpoints(this.#plan, this.#front, threadId),
    };
  }

  #newProcess(): Saver {
    return mortal(this.#options.open(), {
      dies: (what) => {
        this.writes++;
        const { cut } = this.#options;
        if (this.died !== undefined || this.writes !== cut?.at) return undefined;
        this.died = what;
        return cut.when;
      },
      stored: (writes, checkpoint) => {
        for (const { kind, taskId } of writes) if (kind === "done") this.#finished.add(taskId);
        if (checkpoint?.parentId) this.#over.add(superstep(checkpoint.ns, checkpoint.parentId));
      },
    });
  }

  /** Brings a run to its end, on a second process where the first one dies. */
  async #runToEnd(runId: string, what: Pick<RunRequest, "kind" | "input">): Promise<RunRecord> {
    const { ports, settings, maxSteps } = this.#options;
    const encoded = encodeSettings(settings);
    const spec = await makeSpec(
      { runId, threadId, graph: this.#plan, maxSteps, ...what, ...(encoded ? { settings: encoded } : {}) },
      ports,
    );
    let { record } = await this.#front.admit({ spec, coordinator: null, whenBusy: "reject" });
    for (let attempt = 1; ; attempt++) {
      const dying = this.died === undefined;
      const error = await this.#attempt(record);
      record = (await this.#front.getRun(runId))!;
      if (dying && this.died !== undefined) {
        await this.#watch.quiet(ports.timers);
        this.#plan = this.#watch.watched(this.#options.plan());
        this.#process = this.#newProcess();
      }
      if (isTerminal(record.state.status)) return record;
      if (attempt >= attemptsMax) throw error ?? new AgentmaticError("Internal", `run ${runId} comes to no end`);
      record = await this.#front.updateRun(runId, handOff(record, "crash check", "lost", ports.clock.wallMs()));
    }
  }

  async #attempt({ spec, state }: RunRecord): Promise<AgentmaticError | undefined> {
    const { ports } = this.#options;
    const saver = this.#process;
    const { runId } = spec;
    const claimedMs = ports.clock.monotonicMs();
    const claim = await saver.claim({
      threadId,
      runId,
      attempt: state.attempt,
      owner: "crash",
      nonce: ports.ids.next(),
    });
    const leases = new LeaseKeeper(saver, ports, { leaseMs });
    const lease = leases.hold(claim, claimedMs, () => {});
    try {
      const end = await executeRun({
        plan: this.#plan,
        saver,
        claim,
        lease,
        ports,
        wants: (kind) => kind === "tasks",
        emit: (event) => this.#heard(event),
        cancel: new AbortController().signal,
        draining: () => false,
      });
      return isTerminal(end.status)
        ? undefined
        : new AgentmaticError(end.error?.code ?? "Internal", end.error?.message ?? "");
    } finally {
      lease.release();
      leases.close();
    }
  }

  #heard({ ns, taskId, data }: RunEvent): void {
    const told = decodeValue(data) as Readonly<Record<string, unknown>>;
    if (!("input" in told)) return;
    this.begun++;
    const checkpointId = taskId.slice(0, taskId.indexOf("|"));
    if (!this.#finished.has(taskId) && !this.#over.has(superstep(ns, checkpointId))) return;
    this.repeated ??= `task "${String(told.name)}" (${taskId})`;
  }

  async #stored(): Promise<StoredCheckpoint | undefined> {
    return await this.#front.get(threadId, "");
  }

  async #questions(): Promise<readonly Question[]> {
    const stored = await this.#stored();
    return stored ? pendingInterrupts(stored).map(({ id, value }) => ({ id, value })) : [];
  }
}

function superstep(ns: string, checkpointId: string): string {
  return JSON.stringify([ns, checkpointId]);
}
