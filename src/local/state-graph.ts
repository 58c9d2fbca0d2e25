/** The graph that users build: `GraphBuilder` with a `compile` that gives something to run. */
import type { Saver } from "../checkpoint/saver.ts";
import { GraphBuilder, type GraphOptions, type SpecOf, type StateInit } from "../graph/builder.ts";
import type { ChannelSpec } from "../graph/channels.ts";
import type { CompileOptions } from "../graph/draft.ts";
import type { StandardSchema } from "../graph/schema.ts";
import type { Ports } from "../ports.ts";
import { type ClusterBinding, CompiledGraph } from "./compiled-graph.ts";

export interface StateGraphCompileOptions extends CompileOptions {
  /** Where checkpoints and run records are kept. Without one each run has a memory of its own. */
  checkpointer?: Saver | boolean;
  /** Runs on the workers of a cluster instead of in this process. Needs a checkpointer. */
  cluster?: ClusterBinding;
  /** Where this process is, for runs with a residency rule; unknown is outside of every rule. */
  region?: string;
  ports?: Ports;
}

export class StateGraph<I extends StateInit = ChannelSpec> extends GraphBuilder<SpecOf<I>> {
  /**
   * From channels (`Annotation`), a `StateSchema`, or an object schema such as `z.object({ … })`; or from all of them as
   * `{ state, input, output, context }`. Throws `InvalidArgument`, naming the field.
   */
  constructor(init: I | (GraphOptions & { readonly state: I }), options: GraphOptions | StandardSchema = {}) {
    super(init, options);
  }

  /** Throws `InvalidGraph`, naming the node, for a structure that cannot run. */
  compile(options: StateGraphCompileOptions = {}): CompiledGraph<SpecOf<I>> {
    return new CompiledGraph<SpecOf<I>>(this.plan(options), options);
  }
}
