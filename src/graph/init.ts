/** The forms in which a state, or a part of one, is described to `new StateGraph`. */
import { AgentmaticError, invalid } from "../errors.ts";
import {
  AnnotationRoot,
  type Channel,
  type ChannelSpec,
  resolveChannel,
  type StateOf,
  type UpdateFor,
} from "./channels.ts";
import type { Settings } from "./function.ts";
import { isStandardSchema, isThenable, jsonSchemaOf, type StandardResult, type StandardSchema } from "./schema.ts";
import { type ChannelsOf, type Fields, StateSchema } from "./state-schema.ts";

/** What describes a state: channels, fields with schemas, or a schema of an object such as zod's. */
// biome-ignore lint/suspicious/noExplicitAny: of whatever channels and fields
export type StateInit = ChannelSpec | AnnotationRoot<any> | StateSchema<any> | StandardSchema<any, any>;
/** A part of the state: names of channels, or what describes a state. What that has besides becomes part of it. */
export type PartInit = readonly string[] | StateInit;
/** What the `context` of a run holds. A Standard Schema checks it; channels are for their types alone. */
// biome-ignore lint/suspicious/noExplicitAny: of whatever fields
export type ContextInit = StandardSchema<any, any> | AnnotationRoot<any> | ChannelSpec;

export type SpecOf<I> =
  I extends AnnotationRoot<infer S>
    ? S
    : I extends StateSchema<infer F>
      ? ChannelsOf<F>
      : I extends { readonly shape: infer F extends Fields }
        ? ChannelsOf<F>
        : I extends { readonly entries: infer F extends Fields }
          ? ChannelsOf<F>
          : I extends StandardSchema<infer A, infer O>
            ? { [K in keyof O & string]: Channel<O[K], K extends keyof A ? A[K] : O[K]> }
            : I extends ChannelSpec
              ? I
              : ChannelSpec;

export type InputOf<S extends ChannelSpec, In> = [In] extends [undefined]
  ? UpdateFor<S>
  : In extends readonly (infer K)[]
    ? Pick<UpdateFor<S>, K & keyof S>
    : In extends StandardSchema<infer A, unknown>
      ? A
      : UpdateFor<SpecOf<In>>;

export type OutputOf<S extends ChannelSpec, Out> = [Out] extends [undefined]
  ? StateOf<S>
  : Out extends readonly (infer K)[]
    ? Pick<StateOf<S>, K & keyof S>
    : StateOf<SpecOf<Out>>;

export type ContextOf<C> = [C] extends [undefined]
  ? Settings
  : C extends StandardSchema<unknown, infer O>
    ? O
    : StateOf<SpecOf<C>>;

/** As callers give it: before the schema's defaults. */
export type ContextInputOf<C> = [C] extends [undefined]
  ? Settings
  : C extends StandardSchema<infer A, unknown>
    ? A
    : StateOf<SpecOf<C>>;

/** Parts of the state that callers give and get, and what they give besides. */
export interface GraphOptions<
  In extends PartInit | undefined = PartInit | undefined,
  Out extends PartInit | undefined = PartInit | undefined,
  C extends ContextInit | undefined = ContextInit | undefined,
> {
  /** Channels that an input may have; a schema checks it as a whole, too. */
  input?: In;
  /** Channels that a result has. */
  output?: Out;
  context?: C;
}

export interface ReadInit {
  readonly state: unknown;
  readonly options: GraphOptions;
}

/** Tells the forms of the constructor's arguments apart. Throws `InvalidArgument`, naming the field. */
export function readInit(init: unknown, options: unknown): ReadInit {
  const isContext = isStandardSchema(options) || options instanceof AnnotationRoot;
  if (!isContext && (typeof options !== "object" || options === null)) {
    throw invalid("options", "must be an object with input, output and context");
  }
  const given = (isContext ? { context: options } : options) as GraphOptions;
  const whole = isWhole(init) ? init : undefined;
  const all: GraphOptions = whole ? { ...given, ...whole } : given;
  const { context } = all;
  if (context !== undefined && !isStandardSchema(context)) {
    if (typeof context !== "object" || context === null || (context as object) instanceof StateSchema) {
      throw invalid("context", "must be a Standard Schema or Annotation.Root({ … })");
    }
  }
  return { state: whole ? whole.state : init, options: all };
}

/** The channels that a state's description stands for. Throws `InvalidArgument`, naming the field. */
export function channelSpec(place: string, init: unknown): ChannelSpec {
  if (init instanceof StateSchema) return init.getChannels(place) as ChannelSpec;
  if (init instanceof AnnotationRoot) return channelSpec(place, init.spec);
  if (isStandardSchema(init)) return new StateSchema(fieldsOf(place, init)).getChannels(place) as ChannelSpec;
  if (typeof init === "object" && init !== null && !Array.isArray(init)) return init as ChannelSpec;
  throw invalid(place, "must be an object of channels, a StateSchema or an object schema");
}

export interface Part {
  readonly names: readonly string[];
  /** Its channels, where it has them and not just names. */
  readonly spec?: ChannelSpec;
  /** Checks it as a whole. */
  readonly schema?: StandardSchema;
}

/** Throws `InvalidArgument`, naming the field. */
export function partOf(place: string, init: unknown): Part {
  if (!Array.isArray(init)) {
    const spec = channelSpec(place, init);
    return { names: Object.keys(spec), spec, ...(isStandardSchema(init) ? { schema: init } : {}) };
  }
  const wrong = init.find((name) => typeof name !== "string");
  if (wrong !== undefined) throw invalid(place, "must be a list of channels' names");
  return { names: [...new Set(init as string[])] };
}

function isWhole(init: unknown): init is GraphOptions & { readonly state: StateInit } {
  if (typeof init !== "object" || init === null || !("state" in init) || isStandardSchema(init)) return false;
  // An object of channels may have one that is called `state`.
  if (!Object.keys(init).every((key) => ["state", "input", "output", "context"].includes(key))) return false;
  const { state } = init as { state: unknown };
  if (typeof state === "function") return isStandardSchema(state);
  return typeof state !== "object" || state === null || isStandardSchema(state) || !isChannel(state);
}

function isChannel(value: object): boolean {
  return typeof (value as Partial<Channel<unknown>>).kind === "string";
}

/** The fields of an object schema. Throws `InvalidArgument` where they cannot be told apart. */
function fieldsOf(place: string, schema: StandardSchema): Fields {
  for (const key of ["shape", "entries"] as const) {
    const fields = (schema as { readonly shape?: unknown; readonly entries?: unknown })[key];
    if (typeof fields === "object" && fields !== null && Object.values(fields).every(isStandardSchema)) {
      return fields as Fields;
    }
  }
  const properties = propertiesOf(place, schema);
  const names = Object.entries(properties);
  return Object.fromEntries(names.map(([name, property]) => [name, fieldOf(schema, name, property)]));
}

function propertiesOf(place: string, schema: StandardSchema): Readonly<Record<string, unknown>> {
  let properties: unknown;
  try {
    ({ properties } = jsonSchemaOf(schema, place));
  } catch {
    properties = undefined;
  }
  if (typeof properties === "object" && properties !== null) return properties as Readonly<Record<string, unknown>>;
  const { vendor } = schema["~standard"];
  const text = `${place}: the fields of this ${vendor} schema cannot be told apart; give new StateSchema({ field: schema, … })`;
  throw new AgentmaticError("InvalidArgument", text, { details: { field: place } });
}

/**
 * One field of a schema that is known as a whole only: what it says of other fields, which are not there, is left aside.
 * It checks and does not convert, as an output is only to be had where all fields are there.
 */
function fieldOf(whole: StandardSchema, name: string, property: unknown): StandardSchema {
  const preset =
    typeof property === "object" && property !== null ? (property as { default?: unknown }).default : undefined;
  const own = (value: unknown, { issues }: StandardResult<unknown>): StandardResult<unknown> => {
    const mine = (issues ?? []).flatMap(({ message, path: [first, ...path] = [] }) => {
      const key = typeof first === "object" ? first.key : first;
      return key === name ? [{ message, path }] : [];
    });
    return mine.length > 0 ? { issues: mine } : { value };
  };
  const validate = (given: unknown): StandardResult<unknown> | Promise<StandardResult<unknown>> => {
    const value = given === undefined && preset !== undefined ? structuredClone(preset) : given;
    const result = whole["~standard"].validate({ [name]: value });
    return isThenable(result) ? result.then((done) => own(value, done)) : own(value, result);
  };
  return { "~standard": { version: 1, vendor: whole["~standard"].vendor, validate } };
}

/**
 * The channels of both, as in LangGraph.js: one of the same name must be the same, or a last-value channel, which says
 * nothing. Throws `InvalidArgument`, naming the field.
 */
export function merged(place: string, into: ChannelSpec, more: ChannelSpec | undefined): ChannelSpec {
  if (!more) return into;
  const added: Record<string, Channel<unknown, unknown>> = {};
  for (const [name, entry] of Object.entries(more)) {
    const known = Object.hasOwn(into, name) ? into[name] : undefined;
    if (known === undefined) {
      added[name] = resolveChannel(entry);
      continue;
    }
    const { kind, reduce } = resolveChannel(entry);
    const before = resolveChannel(known);
    if (kind === "last" || (kind === before.kind && reduce === before.reduce)) continue;
    throw invalid(`${place}.${name}`, `is a ${kind} channel here and a ${before.kind} channel before`);
  }
  return Object.keys(added).length > 0 ? { ...into, ...added } : into;
}
