/** The superstep loop of one graph: a run's root graph, or one that a task of another graph called. */
import { decodeBody, type Source } from "../checkpoint/body.ts";
import type { RunFinish, StoredCheckpoint, TaskWrites } from "../checkpoint/saver.ts";
import { AgentmaticError, errorValue } from "../errors.ts";
import { GraphInterrupt, type Interrupt } from "../graph/context.ts";
import type { Plan } from "../graph/plan.ts";
import { isThenable } from "../graph/schema.ts";
import type { TraceContext } from "../run/record.ts";
import { commandsOf } from "./commands.ts";
import { type CommitParts, NoJournal } from "./journal.ts";
import { addWritten, type CheckpointFields, Ledger } from "./ledger.ts";
import { stepLimit } from "./limit.ts";
import { current } from "./migrate.ts";
import { Outside } from "./outside.ts";
import { storedUpdate } from "./report.ts";
import type { Place, RunScope } from "./scope.ts";
import { emptySnapshot, nothing, type Snapshot } from "./snapshot.ts";
import {
  type Advanced,
  advance,
  applyCommands,
  applyInput,
  entryNode,
  inputUpdates,
  planTasks,
  type Task,
  type TaskOutcome,
  type TaskResult,
} from "./step.ts";
import { readDone, Superstep, type SuperstepResult } from "./superstep.ts";
import { checkedInput, runEntry } from "./task.ts";
import { tellCommit } from "./told.ts";
import { unstorableState } from "./unstorable.ts";

export interface LoopOptions {
  readonly scope: RunScope;
  readonly plan: Plan;
  readonly ns: string;
  readonly trace: TraceContext | undefined;
  /** The task that called this graph; absent for the root. */
  readonly caller?: string;
}

/** How a graph came to rest. `interrupted` without interrupts: at a breakpoint. */
export interface Rest {
  readonly status: "succeeded" | "interrupted";
  readonly interrupts: readonly Interrupt[];
}

/** Supersteps in a row without giving other work of the process its turn. */
const stepsInARow = 64;
const turnMs = 20;
const noNames: ReadonlySet<string> = new Set();
const unkept = "unkept";

export class GraphLoop {
  readonly #scope: RunScope;
  readonly #plan: Plan;
  readonly #ns: string;
  readonly #trace: TraceContext | undefined;
  readonly #caller: string | undefined;
  /** What checkpoints are called after. */
  readonly #line: string;
  #ledger: Ledger;
  #snapshot: Snapshot;
  /** What earlier attempts or runs stored beside the current checkpoint. */
  #beside: readonly TaskWrites[] = [];
  /** Supersteps that this run has taken here, over all of its attempts. */
  #taken = 0;
  /** Channels whose value the store does not have. */
  #unwritten: ReadonlySet<string> = noNames;
  /** Objects that nodes wrote since then: a node may hand in again what it changed in place. */
  #written: Set<unknown> = new Set();
  /** The newest checkpoint that was handed to the store. */
  #storedId: string | null = null;
  #fresh = false;
  /** Finished tasks of a superstep that failed. */
  leftover: readonly TaskWrites[] = [];

  constructor({ scope, plan, ns, trace, caller }: LoopOptions) {
    this.#scope = scope;
    this.#plan = plan;
    this.#ns = ns;
    this.#trace = trace;
    this.#caller = caller;
    // A call that keeps nothing begins anew when it is answered: its tasks must have the ids that they had before.
    this.#line = caller === undefined || scope.journal.keeps ? scope.runId : unkept;
    this.#ledger = new Ledger(plan);
    this.#snapshot = nothing;
  }

  /** Takes the channels' defaults for where the graph stands: before its first checkpoint. Throws `InvalidGraph`. */
  open(): void {
    this.#snapshot = emptySnapshot(this.#plan);
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  get isRoot(): boolean {
    return this.#caller === undefined;
  }

  /** Takes a stored checkpoint for where the graph stands. */
  load({ checkpoint, writes }: StoredCheckpoint, own: boolean): void {
    const { snapshot, changed, outdated } = this.#ledger.load(checkpoint);
    this.#snapshot = snapshot;
    this.#unwritten = changed;
    this.#storedId = checkpoint.checkpointId;
    this.#beside = current(writes, outdated);
    if (own) this.#taken = decodeBody(checkpoint).taken;
    this.#apply(commandsOf(checkpoint.checkpointId, writes));
  }

  /** Takes where another call of this graph in the same attempt has left it, stored or not. */
  follow(last: GraphLoop): void {
    this.#ledger = last.#ledger;
    this.#snapshot = last.#snapshot;
    this.#unwritten = last.#unwritten;
    this.#written = last.#written;
    this.#storedId = last.#storedId;
  }

  /** Writes that were just stored beside the current checkpoint. */
  add(writes: readonly TaskWrites[]): void {
    const keys = new Set(writes.map(keyOf));
    this.#beside = [...this.#beside.filter((write) => !keys.has(keyOf(write))), ...writes];
    this.#apply(commandsOf(this.#snapshot.checkpointId, writes));
  }

  /** Tasks of the superstep that is due which have finished before. */
  finished(): readonly TaskOutcome[] {
    const done = new Map(this.#beside.filter(({ kind }) => kind === "done").map((write) => [write.taskId, write]));
    if (done.size === 0) return [];
    return planTasks(this.#plan, this.#snapshot, this.#ns).flatMap((task) => {
      const write = done.get(task.id);
      return write ? [{ task, result: readDone(write) }] : [];
    });
  }

  /** Applies an input and commits it. A rest where nothing follows it. */
  async input(given: unknown): Promise<Rest | undefined> {
    const plan = this.#plan;
    const entry = entryNode(plan);
    const updates = await checkedInput(plan, inputUpdates(plan, given));
    const superstep = this.#superstepOf([]);
    const task = { id: `${this.#scope.runId}|input`, node: { ...entry, name: "__start__" }, path: "" };
    const context = superstep.context(task, this.#trace);
    const work = runEntry(plan, this.#snapshot, task.node, updates, context);
    const result = await this.#scope.stop.race(work);
    this.#beside = [];
    return await this.#commit(applyInput(plan, this.#snapshot, result, this.#line), "input", []);
  }

  /** Commits a snapshot that is not a superstep's: a fork, an edit from outside. It becomes where the graph stands. */
  async place(
    advanced: Advanced,
    source: Source,
    writes: readonly TaskWrites[],
    end?: RunFinish["status"],
  ): Promise<void> {
    const { snapshot } = advanced;
    this.#note(advanced.changed);
    const make = (seq: number): CommitParts => ({
      checkpoint: this.#checkpoint(snapshot, seq, source, 0, []),
      writes,
      ...(end ? { finish: this.#finishOf(end, snapshot) } : {}),
    });
    const { journal } = this.#scope;
    const seq = await (end ? journal.finish({ ns: this.#ns, make }) : journal.commit({ ns: this.#ns, make }));
    const parentId = this.#snapshot.checkpointId || null;
    this.#snapshot = snapshot;
    this.#taken = 0;
    this.#fresh = true;
    this.#beside = [];
    tellCommit(this.#scope, this.#plan, this.#ns, { seq, source, parentId, snapshot, outcomes: [] });
    this.add(writes);
  }

  /** Supersteps until the graph is at its end or waits. */
  async run(): Promise<Rest> {
    const scope = this.#scope;
    let turnStartMs = scope.ports.clock.monotonicMs();
    for (let steps = 1; ; steps++) {
      const tasks = planTasks(this.#plan, this.#snapshot, this.#ns);
      if (tasks.length === 0) return await this.#rest("succeeded", []);
      if (this.#taken >= scope.maxSteps) throw stepLimit(this.#plan, this.#taken, tasks);
      if (scope.draining()) {
        await scope.journal.flush();
        throw new Outside(new AgentmaticError("Unavailable", "the worker is draining"));
      }
      // As at a breakpoint: the thread is free, and null goes on from here.
      if (scope.control?.stopsHere()) return await this.#rest("interrupted", []);
      const flow = scope.flow();
      if (flow) await scope.stop.race(flow);
      if (steps % stepsInARow === 0 && scope.ports.clock.monotonicMs() - turnStartMs > turnMs) {
        await new Promise<void>((resolve) => void scope.ports.timers.after(0, resolve));
        scope.stop.check();
        turnStartMs = scope.ports.clock.monotonicMs();
      }
      const superstep = this.#superstepOf(tasks);
      try {
        // Awaited only where there is something to wait for: an await costs as much as a short node.
        const running = superstep.run();
        if (running) await running;
      } catch (thrown) {
        this.leftover = superstep.unsaved;
        throw thrown;
      }
      const after = this.#after(superstep.result);
      const rest = after instanceof Promise ? await after : after;
      if (rest) return rest;
    }
  }

  #after({
    outcomes,
    unsaved,
    interrupted,
    interrupts,
    waits,
  }: SuperstepResult): Rest | undefined | Promise<Rest | undefined> {
    if (waits) return this.#rest("interrupted", interrupts, [...unsaved, ...interrupted]);
    return this.#commit(advance(this.#plan, this.#snapshot, outcomes, this.#line), "loop", outcomes);
  }

  #superstepOf(tasks: readonly Task[]): Superstep {
    const { checkpointId, step } = this.#snapshot;
    const place: Place = { plan: this.#plan, ns: this.#ns, checkpointId, step: step + 1, fresh: this.#fresh };
    return new Superstep({
      scope: this.#scope,
      place,
      tasks,
      snapshot: this.#snapshot,
      beside: this.#beside,
      trace: this.#trace,
    });
  }

  /** Commits a superstep; with a rest where nothing is due after it, or where a breakpoint stops the graph there. */
  #commit(
    advanced: Advanced,
    source: Source,
    outcomes: readonly TaskOutcome[],
  ): Rest | undefined | Promise<Rest | undefined> {
    const { snapshot } = advanced;
    const due = snapshot.next.length + snapshot.sends.length > 0;
    const stops = this.#stopsAt(snapshot, outcomes, due);
    const rest: Rest | undefined =
      due && !stops ? undefined : { status: stops ? "interrupted" : "succeeded", interrupts: [] };
    const taken = source === "loop" ? this.#taken + 1 : this.#taken;
    const { journal } = this.#scope;
    if (journal instanceof NoJournal) {
      this.#committed(snapshot, taken, journal.count(), source, outcomes);
      return rest;
    }
    this.#note(advanced.changed);
    for (const { result } of outcomes) addWritten(result, this.#written);
    const finish = rest && this.isRoot ? this.#finishOf(rest.status, snapshot) : undefined;
    const make = (seq: number): CommitParts => ({
      checkpoint: this.#checkpoint(snapshot, seq, source, taken, outcomes),
      ...(finish ? { finish } : {}),
    });
    const entry = { ns: this.#ns, make };
    return (finish ? journal.finish(entry) : journal.commit(entry)).then((seq) => {
      this.#committed(snapshot, taken, seq, source, outcomes);
      return rest;
    });
  }

  #committed(snapshot: Snapshot, taken: number, seq: number, source: Source, outcomes: readonly TaskOutcome[]): void {
    const parentId = this.#snapshot.checkpointId || null;
    this.#snapshot = snapshot;
    this.#taken = taken;
    this.#beside = [];
    this.#fresh = true;
    this.#scope.around?.progress();
    tellCommit(this.#scope, this.#plan, this.#ns, { seq, source, parentId, snapshot, outcomes });
  }

  /** The graph comes to rest without a checkpoint: what waiting tasks asked is stored beside the current one. */
  async #rest(
    status: Rest["status"],
    interrupts: readonly Interrupt[],
    writes: readonly TaskWrites[] = [],
  ): Promise<Rest> {
    if (this.isRoot) await this.finish(status, undefined, writes);
    else if (writes.length > 0) await this.#scope.journal.save(writes);
    return { status, interrupts };
  }

  /** Ends the run with a commit that carries no checkpoint of its own. */
  async finish(
    status: RunFinish["status"],
    error?: AgentmaticError,
    writes: readonly TaskWrites[] = [],
  ): Promise<void> {
    const finish = this.#finishOf(status, this.#snapshot, error);
    await this.#scope.journal.finish({ ns: this.#ns, make: () => ({ finish, writes }) });
  }

  #finishOf(status: RunFinish["status"], snapshot: Snapshot, error?: AgentmaticError): RunFinish {
    const outcome = {
      checkpointId: snapshot.checkpointId || null,
      ...(error ? { error: errorValue(error) } : {}),
    };
    return { runId: this.#scope.runId, status, outcome };
  }

  #note(changed: ReadonlySet<string>): void {
    this.#unwritten = this.#unwritten.size === 0 ? changed : new Set([...this.#unwritten, ...changed]);
  }

  #checkpoint(
    snapshot: Snapshot,
    seq: number,
    source: Source,
    taken: number,
    outcomes: readonly TaskOutcome[],
  ): NonNullable<CommitParts["checkpoint"]> {
    const checkpoint = this.#encoded(snapshot, seq, outcomes, {
      ns: this.#ns,
      parentId: this.#storedId,
      runId: this.#scope.runId,
      changed: this.#unwritten,
      written: this.#written,
      source,
      taken,
      updates: outcomes.map((outcome) => storedUpdate(this.#plan, outcome)),
      ...(this.#caller === undefined ? {} : { caller: this.#caller }),
      atMs: this.#scope.ports.clock.wallMs(),
    });
    this.#unwritten = noNames;
    if (this.#written.size > 0) this.#written = new Set();
    this.#storedId = snapshot.checkpointId;
    return checkpoint;
  }

  #encoded(
    snapshot: Snapshot,
    seq: number,
    outcomes: readonly TaskOutcome[],
    fields: CheckpointFields,
  ): NonNullable<CommitParts["checkpoint"]> {
    try {
      return this.#ledger.checkpoint(snapshot, seq, fields);
    } catch (thrown) {
      throw unstorableState(this.#plan, thrown, snapshot.values, fields.changed, outcomes);
    }
  }

  /** Updates and turns that callers gave together with an answer. */
  #apply(commands: readonly TaskResult[]): void {
    if (commands.length === 0) return;
    const { snapshot, changed } = applyCommands(this.#plan, this.#snapshot, commands);
    this.#snapshot = snapshot;
    this.#note(changed);
  }

  #stopsAt(snapshot: Snapshot, outcomes: readonly TaskOutcome[], due: boolean): boolean {
    const { interruptBefore, interruptAfter, interruptBeforeWhen, interruptAfterWhen } = this.#plan;
    const { settings } = this.#scope;
    const ran = () => outcomes.map(({ task }) => task.node.name);
    const next = () => [...snapshot.next, ...snapshot.sends.map(({ node }) => node)];
    const named = (names: readonly string[], set: ReadonlySet<string>, more: readonly string[] | undefined) =>
      names.some(
        (name) => set.has(name) || (this.isRoot && more !== undefined && (more.includes(name) || more.includes("*"))),
      );
    if (interruptAfter.size > 0 || settings.interruptAfter) {
      if (named(ran(), interruptAfter, settings.interruptAfter)) return true;
    }
    if (due && (interruptBefore.size > 0 || settings.interruptBefore)) {
      if (named(next(), interruptBefore, settings.interruptBefore)) return true;
    }
    if (interruptAfterWhen && outcomes.length > 0 && this.#asks(interruptAfterWhen, snapshot, ran())) return true;
    return due && interruptBeforeWhen !== undefined && this.#asks(interruptBeforeWhen, snapshot, next());
  }

  #asks(predicate: NonNullable<Plan["interruptBeforeWhen"]>, snapshot: Snapshot, names: readonly string[]): boolean {
    try {
      const answer: unknown = predicate({ ...snapshot.values } as never, names);
      if (!isThenable(answer)) return answer === true;
      answer.then(undefined, () => undefined);
      throw new TypeError("it gave a promise, and must answer at once");
    } catch (thrown) {
      const text = `graph "${this.#plan.name}": the predicate of a breakpoint threw: ${AgentmaticError.from(thrown).message}`;
      throw new AgentmaticError("NodeFailed", text, { cause: thrown });
    }
  }
}

function keyOf({ taskId, kind }: TaskWrites): string {
  return JSON.stringify([taskId, kind]);
}

/** The interrupts of a graph inside a node, on their way to the graph around it. */
export function interruptOf(rest: Rest): GraphInterrupt {
  return new GraphInterrupt(rest.interrupts);
}
