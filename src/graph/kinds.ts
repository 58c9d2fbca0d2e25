/** Channels besides last value and reducer, with the semantics of LangGraph.js's channels of these names. */
import { AgentmaticError, invalid } from "../errors.ts";
import { absent, type Channel } from "./channels.ts";

export interface DefaultOption<Value> {
  /** The value where nothing was written. Without it the key is not in the state then. */
  default?: () => Value;
}

export interface GuardOption {
  /** One write in a superstep at most (the default); otherwise the last one counts. */
  guard?: boolean;
}

/** Holds what was written in the last superstep only. */
export function ephemeral<Value>(options: GuardOption & DefaultOption<Value> = {}): Channel<Value> {
  const guard = checked("ephemeral", options);
  return { kind: "ephemeral", fold: (_current, updates) => single(updates, guard), ...forgetful(options) };
}

/** For several writers that agree: the last of their writes counts, and is there for one superstep. */
export function anyValue<Value>(options: DefaultOption<Value> = {}): Channel<Value> {
  checked("anyValue", options);
  return { kind: "any", fold: (_current, updates) => updates.at(-1) as Value, ...forgetful(options) };
}

/** Keeps its value and is never stored: gone with the run, and where another process goes on with it. */
export function untracked<Value>(options: GuardOption & DefaultOption<Value> = {}): Channel<Value> {
  const guard = checked("untracked", options);
  const initial = options.default ? { initial: options.default } : {};
  return { kind: "untracked", fold: (_current, updates) => single(updates, guard), ...initial };
}

export interface TopicOptions<Item = unknown> extends DefaultOption<readonly Item[]> {
  /** Drops values that are there already: primitives by value, objects by identity. */
  unique?: boolean;
  /** Keeps what earlier supersteps have written; otherwise a value is there for one superstep. */
  accumulate?: boolean;
}

/** A list to which writes are appended, one by one or several at once. */
export function topic<Item>(options: TopicOptions<Item> = {}): Channel<readonly Item[], Item | readonly Item[]> {
  checked("topic", options);
  const { unique = false, accumulate = false } = options;
  for (const [name, value] of Object.entries({ unique, accumulate })) {
    if (typeof value !== "boolean") throw invalid(`topic.${name}`, "must be true or false");
  }
  return {
    kind: "topic",
    fold: (current, updates) => {
      const all = accumulate && current !== absent ? [...current] : [];
      const seen = unique ? new Set<Item>(all) : undefined;
      for (const item of updates.flat(1) as Item[]) {
        if (seen?.has(item)) continue;
        seen?.add(item);
        all.push(item);
      }
      if (all.length > 0) return all;
      return options.default ? options.default() : absent;
    },
    ...(accumulate ? (options.default ? { initial: options.default } : {}) : forgetful(options)),
  };
}

/**
 * Waits until each of `names` was written, whoever writes them. Its value is the sorted list of those that were: complete
 * with all of them. The superstep after that one begins anew.
 */
export function barrier(
  names: readonly string[],
  options: DefaultOption<readonly string[]> = {},
): Channel<readonly string[], string> {
  if (!Array.isArray(names) || names.length === 0 || !names.every((name) => typeof name === "string")) {
    throw invalid("barrier.names", "must be a list of the names to wait for");
  }
  checked("barrier", options);
  const wanted = new Set(names);
  const isComplete = (seen: readonly string[]) => seen.length === wanted.size;
  return {
    kind: "barrier",
    fold: (current, updates) => {
      const seen = new Set(current === absent || isComplete(current) ? [] : current);
      for (const name of updates) {
        if (!wanted.has(name)) {
          const text = `took "${String(name)}", which is none of ${names.join(", ")}`;
          throw new AgentmaticError("InvalidGraph", text);
        }
        seen.add(name);
      }
      return [...seen].sort();
    },
    rest: (current) => (isComplete(current) ? absent : current),
    ...(options.default ? { initial: options.default } : {}),
  };
}

function forgetful<Value>({ default: initial }: DefaultOption<Value>): Pick<Channel<Value>, "initial" | "rest"> {
  return initial ? { initial, rest: initial } : { rest: () => absent };
}

function single<Value>(updates: readonly Value[], guard: boolean): Value {
  if (guard && updates.length > 1) {
    throw new AgentmaticError("InvalidGraph", `took ${updates.length} writes in one superstep; it allows one`);
  }
  return updates.at(-1) as Value;
}

/** Throws `InvalidArgument`, naming the field. */
function checked(name: string, options: GuardOption & DefaultOption<unknown>): boolean {
  if (typeof options !== "object" || options === null) throw invalid(name, "takes an object of options");
  const { guard = true, default: initial } = options;
  if (typeof guard !== "boolean") throw invalid(`${name}.guard`, "must be true or false");
  if (initial !== undefined && typeof initial !== "function") throw invalid(`${name}.default`, "must be a function");
  return guard;
}
