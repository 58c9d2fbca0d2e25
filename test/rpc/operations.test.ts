import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import { listenHttp } from "../../adapters/_shared/metrics-listen.ts";
import { createOperationsApp, type Health, prometheusContentType } from "../../src/http/mod.ts";

function app(ready: Health = { ok: true, reasons: [] }, health: Health = { ok: true, reasons: [] }) {
  return createOperationsApp({ health: () => health, ready: () => ready, metrics: async () => "agentmatic_slots 1\n" });
}

describe("the operations app", () => {
  it("says that it lives, is ready, and what it measures", async () => {
    for (const path of ["/healthz", "/readyz"]) {
      const answer = await app().request(path);
      expect([answer.status, await answer.json()]).toEqual([200, { ok: true }]);
    }
    const metrics = await app().request("/metrics");
    expect([metrics.status, await metrics.text()]).toEqual([200, "agentmatic_slots 1\n"]);
    expect(metrics.headers.get("content-type")).toBe(prometheusContentType);
  });

  it("answers 503 with the reasons, each probe for itself", async () => {
    const notReady = app({ ok: false, reasons: ["draining"] });
    const answer = await notReady.request("/readyz");
    expect([answer.status, await answer.json()]).toEqual([503, { ok: false, reasons: ["draining"] }]);
    expect((await notReady.request("/healthz")).status).toBe(200);
    const sick = app({ ok: true, reasons: [] }, { ok: false, reasons: ["stuck"] });
    expect((await sick.request("/healthz")).status).toBe(503);
    expect((await sick.request("/readyz")).status).toBe(200);
  });

  it("answers nothing else", async () => {
    for (const path of ["/", "/healthz/", "/metrics/x", "/.env"]) expect((await app().request(path)).status).toBe(404);
    for (const method of ["POST", "PUT", "DELETE"]) {
      expect((await app().request("/metrics", { method })).status).toBe(404);
    }
    expect((await app().request("/readyz", { method: "HEAD" })).status).toBe(200);
  });

  it("mounts in a user's own app, beside its routes", async () => {
    const own = new Hono();
    own.get("/hello", (c) => c.text("hello"));
    own.route("/", app());
    own.route("/internal", app());
    expect(await (await own.request("/hello")).text()).toBe("hello");
    expect((await own.request("/readyz")).status).toBe(200);
    expect((await own.request("/internal/metrics")).status).toBe(200);
  });

  it("listens on a port of its own, and closes while a connection is kept alive", async () => {
    const listener = await listenHttp({ host: "127.0.0.1", port: 0 }, app().fetch);
    const url = `http://127.0.0.1:${listener.address.port}`;
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect((await fetch(`${url}/secret`)).status).toBe(404);
    await listener.close();
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  });
});
