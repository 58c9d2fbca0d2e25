/** Durable calls inside a task: `ctx.task`. Each one's result is stored, and not computed again when the task is. */
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import type { TaskWrites } from "../checkpoint/saver.ts";
import { AgentmaticError, errorValue } from "../errors.ts";
import type { CallOptions } from "../graph/call.ts";
import { asyncContext, isGraphInterrupt } from "../graph/context.ts";
import type { TraceContext } from "../run/record.ts";
import { type ContextFields, followed, TaskContext } from "./context.ts";
import { Outside } from "./outside.ts";
import { underPolicies } from "./policies.ts";
import { eventOf } from "./report.ts";
import type { Place, RunScope } from "./scope.ts";
import type { Task } from "./step.ts";
import { fromCall } from "./task.ts";

export interface CallsOptions {
  readonly scope: RunScope;
  readonly place: Place;
  readonly task: Task;
  readonly results: CallResults;
  readonly trace: TraceContext | undefined;
}

/** Calls of one task; more than this is a loop. */
const callsMax = 10_000;

interface StoredCall {
  readonly name: string;
  readonly result: unknown;
}

/** What the calls of a superstep have come to: in earlier attempts and runs, and in this one's earlier tries. */
export class CallResults {
  readonly #stored: ReadonlyMap<string, TaskWrites>;
  #made: Map<string, () => StoredCall> | undefined;

  constructor(stored: ReadonlyMap<string, TaskWrites>) {
    this.#stored = stored;
  }

  find(id: string): StoredCall | undefined {
    const made = this.#made?.get(id);
    if (made) return made();
    const stored = this.#stored.get(id);
    return stored && (decodeValue(stored.data) as StoredCall);
  }

  keep(id: string, read: () => StoredCall): void {
    this.#made ??= new Map();
    this.#made.set(id, read);
  }
}

export function durableCall(options: CallsOptions): ContextFields["call"] {
  return (context, index, given, args, work) => {
    const made = new Call(options, context, index, given, args);
    return made.run(work);
  };
}

class Call {
  readonly #options: CallsOptions;
  readonly #given: CallOptions;
  readonly #args: readonly unknown[];
  readonly #around: TaskContext;
  readonly #index: number;
  readonly #id: string;
  readonly #told: boolean;

  constructor(options: CallsOptions, around: TaskContext, index: number, given: CallOptions, args: readonly unknown[]) {
    this.#options = options;
    this.#around = around;
    this.#index = index;
    this.#given = given;
    this.#args = args;
    this.#id = `${around.taskId}/${index}`;
    this.#told = followed(options.scope, options.place);
  }

  async run(work: () => unknown): Promise<unknown> {
    const { scope, results } = this.#options;
    const { name } = this.#given;
    if (this.#index >= callsMax) {
      throw new AgentmaticError("ResourceExhausted", `task "${name}": over ${callsMax} calls`);
    }
    const before = results.find(this.#id);
    if (before) return this.#again(before);
    const check = scope.check();
    if (check) await check;
    scope.stop.check();
    this.#tell({ input: this.#args, interrupts: [] });
    try {
      const result = await this.#perform(work);
      this.#tell({ result: { [returned]: result }, interrupts: [], error: null });
      return result;
    } catch (thrown) {
      const asked = isGraphInterrupt(thrown) ? thrown.interrupts.map(({ id, value }) => ({ id, value })) : undefined;
      const error = asked ? null : errorValue(AgentmaticError.from(thrown));
      this.#tell({ result: {}, interrupts: asked ?? [], error });
      throw asked ? thrown : fromCall(thrown, name);
    }
  }

  async #perform(work: () => unknown): Promise<unknown> {
    const { scope, place, results } = this.#options;
    const { name } = this.#given;
    const { plan } = place;
    const subject = { scope, graph: plan.name, version: plan.version, node: name, cache: plan.cache };
    const around = this.#around;
    const { answered } = around;
    let tried: TaskContext | undefined;
    const result = await underPolicies(
      { ...subject, input: () => this.#args, own: () => around.answered > answered },
      this.#given.policies,
      async (attempt, timed) => {
        if (tried) await tried.abandon();
        const context = this.#context(attempt);
        tried = context;
        if (timed) context.during(timed);
        const async = asyncContext();
        return await (async ? async.run(context, work) : work());
      },
    );
    scope.stop.check();
    // One that a timeout had left to itself, and another try has made again: whoever comes first counts.
    const first = results.find(this.#id);
    if (first) return first.result;
    const call: StoredCall = { name, result };
    if (scope.journal.keeps) await this.#save(call);
    else results.keep(this.#id, () => call);
    this.#tellUpdate(result, false);
    return result;
  }

  async #save(call: StoredCall): Promise<void> {
    const { scope, place, task, results } = this.#options;
    const data = encodeValue(call, `task "${call.name}"`);
    results.keep(this.#id, () => decodeValue(data) as StoredCall);
    const write: TaskWrites = {
      ns: place.ns,
      checkpointId: place.checkpointId,
      taskId: this.#id,
      path: `${task.path}/${String(this.#index).padStart(5, "0")}`,
      kind: "done",
      data,
    };
    try {
      await scope.journal.save([write]);
    } catch (thrown) {
      // The store's word ends the attempt, whatever the caller would make of it.
      if (thrown instanceof Outside) scope.stop.root.stop(thrown);
      throw thrown;
    }
  }

  #context(retryAttempt: number): TaskContext {
    const { scope, place, task, trace, results } = this.#options;
    const around = this.#around;
    // A graph that an earlier try has called may have left something behind.
    const here = around.retryAttempt === 1 ? place : { ...place, fresh: false };
    const { name } = this.#given;
    const context = new TaskContext({
      scope,
      place: here,
      task: { id: this.#id, node: { name }, ...(task.index === undefined ? {} : { index: task.index }) },
      within: { node: task.node.name, position: around.positionOf(this.#index), context: around },
      retryAttempt,
      trace,
      call: durableCall({ scope, place: here, task, results, trace }),
      previous: around.previous,
    });
    context.input = around.input;
    return context;
  }

  /** Calls are told apart by their order: another name at this place means that the task did not go the way it went. */
  #again({ name: storedName, result }: StoredCall): unknown {
    const { name } = this.#given;
    if (storedName !== name) {
      const text = `its call "${name}" was "${storedName}" when it ran before; calls must come in the same order each time`;
      throw new AgentmaticError("FailedPrecondition", text);
    }
    this.#tellUpdate(result, true);
    return result;
  }

  #tell(what: object): void {
    const { scope, place } = this.#options;
    if (!this.#told || !scope.wants("tasks")) return;
    const { name } = this.#given;
    const data = { id: this.#id, name, step: place.step, ...what };
    scope.emit(eventOf(scope, place.ns, "tasks", { node: name, taskId: this.#id, data }));
  }

  #tellUpdate(result: unknown, cached: boolean): void {
    const { scope, place } = this.#options;
    if (!this.#told || !scope.wants("updates")) return;
    const data = cached ? { result, cached } : { result };
    scope.emit(eventOf(scope, place.ns, "updates", { node: this.#given.name, taskId: this.#id, data }));
  }
}

/** The key of a call's result where it is told of, as in LangGraph.js. */
const returned = "__return__";
