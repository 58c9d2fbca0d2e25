/** /healthz, /readyz and /metrics as a Hono app: served on the metrics port, or mounted in a user's own app. */
import { Hono } from "hono";

export interface Health {
  readonly ok: boolean;
  /** Short and without secrets: whoever reaches the port reads them. */
  readonly reasons: readonly string[];
}

export interface OperationsOptions {
  /** Not ok only when the process should be restarted: never for a store that is out of reach. */
  health(): Health;
  /** Not ok while no new runs should come: starting, draining, no store. Must not wait for the store itself. */
  ready(): Health | Promise<Health>;
  /** Prometheus text (https://prometheus.io/docs/instrumenting/exposition_formats/). */
  metrics(): Promise<string>;
}

export const prometheusContentType = "text/plain; version=0.0.4; charset=utf-8";

/** Mount it with `app.route("/", createOperationsApp(…))`. Answers no other path and no method but GET and HEAD. */
export function createOperationsApp(options: OperationsOptions): Hono {
  const app = new Hono();
  app.get("/healthz", () => answer(options.health()));
  app.get("/readyz", async () => answer(await options.ready()));
  app.get("/metrics", async (c) => c.body(await options.metrics(), 200, { "content-type": prometheusContentType }));
  return app;
}

function answer({ ok, reasons }: Health): Response {
  const body = ok ? { ok } : { ok, reasons };
  return Response.json(body, { status: ok ? 200 : 503, headers: { "cache-control": "no-store" } });
}
