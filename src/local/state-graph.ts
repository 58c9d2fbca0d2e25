/** The graph that users build: `GraphBuilder` with a `compile` that gives something to run. */
import type { Saver } from "../checkpoint/saver.ts";
import { GraphBuilder } from "../graph/builder.ts";
import type { AnnotationRoot, ChannelSpec } from "../graph/channels.ts";
import type { CompileOptions } from "../graph/draft.ts";
import type {
  ContextInit,
  ContextInputOf,
  ContextOf,
  GraphOptions,
  InputOf,
  OutputOf,
  PartInit,
  SpecOf,
  StateInit,
} from "../graph/init.ts";
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

export class StateGraph<
  I extends StateInit = ChannelSpec,
  const In extends PartInit | undefined = undefined,
  const Out extends PartInit | undefined = undefined,
  C extends ContextInit | undefined = undefined,
> extends GraphBuilder<SpecOf<I>, ContextOf<C>> {
  /**
   * From channels (`Annotation`), a `StateSchema`, or an object schema such as `z.object({ … })`; or from all of them as
   * `{ state, input, output, context }`. Throws `InvalidArgument`, naming the field.
   */
  constructor(parts: GraphOptions<In, Out, C> & { readonly state: I });
  constructor(state: I, options?: GraphOptions<In, Out, C>);
  // biome-ignore lint/suspicious/noExplicitAny: a context of whatever fields
  constructor(state: I, context: C & (StandardSchema<any, any> | AnnotationRoot<any>));
  constructor(init: unknown, options: unknown = {}) {
    super(init, options);
  }

  /** Throws `InvalidGraph`, naming the node, for a structure that cannot run. */
  compile(
    options: StateGraphCompileOptions = {},
  ): CompiledGraph<SpecOf<I>, InputOf<SpecOf<I>, In>, OutputOf<SpecOf<I>, Out>, ContextInputOf<C>> {
    return new CompiledGraph(this.plan(options), options);
  }
}
