/** A graph as it is being built: names only, nothing checked yet. */
import { AgentmaticError } from "../errors.ts";
import type { ChannelSpec } from "./channels.ts";
import type { Branch, NodeFunction } from "./plan.ts";

export interface CompileOptions {
  /** Names the graph for workers, records and spans. */
  name?: string;
  /** A hash of the plan unless given; application and worker must agree on it. */
  version?: string;
  interruptBefore?: readonly string[];
  interruptAfter?: readonly string[];
  /** Supersteps a run may take. */
  maxSteps?: number;
}

export interface NodeDraft {
  readonly name: string;
  readonly run: NodeFunction;
  readonly ends: readonly string[];
  readonly writes: readonly string[];
}

export interface BranchDraft extends Branch {
  readonly from: string;
}

export interface Draft {
  readonly spec: ChannelSpec;
  readonly nodes: readonly NodeDraft[];
  readonly edges: readonly { readonly from: readonly string[]; readonly to: string }[];
  readonly branches: readonly BranchDraft[];
}

export function graphError(node: string, problem: string): AgentmaticError {
  return new AgentmaticError("InvalidGraph", `node "${node}": ${problem}`, { details: { node } });
}
