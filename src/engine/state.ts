/** Applies the writes of a superstep to the channels. */
import { AgentmaticError } from "../errors.ts";
import { absent, type Channel } from "../graph/channels.ts";
import { isOverwrite } from "../graph/command.ts";
import type { Plan } from "../graph/plan.ts";
import { isPromised } from "../policy/thrown.ts";

export type Values = Readonly<Record<string, unknown>>;

export class StateWriter {
  /** The state so far; the one that it began with is never changed. */
  readonly values: Record<string, unknown>;
  /** Channels that were written, or have let go of their value. */
  readonly changed: Set<string> = new Set();
  readonly #plan: Plan;
  /** By last-value channel: the node that wrote it in this superstep. */
  readonly #writers: Map<string, string> = new Map();
  #overwritten: Set<string> | undefined;
  /** Updates of channels that take all of a superstep's at once. */
  #collected: Map<string, unknown[]> | undefined;

  constructor(plan: Plan, from: Values) {
    this.#plan = plan;
    this.values = { ...from };
  }

  /** Throws `InvalidGraph` for an unknown channel and for two writers of a last-value channel, naming the nodes. */
  write(node: string, name: string, value: unknown): void {
    const channel = this.#plan.channels.get(name);
    if (!channel) throw unknownChannel(this.#plan, node, name);
    if (channel.kind === "last") this.#replace(node, name, value);
    else if (channel.kind === "reduce") this.#reduce(node, name, channel, value);
    else this.#collect(name, value);
    this.changed.add(name);
  }

  /** Folds in what was collected: updates of channels that take all of a superstep's at once. */
  fold(): this {
    for (const [name, updates] of this.#collected ?? []) this.#fold(name, this.#plan.channels.get(name)!, updates);
    this.#collected = undefined;
    return this;
  }

  /** What is written from now on comes after what was written so far, as in a superstep of its own. */
  again(): this {
    this.#writers.clear();
    this.#overwritten = undefined;
    return this.fold();
  }

  /** Ends the superstep: channels that forget let go of what nobody wrote. */
  end(): this {
    this.fold();
    for (const [name, channel] of this.#plan.channels) {
      if (channel.rest && !this.changed.has(name) && Object.hasOwn(this.values, name)) {
        this.#set(
          name,
          this.#call(name, () => channel.rest!(this.values[name])),
        );
      }
    }
    return this;
  }

  #replace(node: string, name: string, value: unknown): void {
    const other = this.#writers.get(name);
    if (other !== undefined) throw twoWriters(this.#plan, name, other, node);
    this.#writers.set(name, node);
    this.values[name] = value;
  }

  #reduce(node: string, name: string, channel: Channel<unknown, unknown>, update: unknown): void {
    if (isOverwrite(update)) {
      if (this.#overwritten?.has(name)) throw twoOverwrites(this.#plan, name, node);
      this.#overwritten ??= new Set();
      this.#overwritten.add(name);
      this.values[name] = update.__overwrite__;
    } else if (!this.#overwritten?.has(name)) {
      const empty = !Object.hasOwn(this.values, name);
      this.values[name] = empty ? update : this.#call(name, () => channel.reduce!(this.values[name], update));
    }
  }

  #collect(name: string, update: unknown): void {
    this.#collected ??= new Map();
    const updates = this.#collected.get(name);
    if (updates) updates.push(update);
    else this.#collected.set(name, [update]);
  }

  #fold(name: string, channel: Channel<unknown, unknown>, updates: readonly unknown[]): void {
    const current = Object.hasOwn(this.values, name) ? this.values[name] : absent;
    if (!channel.fold)
      throw new AgentmaticError("InvalidGraph", `graph "${this.#plan.name}": channel "${name}" cannot fold`);
    this.#set(
      name,
      this.#call(name, () => channel.fold!(current, updates)),
    );
  }

  #set(name: string, value: unknown): void {
    if (value !== absent && this.values[name] === value && Object.hasOwn(this.values, name)) return;
    this.changed.add(name);
    if (value === absent) delete this.values[name];
    else this.values[name] = value;
  }

  #call(name: string, work: () => unknown): unknown {
    try {
      const value = work();
      if (isPromised(value))
        throw new AgentmaticError("InvalidGraph", "its reducer gave a promise, and must answer at once");
      return value;
    } catch (thrown) {
      const error = AgentmaticError.from(thrown);
      const place = `graph "${this.#plan.name}", channel "${name}"`;
      if (AgentmaticError.is(thrown, "InvalidGraph", "InvalidArgument")) {
        throw new AgentmaticError("InvalidGraph", `${place}: ${error.message}`, {
          cause: thrown,
          details: { channel: name },
        });
      }
      const message = `${place}: its reducer threw: ${error.message}`;
      throw new AgentmaticError("NodeFailed", message, { cause: thrown, details: { channel: name } });
    }
  }
}

export function unknownChannel(plan: Plan, node: string, channel: string): AgentmaticError {
  const message = `graph "${plan.name}", node "${node}": wrote "${channel}", which is no channel of the state`;
  return new AgentmaticError("InvalidGraph", message, { details: { node, channel } });
}

function twoWriters(plan: Plan, channel: string, first: string, second: string): AgentmaticError {
  const message = `graph "${plan.name}": nodes "${first}" and "${second}" both wrote "${channel}" in one superstep; a channel with several writers needs a reducer`;
  return new AgentmaticError("InvalidGraph", message, { details: { channel, node: second } });
}

function twoOverwrites(plan: Plan, channel: string, node: string): AgentmaticError {
  const message = `graph "${plan.name}", node "${node}": overwrote "${channel}", which was overwritten in this superstep already`;
  return new AgentmaticError("InvalidGraph", message, { details: { channel, node } });
}
