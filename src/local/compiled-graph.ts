/** A graph that can be run: in this process, or on a cluster where one is bound. */
import { encodeValue } from "../checkpoint/codec.ts";
import { MemorySaver } from "../checkpoint/memory.ts";
import type { Saver } from "../checkpoint/saver.ts";
import { type DirectOptions, runDirect } from "../engine/direct.ts";
import type { Edit } from "../engine/update.ts";
import { AgentmaticError, invalid } from "../errors.ts";
import type { ChannelSpec, StateOf, UpdateFor } from "../graph/channels.ts";
import { type Command, isCommand } from "../graph/command.ts";
import { currentContextOrNone, type Nestable, type NodeContext, type SubgraphState } from "../graph/context.ts";
import { finalWrites } from "../graph/final.ts";
import type { Settings } from "../graph/function.ts";
import { type Plan, START } from "../graph/plan.ts";
import type { DrawableGraph } from "../picture/graph.ts";
import { type Ports, systemPorts } from "../ports.ts";
import { checkCount, checkObject, isPlainObject } from "../run/check.ts";
import type { EventKind } from "../run/events.ts";
import { checkId } from "../run/ids.ts";
import type { GraphRef } from "../run/link.ts";
import type { RunHandle, Runner, RunRequest } from "../run/runner.ts";
import {
  contextOf,
  encodeSettings,
  type InvokeConfig,
  placeOf,
  settingsOf,
  type ThreadConfig,
  threadOf,
} from "./config.ts";
import { checkInput, encodeInput, plainValues } from "./input.ts";
import { Outlet } from "./outlet.ts";
import { checkDrained, type DirectEnd, ended, isInterrupted, type Result, readEnd, resultOf } from "./result.ts";
import { LocalRunner } from "./runner.ts";
import {
  asPast,
  type CheckpointConfig,
  configAt,
  planAt,
  readSnapshot,
  type StateSnapshot,
  snapshotOf,
} from "./snapshot.ts";
import { kindsOf, readEvents, type StreamConfig, streamOf } from "./stream.ts";

/** What binds a graph to a cluster; `ClusterConfig` is one. */
export interface ClusterBinding {
  runner(options: { readonly saver: Saver; readonly graph: GraphRef }): Runner;
}

export interface HistoryOptions {
  limit?: number;
  /** Only checkpoints before this one. */
  before?: ThreadConfig | string;
  /** Only checkpoints whose metadata have these values: `source`, `step`, `run_id`. */
  filter?: Readonly<Record<string, unknown>>;
}

export interface CompiledGraphOptions {
  /** Where this process is, for runs with a residency rule; unknown is outside of every rule. */
  region?: string;
  /** A saver; as a graph inside another: `true` keeps its state over all calls of a thread, `false` keeps none. */
  checkpointer?: Saver | boolean;
  cluster?: ClusterBinding;
  ports?: Ports;
}

export type GraphInput<S extends ChannelSpec, Input = UpdateFor<S>> = Input | Command | null;

/** `Input`, `Output` and `Context` are what callers give and get: of the whole state, where the graph says no more. */
export class CompiledGraph<
  S extends ChannelSpec = ChannelSpec,
  Input = UpdateFor<S>,
  Output = StateOf<S>,
  Context = Settings,
> implements Nestable
{
  readonly plan: Plan;
  readonly checkpointer: Saver | undefined;
  readonly subgraphState: SubgraphState;
  readonly #ports: Ports;
  readonly #region: string;
  readonly #cluster: ClusterBinding | undefined;
  #runner: Runner | undefined;

  constructor(plan: Plan, options: CompiledGraphOptions = {}) {
    const { checkpointer } = options;
    this.plan = plan;
    this.#ports = options.ports ?? systemPorts;
    this.#cluster = options.cluster;
    this.#region = options.region ?? "";
    this.checkpointer = typeof checkpointer === "boolean" ? undefined : checkpointer;
    this.subgraphState = checkpointer === true ? "thread" : checkpointer === false ? "none" : "call";
    if (this.checkpointer !== undefined && typeof this.checkpointer?.claim !== "function") {
      throw invalid("checkpointer", "must be a saver");
    }
    if (options.region !== undefined && typeof options.region !== "string") throw invalid("region", "must be a string");
    if (options.cluster && typeof options.cluster.runner !== "function") {
      throw invalid("cluster", "must be what binds a graph to a cluster: a ClusterConfig");
    }
    if (options.ports !== undefined && typeof options.ports?.clock?.monotonicMs !== "function") {
      throw invalid("ports", "must have a clock, timers, ids, random and a logger");
    }
    if (options.cluster && !this.checkpointer) {
      throw invalid("checkpointer", "a graph on a cluster needs the store that its workers share");
    }
  }

  get name(): string {
    return this.plan.name;
  }

  /**
   * Runs to the end, or to an interrupt (`__interrupt__` in the result). `null` goes on from where the thread stands,
   * `new Command({ resume })` answers. Inside a node it is a subgraph of that node's task; there `config` may be the
   * node's context. Throws the run's error; `ThreadBusy`, `AlreadyExists`, `InvalidArgument`.
   */
  invoke(
    input: GraphInput<S, Input>,
    config: (InvokeConfig & { context?: Context }) | NodeContext = {},
  ): Promise<Result<S, Output>> {
    let around: NodeContext | undefined;
    try {
      around = this.#around(config);
    } catch (thrown) {
      return Promise.reject(thrown);
    }
    // The node's own promise, whose rejection the engine has in hand where nobody waits for it.
    if (around) return around.invoke(this, input) as Promise<Result<S, Output>>;
    return this.#invoke(input, config as InvokeConfig & { context?: Context });
  }

  async #invoke(input: GraphInput<S, Input>, own: InvokeConfig & { context?: Context }): Promise<Result<S, Output>> {
    if (!this.#keeps) {
      const direct = this.#direct(input, own, false);
      const done = resultOf<S, Output>(this.plan, await runDirect(direct instanceof Promise ? await direct : direct));
      checkDrained(this.plan, own, done);
      return done;
    }
    const handle = await this.start(input, own, []);
    const done = readEnd<S, Output>(this.plan, await handle.end);
    checkDrained(this.plan, own, done);
    return done;
  }

  /**
   * The run's events as they come. One mode yields its data, a list yields `[mode, data]`; with `subgraphs` the path of
   * the graph comes first. Leaving the loop early cancels nothing; abort `signal` for that.
   */
  async *stream(
    input: GraphInput<S, Input>,
    config: StreamConfig & { context?: Context } = {},
  ): AsyncGenerator<unknown, void> {
    checkObject("config", config);
    const form = streamOf(config);
    if (this.#around(config)) {
      throw new AgentmaticError(
        "Unsupported",
        "stream: inside a node call invoke; its events come with those of the run",
      );
    }
    const handle = this.#keeps ? await this.start(input, config, kindsOf(form)) : await this.#follow(input, config);
    handle.end.catch(() => undefined);
    yield* readEvents(form, this.plan, handle, this.#ports.clock);
    const end = await handle.end;
    const done = "type" in end ? readEnd<S>(this.plan, end) : resultOf<S>(this.plan, end);
    checkDrained(this.plan, config, done);
    if (isInterrupted(done)) yield* form.interrupted(done.__interrupt__);
  }

  /** Starts a run and hands out its raw events and end. */
  async start(
    input: GraphInput<S, Input>,
    config: InvokeConfig & { context?: Context },
    events: readonly EventKind[],
  ): Promise<RunHandle> {
    const subgraphs = (config as StreamConfig).subgraphs === true;
    const given = settingsOf(this.plan, config, subgraphs);
    const settings = encodeSettings(given instanceof Promise ? await given : given);
    const request = this.#request(encodeInput(this.plan, input), config, events);
    if (config.control && this.#cluster)
      throw new AgentmaticError("Unsupported", "control: on a cluster it is the workers that drain");
    return await this.#runnerFor().start(settings ? { ...request, settings } : request, config.signal, config.control);
  }

  /**
   * The thread's current state, or the one at `checkpointId`; undefined for a thread without checkpoints. With
   * `subgraphs` the states of graphs inside its tasks are read too.
   */
  async getState(config: ThreadConfig, options: { subgraphs?: boolean } = {}): Promise<StateSnapshot<S> | undefined> {
    checkObject("options", options);
    const { checkpointId, ns } = placeOf(config);
    const plan = this.#planAt(ns);
    const saver = this.#saver();
    const stored = await saver.get(threadOf(config), ns, checkpointId);
    if (!stored) return undefined;
    const snapshot = await readSnapshot<S>(plan, stored, options.subgraphs === true ? saver : undefined);
    return checkpointId === undefined ? snapshot : asPast(snapshot);
  }

  /** The thread's checkpoints, newest first. */
  async *getStateHistory(config: ThreadConfig, options: HistoryOptions = {}): AsyncGenerator<StateSnapshot<S>, void> {
    checkObject("options", options);
    const { limit = Number.POSITIVE_INFINITY, filter = {} } = options;
    checkObject("filter", filter);
    if (options.limit !== undefined) checkCount("limit", options.limit, 1, Number.MAX_SAFE_INTEGER);
    const { ns } = placeOf(config);
    const plan = this.#planAt(ns);
    const wanted = Object.entries(filter);
    let before = beforeOf(options.before);
    for (let given = 0; given < limit; ) {
      const most = wanted.length > 0 ? historyPage : Math.min(historyPage, limit - given);
      const query = { threadId: threadOf(config), ns, limit: most };
      const page = await this.#saver().list(before === undefined ? query : { ...query, before });
      for (const stored of page) {
        const snapshot = asPast(await readSnapshot<S>(plan, stored));
        const metadata: Readonly<Record<string, unknown>> = { ...snapshot.metadata };
        if (!wanted.every(([key, value]) => metadata[key] === value)) continue;
        yield snapshot;
        if (++given >= limit) return;
      }
      before = page.at(-1)?.checkpoint.checkpointId;
      if (before === undefined || page.length < most) return;
    }
  }

  /**
   * Edits a thread's state as if `asNode` (by default the node that wrote last) had returned `values`, and commits that
   * as a checkpoint: on top of the named one, which makes a fork, or of the current one. `null` makes a copy; with END as
   * node nothing is due afterwards. Resolves with where the new checkpoint is. Throws `ThreadBusy` while a run is active.
   */
  async updateState(
    config: ThreadConfig,
    values: UpdateFor<S> | Command<UpdateFor<S>> | null,
    asNode?: string,
  ): Promise<CheckpointConfig> {
    const { ns } = placeOf(config);
    if (ns !== "") throw new AgentmaticError("Unsupported", "updateState: a subgraph's state is changed by its graph");
    const given = isCommand(values) ? values.update : values;
    const update = this.plan.functional && given !== null ? writesOf(given, asNode) : given;
    if (update !== null && update !== undefined && !isPlainObject(update))
      throw invalid("values", "must be an object of channels");
    const edit: Edit = { kind: "update", values: plainValues(update), ...(asNode === undefined ? {} : { asNode }) };
    return await this.#edit(config, edit);
  }

  /** Begins a new thread with the state of another's checkpoint. Residency rules come along. */
  async branch(from: ThreadConfig, threadId: string): Promise<CheckpointConfig> {
    const { checkpointId } = placeOf(from);
    const saver = this.#saver();
    const stored = await saver.get(threadOf(from), "", checkpointId);
    if (!stored) throw new AgentmaticError("NotFound", `thread ${threadOf(from)}: the checkpoint is not there`);
    const { values, next, sends, joins, deferred, step } = snapshotOf(this.plan, stored);
    const edit: Edit = { kind: "branch", values, next, sends, joins, deferred, step };
    const residency = (await saver.getRun(stored.checkpoint.runId))?.spec.residency;
    return await this.#edit({ threadId, ...(residency ? { residency } : {}) }, edit);
  }

  /**
   * Its nodes and edges, to look at: `drawMermaid()` and `drawSvg()` make pictures. With `xray` the graphs inside are
   * drawn, all or so many levels. What draws is loaded when it is asked for; `agentmatic/picture` has it as functions.
   */
  async getGraphAsync(options: { xray?: boolean | number } = {}): Promise<DrawableGraph> {
    const { DrawableGraph } = await import("../picture/graph.ts");
    return new DrawableGraph(this.plan, options);
  }

  async #edit(config: InvokeConfig, edit: Edit): Promise<CheckpointConfig> {
    this.#saver();
    const request = this.#request({ kind: "update", input: encodeValue(edit, "values") }, config, []);
    const { end } = await this.#runnerFor().start({ ...request, whenBusy: "reject" });
    const { checkpointId } = ended(await end);
    return configAt(request.threadId, "", checkpointId ?? "");
  }

  /** The context of the node that this call stands in, where it is one. */
  #around(config: InvokeConfig | NodeContext): NodeContext | undefined {
    checkObject("config", config);
    if ("idempotencyKey" in config) return config;
    if (this.#keeps || placeOf(config).threadId !== undefined) return undefined;
    return currentContextOrNone();
  }

  get #keeps(): boolean {
    return this.checkpointer !== undefined;
  }

  #request(what: Pick<RunRequest, "kind" | "input">, config: InvokeConfig, events: readonly EventKind[]): RunRequest {
    const { plan } = this;
    const { threadId, checkpointId } = placeOf(config);
    if (threadId === undefined && this.#keeps) throw invalid("threadId", "is needed with a checkpointer");
    return {
      threadId: threadId ?? this.#ports.ids.next(),
      graph: { name: plan.name, version: plan.version },
      maxSteps: config.maxSteps ?? config.recursionLimit ?? plan.maxSteps,
      events,
      ...what,
      context: contextOf(config),
      ...(config.runId === undefined ? {} : { runId: config.runId }),
      ...(checkpointId === undefined ? {} : { fromCheckpointId: checkpointId }),
      ...(config.maxAttempts === undefined ? {} : { maxAttempts: config.maxAttempts }),
      ...(config.whenBusy ? { whenBusy: config.whenBusy } : {}),
      ...(config.timeout === undefined ? {} : { deadlineMs: config.timeout }),
    };
  }

  /** Without a checkpointer: nothing but the run itself. */
  #direct(
    input: GraphInput<S, Input>,
    config: InvokeConfig,
    subgraphs: boolean,
  ): DirectOptions | Promise<DirectOptions> {
    if (input === null || isCommand(input)) {
      throw invalid("checkpointer", "this graph was compiled without one: there is nothing to go on from");
    }
    if (config.residency && this.#region === "") {
      throw new AgentmaticError("ResidencyViolation", "residency.regions: this process is in no known region");
    }
    checkInput(this.plan, input);
    const maxSteps = config.maxSteps ?? config.recursionLimit ?? this.plan.maxSteps;
    checkCount("maxSteps", maxSteps, 1, 1_000_000);
    if (config.timeout !== undefined) checkCount("timeout", config.timeout, 1, Number.MAX_SAFE_INTEGER);
    const { ids } = this.#ports;
    const { threadId } = placeOf(config);
    if (config.runId !== undefined) checkId("runId", config.runId);
    if (threadId !== undefined) checkId("threadId", threadId);
    const runId = config.runId ?? ids.next();
    const options = {
      plan: this.plan,
      input,
      ports: this.#ports,
      runId,
      threadId: threadId ?? runId,
      correlationId: config.correlationId ?? runId,
      maxSteps,
      ...(config.signal ? { cancel: config.signal } : {}),
      ...(config.control ? { control: config.control } : {}),
      ...(config.timeout === undefined ? {} : { deadlineMs: config.timeout }),
      ...(config.trace ? { trace: config.trace } : {}),
    };
    const settings = settingsOf(this.plan, config, subgraphs);
    if (settings instanceof Promise) return settings.then((checked) => ({ ...options, settings: checked }));
    return { ...options, settings };
  }

  async #follow(input: GraphInput<S, Input>, config: StreamConfig): Promise<DirectHandle> {
    const direct = await this.#direct(input, config, config.subgraphs === true);
    const kinds = new Set<EventKind>(kindsOf(streamOf(config)));
    const outlet = new Outlet();
    const { emit, flow } = outlet;
    const end = runDirect({ ...direct, wants: (kind) => kinds.has(kind), emit, flow });
    const close = () => outlet.close();
    end.then(close, close);
    return { runId: direct.runId, events: outlet.events(), end };
  }

  #planAt(ns: string): Plan {
    const plan = planAt(this.plan, ns);
    if (plan) return plan;
    throw invalid("configurable.checkpoint_ns", `graph "${this.plan.name}" has no graph as a node there`);
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

export interface DirectHandle {
  readonly runId: string;
  readonly events: RunHandle["events"];
  readonly end: Promise<DirectEnd>;
}

const historyPage = 100;

function beforeOf(before: ThreadConfig | string | undefined): string | undefined {
  if (before === undefined || typeof before === "string") return before;
  checkObject("before", before);
  return placeOf(before).checkpointId;
}

/** What an edit of a functional graph's state writes. */
function writesOf(value: unknown, asNode: string | undefined): Readonly<Record<string, unknown>> {
  return asNode === START ? { [START]: value } : finalWrites(value);
}
