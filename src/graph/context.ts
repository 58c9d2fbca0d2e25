/** What a node is given besides the state, and the free functions that find it by themselves. */
import { AgentmaticError } from "../errors.ts";
import type { AsyncContext } from "../ports.ts";

export interface ToolSpan {
  /** The code only is recorded, as a message may hold state. */
  fail(error: AgentmaticError): void;
  end(): void;
}

export interface NodeContext {
  readonly runId: string;
  readonly threadId: string;
  readonly correlationId: string;
  readonly graph: string;
  readonly node: string;
  /** The same for every execution of this task, on whatever worker. */
  readonly taskId: string;
  /** The checkpoint this superstep builds on. */
  readonly checkpointId: string;
  readonly step: number;
  readonly attempt: number;
  readonly epoch: number;
  /** Hand it to a tool that makes its effect once for each key: a task that was in flight at a crash runs again. */
  readonly idempotencyKey: string;
  /** Aborts when the run is cancelled, handed off or fails: pass it on. */
  readonly signal: AbortSignal;
  /** The call's own settings, as the caller gave them. */
  readonly config: Readonly<Record<string, unknown>>;
  /**
   * Ends the run as `interrupted` with `value` for the caller to see; the run that answers gets the answer here.
   * The node runs again from its top, so what stands before must bear that. Several calls are answered in order.
   */
  interrupt<Answer = unknown>(value: unknown): Answer;
  /** Opens a span `agentmatic.tool.call` under this node's, for one call of a tool; no content, end it. */
  toolSpan(tool: string, callId: string): ToolSpan;
  /** Sends a `custom` event to the run's followers, before the step is committed. */
  stream(data: unknown): void;
}

/** Thrown by `interrupt` to leave the node; let it through. */
export class GraphInterrupt extends Error {
  readonly id: string;
  readonly value: unknown;

  constructor(id: string, value: unknown) {
    super("the graph waits for an answer");
    this.name = "GraphInterrupt";
    this.id = id;
    this.value = value;
  }
}

export function isGraphInterrupt(thrown: unknown): thrown is GraphInterrupt {
  return (
    thrown instanceof GraphInterrupt || (thrown instanceof Error && thrown.name === "GraphInterrupt" && "id" in thrown)
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
export function currentContext(caller: string): NodeContext {
  const context = globals[key];
  if (!context) {
    throw new AgentmaticError(
      "Unsupported",
      `${caller}() needs an async context: use ctx.${caller}(), or call install() of agentmatic/node, /deno or /bun`,
    );
  }
  const current = context.get() as NodeContext | undefined;
  if (!current) throw new AgentmaticError("Unsupported", `${caller}() was called outside of a node`);
  return current;
}

/** `ctx.interrupt` for nodes that do not take `ctx`. */
export function interrupt<Answer = unknown>(value: unknown): Answer {
  return currentContext("interrupt").interrupt<Answer>(value);
}
