/** Every name that dashboards, alerts and autoscalers may depend on. Spans' names are the type `SpanName` in spans.ts. */

/** The instrumentation scope of all spans and metrics. */
export const scopeName = "agentmatic";
/** `service.name` of a worker where OTEL_SERVICE_NAME says nothing else. */
export const workerServiceName = "agentmatic-worker";

export const metricNames = {
  /** What autoscalers read. */
  queueDepth: "agentmatic_queue_depth",
  activeRuns: "agentmatic_active_runs",
  slots: "agentmatic_slots",
  runs: "agentmatic_runs_total",
  handoffs: "agentmatic_handoffs_total",
  fencedOut: "agentmatic_fenced_out_total",
  checkpointWriteSeconds: "agentmatic_checkpoint_write_seconds",
  runSeconds: "agentmatic_run_seconds",
  eventLoopDelaySeconds: "agentmatic_event_loop_delay_seconds",
  info: "agentmatic_info",
} as const;

export type MetricName = (typeof metricNames)[keyof typeof metricNames];

export interface MetricDefinition {
  readonly kind: "counter" | "gauge" | "histogram";
  readonly help: string;
  /** The only labels it may have: each value must come from a small, closed set. */
  readonly labels: readonly string[];
  /** Upper bounds of a histogram's buckets. */
  readonly buckets?: readonly number[];
}

const millisecondBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const runBuckets = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];

export const metricDefinitions: Readonly<Record<MetricName, MetricDefinition>> = {
  agentmatic_queue_depth: { kind: "gauge", help: "Accepted runs that wait for a slot.", labels: [] },
  agentmatic_active_runs: { kind: "gauge", help: "Runs in this worker's slots.", labels: [] },
  agentmatic_slots: { kind: "gauge", help: "Runs that this worker executes at once at most.", labels: [] },
  agentmatic_runs_total: { kind: "counter", help: "Runs that ended here, by their final status.", labels: ["status"] },
  agentmatic_handoffs_total: { kind: "counter", help: "Runs given to another worker, by reason.", labels: ["reason"] },
  agentmatic_fenced_out_total: {
    kind: "counter",
    help: "Attempts that a newer owner of their thread stopped.",
    labels: [],
  },
  agentmatic_checkpoint_write_seconds: {
    kind: "histogram",
    help: "Time of one checkpoint write in the store.",
    labels: ["store"],
    buckets: millisecondBuckets,
  },
  agentmatic_run_seconds: {
    kind: "histogram",
    help: "Time of one attempt of a run in a slot.",
    labels: [],
    buckets: runBuckets,
  },
  agentmatic_event_loop_delay_seconds: {
    kind: "gauge",
    help: "How late the event loop was at the last look.",
    labels: [],
  },
  agentmatic_info: {
    kind: "gauge",
    help: "Always 1; its labels say what runs here.",
    labels: ["version", "runtime", "runtime_version", "region", "store"],
  },
};
