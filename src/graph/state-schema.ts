/** State described by schemas: of zod, or of any library with the Standard Schema interface. Names as in LangGraph.js. */
import { AgentmaticError, invalid } from "../errors.ts";
import { type Channel, type ChannelSpec, type ReducedOptions, resolveChannel } from "./channels.ts";
import type { Overwrite, OverwriteValue } from "./command.ts";
import { untracked } from "./kinds.ts";
import { type MessagesOf, messagesReducer, type WithId } from "./messages.ts";
import { isStandardSchema, type StandardSchema } from "./schema.ts";

/** A field whose updates are folded into its value; checked by `inputSchema` where there is one. */
export class ReducedValue<Value = unknown, Input = Value> {
  readonly valueSchema: StandardSchema<unknown, Value>;
  readonly inputSchema: StandardSchema<unknown, Input> | undefined;
  readonly reducer: (current: Value, update: Input) => Value;

  constructor(
    valueSchema: StandardSchema<unknown, Value>,
    options: {
      readonly reducer: (current: Value, update: Input) => Value;
      readonly inputSchema?: StandardSchema<unknown, Input>;
    },
  ) {
    if (!isStandardSchema(valueSchema)) throw invalid("ReducedValue", "needs a schema of its value");
    if (typeof options?.reducer !== "function") throw invalid("ReducedValue.reducer", "must be a function");
    this.valueSchema = valueSchema;
    this.inputSchema = options.inputSchema;
    this.reducer = options.reducer;
  }
}

/** A field that is never stored. */
export class UntrackedValue<Value = unknown> {
  readonly schema: StandardSchema<unknown, Value> | undefined;
  readonly guard: boolean;

  constructor(schema?: StandardSchema<unknown, Value>, options: { readonly guard?: boolean } = {}) {
    this.schema = schema;
    this.guard = options.guard ?? true;
  }
}

/** A field of messages: appended to, replaced by id, shortened by `removeMessage`. */
export const MessagesValue: Channel<readonly WithId[], MessagesOf<WithId>> = {
  kind: "reduce",
  reduce: messagesReducer,
  initial: () => [],
};

// biome-ignore lint/suspicious/noExplicitAny: a record of fields of any types is what a schema is
export type Field = StandardSchema<any, any> | ReducedValue<any, any> | UntrackedValue<any> | Channel<any, any>;
export type Fields = Readonly<Record<string, Field>>;

export type ChannelOf<F> =
  F extends Channel<infer V, infer U>
    ? Channel<V, U>
    : F extends ReducedValue<infer V, infer I>
      ? Channel<V, I | Overwrite<V> | OverwriteValue<V>>
      : F extends UntrackedValue<infer V>
        ? Channel<V>
        : F extends StandardSchema<infer I, infer O>
          ? Channel<O, I>
          : never;

export type ChannelsOf<F extends Fields> = { [K in keyof F]: ChannelOf<F[K]> };

/** The fields of a state, each with its schema. Hand it to `new StateGraph`. */
export class StateSchema<F extends Fields> {
  readonly fields: F;

  constructor(fields: F) {
    if (typeof fields !== "object" || fields === null) throw invalid("StateSchema", "needs an object of fields");
    this.fields = fields;
  }

  /** Throws `InvalidArgument`, naming the field. */
  channels(): ChannelsOf<F> {
    const channels: Record<string, Channel<unknown, unknown>> = {};
    for (const [name, field] of Object.entries(this.fields)) channels[name] = channelOf(`state.${name}`, field);
    return channels as ChannelsOf<F>;
  }
}

function channelOf(place: string, field: Field): Channel<unknown, unknown> {
  if (field instanceof ReducedValue) {
    const { valueSchema, inputSchema, reducer } = field;
    const options: ReducedOptions<unknown, unknown> = { reducer, ...defaultOf(valueSchema) };
    const channel: Channel<unknown, unknown> = {
      kind: "reduce",
      reduce: options.reducer,
      ...(options.default ? { initial: options.default } : {}),
    };
    return inputSchema ? { ...channel, schema: inputSchema } : channel;
  }
  if (field instanceof UntrackedValue) {
    const { schema, guard } = field;
    const channel = untracked<unknown>({ guard, ...(schema ? defaultOf(schema) : {}) });
    return schema ? { ...channel, schema } : channel;
  }
  if (isStandardSchema(field)) {
    const given = defaultOf(field);
    return { kind: "last", schema: field, ...(given.default ? { initial: given.default } : {}) };
  }
  if (typeof field === "object" && field !== null && "kind" in field) return resolveChannel(field);
  throw invalid(place, "must be a Standard Schema, a ReducedValue, an UntrackedValue or a channel");
}

/** A schema that makes a value of nothing has a default. */
function defaultOf(schema: StandardSchema): { default?: () => unknown } {
  const probe = () => {
    const result = schema["~standard"].validate(undefined);
    return result instanceof Promise || result.issues ? undefined : result;
  };
  try {
    return probe()?.value === undefined ? {} : { default: () => probe()?.value };
  } catch {
    return {};
  }
}

/** A schema of a whole object, as `z.object({ … })` is one. */
export function isObjectSchema(value: unknown): value is StandardSchema & { readonly shape?: Fields } {
  return isStandardSchema(value);
}

/** The channels that `new StateGraph(init)` describes. Throws `InvalidArgument`, naming the field. */
export function channelSpec(place: string, init: unknown): ChannelSpec {
  if (init instanceof StateSchema) return init.channels() as ChannelSpec;
  if (isObjectSchema(init)) return new StateSchema(shapeOf(place, init)).channels() as ChannelSpec;
  if (typeof init === "object" && init !== null) return init as ChannelSpec;
  throw invalid(place, "must be an object of channels, a StateSchema or an object schema");
}

/** The names that it describes, for inputs and outputs. */
export function namesOf(place: string, init: unknown): readonly string[] {
  return Array.isArray(init) ? (init as string[]) : Object.keys(channelSpec(place, init));
}

function shapeOf(place: string, schema: StandardSchema & { readonly shape?: unknown }): Fields {
  const { shape } = schema;
  if (typeof shape === "object" && shape !== null && Object.values(shape).every(isStandardSchema))
    return shape as Fields;
  throw new AgentmaticError(
    "InvalidArgument",
    `${place}: the fields of this ${schema["~standard"].vendor} schema cannot be told apart; give new StateSchema({ field: schema, … })`,
    { details: { field: place } },
  );
}
