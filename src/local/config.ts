/** What callers may set for a run, with LangGraph.js's names beside our own, and how it travels. */
import { encodeValue } from "../checkpoint/codec.ts";
import { AgentmaticError, invalid } from "../errors.ts";
import type { Plan } from "../graph/plan.ts";
import { checkUpdate } from "../graph/schema.ts";
import { checkObject, checkOneOf, checkSignal, isObject } from "../run/check.ts";
import type { RunControl } from "../run/control.ts";
import type { RunContext } from "../run/link.ts";
import { checkSettings, type Durability, type RunSettings } from "../run/settings.ts";

/** Names a thread, one of its checkpoints, or a subgraph's; other keys are given to the nodes with `context`. */
export interface Configurable {
  thread_id?: string;
  checkpoint_id?: string;
  checkpoint_ns?: string;
  [key: string]: unknown;
}

/** Says where to read or to go on; results of `updateState` and snapshots carry one. */
export interface ThreadConfig {
  /** The unit of state and history. */
  threadId?: string;
  checkpointId?: string;
  configurable?: Configurable;
}

export interface InvokeConfig extends ThreadConfig, Partial<RunContext> {
  /** Makes a repeated call the same run; with another input it is `AlreadyExists`. */
  runId?: string;
  /** Supersteps this run may take (LangGraph.js: `recursionLimit`). */
  maxSteps?: number;
  recursionLimit?: number;
  maxAttempts?: number;
  whenBusy?: "reject" | "enqueue";
  /** For the nodes of this run (`ctx.context`); checked by the graph's context schema. Not part of the state. */
  context?: Readonly<Record<string, unknown>>;
  /** When supersteps are stored. Default `sync`. */
  durability?: Durability;
  /** Tasks of one superstep at the same time. */
  maxConcurrency?: number;
  /** Tokens and cost that this run's models may use up. */
  budget?: { readonly tokens?: number; readonly cost?: number };
  /** Node names, or "*", besides those that the graph was compiled with. */
  interruptBefore?: readonly string[] | "*";
  interruptAfter?: readonly string[] | "*";
  /** Milliseconds within which the run must have ended. */
  timeout?: number;
  /** Cancels the run. */
  signal?: AbortSignal;
  /** Stops the run at a superstep boundary: the call rejects with `Unavailable`, and `null` goes on from there. */
  control?: RunControl;
}

export interface Place {
  readonly threadId: string | undefined;
  readonly checkpointId: string | undefined;
  readonly ns: string;
}

export function placeOf(config: ThreadConfig): Place {
  checkObject("config", config);
  const { configurable = {} } = config;
  if (!isObject(configurable)) throw invalid("configurable", "must be an object");
  const ns = configurable.checkpoint_ns ?? "";
  if (typeof ns !== "string") throw invalid("configurable.checkpoint_ns", "must be a string");
  const checkpointId: unknown = config.checkpointId ?? configurable.checkpoint_id;
  if (checkpointId !== undefined && typeof checkpointId !== "string") throw invalid("checkpointId", "must be a string");
  return { threadId: config.threadId ?? configurable.thread_id, checkpointId, ns };
}

/** Throws `InvalidArgument` where no thread is named. */
export function threadOf(config: ThreadConfig): string {
  const { threadId } = placeOf(config);
  if (threadId === undefined) throw invalid("threadId", "is needed");
  return threadId;
}

export function contextOf({ caller, correlationId, residency, trace }: InvokeConfig): Partial<RunContext> {
  return {
    ...(caller === undefined ? {} : { caller }),
    ...(correlationId === undefined ? {} : { correlationId }),
    ...(residency === undefined ? {} : { residency }),
    ...(trace === undefined ? {} : { trace }),
  };
}

const placeKeys = new Set(["thread_id", "checkpoint_id", "checkpoint_ns"]);

/** Throws `InvalidArgument`, naming the field. */
export function settingsOf(plan: Plan, config: InvokeConfig, subgraphs: boolean): RunSettings | Promise<RunSettings> {
  checkOneOf("whenBusy", config.whenBusy, ["reject", "enqueue"]);
  checkSignal("signal", config.signal);
  if (config.control !== undefined && typeof config.control?.stopsHere !== "function")
    throw invalid("control", "must be a RunControl");
  const { configurable, context, durability, maxConcurrency, budget, interruptBefore, interruptAfter } = config;
  if (context !== undefined && !isObject(context)) throw invalid("context", "must be an object");
  const own = Object.entries(configurable ?? {}).filter(([key]) => !placeKeys.has(key));
  const given = own.length > 0 || context ? { ...Object.fromEntries(own), ...context } : undefined;
  const settings: RunSettings = {
    ...(given ? { context: given } : {}),
    ...(durability === undefined ? {} : { durability }),
    ...(maxConcurrency === undefined ? {} : { maxConcurrency }),
    ...(budget === undefined ? {} : { budget }),
    ...(interruptBefore === undefined ? {} : { interruptBefore: namesOf(interruptBefore) }),
    ...(interruptAfter === undefined ? {} : { interruptAfter: namesOf(interruptAfter) }),
    ...(subgraphs ? { subgraphs } : {}),
  };
  checkSettings(settings);
  checkNames(plan, settings);
  return plan.contextSchema ? checkedContext(plan, settings) : settings;
}

async function checkedContext(plan: Plan, settings: RunSettings): Promise<RunSettings> {
  const context = await checkUpdate(plan.contextSchema!, settings.context ?? {}, "context");
  if (!isObject(context)) throw new AgentmaticError("InvalidArgument", "context: its schema must give an object");
  return { ...settings, context };
}

function namesOf(names: readonly string[] | "*"): readonly string[] {
  return names === "*" ? ["*"] : names;
}

function checkNames(plan: Plan, settings: RunSettings): void {
  for (const field of ["interruptBefore", "interruptAfter"] as const) {
    for (const name of settings[field] ?? []) {
      if (name !== "*" && !plan.nodes.has(name)) throw invalid(field, `graph "${plan.name}" has no node "${name}"`);
    }
  }
}

/** Undefined where there is nothing to say. */
export function encodeSettings(settings: RunSettings): Uint8Array | undefined {
  return Object.keys(settings).length === 0 ? undefined : encodeValue(settings, "context");
}
