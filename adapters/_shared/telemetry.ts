/**
 * Telemetry of a worker's process: metrics as Prometheus text, and traces over OTLP/HTTP where the environment names a
 * collector (https://opentelemetry.io/docs/specs/otel/protocol/exporter/).
 */
import { type Attributes, type Counter, type Gauge, type Histogram, trace } from "@opentelemetry/api";
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { MeterProvider, MetricReader } from "@opentelemetry/sdk-metrics";
import type { Labels, Metrics } from "../../src/telemetry/metrics.ts";
import { type MetricName, metricDefinitions, scopeName, workerServiceName } from "../../src/telemetry/names.ts";
import type { Spans } from "../../src/telemetry/spans.ts";
import { otelSpans } from "../../src/telemetry/trace.ts";

export interface Telemetry {
  readonly metrics: Metrics;
  readonly spans: Spans;
  /** Prometheus text. */
  render(): Promise<string>;
  /** Sends what is left, for at most `shutdownMs`. */
  close(): Promise<void>;
}

type Env = Readonly<Record<string, string | undefined>>;

/** Series of one metric; more are folded into one that says so. */
const seriesMax = 200;
const shutdownMs = 2000;

/** `instance` is the worker's id. */
export async function createTelemetry(env: Env, instance: Readonly<Record<string, string>>): Promise<Telemetry> {
  const { metrics, render } = prometheusMetrics();
  const exporting = (env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT || env.OTEL_EXPORTER_OTLP_ENDPOINT) && !isDisabled(env);
  const stopTraces = exporting ? await exportTraces(env, instance) : undefined;
  return {
    metrics,
    spans: otelSpans(),
    render,
    async close() {
      const late = new Promise<void>((resolve) => setTimeout(resolve, shutdownMs).unref());
      // A collector that is gone must not keep a worker from ending.
      await Promise.race([stopTraces?.().catch(() => {}), late]);
    },
  };
}

function isDisabled(env: Env): boolean {
  return env.OTEL_SDK_DISABLED?.toLowerCase() === "true" || env.OTEL_TRACES_EXPORTER === "none";
}

/** Registers a tracer provider, unless the application has one: then its spans go where that sends them. */
async function exportTraces(env: Env, instance: Readonly<Record<string, string>>): Promise<() => Promise<void>> {
  const [{ BatchSpanProcessor, TracerProvider }, { OTLPTraceExporter }, resources] = await Promise.all([
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/resources"),
  ]);
  const named = resources.resourceFromAttributes({
    "service.name": workerServiceName,
    ...instance,
    ...(env.OTEL_SERVICE_NAME ? { "service.name": env.OTEL_SERVICE_NAME } : {}),
  });
  const detected = resources.detectResources({ detectors: [resources.envDetector] });
  const provider = new TracerProvider({
    resource: resources.defaultResource().merge(named).merge(detected),
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
  });
  trace.setGlobalTracerProvider(provider);
  return () => provider.shutdown();
}

class PullReader extends MetricReader {
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

export function prometheusMetrics(): { metrics: Metrics; render(): Promise<string> } {
  const reader = new PullReader({ cardinalitySelector: () => seriesMax });
  const meter = new MeterProvider({ readers: [reader] }).getMeter(scopeName);
  const instruments = new Map<MetricName, Counter | Gauge | Histogram>();
  for (const [name, { kind, help, buckets }] of Object.entries(metricDefinitions)) {
    const options = { description: help, ...(buckets ? { advice: { explicitBucketBoundaries: [...buckets] } } : {}) };
    const instrument =
      kind === "counter"
        ? // The serialiser appends the suffix itself.
          meter.createCounter(name.replace(/_total$/, ""), options)
        : kind === "gauge"
          ? meter.createGauge(name, options)
          : meter.createHistogram(name, options);
    instruments.set(name as MetricName, instrument);
  }
  const metrics: Metrics = {
    add: (name, by, labels) => (instruments.get(name) as Counter).add(by, listed(name, labels)),
    gauge: (name, value, labels) => (instruments.get(name) as Gauge).record(value, listed(name, labels)),
    observe: (name, value, labels) => (instruments.get(name) as Histogram).record(value, listed(name, labels)),
  };
  const serializer = new PrometheusSerializer("", false, undefined, true, true);
  return { metrics, render: async () => serializer.serialize((await reader.collect()).resourceMetrics) };
}

function listed(name: MetricName, labels: Labels = {}): Attributes {
  const entries = metricDefinitions[name].labels.map((label) => [label, labels[label]] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}
