import { createServer } from "node:http";
import { trace } from "@opentelemetry/api";
import { AlwaysOnSampler, InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { afterEach, describe, expect, it } from "vitest";
import { createTelemetry, prometheusMetrics } from "../../adapters/_shared/telemetry.ts";
import { AgentmaticError } from "../../src/errors.ts";
import { metricDefinitions, metricNames } from "../../src/telemetry/names.ts";
import { extracted, injected, otelSpans } from "../../src/telemetry/trace.ts";

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

afterEach(() => trace.disable());

describe("Prometheus text", () => {
  it("has every metric that was measured, under its own name, with only its own labels", async () => {
    const { metrics, render } = prometheusMetrics();
    for (const [name, { kind, labels }] of Object.entries(metricDefinitions)) {
      const given = Object.fromEntries([...labels, "thread_id"].map((label) => [label, "x"]));
      if (kind === "counter") metrics.add(name as "agentmatic_runs_total", 2, given);
      else if (kind === "gauge") metrics.gauge(name as "agentmatic_slots", 2, given);
      else metrics.observe(name as "agentmatic_run_seconds", 2, given);
    }
    const text = await render();
    for (const [name, { kind, help, labels }] of Object.entries(metricDefinitions)) {
      expect(text).toContain(`# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`);
      const series = labels.length === 0 ? "" : `{${labels.map((label) => `${label}="x"`).join(",")}}`;
      expect(text).toContain(kind === "histogram" ? `${name}_sum${series} 2\n` : `${name}${series} 2\n`);
    }
    expect(text).not.toContain("thread_id");
    expect(text).not.toMatch(/NaN|undefined/);
  });

  it("bounds the series of a metric", async () => {
    const { metrics, render } = prometheusMetrics();
    for (let n = 0; n < 5_000; n++) metrics.add(metricNames.handoffs, 1, { reason: `reason ${n}` });
    const series = (await render()).split("\n").filter((line) => line.startsWith("agentmatic_handoffs_total{"));
    expect(series.length).toBeLessThanOrEqual(201);
  });

  it("adds up counters and keeps the last of a gauge", async () => {
    const { metrics, render } = prometheusMetrics();
    for (const n of [1, 2, 3]) {
      metrics.add(metricNames.runs, n, { status: "failed" });
      metrics.gauge(metricNames.activeRuns, n);
    }
    const text = await render();
    expect(text).toContain('agentmatic_runs_total{status="failed"} 6\n');
    expect(text).toContain("agentmatic_active_runs 3\n");
  });
});

describe("trace contexts", () => {
  it("go in and out unchanged", () => {
    const span = extracted({ traceparent, tracestate: "a=1,b=2" });
    expect(span).toMatchObject({ traceId: "0af7651916cd43dd8448eb211c80319c", traceFlags: 1, isRemote: true });
    expect(injected(span!, "user=1")).toEqual({ traceparent, tracestate: "a=1,b=2", baggage: "user=1" });
    // A later version may add fields behind; they are not passed on.
    expect(extracted({ traceparent: `cc${traceparent.slice(2)}-more` })?.spanId).toBe("b7ad6b7169203331");
  });

  it.each([
    ["an unknown version", `ff${traceparent.slice(2)}`],
    ["a version 0 with more fields", `${traceparent}-more`],
    ["no trace id", `00-${"0".repeat(32)}-b7ad6b7169203331-01`],
    ["no span id", `00-0af7651916cd43dd8448eb211c80319c-${"0".repeat(16)}-01`],
    ["capital letters", traceparent.toUpperCase()],
    ["nothing", ""],
  ])("with %s are ignored", (_name, text) => {
    expect(extracted({ traceparent: text })).toBeUndefined();
  });
});

describe("spans", () => {
  function recording() {
    const exporter = new InMemorySpanExporter();
    const spanProcessors = [new SimpleSpanProcessor({ exporter })];
    const provider = new TracerProvider({ sampler: new AlwaysOnSampler(), spanProcessors });
    return { spans: otelSpans(provider.getTracer("test")), exporter };
  }

  it("are children of the run's trace, and parents of what the run starts elsewhere", () => {
    const { spans, exporter } = recording();
    const span = spans.start("agentmatic.graph.run", { "agentmatic.graph": "g" }, { traceparent, baggage: "user=1" });
    expect(span.trace?.traceparent).toMatch(
      /^00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331)[0-9a-f]{16}-01$/,
    );
    expect(span.trace?.baggage).toBe("user=1");
    const child = spans.start("agentmatic.node.execute", {}, span.trace);
    child.end();
    span.end();
    const [inner, outer] = exporter.getFinishedSpans();
    expect(inner?.parentSpanContext?.spanId).toBe(outer?.spanContext().spanId);
    expect(outer?.parentSpanContext?.spanId).toBe("b7ad6b7169203331");
    expect(outer?.attributes).toEqual({ "agentmatic.graph": "g" });
  });

  it("carry an error's code and never its message", () => {
    const { spans, exporter } = recording();
    const span = spans.start("agentmatic.node.execute", {});
    span.fail(new AgentmaticError("NodeFailed", "the customer is called Ada", { cause: new Error("Ada") }));
    span.end();
    const text = JSON.stringify(
      exporter.getFinishedSpans().map(({ attributes, status, events }) => ({ attributes, status, events })),
    );
    expect(text).toContain("NodeFailed");
    expect(text).not.toContain("Ada");
  });

  it("without an SDK pass the caller's trace on, and begin none", () => {
    const spans = otelSpans();
    expect(spans.start("agentmatic.graph.run", {}, { traceparent }).trace).toEqual({ traceparent });
    expect(spans.start("agentmatic.graph.run", {}).trace).toBeUndefined();
  });
});

describe("export", () => {
  it("sends spans to the collector that the environment names, and nothing where it names none", async () => {
    const requests: { url: string | undefined; body: string }[] = [];
    const collector = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        requests.push({ url: request.url, body });
        response.end("{}");
      });
    });
    await new Promise<void>((done) => collector.listen(0, "127.0.0.1", done));
    const address = collector.address();
    const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
    const send = async (env: Record<string, string>) => {
      const before = { ...process.env };
      // The exporter reads the process's environment by itself.
      Object.assign(process.env, env);
      const telemetry = await createTelemetry(env, { "cloud.region": "eu-west-1" });
      telemetry.spans.start("agentmatic.graph.run", { "agentmatic.graph": "mail" }).end();
      await telemetry.close();
      trace.disable();
      process.env = before;
    };
    try {
      await send({});
      await send({ OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_SDK_DISABLED: "true" });
      expect(requests).toEqual([]);
      await send({ OTEL_EXPORTER_OTLP_ENDPOINT: url });
      expect(requests.map((request) => request.url)).toEqual(["/v1/traces"]);
      for (const part of ["agentmatic.graph.run", "agentmatic-worker", "eu-west-1", "mail"]) {
        expect(requests[0]?.body).toContain(part);
      }
      await send({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${url}/own`, OTEL_SERVICE_NAME: "mine" });
      expect(requests[1]).toMatchObject({ url: "/own", body: expect.stringContaining("mine") });
    } finally {
      collector.closeAllConnections();
      collector.close();
    }
  });

  it("does not keep a worker from ending where the collector is gone", async () => {
    process.env.OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:1";
    try {
      const telemetry = await createTelemetry(process.env, {});
      telemetry.spans.start("agentmatic.graph.run", {}).end();
      const startMs = performance.now();
      await telemetry.close();
      expect(performance.now() - startMs).toBeLessThan(4_000);
    } finally {
      delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT;
    }
  });
});
