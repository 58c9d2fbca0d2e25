/** Runs the due tasks of one superstep side by side and stores each one's writes as it finishes. */
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import type { Claim, StoredCheckpoint, TaskWrites } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import { GraphInterrupt, isGraphInterrupt, type NodeContext } from "../graph/context.ts";
import type { Plan } from "../graph/plan.ts";
import { orAborted } from "../run/abort.ts";
import type { EventKind } from "../run/events.ts";
import type { TraceContext } from "../run/record.ts";
import { noSpans, type Spans } from "../telemetry/spans.ts";
import { answersOf, interruptId, interruptWrite } from "./answers.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Task, TaskOutcome, TaskResult } from "./step.ts";
import { runTask } from "./task.ts";

export interface SuperstepOptions {
  readonly plan: Plan;
  readonly claim: Claim;
  readonly tasks: readonly Task[];
  readonly snapshot: Snapshot;
  /** The snapshot's checkpoint with what earlier attempts or runs stored beside it. */
  readonly pending: StoredCheckpoint | undefined;
  /** Aborts when the attempt must stop at once. */
  readonly abort: AbortSignal;
  /** Undefined where a task may start now; else rejects where the claim is over (P5). */
  readonly check: () => Promise<void> | undefined;
  readonly save: (writes: readonly TaskWrites[]) => Promise<void>;
  readonly wants: (kind: EventKind) => boolean;
  readonly event: (kind: EventKind, fields: { node?: string; taskId?: string; data: unknown }) => void;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly spans?: Spans;
  readonly trace?: TraceContext;
}

type DoneData = [TaskResult["updates"], TaskResult["goto"], TaskResult["sends"]];

export interface SuperstepResult {
  readonly outcomes: readonly TaskOutcome[];
  /** Writes of finished tasks that are not stored by themselves: they travel with the commit. */
  readonly unsaved: readonly TaskWrites[];
  /** What interrupted tasks asked. */
  readonly interrupted: readonly TaskWrites[];
}

export class Superstep {
  readonly #options: SuperstepOptions;
  readonly #outcomes: TaskOutcome[] = [];
  readonly #interrupted: TaskWrites[] = [];
  #unsaved: TaskWrites[] = [];
  #saving: readonly TaskWrites[] = [];
  /** What earlier attempts or runs have finished, by task. */
  readonly #done: ReadonlyMap<string, TaskWrites>;
  #running = 0;

  /** Writes of finished tasks that are not known to be stored. */
  get unsaved(): readonly TaskWrites[] {
    return [...this.#saving, ...this.#unsaved];
  }

  constructor(options: SuperstepOptions) {
    this.#options = options;
    const done = (options.pending?.writes ?? []).filter(({ kind }) => kind === "done");
    this.#done = new Map(done.map((write) => [write.taskId, write]));
  }

  /** Rejects with the first task's error; the signal of the others aborts with the attempt. */
  async run(): Promise<SuperstepResult> {
    const due = this.#options.tasks.filter((task) => !this.#restore(task));
    this.#running = due.length;
    if (due.length === 1) await orAborted(this.#options.abort, this.#execute(due[0]!));
    else if (due.length > 1) await this.#executeAll(due);
    return { outcomes: this.#outcomes, unsaved: this.#unsaved, interrupted: this.#interrupted };
  }

  /** What a node and its conditional edges are given. */
  context(node: string, taskId: string, trace: TraceContext | undefined = this.#options.trace): NodeContext {
    const { claim, snapshot, abort, plan, config = {}, pending, spans = noSpans } = this.#options;
    const { spec, state } = claim.record;
    let asked = 0;
    let answers: ReadonlyMap<string, unknown> | undefined;
    return {
      runId: spec.runId,
      threadId: spec.threadId,
      correlationId: spec.correlationId,
      graph: plan.name,
      node,
      taskId,
      checkpointId: snapshot.checkpointId,
      step: snapshot.step + 1,
      attempt: state.attempt,
      epoch: claim.fence.epoch,
      idempotencyKey: `${spec.threadId}/${taskId}`,
      signal: abort,
      config,
      interrupt: <Answer>(value: unknown): Answer => {
        answers ??= answersOf(pending, taskId);
        const id = interruptId(taskId, asked++);
        if (answers.has(id)) return answers.get(id) as Answer;
        throw new GraphInterrupt(id, value);
      },
      toolSpan: (tool, callId) => {
        const attributes = {
          "gen_ai.operation.name": "execute_tool",
          "gen_ai.tool.name": tool,
          "gen_ai.tool.call.id": callId,
        };
        return spans.start("agentmatic.tool.call", { ...attributes, "agentmatic.node": node }, trace);
      },
      stream: (data) => {
        if (this.#options.wants("custom")) this.#options.event("custom", { node, taskId, data });
      },
    };
  }

  /** Takes over a task that finished before: it is not run again. */
  #restore(task: Task): boolean {
    const done = this.#done.get(task.id);
    if (!done) return false;
    const [updates, goto, sends] = decodeValue(done.data) as DoneData;
    this.#outcomes.push({ task, result: { updates, goto, sends } });
    return true;
  }

  async #executeAll(due: readonly Task[]): Promise<void> {
    // One writer at a time: what finishes while a write is under way goes with the next one, and what finishes last of
    // all goes with the superstep's commit.
    let saving: Promise<void> | undefined;
    const saveLoop = async () => {
      await Promise.resolve();
      while (this.#unsaved.length > 0 && this.#running > 0) {
        this.#saving = this.#unsaved;
        this.#unsaved = [];
        await this.#options.save(this.#saving);
        this.#saving = [];
      }
      saving = undefined;
    };
    const finished = due.map(async (task) => {
      await this.#execute(task);
      if (this.#running > 0 && this.#unsaved.length > 0) {
        saving ??= saveLoop();
        await saving;
      }
    });
    await orAborted(this.#options.abort, Promise.all(finished));
  }

  /** Right before each task, as a freeze may fall between two of one superstep, or of many runs that go on at once (P5). */
  async #execute(task: Task): Promise<void> {
    const { check, abort } = this.#options;
    try {
      const confirmed = check();
      if (confirmed) await confirmed;
      if (abort.aborted) throw abort.reason;
      await this.#perform(task);
    } finally {
      this.#running--;
    }
  }

  async #perform(task: Task): Promise<void> {
    const { plan, snapshot, abort, wants, event, spans = noSpans, trace } = this.#options;
    const node = task.node.name;
    const { runId, correlationId } = this.#options.claim.record.spec;
    const span = spans.start(
      "agentmatic.node.execute",
      {
        "agentmatic.run.id": runId,
        "agentmatic.node": node,
        "agentmatic.step": snapshot.step + 1,
        "agentmatic.correlation.id": correlationId,
      },
      trace,
    );
    const context = this.context(node, task.id, span.trace ?? trace);
    if (wants("tasks")) event("tasks", { node, taskId: task.id, data: { phase: "start" } });
    try {
      const result = await runTask(plan, snapshot, task, context);
      if (abort.aborted) throw abort.reason;
      this.#outcomes.push({ task, result });
      if (this.#options.tasks.length > 1) this.#unsaved.push(this.#doneWrite(task, result));
      if (wants("tasks")) event("tasks", { node, taskId: task.id, data: { phase: "end" } });
    } catch (thrown) {
      if (!isGraphInterrupt(thrown)) {
        span.fail(AgentmaticError.from(thrown));
        throw thrown;
      }
      const { id, value } = thrown;
      this.#interrupted.push(interruptWrite(this.#place(task), { id, value, node }));
    } finally {
      span.end();
    }
  }

  #doneWrite(task: Task, { updates, goto, sends }: TaskResult): TaskWrites {
    const data: DoneData = [updates, goto, sends];
    return { ...this.#place(task), kind: "done", data: encodeValue(data, task.node.name) };
  }

  #place(task: Task): Omit<TaskWrites, "kind" | "data"> {
    return { ns: "", checkpointId: this.#options.snapshot.checkpointId, taskId: task.id, path: task.path };
  }
}
