/** What a node is given besides the state. Made for each try of each task, so nothing is built before it is asked for. */
import { AgentmaticError } from "../errors.ts";
import { type CallOptions, readCall } from "../graph/call.ts";
import {
  type Budget,
  GraphInterrupt,
  type InterruptOptions,
  isGraphInterrupt,
  type Nestable,
  type NodeContext,
  type ToolSpan,
} from "../graph/context.ts";
import type { Plan } from "../graph/plan.ts";
import { isThenable } from "../graph/schema.ts";
import type { TraceContext } from "../run/record.ts";
import { interruptId } from "./answers.ts";
import { eventOf } from "./report.ts";
import { nestedNs, type Place, type RunScope, threadNs } from "./scope.ts";
import type { Task } from "./step.ts";
import type { Stop } from "./stop.ts";

type Stream = (data: unknown) => void;

/** Names the answer that a schema refused: the run fails, and the thread waits on for another. */
export class RefusedAnswer extends Error {
  readonly id: string;

  constructor(id: string, issue: string) {
    super(`resume.${id}: ${issue}`);
    this.name = "RefusedAnswer";
    this.id = id;
  }
}

export interface ContextFields {
  readonly scope: RunScope;
  readonly place: Place;
  readonly task: Pick<Task, "id" | "index"> & { readonly node: { readonly name: string } };
  readonly retryAttempt: number;
  readonly trace: TraceContext | undefined;
  /** Of a durable call: the node in which it stands, and where. */
  readonly within?: { readonly node: string; readonly position: string; readonly context: TaskContext };
  /** Runs a durable call of this task. */
  readonly call: (
    context: TaskContext,
    index: number,
    options: CallOptions,
    args: readonly unknown[],
    work: () => unknown,
  ) => Promise<unknown>;
  readonly previous?: unknown;
}

export class TaskContext implements NodeContext {
  readonly #fields: ContextFields;
  #asked = 0;
  #nested = 0;
  #calls = 0;
  #signal: AbortSignal | undefined;
  #heartbeat: (() => void) | undefined;
  #progress: (() => void) | undefined;
  /** Set when the node is called. */
  input: unknown = undefined;
  /** Answers that were given to this task's questions, and to those inside it. */
  answered = 0;
  /** Calls and graphs that were started inside this task. */
  readonly children: Promise<unknown>[] = [];
  readonly #graphs: Promise<unknown>[] = [];
  /** Ends the graphs that this try has started; there while any of them is at work. */
  #inner: Stop | undefined;
  #open = 0;
  #abandoned = false;

  constructor(fields: ContextFields) {
    this.#fields = fields;
  }

  get runId(): string {
    return this.#fields.scope.runId;
  }
  get threadId(): string {
    return this.#fields.scope.threadId;
  }
  get correlationId(): string {
    return this.#fields.scope.correlationId;
  }
  get graph(): string {
    return this.#fields.place.plan.name;
  }
  get node(): string {
    return this.#fields.task.node.name;
  }
  get ns(): string {
    return this.#fields.place.ns;
  }
  get taskId(): string {
    return this.#fields.task.id;
  }
  get checkpointId(): string {
    return this.#fields.place.checkpointId;
  }
  get step(): number {
    return this.#fields.place.step;
  }
  get attempt(): number {
    return this.#fields.scope.attempt;
  }
  get retryAttempt(): number {
    return this.#fields.retryAttempt;
  }
  get epoch(): number {
    return this.#fields.scope.epoch;
  }
  get idempotencyKey(): string {
    // Threads and runs are called what their callers like: "a" with "b/c" must not have the key of "a/b" with "c".
    const thread = this.threadId.replace(/[%/]/g, encodeURIComponent);
    return `${thread}/${this.taskId}`;
  }
  get signal(): AbortSignal {
    return this.#signal ?? this.#fields.within?.context.signal ?? this.#fields.scope.stop.signal;
  }
  get config(): Readonly<Record<string, unknown>> {
    return this.#fields.scope.config;
  }
  get context(): Readonly<Record<string, unknown>> {
    return this.#fields.scope.settings.context ?? noContext;
  }
  get configurable(): Readonly<Record<string, unknown>> {
    const place = { thread_id: this.threadId, checkpoint_id: this.checkpointId, checkpoint_ns: this.ns };
    return { ...this.context, ...place };
  }
  get budget(): Budget | undefined {
    return this.#fields.scope.settings.budget;
  }
  get deadlineMs(): number | undefined {
    return this.#fields.scope.deadlineMs;
  }
  get previous(): unknown {
    return this.#fields.previous;
  }
  get ports(): NodeContext["ports"] {
    return this.#fields.scope.ports;
  }
  get streamsMessages(): boolean {
    return this.#fields.scope.wants("messages");
  }

  // Functions by getters, so that a node may take them apart: `({ state }, { interrupt, stream }) => …`.

  get interrupt(): NodeContext["interrupt"] {
    return <Answer>(value: unknown, options?: InterruptOptions<Answer>) => this.#interrupt(value, options);
  }
  get stream(): Stream {
    return (data) => this.#stream(data);
  }
  get writer(): Stream {
    return this.stream;
  }
  get streamMessage(): NodeContext["streamMessage"] {
    return (chunk, metadata = {}) => this.#streamMessage(chunk, metadata);
  }
  get heartbeat(): () => void {
    return () => {
      this.#heartbeat?.();
      const { within, scope } = this.#fields;
      if (within) within.context.heartbeat();
      else scope.around?.heartbeat();
    };
  }
  get toolSpan(): NodeContext["toolSpan"] {
    return (tool, callId) => this.#toolSpan(tool, callId);
  }
  get invoke(): NodeContext["invoke"] {
    return (graph, input) => this.#child(this.#invoke(graph, input));
  }
  get task(): NodeContext["task"] {
    return (nameOrOptions, run, ...args) => {
      // Another try may be at the same call: side by side they would do it twice.
      if (this.#abandoned) return this.#child(Promise.reject(tryIsOver()));
      const work = this.#fields.call(this, this.#calls++, readCall(nameOrOptions), args, () => run(...args));
      return this.#child(work) as Promise<Awaited<ReturnType<typeof run>>>;
    };
  }

  /** What the calling code may see of a task's own time. */
  during(scope: { readonly signal: AbortSignal; heartbeat(): void; progress(): void }): void {
    this.#signal = scope.signal;
    this.#heartbeat = () => scope.heartbeat();
    this.#progress = () => scope.progress();
  }

  /**
   * The try has failed: graphs that it has started stop, and have done so when this resolves. Another try would meet them
   * at work on the same checkpoints.
   */
  async abandon(): Promise<void> {
    this.#abandoned = true;
    this.#inner?.stop(tryIsOver());
    await Promise.allSettled(this.#graphs);
  }

  /** Names the n-th call of its kind within the node. */
  positionOf(index: number): string {
    const { within } = this.#fields;
    return within ? `${within.position}.${index}` : String(index);
  }

  /** The place of a subgraph that stands for the whole node. */
  nested(plan: Plan, state: Nestable["subgraphState"], input: unknown): Promise<unknown> {
    const { scope, place, task, trace, retryAttempt, within } = this.#fields;
    const position = this.positionOf(this.#nested++);
    const node = within?.node ?? this.node;
    const ns = state === "thread" ? threadNs(place, node, position) : nestedNs(place, node, task.index, position);
    const fresh = state !== "thread" && place.fresh && retryAttempt === 1;
    if (this.#abandoned) return Promise.reject(tryIsOver());
    const around = { heartbeat: this.heartbeat, progress: () => this.#alive(), answered: () => this.#hear() };
    const own: RunScope = { ...scope, stop: this.#enter(), around };
    const work = scope.nest({ scope: own, plan, state, input, ns, caller: this.taskId, fresh, trace });
    const leave = () => this.#leave();
    work.then(leave, leave);
    this.#keep(work);
    return work;
  }

  #enter(): Stop {
    this.#open++;
    if (this.#inner) return this.#inner;
    const { within, scope } = this.#fields;
    const inner = (within ? within.context.#enter() : scope.stop).branch();
    this.#inner = inner;
    const signal = this.#signal;
    if (signal?.aborted) inner.stop(signal.reason);
    else signal?.addEventListener("abort", () => inner.stop(signal.reason), { once: true });
    return inner;
  }

  #leave(): void {
    if (--this.#open > 0) return;
    this.#inner?.release();
    this.#inner = undefined;
    const { within } = this.#fields;
    if (within) within.context.#leave();
  }

  #keep(work: Promise<unknown>): void {
    this.#graphs.push(work);
    const { within } = this.#fields;
    if (within) within.context.#keep(work);
  }

  /** A sign of life, of this task and of those around it. */
  #alive(): void {
    this.#progress?.();
    const { within, scope } = this.#fields;
    if (within) within.context.#alive();
    else scope.around?.progress();
  }

  #hear(): void {
    this.answered++;
    const { within, scope } = this.#fields;
    if (within) within.context.#hear();
    else scope.around?.answered();
  }

  #invoke(graph: Nestable, input: unknown): Promise<unknown> {
    if (typeof (graph?.plan as Partial<Plan> | undefined)?.nodes?.get !== "function") {
      return Promise.reject(new AgentmaticError("InvalidArgument", "graph: must be a compiled graph"));
    }
    this.#alive();
    return this.nested(graph.plan as Plan, graph.subgraphState, input);
  }

  /** An interrupt of a child is told when the task ends, whatever becomes of its promise. */
  #child<T>(work: Promise<T>): Promise<T> {
    this.children.push(work);
    work.catch(() => undefined);
    return work;
  }

  #interrupt<Answer>(value: unknown, options: InterruptOptions<Answer> | undefined): Answer {
    const id = interruptId(this.taskId, this.#asked++);
    const { answers } = this.#fields.scope;
    if (!answers.has(id)) {
      throw new GraphInterrupt([{ id, value, node: this.node, ...(options?.schema ? { checked: true } : {}) }]);
    }
    this.#hear();
    const answer = answers.get(id);
    return options?.schema ? checkedAnswer<Answer>(id, answer, options.schema) : (answer as Answer);
  }

  #stream(data: unknown): void {
    this.#alive();
    if (this.#fields.scope.wants("custom")) this.#emit("custom", data);
  }

  #streamMessage(chunk: unknown, metadata: Readonly<Record<string, unknown>>): void {
    this.#alive();
    if (!this.#fields.scope.wants("messages")) return;
    const own = { graph: this.graph, node: this.node, step: this.step, taskId: this.taskId, ns: this.ns };
    this.#emit("messages", [chunk, { ...metadata, ...own }]);
  }

  #emit(kind: "custom" | "messages", data: unknown): void {
    const { scope, place, task } = this.#fields;
    // What a node says after its attempt is over is heard by nobody: a successor says it again.
    if (scope.stop.stopped) return;
    scope.emit(eventOf(scope, place.ns, kind, { node: this.node, taskId: task.id, data }));
  }

  #toolSpan(tool: string, callId: string): ToolSpan {
    const { scope, trace } = this.#fields;
    const attributes = {
      "gen_ai.operation.name": "execute_tool",
      "gen_ai.tool.name": tool,
      "gen_ai.tool.call.id": callId,
      "agentmatic.node": this.node,
    };
    return scope.spans.start("agentmatic.tool.call", attributes, trace);
  }
}

function tryIsOver(): AgentmaticError {
  return new AgentmaticError("Cancelled", "the try that started this graph is over");
}

const noContext: Readonly<Record<string, unknown>> = Object.freeze({});

/** What subgraphs do goes to those who asked for it; what their nodes say goes to everybody, as in LangGraph.js. */
export function followed(scope: RunScope, place: Pick<Place, "ns">): boolean {
  return place.ns === "" || scope.settings.subgraphs === true;
}

function checkedAnswer<Answer>(
  id: string,
  answer: unknown,
  schema: NonNullable<InterruptOptions<Answer>["schema"]>,
): Answer {
  const result = schema["~standard"].validate(answer);
  if (isThenable(result)) {
    result.then(undefined, () => undefined);
    throw new AgentmaticError("Unsupported", "interrupt: a schema that checks asynchronously cannot check an answer");
  }
  if (!result.issues) return result.value;
  const [first] = result.issues;
  const path = (first?.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".");
  throw new RefusedAnswer(id, `${path === "" ? "" : `${path}: `}${first?.message ?? "does not fit"}`);
}

/** The interrupts of a task that was left: its own, and those of the calls it had started side by side. */
export async function gatherInterrupts(thrown: GraphInterrupt, context: TaskContext): Promise<GraphInterrupt> {
  if (context.children.length === 0) return thrown;
  const all = new Map(thrown.interrupts.map((one) => [one.id, one]));
  for (const settled of await Promise.allSettled(context.children)) {
    if (settled.status === "fulfilled" || !isGraphInterrupt(settled.reason)) continue;
    for (const one of settled.reason.interrupts) all.set(one.id, one);
  }
  return new GraphInterrupt([...all.values()]);
}
