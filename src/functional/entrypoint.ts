/** Graphs written as plain functions, with LangGraph.js's names. */
import type { Saver } from "../checkpoint/saver.ts";
import { invalid } from "../errors.ts";
import type { ChannelSpec } from "../graph/channels.ts";
import type { Command } from "../graph/command.ts";
import type { NodeContext } from "../graph/context.ts";
import type { EntrypointFinal } from "../graph/final.ts";
import { type ClusterBinding, CompiledGraph, type HistoryOptions } from "../local/compiled-graph.ts";
import type { InvokeConfig, ThreadConfig } from "../local/config.ts";
import type { CheckpointConfig, StateSnapshot } from "../local/snapshot.ts";
import type { StreamConfig } from "../local/stream.ts";
import type { Ports } from "../ports.ts";
import type { EventKind } from "../run/events.ts";
import type { RunHandle } from "../run/runner.ts";
import { type FunctionalOptions, functionalPlan } from "./plan.ts";

export interface EntrypointOptions extends FunctionalOptions {
  /** As a graph inside another: `true` keeps what it saves over all calls of a thread, `false` keeps nothing. */
  checkpointer?: Saver | boolean;
  /** Runs on the workers of a cluster instead of in this process. Needs a checkpointer. */
  cluster?: ClusterBinding;
  /** Where this process is, for runs with a residency rule; unknown is outside of every rule. */
  region?: string;
  ports?: Ports;
}

type ValueOf<Returned> = Returned extends EntrypointFinal<infer Value, unknown> ? Value : Returned;
type Given<Input> = Input | Command | null;
type Edited<Output> = Output | EntrypointFinal<Output, unknown> | Command | null;

/** As a snapshot of any graph's; `values` is what the thread's last run gave back. */
export type EntrypointSnapshot<Output> = Omit<StateSnapshot<ChannelSpec>, "values"> & {
  readonly values: Output | undefined;
};

type Overridden = "invoke" | "stream" | "start" | "getState" | "getStateHistory" | "updateState";

/** A `CompiledGraph` whose input and output are values of any storable kind. */
export interface EntrypointGraph<Input, Output> extends Omit<CompiledGraph, Overridden> {
  /** Where the run waits, the result is `{ __interrupt__ }` instead: see `isInterrupted`. */
  invoke(input: Given<Input>, config?: InvokeConfig | NodeContext): Promise<Output>;
  stream(input: Given<Input>, config?: StreamConfig): AsyncGenerator<unknown, void>;
  start(input: Given<Input>, config: InvokeConfig, events: readonly EventKind[]): Promise<RunHandle>;
  getState(config: ThreadConfig, options?: { subgraphs?: boolean }): Promise<EntrypointSnapshot<Output> | undefined>;
  getStateHistory(config: ThreadConfig, options?: HistoryOptions): AsyncGenerator<EntrypointSnapshot<Output>, void>;
  /** As if the function had returned `value`. */
  updateState(config: ThreadConfig, value: Edited<Output>, asNode?: string): Promise<CheckpointConfig>;
}

export interface Entrypoint {
  <Input, Returned>(
    nameOrOptions: string | EntrypointOptions,
    run: (input: Input, context: NodeContext) => Returned | Promise<Returned>,
  ): EntrypointGraph<Input, ValueOf<Returned>>;
  final<Value = undefined, Save = undefined>(result: { value?: Value; save?: Save }): EntrypointFinal<Value, Save>;
}

function make<Input, Returned>(
  nameOrOptions: string | EntrypointOptions,
  run: (input: Input, context: NodeContext) => Returned | Promise<Returned>,
): EntrypointGraph<Input, ValueOf<Returned>> {
  const options = typeof nameOrOptions === "string" ? { name: nameOrOptions } : nameOrOptions;
  if (typeof options !== "object" || options === null) throw invalid("entrypoint", "needs a name, or options with one");
  const { checkpointer, cluster, region, ports, ...own } = options;
  const graph = new CompiledGraph(functionalPlan(own, run), {
    ...(checkpointer === undefined ? {} : { checkpointer }),
    ...(cluster ? { cluster } : {}),
    ...(region === undefined ? {} : { region }),
    ...(ports ? { ports } : {}),
  });
  return graph as unknown as EntrypointGraph<Input, ValueOf<Returned>>;
}

/**
 * Makes a graph of one function. It runs again from its top after a crash or an interrupt; what it calls through `task`
 * or `ctx.task` does not. What it returns is given back, and saved for the thread's next run as `ctx.previous`;
 * `entrypoint.final({ value, save })` tells the two apart. Throws `InvalidArgument`, naming the field.
 */
export const entrypoint: Entrypoint = Object.assign(make, {
  final<Value = undefined, Save = undefined>({
    value,
    save,
  }: {
    value?: Value;
    save?: Save;
  }): EntrypointFinal<Value, Save> {
    return { value: value as Value, save: save as Save, __lg_type: "__pregel_final" };
  },
});
