/** Spans as the core sees them. `noSpans` costs nothing; `trace.ts` makes them with OpenTelemetry. */
import type { AgentmaticError } from "../errors.ts";
import type { TraceContext } from "../run/record.ts";

export type SpanName =
  | "agentmatic.graph.run"
  | "agentmatic.node.execute"
  | "agentmatic.tool.call"
  | "agentmatic.checkpoint.write"
  | "agentmatic.cluster.dispatch";

export type Attributes = Readonly<Record<string, string | number | boolean>>;

export interface Span {
  /** What a child on another process needs; undefined where nothing is recorded. */
  readonly trace: TraceContext | undefined;
  set(attributes: Attributes): void;
  fail(error: AgentmaticError): void;
  end(): void;
}

export interface Spans {
  start(name: SpanName, attributes: Attributes, parent?: TraceContext): Span;
}

export const noSpan: Span = { trace: undefined, set() {}, fail() {}, end() {} };
export const noSpans: Spans = { start: () => noSpan };
