/** What a node is given besides the state, and the free functions that find it by themselves. */
import { AgentmaticError } from "../errors.ts";
import type { AsyncContext, Ports } from "../ports.ts";
import type { TaskOptions } from "./call.ts";
import type { StandardSchema } from "./schema.ts";

export interface ToolSpan {
  /** The code only is recorded, as a message may hold state. */
  fail(error: AgentmaticError): void;
  end(): void;
}

/** Limits that a run was given; what is used up stops it with `BudgetExceeded`. */
export interface Budget {
  /** Tokens of models, in and out. */
  readonly tokens?: number;
  /** In the currency of the models' prices. */
  readonly cost?: number;
}

export interface InterruptOptions<Answer> {
  /** Checks the answer; one that does not fit is refused when it is given, and the thread waits on. */
  readonly schema?: StandardSchema<unknown, Answer>;
}

/**
 * How a graph inside another keeps its state. `call`: checkpoints of its own for each call, gone from view with it (the
 * default). `thread`: one line of checkpoints over all calls of the thread. `none`: nothing is stored.
 */
export type SubgraphState = "call" | "thread" | "none";

/** A graph that can be run inside a node; a `CompiledGraph` is one. */
export interface Nestable {
  /** A `Plan`. */
  readonly plan: object;
  readonly subgraphState: SubgraphState;
}

export interface NodeContext {
  readonly runId: string;
  readonly threadId: string;
  readonly correlationId: string;
  readonly graph: string;
  readonly node: string;
  /** "" in the root graph; in a subgraph it says which call of which task it is. */
  readonly ns: string;
  /** The same for every execution of this task, on whatever worker. */
  readonly taskId: string;
  /** The checkpoint this superstep builds on. */
  readonly checkpointId: string;
  readonly step: number;
  readonly attempt: number;
  /** 1 for the first try of this task under its retry policy. */
  readonly retryAttempt: number;
  readonly epoch: number;
  /** Hand it to a tool that makes its effect once for each key: a task that was in flight at a crash runs again. */
  readonly idempotencyKey: string;
  /** Aborts when the run is cancelled, handed off or fails, or the task's time is over: pass it on. */
  readonly signal: AbortSignal;
  /** Settings of the process that executes the run. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What the caller gave as `context` (and `configurable`) for this run alone; not part of the state. */
  readonly context: Readonly<Record<string, unknown>>;
  /** The same with `thread_id`, `checkpoint_id` and `checkpoint_ns`, as nodes of LangGraph.js have it. */
  readonly configurable: Readonly<Record<string, unknown>>;
  /** What the node was given: the state, its part of it, or the argument of a Send. */
  readonly input: unknown;
  readonly budget: Budget | undefined;
  /** Monotonic milliseconds by which the run must have ended; undefined = whenever. */
  readonly deadlineMs: number | undefined;
  /** For a functional entrypoint: what its last run on this thread saved. */
  readonly previous: unknown;
  /** Time and randomness as this process has them: virtual in tests. */
  readonly ports: Pick<Ports, "clock" | "timers" | "random" | "ids" | "logger">;
  /**
   * Ends the run as `interrupted` with `value` for the caller to see; the run that answers gets the answer here.
   * The node runs again from its top, so what stands before must bear that. Several calls are answered in order.
   */
  interrupt<Answer = unknown>(value: unknown, options?: InterruptOptions<Answer>): Answer;
  /** Opens a span `agentmatic.tool.call` under this node's, for one call of a tool; no content, end it. */
  toolSpan(tool: string, callId: string): ToolSpan;
  /** Sends a `custom` event to the run's followers, before the step is committed. */
  stream(data: unknown): void;
  /** `stream`, by LangGraph.js's name. */
  writer(data: unknown): void;
  /** Sends a `messages` event: a piece of a model's answer. Followers get `[chunk, metadata]`. */
  streamMessage(chunk: unknown, metadata?: Readonly<Record<string, unknown>>): void;
  /** True where somebody follows `messages`. */
  readonly streamsMessages: boolean;
  /** Says that the node is at work: its idle timeout starts anew. */
  heartbeat(): void;
  /**
   * Runs a graph inside this task, with checkpoints of its own; its interrupts become this task's. After a crash it goes
   * on where it stood. Resolves with its output; rejects with its error.
   */
  invoke(graph: Nestable, input: unknown): Promise<unknown>;
  /**
   * Calls `run` once: its result is stored, and given back without a call when the task runs again after a crash or an
   * interrupt. Calls are told apart by their order in the task.
   */
  task<Arguments extends unknown[], Result>(
    nameOrOptions: string | TaskOptions,
    run: (...args: Arguments) => Result | Promise<Result>,
    ...args: Arguments
  ): Promise<Result>;
}

/** One question that a graph waits with. */
export interface Interrupt {
  readonly id: string;
  readonly value: unknown;
  /** The node that asked. */
  readonly node: string;
  /** True where only answers that a schema allows are taken. */
  readonly checked?: boolean;
}

/** Thrown by `interrupt` to leave the node, and by a subgraph that waits; let it through. */
export class GraphInterrupt extends Error {
  /** None where a graph stopped at a breakpoint. */
  readonly interrupts: readonly Interrupt[];

  constructor(interrupts: readonly Interrupt[]) {
    super("the graph waits for an answer");
    this.name = "GraphInterrupt";
    this.interrupts = interrupts;
  }
}

export function isGraphInterrupt(thrown: unknown): thrown is GraphInterrupt {
  return (
    thrown instanceof GraphInterrupt ||
    (thrown instanceof Error && thrown.name === "GraphInterrupt" && "interrupts" in thrown)
  );
}

// On globalThis because an application may load two copies of this package (sources and build) in one process, and a
// node of one must find the context that the other's engine set.
const key = Symbol.for("agentmatic.async-context");
const globals = globalThis as { [key]?: AsyncContext };

/** Makes the free functions work: runtime adapters call it with AsyncLocalStorage. */
export function installAsyncContext(context: AsyncContext): void {
  globals[key] = context;
}

export function asyncContext(): AsyncContext | undefined {
  return globals[key];
}

/** The context of the node that is running. Throws `Unsupported` outside of one or without an async context. */
export function currentContext(caller: string, instead = `ctx.${caller}()`): NodeContext {
  const context = globals[key];
  if (!context) {
    throw new AgentmaticError(
      "Unsupported",
      `${caller}() needs an async context: use ${instead}, or call install() of agentmatic/node, /deno or /bun`,
    );
  }
  const current = context.get() as NodeContext | undefined;
  if (!current) throw new AgentmaticError("Unsupported", `${caller}() was called outside of a node`);
  return current;
}

/** The context of the node that is running, or undefined outside of one and without an async context. */
export function currentContextOrNone(): NodeContext | undefined {
  return globals[key]?.get() as NodeContext | undefined;
}

/** `ctx.interrupt` for nodes that do not take `ctx`. */
export function interrupt<Answer = unknown>(value: unknown, options?: InterruptOptions<Answer>): Answer {
  return currentContext("interrupt").interrupt<Answer>(value, options);
}

/** `ctx.stream` for nodes, tasks and tools that do not take `ctx`. */
export function getWriter(): (data: unknown) => void {
  return currentContext("getWriter", "ctx.stream").stream;
}

/** `ctx.input`: what the node was given that is running, wherever in it this is called. */
export function getCurrentTaskInput<Input = unknown>(): Input {
  return currentContext("getCurrentTaskInput", "ctx.input").input as Input;
}
