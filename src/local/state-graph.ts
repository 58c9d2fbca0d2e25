/** The graph that users build: `GraphBuilder` with a `compile` that gives something to run. */
import type { Saver } from "../checkpoint/saver.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { ChannelSpec } from "../graph/channels.ts";
import type { CompileOptions } from "../graph/draft.ts";
import type { Ports } from "../ports.ts";
import { type ClusterBinding, CompiledGraph } from "./compiled-graph.ts";

export interface StateGraphCompileOptions extends CompileOptions {
  /** Where checkpoints and run records are kept. Without one each run has a memory of its own. */
  checkpointer?: Saver;
  /** Runs on the workers of a cluster instead of in this process. Needs a checkpointer. */
  cluster?: ClusterBinding;
  /** Where this process is, for runs with a residency rule; unknown is outside of every rule. */
  region?: string;
  ports?: Ports;
}

export class StateGraph<S extends ChannelSpec> extends GraphBuilder<S> {
  /** Throws `InvalidGraph`, naming the node, for a structure that cannot run. */
  compile(options: StateGraphCompileOptions = {}): CompiledGraph<S> {
    return new CompiledGraph<S>(this.plan(options), options);
  }
}
