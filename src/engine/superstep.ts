/** Runs the due tasks of one superstep side by side and stores each one's writes as it finishes. */
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import type { StoredAnswer } from "../checkpoint/interrupts.ts";
import { readAnswers } from "../checkpoint/interrupts.ts";
import type { TaskWrites } from "../checkpoint/saver.ts";
import { AgentmaticError, type ErrorValue, errorValue, fromErrorValue } from "../errors.ts";
import { type Interrupt, isGraphInterrupt } from "../graph/context.ts";
import { PREVIOUS, START } from "../graph/plan.ts";
import { failureOf } from "../policy/error-handler.ts";
import { noSpan, noSpans, type Span } from "../telemetry/spans.ts";
import { interruptWrite } from "./answers.ts";
import { CallResults, durableCall } from "./calls.ts";
import { type ContextFields, followed, RefusedAnswer, TaskContext } from "./context.ts";
import { policiesOf, underPolicies } from "./policies.ts";
import { eventOf, resultOf } from "./report.ts";
import type { Place, RunScope } from "./scope.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Task, TaskOutcome, TaskResult } from "./step.ts";
import { call, handledOutcome, inputOf, ofPolicy, passes, runTask } from "./task.ts";
import { unstorableQuestion, unstorableResult } from "./unstorable.ts";

export interface SuperstepOptions {
  readonly scope: RunScope;
  readonly place: Place;
  readonly tasks: readonly Task[];
  readonly snapshot: Snapshot;
  /** What earlier attempts or runs stored beside the snapshot's checkpoint. */
  readonly beside: readonly TaskWrites[];
  readonly trace: ContextFields["trace"];
}

/** `attempts`: 0 where it is there to be seen only, and the node runs again. */
interface StoredFailure {
  readonly error: ErrorValue;
  readonly attempts: number;
}

type DoneData = [TaskResult["updates"], TaskResult["goto"], TaskResult["sends"], boolean?];

export interface SuperstepResult {
  readonly outcomes: readonly TaskOutcome[];
  /** Writes of finished tasks that are not stored by themselves: they travel with the commit. */
  readonly unsaved: readonly TaskWrites[];
  /** What interrupted tasks asked. */
  readonly interrupted: readonly TaskWrites[];
  readonly interrupts: readonly Interrupt[];
  /** True where a task waits, be it with a question or at a breakpoint of a subgraph. */
  readonly waits: boolean;
}

const none: ReadonlyMap<string, TaskWrites> = new Map();
/** For tasks beside one that failed, to come to their end. */
const graceMs = 1_000;

export class Superstep {
  readonly #options: SuperstepOptions;
  readonly #outcomes: TaskOutcome[] = [];
  readonly #interrupted: TaskWrites[] = [];
  /** What failed tasks threw, for whoever looks at the thread. */
  readonly #errors: TaskWrites[] = [];
  readonly #interrupts: Interrupt[] = [];
  #waits = false;
  #unsaved: TaskWrites[] = [];
  #saving: readonly TaskWrites[] = [];
  /** What earlier attempts or runs have finished, by task. */
  readonly #done: ReadonlyMap<string, TaskWrites>;
  readonly #calls: CallResults;
  #running = 0;
  #failing = false;
  #saved: Promise<void> | undefined;

  constructor(options: SuperstepOptions) {
    this.#options = options;
    this.#done = options.beside.length > 0 ? finishedIn(options.beside) : none;
    this.#calls = new CallResults(this.#done);
  }

  /** What a superstep that failed leaves for the next try: what finished, and what was asked. */
  get unsaved(): readonly TaskWrites[] {
    return [...this.#saving, ...this.#unsaved, ...this.#interrupted, ...this.#errors];
  }

  /** Rejects with the first task's error; the others are left to themselves. */
  run(): Promise<void> | undefined {
    const { tasks, scope } = this.#options;
    const due = this.#done.size === 0 ? tasks : tasks.filter((task) => !this.#restore(task));
    this.#running = due.length;
    if (due.length === 0) return undefined;
    const work = due.length === 1 ? this.#execute(due[0]!) : this.#executeAll(due);
    return work && scope.stop.race(work);
  }

  /** What the superstep came to, once it has run. */
  get result(): SuperstepResult {
    return {
      outcomes: this.#outcomes,
      unsaved: this.#unsaved,
      interrupted: this.#interrupted,
      interrupts: this.#interrupts,
      waits: this.#waits,
    };
  }

  /** What a node and its conditional edges are given. */
  context(task: Task, trace: ContextFields["trace"], retryAttempt = 1): TaskContext {
    const { scope, place, snapshot } = this.#options;
    const call = durableCall({ scope, place, task, results: this.#calls, trace });
    const previous = place.plan.functional ? snapshot.values[PREVIOUS] : undefined;
    return new TaskContext({ scope, place, task, retryAttempt, trace, call, previous });
  }

  /** Takes over a task that finished before: it is not run again. */
  #restore(task: Task): boolean {
    const done = this.#done.get(task.id);
    if (!done) return false;
    this.#outcomes.push({ task, result: readDone(done) });
    return true;
  }

  async #executeAll(due: readonly Task[]): Promise<void> {
    const most = this.#options.scope.settings.maxConcurrency ?? this.#options.place.plan.maxConcurrency ?? due.length;
    if (most >= due.length) {
      await this.#allOf(due.map((task) => this.#executeAndSave(task)));
      return;
    }
    let next = 0;
    const lane = async () => {
      for (let task = due[next++]; task && !this.#failing; task = due[next++]) await this.#executeAndSave(task);
    };
    await this.#allOf(Array.from({ length: most }, lane));
  }

  /**
   * Rejects with the first failure, once the others have come to their ends or had some time to: what they did until
   * then need not be done again.
   */
  async #allOf(work: readonly Promise<void>[]): Promise<void> {
    const { timers } = this.#options.scope.ports;
    try {
      await Promise.all(work);
    } catch (thrown) {
      this.#failing = true;
      await new Promise<void>((resolve) => {
        const cancel = timers.after(graceMs, resolve);
        void Promise.allSettled(work).then(() => {
          cancel();
          resolve();
        });
      });
      throw thrown;
    }
  }

  async #executeAndSave(task: Task): Promise<void> {
    await this.#execute(task);
    if (this.#running > 0 && this.#unsaved.length > 0) {
      this.#saved ??= this.#saveAll();
      await this.#saved;
    }
  }

  /**
   * One writer at a time: what finishes while a write is under way goes with the next one, and what finishes last of all
   * goes with the superstep's commit.
   */
  async #saveAll(): Promise<void> {
    await Promise.resolve();
    while (this.#unsaved.length > 0 && this.#running > 0) {
      this.#saving = this.#unsaved;
      this.#unsaved = [];
      await this.#options.scope.journal.save(this.#saving);
      this.#saving = [];
    }
    this.#saved = undefined;
  }

  /** Right before each task, as a freeze may fall between two of one superstep, or of many runs that go on at once (P5). */
  #execute(task: Task): Promise<void> | undefined {
    const { scope } = this.#options;
    const confirmed = scope.check();
    if (confirmed) return this.#confirmed(task, confirmed);
    scope.stop.check();
    return this.#perform(task);
  }

  async #confirmed(task: Task, confirmed: Promise<void>): Promise<void> {
    await confirmed;
    this.#options.scope.stop.check();
    await this.#perform(task);
  }

  #perform(task: Task): Promise<void> | undefined {
    const { scope, place, snapshot } = this.#options;
    const span = this.#span(task.node.name);
    const told = scope.wants("tasks") && followed(scope, place);
    if (told) this.#tell(task, { input: shownInput(place, inputOf(snapshot, task)), interrupts: [] });
    const outcome = this.#try(task, span);
    if (outcome instanceof Promise) {
      return outcome.then(
        (done) => this.#finished(task, done, span, told),
        (thrown: unknown) => this.#failed(task, thrown, span, told),
      );
    }
    this.#finished(task, outcome, span, told);
    return undefined;
  }

  #span(node: string): Span {
    const { scope, place, trace } = this.#options;
    if (scope.spans === noSpans) return noSpan;
    return scope.spans.start("agentmatic.node.execute", attributesOf(scope, place, node), trace);
  }

  #try(task: Task, span: Span): ReturnType<typeof runTask> {
    const { place, snapshot, trace } = this.#options;
    const { node } = task;
    const inner = span === noSpan ? trace : (span.trace ?? trace);
    if (!node.retry && !node.timeout && !node.cache && !node.breaker && !node.onError) {
      return runTask(place.plan, snapshot, task, this.context(task, inner));
    }
    return this.#tryUnderPolicies(task, inner);
  }

  async #tryUnderPolicies(task: Task, trace: ContextFields["trace"]): Promise<Pick<TaskOutcome, "result" | "preview">> {
    const { scope, place, snapshot, beside } = this.#options;
    const { plan } = place;
    const { node } = task;
    let attempts = 0;
    let tried: TaskContext | undefined;
    let failure = this.#storedFailure(task);
    if (!failure) {
      try {
        const input = () => inputOf(snapshot, task);
        const subject = { scope, graph: plan.name, version: plan.version, node: node.name, input, cache: plan.cache };
        const asked = () => beside.some(({ kind, taskId }) => kind === "interrupt" && taskId === task.id);
        const own = () => (tried !== undefined && tried.answered > 0) || asked();
        return await underPolicies({ ...subject, own }, policiesOf(node), async (retryAttempt, timed) => {
          attempts = retryAttempt;
          if (tried) await tried.abandon();
          const context = this.context(task, trace, retryAttempt);
          tried = context;
          if (timed) context.during(timed);
          const { result } = await runTask(plan, snapshot, task, context);
          return { result };
        });
      } catch (caught) {
        const thrown = ofPolicy(plan, node.name, caught);
        if (tried && !passes(thrown)) await tried.abandon();
        if (!node.onError || passes(thrown) || scope.stop.stopped) throw thrown;
        failure = { error: errorValue(AgentmaticError.from(thrown)), attempts };
        // The node has failed for good: after a crash its handler goes on, and not the node.
        if (scope.journal.keeps) {
          const data = encodeValue(failure, node.name);
          await scope.journal.save([{ ...this.#placeOf(task), kind: "error", data }]);
        }
      }
    }
    const { onError } = node;
    const info = failureOf(node.name, fromErrorValue(failure.error), failure.attempts, inputOf(snapshot, task));
    const context = this.context({ ...task, id: `${task.id}~error` }, trace);
    const handle = (state: unknown) => onError!(state as never, info, context);
    const returned = await call(plan, node.name, handle, { ...snapshot.values }, context);
    return await handledOutcome(plan, node, returned);
  }

  #storedFailure(task: Task): StoredFailure | undefined {
    if (!task.node.onError) return undefined;
    const write = this.#options.beside.find(({ kind, taskId }) => kind === "error" && taskId === task.id);
    const failure = write && (decodeValue(write.data) as StoredFailure);
    return failure && failure.attempts > 0 ? failure : undefined;
  }

  #finished(task: Task, { result, preview }: Pick<TaskOutcome, "result" | "preview">, span: Span, told: boolean): void {
    const { scope, tasks } = this.#options;
    this.#running--;
    span.end();
    scope.stop.check();
    this.#outcomes.push(preview && tasks.length === 1 ? { task, result, preview } : { task, result });
    if (tasks.length > 1 && scope.journal.keeps) this.#unsaved.push(this.#doneWrite(task, result));
    if (told) this.#tell(task, { result: shownResult(result.updates), interrupts: [], error: null });
  }

  #failed(task: Task, thrown: unknown, span: Span, told: boolean): void {
    this.#running--;
    try {
      if (!isGraphInterrupt(thrown)) {
        const error = AgentmaticError.from(thrown);
        span.fail(error);
        if (told) this.#tell(task, { result: {}, interrupts: [], error: errorValue(error) });
        // Answers stand beside the root graph's checkpoint: only there can one be taken back.
        const isHere = thrown instanceof RefusedAnswer && this.#options.place.ns === "";
        if (isHere) throw this.#refused(task, thrown);
        if (!passes(thrown)) this.#noteError(task, error);
        throw thrown;
      }
      this.#waits = true;
      const { interrupts } = thrown;
      if (told) {
        this.#tell(task, { result: {}, interrupts: interrupts.map(({ id, value }) => ({ id, value })), error: null });
      }
      if (interrupts.length === 0) return;
      this.#interrupted.push(this.#questions(task, interrupts));
      this.#interrupts.push(...interrupts);
    } finally {
      span.end();
    }
  }

  #questions(task: Task, interrupts: readonly Interrupt[]): TaskWrites {
    const node = task.node.name;
    try {
      return interruptWrite(
        this.#placeOf(task),
        interrupts.map(({ id, value }) => ({ id, value, node })),
      );
    } catch (thrown) {
      throw unstorableQuestion(this.#options.place.plan, thrown, node, interrupts);
    }
  }

  /**
   * It travels with the run's last commit; a graph inside another has no commit of its own then. Where a handler is to go
   * on after a crash, its node's failure is stored already.
   */
  #noteError(task: Task, error: AgentmaticError): void {
    const { scope, place } = this.#options;
    if (!scope.journal.keeps || scope.stop.stopped || place.ns !== "" || task.node.onError) return;
    const failure: StoredFailure = { error: errorValue(error), attempts: 0 };
    this.#errors.push({ ...this.#placeOf(task), kind: "error", data: encodeValue(failure, task.node.name) });
  }

  /** An answer that does not fit is taken back, so that the thread waits for another one. */
  #refused(task: Task, { id, message }: RefusedAnswer): AgentmaticError {
    for (const write of this.#options.beside) {
      if (write.kind !== "resume") continue;
      const answers = readAnswers(write);
      if (!answers.some((answer) => answer.id === id)) continue;
      const left: StoredAnswer[] = answers.filter((answer) => answer.id !== id);
      this.#unsaved.push({ ...write, data: encodeValue(left, "resume") });
    }
    return new AgentmaticError("InvalidArgument", message, {
      details: { field: `resume.${id}`, node: task.node.name },
    });
  }

  #doneWrite(task: Task, { updates, goto, sends, handled }: TaskResult): TaskWrites {
    const { plan } = this.#options.place;
    const tracked = updates.filter(([channel]) => plan.channels.get(channel)?.kind !== "untracked");
    const data: DoneData = handled ? [tracked, goto, sends, true] : [tracked, goto, sends];
    try {
      return { ...this.#placeOf(task), kind: "done", data: encodeValue(data, task.node.name) };
    } catch (thrown) {
      throw unstorableResult(plan, thrown, task.node.name, { updates, goto, sends });
    }
  }

  #placeOf(task: Task): Omit<TaskWrites, "kind" | "data"> {
    const { ns, checkpointId } = this.#options.place;
    return { ns, checkpointId, taskId: task.id, path: task.path };
  }

  #tell(task: Task, what: object): void {
    const { scope, place } = this.#options;
    const { name } = task.node;
    const data = { id: task.id, name, step: place.step, ...what };
    scope.emit(eventOf(scope, place.ns, "tasks", { node: name, taskId: task.id, data }));
  }
}

function finishedIn(beside: readonly TaskWrites[]): ReadonlyMap<string, TaskWrites> {
  return new Map(beside.filter(({ kind }) => kind === "done").map((write) => [write.taskId, write]));
}

/** A finished task's result, from what is stored of it. */
export function readDone(write: TaskWrites): TaskResult {
  const [updates, goto, sends, handled = false] = decodeValue(write.data) as DoneData;
  return { updates, goto, sends, ...(handled ? { handled } : {}) };
}

/** A functional graph is given its input alone. */
function shownInput({ plan }: Place, input: unknown): unknown {
  return plan.functional ? (input as Readonly<Record<string, unknown>>)[START] : input;
}

/** What is saved for the next run is nobody's result. */
function shownResult(updates: TaskResult["updates"]): unknown {
  return resultOf(updates.filter(([name]) => name !== PREVIOUS));
}

function attributesOf(scope: RunScope, place: Place, node: string): Record<string, string | number> {
  return {
    "agentmatic.run.id": scope.runId,
    "agentmatic.node": node,
    "agentmatic.step": place.step,
    "agentmatic.correlation.id": scope.correlationId,
  };
}
