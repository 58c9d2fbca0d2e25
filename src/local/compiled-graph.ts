/** A graph that can be run: in this process, or on a cluster where one is bound. */

import { decodeBody, type Source } from "../checkpoint/body.ts";
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import { decodeValues } from "../checkpoint/ended.ts";
import { type OpenInterrupt, pendingInterrupts } from "../checkpoint/interrupts.ts";
import { MemorySaver } from "../checkpoint/memory.ts";
import type { Saver, StoredCheckpoint } from "../checkpoint/saver.ts";
import type { Answers } from "../engine/answers.ts";
import { AgentmaticError, fromErrorValue, invalid } from "../errors.ts";
import type { ChannelSpec, StateOf, UpdateFor } from "../graph/channels.ts";
import { type Command, isCommand } from "../graph/command.ts";
import type { Plan } from "../graph/plan.ts";
import { type Ports, systemPorts } from "../ports.ts";
import { checkCount, checkKinds, checkOneOf, checkSignal, isPlainObject } from "../run/check.ts";
import type { EventKind, RunEvent } from "../run/events.ts";
import type { GraphRef, RunContext, RunEnd } from "../run/link.ts";
import type { RunHandle, Runner, RunRequest } from "../run/runner.ts";
import { LocalRunner } from "./runner.ts";

/** What binds a graph to a cluster; `ClusterConfig` is one. */
export interface ClusterBinding {
  runner(options: { readonly saver: Saver; readonly graph: GraphRef }): Runner;
}

export interface InvokeConfig {
  /** The unit of state and history. Without one the run gets a thread of its own. */
  threadId?: string;
  /** LangGraph.js's way to say the same. */
  configurable?: { thread_id?: string; checkpoint_id?: string };
  /** Start from this checkpoint instead of the thread's head. */
  checkpointId?: string;
  /** Makes a repeated call the same run; with another input it is `AlreadyExists`. */
  runId?: string;
  /** Supersteps this run may take (LangGraph.js: `recursionLimit`). */
  maxSteps?: number;
  recursionLimit?: number;
  maxAttempts?: number;
  whenBusy?: "reject" | "enqueue";
  /** Residency, caller, trace and correlation id of the run. */
  context?: Partial<RunContext>;
  /** Cancels the run; `AbortSignal.timeout(ms)` makes it a deadline. */
  signal?: AbortSignal;
}

export type StreamMode = Exclude<EventKind, "retract">;

export interface StreamConfig extends InvokeConfig {
  /** One mode yields its data; a list yields `[mode, data]`. Default `values`, as in LangGraph.js `updates` is by node. */
  streamMode?: StreamMode | readonly StreamMode[];
}

/** The state after a run, with the open interrupts where it waits for an answer. */
export type Result<S extends ChannelSpec> = StateOf<S> & { readonly __interrupt__?: readonly OpenInterrupt[] };

export interface StateSnapshot<S extends ChannelSpec> {
  readonly values: StateOf<S>;
  readonly next: readonly string[];
  readonly checkpointId: string;
  readonly parentId: string | null;
  readonly runId: string;
  readonly step: number;
  readonly source: Source;
  readonly interrupts: readonly OpenInterrupt[];
}

export interface CompiledGraphOptions {
  /** Where this process is, for runs with a residency rule; unknown is outside of every rule. */
  region?: string;
  checkpointer?: Saver;
  cluster?: ClusterBinding;
  ports?: Ports;
}

export type GraphInput<S extends ChannelSpec> = UpdateFor<S> | Command | null;

export class CompiledGraph<S extends ChannelSpec = ChannelSpec> {
  readonly plan: Plan;
  readonly checkpointer: Saver | undefined;
  readonly #ports: Ports;
  readonly #region: string;
  readonly #cluster: ClusterBinding | undefined;
  #runner: Runner | undefined;

  constructor(plan: Plan, options: CompiledGraphOptions = {}) {
    this.plan = plan;
    this.checkpointer = options.checkpointer;
    this.#ports = options.ports ?? systemPorts;
    this.#cluster = options.cluster;
    this.#region = options.region ?? "";
    if (options.checkpointer !== undefined && typeof options.checkpointer?.claim !== "function") {
      throw invalid("checkpointer", "must be a saver");
    }
    if (options.cluster && !options.checkpointer) {
      throw invalid("checkpointer", "a graph on a cluster needs the store that its workers share");
    }
  }

  get name(): string {
    return this.plan.name;
  }

  /**
   * Runs to the end, or to an interrupt (`__interrupt__` in the result). `null` goes on from where the thread stands,
   * `new Command({ resume })` answers. Throws the run's error; `ThreadBusy`, `AlreadyExists`, `InvalidArgument`.
   */
  async invoke(input: GraphInput<S>, config: InvokeConfig = {}): Promise<Result<S>> {
    const handle = await this.start(input, config, []);
    return readEnd<S>(await handle.end);
  }

  /** The run's events as they come. Leaving the loop early cancels nothing; abort `signal` for that. */
  async *stream(input: GraphInput<S>, config: StreamConfig = {}): AsyncGenerator<unknown, void> {
    const { streamMode = "values" } = config;
    const many = Array.isArray(streamMode);
    const modes: readonly StreamMode[] = many ? (streamMode as readonly StreamMode[]) : [streamMode as StreamMode];
    checkKinds("streamMode", modes);
    const handle = await this.start(input, config, modes);
    handle.end.catch(() => undefined);
    for await (const event of handle.events) {
      if (event.kind === "retract" && !(many && modes.some((mode) => provisional.has(mode)))) continue;
      const data = eventData(event);
      yield many ? [event.kind, data] : data;
    }
    const end = await handle.end;
    const result = readEnd<S>(end);
    if (end.status === "interrupted" && modes.includes("updates") && result.__interrupt__) {
      const data = { __interrupt__: result.__interrupt__ };
      yield many ? ["updates", data] : data;
    }
  }

  /** Starts a run and hands out its raw events and end. */
  async start(input: GraphInput<S>, config: InvokeConfig, events: readonly EventKind[]): Promise<RunHandle> {
    const { plan } = this;
    const threadId = config.threadId ?? config.configurable?.thread_id;
    if (threadId === undefined && (this.#cluster || this.checkpointer)) {
      throw invalid("threadId", "is needed with a checkpointer");
    }
    checkOneOf("whenBusy", config.whenBusy, ["reject", "enqueue"]);
    checkSignal("signal", config.signal);
    const from = config.checkpointId ?? config.configurable?.checkpoint_id;
    const request: RunRequest = {
      threadId: threadId ?? this.#ports.ids.next(),
      graph: { name: plan.name, version: plan.version },
      maxSteps: config.maxSteps ?? config.recursionLimit ?? plan.maxSteps,
      events,
      ...encodeInput(plan, input),
      ...(config.runId === undefined ? {} : { runId: config.runId }),
      ...(from === undefined ? {} : { fromCheckpointId: from }),
      ...(config.context ? { context: config.context } : {}),
      ...(config.maxAttempts === undefined ? {} : { maxAttempts: config.maxAttempts }),
      ...(config.whenBusy ? { whenBusy: config.whenBusy } : {}),
    };
    return await this.#runnerFor().start(request, config.signal);
  }

  /** The thread's current state, or the one at `checkpointId`; undefined for a thread without checkpoints. */
  async getState(config: InvokeConfig): Promise<StateSnapshot<S> | undefined> {
    const stored = await this.#saver().get(
      threadOf(config),
      "",
      config.checkpointId ?? config.configurable?.checkpoint_id,
    );
    return stored && readState<S>(stored);
  }

  /** The thread's checkpoints, newest first. */
  async *getStateHistory(
    config: InvokeConfig,
    options: { limit?: number } = {},
  ): AsyncGenerator<StateSnapshot<S>, void> {
    const limit = options.limit ?? Number.POSITIVE_INFINITY;
    if (options.limit !== undefined) checkCount("limit", options.limit, 1, Number.MAX_SAFE_INTEGER);
    let before: string | undefined;
    for (let given = 0; given < limit; ) {
      const page = await this.#saver().list({
        threadId: threadOf(config),
        limit: Math.min(historyPage, limit - given),
        ...(before === undefined ? {} : { before }),
      });
      for (const stored of page) yield readState<S>(stored);
      given += page.length;
      before = page.at(-1)?.checkpoint.checkpointId;
      if (before === undefined || page.length < historyPage) return;
    }
  }

  #saver(): Saver {
    if (this.checkpointer) return this.checkpointer;
    throw invalid("checkpointer", "this graph was compiled without one: it keeps no state to read");
  }

  #runnerFor(): Runner {
    if (this.#runner) return this.#runner;
    const { plan, checkpointer } = this;
    const local = { plan, ports: this.#ports, region: this.#region };
    // Without a checkpointer each run's memory goes with it.
    if (!checkpointer) return new LocalRunner({ ...local, saver: new MemorySaver() });
    this.#runner = this.#cluster
      ? this.#cluster.runner({ saver: checkpointer, graph: { name: plan.name, version: plan.version } })
      : new LocalRunner({ ...local, saver: checkpointer });
    return this.#runner;
  }
}

const historyPage = 100;
/** Modes whose events may be retracted by a hand-off; a reader of several modes is told with `["retract", { attempt }]`. */
const provisional: ReadonlySet<StreamMode> = new Set(["messages", "custom", "tasks"]);

function encodeInput<S extends ChannelSpec>(plan: Plan, input: GraphInput<S>): Pick<RunRequest, "kind" | "input"> {
  if (input === null) return { kind: "resume", input: encodeValue({ kind: "none" } satisfies Answers) };
  if (isCommand(input)) {
    if (!input.answers) throw invalid("input", "a Command from a caller must have `resume`");
    if (input.update !== undefined) throw invalid("input.update", "cannot stand beside `resume` yet");
    if (input.goto.length > 0) throw invalid("input.goto", "cannot stand beside `resume` yet");
    return { kind: "resume", input: encodeValue(answersOf(input), "resume") };
  }
  if (!isPlainObject(input)) throw invalid("input", `must be a plain object with channels of graph "${plan.name}"`);
  for (const name of Object.keys(input)) {
    if (!plan.channels.has(name)) throw invalid(`input.${name}`, `graph "${plan.name}" has no such channel`);
  }
  return { kind: "input", input: encodeValue(input, "input") };
}

/** Keys that all look like interrupt ids are answers by id, as in LangGraph.js. */
function answersOf({ resume }: Command): Answers {
  const keys = typeof resume === "object" && resume !== null && !Array.isArray(resume) ? Object.keys(resume) : [];
  if (keys.length > 0 && keys.every((key) => /\|.*!\d+$/s.test(key))) {
    return { kind: "byId", values: resume as Record<string, unknown> };
  }
  return { kind: "one", value: resume };
}

export function readEnd<S extends ChannelSpec>(end: RunEnd): Result<S> {
  if (end.status !== "succeeded" && end.status !== "interrupted") {
    throw end.error ? fromErrorValue(end.error) : new AgentmaticError("Internal", `the run ended as ${end.status}`);
  }
  const values = (end.values ? decodeValue(end.values) : {}) as Result<S>;
  if (end.status !== "interrupted") return values;
  const interrupts = (end.interrupts ? decodeValue(end.interrupts) : []) as OpenInterrupt[];
  return { ...values, __interrupt__: interrupts };
}

function eventData({ kind, node, data }: RunEvent): unknown {
  const value = decodeValue(data);
  return kind === "updates" ? { [node]: value } : value;
}

function readState<S extends ChannelSpec>(stored: StoredCheckpoint): StateSnapshot<S> {
  const { checkpoint } = stored;
  const body = decodeBody(checkpoint);
  return {
    values: decodeValues(checkpoint) as StateOf<S>,
    next: [...body.next, ...body.sends.map(({ node }) => node)],
    checkpointId: checkpoint.checkpointId,
    parentId: checkpoint.parentId,
    runId: checkpoint.runId,
    step: checkpoint.step,
    source: body.source,
    interrupts: pendingInterrupts(stored),
  };
}

function threadOf(config: InvokeConfig): string {
  const threadId = config.threadId ?? config.configurable?.thread_id;
  if (threadId === undefined) throw invalid("threadId", "is needed");
  return threadId;
}
