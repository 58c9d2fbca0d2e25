/** What agents inside a tool call use up, on the account of the run that called the tool. */
import type { Nestable, NodeContext } from "../graph/context.ts";
import type { Plan } from "../graph/plan.ts";
import { isObject } from "../run/check.ts";
import { addUsage, noUsage, type Usage, usageChannel, usageOf, usageSince } from "./usage.ts";

/** What a call is told of the run that it stands in. */
export interface Heritage {
  /** Used before the call. */
  readonly used?: Usage;
}

export class Account {
  readonly #context: NodeContext;
  readonly #before: Usage;
  #spent: Usage | undefined;

  constructor(context: NodeContext, { used }: Heritage) {
    this.#context = context;
    this.#before = usageOf(used, context.runId);
  }

  /** Undefined where nothing was used. */
  get spent(): Usage | undefined {
    return this.#spent;
  }

  /** Runs the graph; an agent among them begins with what was used before it, so that one budget bounds both. */
  async invoke(graph: Nestable, input: unknown): Promise<unknown> {
    const { channels } = graph.plan as Plan;
    if (channels?.get("usage") !== usageChannel || !isObject(input)) return await this.#context.invoke(graph, input);
    const told = this.#spent ? addUsage(this.#before, this.#spent) : this.#before;
    const output = await this.#context.invoke(graph, { ...input, usage: told });
    if (isObject(output) && "usage" in output) this.#add(usageSince(output.usage as Usage, told));
    return output;
  }

  #add(more: Usage): void {
    this.#spent = addUsage(this.#spent ?? noUsage(this.#context.runId), more);
  }
}
