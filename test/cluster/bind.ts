import type { Coordinator } from "../../adapters/cluster/mod.ts";
import { type ChannelSpec, CompiledGraph, type Saver } from "../../src/mod.ts";

/** A graph of graphs.ts as the application has it: run by the workers that a coordinator finds. */
export function bind<S extends ChannelSpec>(
  graph: CompiledGraph<S>,
  coordinator: Coordinator,
  saver: Saver,
): CompiledGraph<S> {
  return new CompiledGraph<S>(graph.plan, { checkpointer: saver, cluster: { runner: () => coordinator } });
}
