/** What a tool is given: the node's context, with what is this call's own. */
import type { NodeContext } from "../graph/context.ts";
import type { Account } from "./account.ts";
import type { ToolContext } from "./tool.ts";

export class CallContext implements ToolContext {
  readonly #node: NodeContext;
  readonly #account: Account;
  readonly #call: { readonly toolCallId: string };
  readonly #signal: AbortSignal | undefined;

  constructor(call: { readonly toolCallId: string }, node: NodeContext, account: Account, signal?: AbortSignal) {
    this.#call = call;
    this.#node = node;
    this.#account = account;
    this.#signal = signal;
  }

  /** The same call within the time of one try. */
  during(signal: AbortSignal): CallContext {
    return new CallContext(this.#call, this.#node, this.#account, signal);
  }

  get runId(): string {
    return this.#node.runId;
  }
  get threadId(): string {
    return this.#node.threadId;
  }
  get correlationId(): string {
    return this.#node.correlationId;
  }
  get toolCallId(): string {
    return this.#call.toolCallId;
  }
  get idempotencyKey(): string {
    return `${this.#node.idempotencyKey}/${this.#call.toolCallId}`;
  }
  get signal(): AbortSignal {
    return this.#signal ?? this.#node.signal;
  }
  get config(): ToolContext["config"] {
    return this.#node.config;
  }
  get context(): ToolContext["context"] {
    return this.#node.context;
  }
  get deadlineMs(): number | undefined {
    return this.#node.deadlineMs;
  }
  get ports(): ToolContext["ports"] {
    return this.#node.ports;
  }
  get interrupt(): ToolContext["interrupt"] {
    return this.#node.interrupt;
  }
  get stream(): ToolContext["stream"] {
    return this.#node.stream;
  }
  get heartbeat(): () => void {
    return this.#node.heartbeat;
  }
  get task(): ToolContext["task"] {
    return this.#node.task;
  }
  get invoke(): ToolContext["invoke"] {
    return (graph, input) => {
      const work = this.#account.invoke(graph, input);
      // As of `NodeContext`: a tool that does not wait for it must not end the process with its rejection.
      work.catch(() => undefined);
      return work;
    };
  }
}
