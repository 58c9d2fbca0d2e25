/** State channels: how the values of one key of the state come together. */
import { invalid } from "../errors.ts";
import type { Overwrite, OverwriteValue } from "./command.ts";
import type { NodeCall } from "./function.ts";
import type { StandardSchema } from "./schema.ts";

/** Thrown by nobody: marks "no value yet" inside the engine, which is not the same as `undefined`. */
export const absent: unique symbol = Symbol("absent");

/**
 * One key of a graph's state.
 *
 * `last`: at most one write in a superstep, the value replaces the old one. `any`: the last of several writes wins.
 * `reduce`: any number of writes, each folded into the value, in the order of the task paths. `topic`, `ephemeral`,
 * `barrier`: see the functions that make them. `untracked`: as `last` or `any`, and never stored.
 */
export interface Channel<Value, Update = Value> {
  readonly kind: "last" | "any" | "reduce" | "topic" | "ephemeral" | "barrier" | "untracked";
  readonly initial?: () => Value;
  /** Of kind `reduce`. */
  readonly reduce?: (current: Value, update: Update) => Value;
  /**
   * Of the kinds other than `last` and `reduce`: what the updates of a superstep, one at least, make of the value. Throws
   * where they cannot stand together.
   */
  readonly fold?: (current: Value | typeof absent, updates: readonly Update[]) => Value | typeof absent;
  /** What stays after a superstep that did not write the channel; everything where it is not given. */
  readonly rest?: (current: Value) => Value | typeof absent;
  /** Checks an update before it is applied, and may change it (defaults, coercion). */
  readonly schema?: StandardSchema;
}

export interface ReducedOptions<Value, Update> {
  /** Pure: the same two values give the same result, and neither is changed. */
  reducer: (current: Value, update: Update) => Value;
  /** The value before the first write. Without it the first update must be a value by itself. */
  default?: () => Value;
}

export type ChannelSpec = Readonly<Record<string, ChannelEntry>>;
/** A channel, or `Annotation<T>` without a call, which is a last-value channel of `T`. */
// biome-ignore lint/suspicious/noExplicitAny: a record of channels of any value types is what a state is
export type ChannelEntry = Channel<any, any> | (() => Channel<any, any>);

type Resolved<E> = E extends () => infer C ? C : E;
type ValueOf<E> = Resolved<E> extends Channel<infer V, infer _U> ? V : never;
type UpdateOf<E> = Resolved<E> extends Channel<infer _V, infer U> ? U : never;

export type StateOf<S extends ChannelSpec> = { -readonly [K in keyof S]: ValueOf<S[K]> };
export type UpdateFor<S extends ChannelSpec> = {
  -readonly [K in keyof S]?: UpdateOf<S[K]> | Overwrite<ValueOf<S[K]>> | OverwriteValue<ValueOf<S[K]>>;
};

/** Channels that belong together. `typeof State.State` is the state's type, `.Update` a node's update, `.Node` a node. */
export class AnnotationRoot<S extends ChannelSpec> {
  /** Spread it to build on it: `Annotation.Root({ ...State.spec, more: Annotation<number> })`. */
  readonly spec: S;
  declare readonly State: StateOf<S>;
  declare readonly Update: UpdateFor<S>;
  declare readonly Node: NodeCall<StateOf<S>, UpdateFor<S>>;

  constructor(spec: S) {
    this.spec = spec;
  }
}

export interface AnnotationFunction {
  <Value>(): Channel<Value, Value>;
  <Value, Update = Value>(options: ReducedOptions<Value, Update>): Channel<Value, Update>;
  Root<S extends ChannelSpec>(spec: S): AnnotationRoot<S>;
}

function annotate<Value, Update = Value>(options?: ReducedOptions<Value, Update>): Channel<Value, Update> {
  if (options === undefined) return { kind: "last" };
  if (typeof options?.reducer !== "function") throw invalid("Annotation.reducer", "must be a function");
  if (options.default !== undefined && typeof options.default !== "function") {
    throw invalid("Annotation.default", "must be a function");
  }
  return { kind: "reduce", reduce: options.reducer, ...(options.default ? { initial: options.default } : {}) };
}

/**
 * Declares a channel: `Annotation<string>()` keeps the last value, `Annotation<T[]>({ reducer, default })` folds.
 * `Annotation<string>` without a call is a last-value channel too.
 */
export const Annotation: AnnotationFunction = Object.assign(annotate, {
  Root<S extends ChannelSpec>(spec: S): AnnotationRoot<S> {
    return new AnnotationRoot(spec);
  },
}) as AnnotationFunction;

export function resolveChannel(entry: ChannelEntry): Channel<unknown, unknown> {
  return typeof entry === "function" ? { kind: "last" } : entry;
}
