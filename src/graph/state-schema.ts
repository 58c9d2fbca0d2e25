/** State described by schemas: of zod, or of any library with the Standard Schema interface. Names as in LangGraph.js. */
import { invalid } from "../errors.ts";
import { type Channel, type ChannelEntry, resolveChannel, type StateOf, type UpdateFor } from "./channels.ts";
import type { NodeCall } from "./function.ts";
import { untracked } from "./kinds.ts";
import { type Message, type MessagesOf, messagesChannel } from "./messages.ts";
import { checkUpdate, isStandardSchema, isThenable, type StandardSchema } from "./schema.ts";

export interface ReducedValueOptions<Value, Input> {
  readonly reducer: (current: Value, update: Input) => Value;
}

/** A field whose updates are folded into its value, each checked by `inputSchema`, or by the value's own schema. */
export class ReducedValue<Value = unknown, Input = Value> {
  readonly valueSchema: StandardSchema<unknown, Value>;
  readonly inputSchema: StandardSchema<unknown, Input>;
  readonly reducer: (current: Value, update: Input) => Value;

  constructor(
    valueSchema: StandardSchema<unknown, Value>,
    options: ReducedValueOptions<Value, Input> & { readonly inputSchema: StandardSchema<unknown, Input> },
  );
  constructor(valueSchema: StandardSchema<Input, Value>, options: ReducedValueOptions<Value, Value>);
  constructor(
    valueSchema: StandardSchema<unknown, Value>,
    options: ReducedValueOptions<Value, Input> & { readonly inputSchema?: StandardSchema<unknown, Input> },
  ) {
    if (!isStandardSchema(valueSchema)) throw invalid("ReducedValue", "needs a schema of its value");
    if (typeof options?.reducer !== "function") throw invalid("ReducedValue.reducer", "must be a function");
    const { inputSchema, reducer } = options;
    if (inputSchema !== undefined && !isStandardSchema(inputSchema)) {
      throw invalid("ReducedValue.inputSchema", "must be a Standard Schema");
    }
    this.valueSchema = valueSchema;
    this.inputSchema = inputSchema ?? (valueSchema as StandardSchema<unknown, never>);
    this.reducer = reducer;
  }
}

/** A field that is never stored. `guard` (the default): one write in a superstep at most. */
export class UntrackedValue<Value = unknown> {
  readonly schema: StandardSchema<unknown, Value> | undefined;
  readonly guard: boolean;

  constructor(schema?: StandardSchema<unknown, Value>, options: { readonly guard?: boolean } = {}) {
    if (schema !== undefined && !isStandardSchema(schema)) throw invalid("UntrackedValue", "needs a schema or nothing");
    this.schema = schema;
    this.guard = options.guard ?? true;
  }
}

/** A field of messages: appended to, replaced by id, shortened by `RemoveMessage`. */
export const MessagesValue: Channel<readonly Message[], MessagesOf<Message>> = messagesChannel<Message>();

export type Field =
  // biome-ignore lint/suspicious/noExplicitAny: a record of fields of any types is what a schema is
  StandardSchema<any, any> | ReducedValue<any, any> | UntrackedValue<any> | ChannelEntry;
export type Fields = Readonly<Record<string, Field>>;

export type ChannelOf<F> =
  F extends Channel<infer V, infer U>
    ? Channel<V, U>
    : F extends ReducedValue<infer V, infer I>
      ? Channel<V, I>
      : F extends UntrackedValue<infer V>
        ? Channel<V>
        : F extends StandardSchema<infer I, infer O>
          ? Channel<O, I>
          : F extends () => infer C
            ? C
            : never;

export type ChannelsOf<F extends Fields> = { -readonly [K in keyof F]: ChannelOf<F[K]> };

/** The fields of a state, each with its schema. Hand it to `new StateGraph`; `typeof S.State` is the state's type. */
export class StateSchema<F extends Fields> {
  readonly fields: F;
  declare readonly State: StateOf<ChannelsOf<F>>;
  declare readonly Update: UpdateFor<ChannelsOf<F>>;
  declare readonly Node: NodeCall<StateOf<ChannelsOf<F>>, UpdateFor<ChannelsOf<F>>>;

  constructor(fields: F) {
    if (typeof fields !== "object" || fields === null) throw invalid("StateSchema", "needs an object of fields");
    this.fields = fields;
  }

  /** Throws `InvalidArgument`, naming the field. */
  getChannels(place = "state"): ChannelsOf<F> {
    const channels: Record<string, Channel<unknown, unknown>> = {};
    for (const [name, field] of Object.entries(this.fields)) channels[name] = channelOf(`${place}.${name}`, field);
    return channels as ChannelsOf<F>;
  }
}

function channelOf(place: string, field: Field): Channel<unknown, unknown> {
  if (field instanceof ReducedValue) {
    const { valueSchema, inputSchema, reducer } = field;
    return { kind: "reduce", reduce: reducer, schema: inputSchema, ...defaultOf(valueSchema) };
  }
  if (field instanceof UntrackedValue) {
    const { schema, guard } = field;
    return schema ? { ...untracked<unknown>({ guard }), schema, ...defaultOf(schema) } : untracked<unknown>({ guard });
  }
  if (isStandardSchema(field)) return { kind: "last", schema: field, ...defaultOf(field) };
  if (typeof field === "function" || (typeof field === "object" && field !== null && "kind" in field)) {
    return resolveChannel(field);
  }
  throw invalid(place, "must be a Standard Schema, a ReducedValue, an UntrackedValue or a channel");
}

/** A schema that makes a value of nothing has a default; it is asked anew for each thread. */
function defaultOf(schema: StandardSchema): Pick<Channel<unknown>, "initial"> {
  return hasDefault(schema) ? { initial: () => checkUpdate(schema, undefined, "default") } : {};
}

function hasDefault(schema: StandardSchema): boolean {
  try {
    const result = schema["~standard"].validate(undefined);
    if (!isThenable(result)) return result.issues === undefined && result.value !== undefined;
    // Too late for a default; and nobody waits for its refusal.
    result.then(undefined, () => {});
    return false;
  } catch {
    return false;
  }
}
