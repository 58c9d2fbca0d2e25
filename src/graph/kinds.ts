/** Channels besides last value and reducer. Semantics as of LangGraph.js's channels of the same names. */
import { AgentmaticError, invalid } from "../errors.ts";
import { absent, type Channel } from "./channels.ts";

/** Holds what was written in the last superstep only. `guard` (the default): one write in a superstep at most. */
export function ephemeral<Value>({ guard = true }: { guard?: boolean } = {}): Channel<Value> {
  return { kind: "ephemeral", fold: (_current, updates) => single(updates, guard), rest: () => absent };
}

/** The last of several writes wins. */
export function anyValue<Value>(options: { default?: () => Value } = {}): Channel<Value> {
  const initial = options.default ? { initial: options.default } : {};
  return { kind: "any", fold: (_current, updates) => updates.at(-1) as Value, ...initial };
}

/** Never stored: gone when the run ends, or when another process goes on. `guard` as of `ephemeral`. */
export function untracked<Value>(options: { guard?: boolean; default?: () => Value } = {}): Channel<Value> {
  const initial = options.default ? { initial: options.default } : {};
  return { kind: "untracked", fold: (_current, updates) => single(updates, options.guard ?? true), ...initial };
}

export interface TopicOptions {
  /** Drops values that are there already, by identity of primitives. */
  unique?: boolean;
  /** Keeps what earlier supersteps have written; otherwise a value is there for one superstep. */
  accumulate?: boolean;
}

/** A list to which writes are appended, one by one or several at once. */
export function topic<Item>(options: TopicOptions = {}): Channel<readonly Item[], Item | readonly Item[]> {
  const { unique = false, accumulate = false } = options;
  return {
    kind: "topic",
    fold: (current, updates) => {
      const before = accumulate && current !== absent ? current : [];
      const all = [...before, ...(updates.flat(1) as Item[])];
      return unique ? [...new Set(all)] : all;
    },
    ...(accumulate ? {} : { rest: () => absent }),
  };
}

/**
 * Waits for all of `names` to be written, whoever writes them: its value is the sorted list of those that were, and
 * `names` complete is its sign. A superstep after it was complete begins anew.
 */
export function barrier(names: readonly string[]): Channel<readonly string[], string> {
  if (!Array.isArray(names) || names.length === 0) throw invalid("barrier", "needs the names to wait for");
  const wanted = new Set(names);
  const isComplete = (seen: readonly string[]) => seen.length === wanted.size;
  return {
    kind: "barrier",
    fold: (current, updates) => {
      const seen = new Set(current === absent || isComplete(current) ? [] : current);
      for (const name of updates) {
        if (!wanted.has(name))
          throw new AgentmaticError("InvalidGraph", `"${String(name)}" is none of ${names.join(", ")}`);
        seen.add(name);
      }
      return [...seen].sort();
    },
    rest: (current) => (isComplete(current) ? absent : current),
  };
}

function single<Value>(updates: readonly Value[], guard: boolean): Value {
  if (guard && updates.length > 1) {
    throw new AgentmaticError("InvalidGraph", `took ${updates.length} writes in one superstep; it allows one`);
  }
  return updates.at(-1) as Value;
}
