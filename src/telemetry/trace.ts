/**
 * Spans by OpenTelemetry's API. Without an SDK registered the API's own no-op tracer answers, which still passes a
 * caller's trace on. Contexts travel as W3C Trace Context (https://www.w3.org/TR/trace-context/, level 1).
 */
import {
  type Context,
  context,
  createTraceState,
  isSpanContextValid,
  type Span as OtelSpan,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import type { AgentmaticError } from "../errors.ts";
import type { TraceContext } from "../run/record.ts";
import { scopeName } from "./names.ts";
import type { Attributes, Span, SpanName, Spans } from "./spans.ts";

const kinds: Readonly<Record<SpanName, SpanKind>> = {
  "agentmatic.graph.run": SpanKind.SERVER,
  "agentmatic.node.execute": SpanKind.INTERNAL,
  "agentmatic.tool.call": SpanKind.INTERNAL,
  "agentmatic.checkpoint.write": SpanKind.CLIENT,
  "agentmatic.cluster.dispatch": SpanKind.CLIENT,
};

/** `tracer` is the one registered with the API where it is not given. Without a parent the span joins the caller's active one. */
export function otelSpans(tracer: Tracer = trace.getTracer(scopeName)): Spans {
  return {
    start(name, attributes, parent) {
      const options = { kind: kinds[name], attributes: { ...attributes } };
      return new TracedSpan(tracer.startSpan(name, options, parentContext(parent)), parent?.baggage);
    },
  };
}

class TracedSpan implements Span {
  readonly #span: OtelSpan;
  readonly #baggage: string | undefined;

  constructor(span: OtelSpan, baggage: string | undefined) {
    this.#span = span;
    this.#baggage = baggage;
  }

  get trace(): TraceContext | undefined {
    return injected(this.#span.spanContext(), this.#baggage);
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes({ ...attributes });
  }

  /** The code only: a message may hold state, which must not leave its region with a span. */
  fail(error: AgentmaticError): void {
    this.#span.setAttribute("error.type", error.code);
    this.#span.setStatus({ code: SpanStatusCode.ERROR, message: error.code });
  }

  end(): void {
    this.#span.end();
  }
}

function parentContext(parent: TraceContext | undefined): Context {
  const remote = parent && extracted(parent);
  return remote ? trace.setSpanContext(ROOT_CONTEXT, remote) : context.active();
}

const traceparentForm = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Undefined for a context that is not valid: the trace starts anew then, as the recommendation asks. */
export function extracted({ traceparent, tracestate }: TraceContext): SpanContext | undefined {
  const match = traceparentForm.exec(traceparent);
  if (!match || (traceparent.startsWith("00") && match[4] !== undefined)) return undefined;
  const remote: SpanContext = {
    traceId: match[1]!,
    spanId: match[2]!,
    traceFlags: Number.parseInt(match[3]!, 16) & 1,
    isRemote: true,
    ...(tracestate ? { traceState: createTraceState(tracestate) } : {}),
  };
  return isSpanContextValid(remote) ? remote : undefined;
}

export function injected(span: SpanContext, baggage?: string): TraceContext | undefined {
  if (!isSpanContextValid(span)) return undefined;
  const flags = (span.traceFlags & 0xff).toString(16).padStart(2, "0");
  const tracestate = span.traceState?.serialize();
  return {
    traceparent: `00-${span.traceId}-${span.spanId}-${flags}`,
    ...(tracestate ? { tracestate } : {}),
    ...(baggage ? { baggage } : {}),
  };
}
