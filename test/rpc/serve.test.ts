import { afterEach, describe, expect, it } from "vitest";
import { formatAddress } from "../../adapters/_shared/address.ts";
import { plansOf } from "../../adapters/_shared/graphs.ts";
import { valueToJson } from "../../adapters/_shared/json.ts";
import { openStore } from "../../adapters/_shared/store-url.ts";
import { createDialer } from "../../adapters/cluster/dial.ts";
import { type ServeWorkerOptions, serveWorker, type WorkerServer } from "../../adapters/node/mod.ts";
import { encodeValue } from "../../src/checkpoint/codec.ts";
import { MemorySaver } from "../../src/checkpoint/memory.ts";
import type { Saver, StoreIdentity } from "../../src/checkpoint/saver.ts";
import { AgentmaticError } from "../../src/errors.ts";
import { type Logger, silentLogger } from "../../src/ports.ts";
import type { NewRun } from "../../src/run/link.ts";
import * as graphs from "../fixtures/graphs.ts";
import { until } from "../support/wait.ts";
import { framesOf } from "./cases.ts";

const servers: WorkerServer[] = [];
const never = new AbortController().signal;

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close({ drainMs: 0 })));
});

/** A memory saver that can be told to be out of reach, and counts how often it is asked. */
class FlakySaver extends MemorySaver {
  mode: "well" | "down" | "hangs" = "well";
  asked = 0;

  override async identity(): Promise<StoreIdentity> {
    this.asked++;
    if (this.mode === "down")
      throw new AgentmaticError("Unavailable", "connect to db.internal:5432 with hunter2 failed");
    if (this.mode === "hangs") await new Promise(() => {});
    return super.identity();
  }
}

async function serve(options: Partial<ServeWorkerOptions> = {}): Promise<WorkerServer> {
  const saver: Saver = new MemorySaver();
  const server = await serveWorker({
    listen: "127.0.0.1:0",
    metrics: "127.0.0.1:0",
    graphs,
    store: saver,
    ...options,
  });
  servers.push(server);
  return server;
}

async function get(server: WorkerServer, path: string) {
  const answer = await fetch(`http://${formatAddress(server.metricsAddress!)}${path}`);
  const text = await answer.text();
  return { status: answer.status, text };
}

function newRun(graph: string, input: unknown): NewRun {
  return {
    type: "new",
    runId: "",
    threadId: "",
    graph,
    input,
    context: { correlationId: "" },
    maxSteps: 0,
    events: [],
  };
}

describe("serveWorker", () => {
  it("serves the graphs of a module, and says so", async () => {
    const server = await serve({ name: "box-1", region: "eu-west-1", labels: { tier: "a" }, slots: 3 });
    const client = createDialer({ transport: "grpc" }).dial(formatAddress(server.address));
    const { worker } = await client.describe();
    expect(worker).toMatchObject({
      workerId: server.id,
      name: "box-1",
      region: "eu-west-1",
      labels: { tier: "a" },
      slots: 3,
    });
    expect(worker.graphs.map(({ name }) => name).sort()).toEqual(["echo", "fan", "fault", "steps"]);
    const frames = await framesOf(client.execute(newRun("echo", { text: "hi" }), never));
    const [end] = frames.slice(-1);
    expect(end?.type === "end" && end.values && valueToJson(end.values)).toEqual({ text: "hi", shouted: "HI" });
    const { text } = await get(server, "/metrics");
    expect(text).toContain("agentmatic_slots 3\n");
    expect(text).toContain('agentmatic_runs_total{status="succeeded"} 1\n');
    expect(text).toMatch(/agentmatic_checkpoint_write_seconds_count\{store="memory"\} [1-9]/);
    expect(text).toMatch(
      /agentmatic_info\{version="\d+\.\d+\.\d+[^"]*",runtime="node",runtime_version="2[0-9.]+",region="eu-west-1",store="memory"\} 1/,
    );
    await client.close();
  });

  it("is ready while its store answers, and alive without it; probes cost the store nothing", async () => {
    const store = new FlakySaver();
    const server = await serve({ store });
    await until(() => server.ready().ok, { what: "the worker to be ready" });
    const before = store.asked;
    for (let n = 0; n < 50; n++) expect((await get(server, "/readyz")).status).toBe(200);
    expect(store.asked - before).toBeLessThan(5);
    store.mode = "down";
    await until(async () => (await get(server, "/readyz")).status === 503, { what: "the store to be missed" });
    const { text } = await get(server, "/readyz");
    expect(JSON.parse(text)).toEqual({ ok: false, reasons: ["the store does not answer (Unavailable)"] });
    expect((await get(server, "/healthz")).status).toBe(200);
    store.mode = "well";
    await until(async () => (await get(server, "/readyz")).status === 200, { what: "the store to be found again" });
  });

  it("waits, not ready, for a store that is not there at the start", async () => {
    const store = new FlakySaver();
    store.mode = "down";
    const server = await serve({ store });
    const { status, text } = await get(server, "/readyz");
    expect(status).toBe(503);
    expect(text).not.toContain("hunter2");
    expect(JSON.parse(text).reasons).toContain("starting");
    const client = createDialer({ transport: "grpc" }).dial(formatAddress(server.address));
    await expect(client.describe()).rejects.toMatchObject({ code: "Unavailable" });
    store.mode = "well";
    await until(async () => (await get(server, "/readyz")).status === 200, { what: "the worker to be ready" });
    expect((await client.describe()).worker.workerId).toBe(server.id);
    await client.close();
  });

  it("is not ready the moment it is told to stop, while its runs still go on", async () => {
    const server = await serve();
    await until(() => server.ready().ok, { what: "the worker to be ready" });
    const client = createDialer({ transport: "grpc" }).dial(formatAddress(server.address));
    const run = framesOf(client.execute(newRun("steps", { steps: 100, stepMs: 100 }), never)).catch((thrown) => thrown);
    await until(async () => (await get(server, "/metrics")).text.includes("agentmatic_active_runs 1\n"), {
      what: "the run to begin",
    });
    const closing = server.close({ drainMs: 5_000 });
    const { status, text } = await get(server, "/readyz");
    expect([status, JSON.parse(text)]).toEqual([503, { ok: false, reasons: ["draining"] }]);
    expect((await get(server, "/healthz")).status).toBe(200);
    await closing;
    // Nobody follows a plain call elsewhere: it is told that the worker drains, and the run stays queued in the store.
    expect(await run).toMatchObject({ code: "Unavailable" });
    await expect(get(server, "/healthz")).rejects.toThrow();
  });

  it("refuses what it cannot serve, by the option's name", async () => {
    const invalid = (message: RegExp) =>
      expect.objectContaining({ code: "InvalidArgument", message: expect.stringMatching(message) });
    await expect(serve({ listen: "nowhere" })).rejects.toThrow(invalid(/^listen: /));
    await expect(serve({ metrics: "127.0.0.1:99999" })).rejects.toThrow(invalid(/^metrics: .*65535/));
    await expect(serve({ graphs: {} })).rejects.toThrow(invalid(/^graphs has no compiled graph/));
    await expect(serve({ store: "mongodb://me:hunter2@h/db" })).rejects.toThrow(invalid(/^store: .*sqlite:/));
  });

  it("leaves no port open where the second one is taken", async () => {
    const server = await serve();
    const taken = formatAddress(server.address);
    await expect(serve({ listen: taken })).rejects.toMatchObject({ code: "FailedPrecondition" });
    await expect(serve({ metrics: taken })).rejects.toMatchObject({ code: "FailedPrecondition" });
  });
});

describe("the graphs of a module", () => {
  const { echo, fan } = graphs;

  it.each<[string, object, string[]]>([
    ["exports", { echo, fan, helper: () => 1, text: "x" }, ["echo", "fan"]],
    ["a list", [echo, fan], ["echo", "fan"]],
    ["an exported list", { graphs: [echo, fan] }, ["echo", "fan"]],
    ["an exported object", { graphs: { echo, other: fan } }, ["echo", "fan"]],
    ["a configuration", { default: { graphs: { echo }, store: "sqlite:x" } }, ["echo"]],
    ["an agent", { agent: { graph: echo } }, ["echo"]],
    ["one graph under two names", { echo, default: echo }, ["echo"]],
  ])("as %s", (_name, module, names) => {
    expect(plansOf(module as never).map(({ name }) => name)).toEqual(names);
  });

  it("must be there, and differ in name", () => {
    expect(() => plansOf({ helper: () => 1 })).toThrow(
      "graphs has no compiled graph among its exports (found: helper)",
    );
    const other = { plan: { ...echo.plan } };
    expect(() => plansOf({ echo, other }, "--graphs x.ts")).toThrow('--graphs x.ts has two graphs named "echo"');
  });
});

describe("store URLs", () => {
  const logger = silentLogger;

  it("open the saver that they name", async () => {
    expect((await openStore("memory:", { logger })).kind).toBe("memory");
    const memory = await openStore("memory:?region=eu-west-1&zone=eu", { logger });
    expect(await memory.identity()).toMatchObject({ region: "eu-west-1", zone: "eu" });
    expect((await openStore("sqlite:./never-opened.db", { logger })).kind).toBe("sqlite");
    const postgres = await openStore("postgres://me:hunter2@127.0.0.1:1/db", { logger });
    expect(postgres.kind).toBe("postgres");
    await postgres.close();
  });

  it.each([
    "",
    "runs.db",
    "mongodb://me:hunter2@h/db",
    "sqlite:",
    "sqlite://me:hunter2@h/x",
    "postgres://",
    "memory:x",
    "memory:?a=1",
  ])("refuse %j by the flag's name, without repeating it", async (url) => {
    const error = await openStore(url, { logger }).then(
      () => undefined,
      (thrown) => thrown as AgentmaticError,
    );
    expect(error?.code).toBe("InvalidArgument");
    expect(error?.message).toMatch(/^--store: /);
    expect(error?.message).not.toContain("hunter2");
  });

  it("warn loudly where fences are off", async () => {
    const lines: string[] = [];
    const loud: Logger = { log: (level, message) => void lines.push(`${level} ${message}`) };
    await openStore("memory:", { logger: loud, unsafeWithoutFence: true });
    expect(lines).toEqual([expect.stringMatching(/^warn AGENTMATIC_UNSAFE_NO_FENCE/)]);
  });
});

describe("state as JSON", () => {
  it("writes what JSON cannot say as text", () => {
    const value = {
      date: new Date(0),
      big: 12n,
      nan: Number.NaN,
      map: new Map([["a", 1]]),
      set: new Set([1, 2]),
      bytes: new Uint8Array([1, 2]),
      error: new TypeError("bad"),
      url: new URL("https://x.example/y"),
      expression: /a+/g,
      nothing: undefined,
      null: null,
      list: [undefined, { deep: [true] }],
    };
    expect(valueToJson(encodeValue(value))).toEqual({
      date: "1970-01-01T00:00:00.000Z",
      big: "12",
      nan: "NaN",
      map: [["a", 1]],
      set: [1, 2],
      bytes: "AQI=",
      error: { name: "TypeError", message: "bad" },
      url: "https://x.example/y",
      expression: "/a+/g",
      null: null,
      list: [null, { deep: [true] }],
    });
  });

  it("gives what is too deep for the wire as the text of its JSON", async () => {
    const deep = (levels: number): unknown => (levels === 0 ? "bottom" : { a: deep(levels - 1) });
    const text = JSON.stringify(valueToJson(encodeValue(deep(60))));
    expect(text).toContain("bottom");
    const server = await serve();
    const client = createDialer({ transport: "connect" }).dial(formatAddress(server.address));
    const answer = await fetch(`http://${formatAddress(server.address)}/agentmatic.v1.WorkerService/Execute`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ newRun: { graph: "echo", input: { text: "deep" } } }),
    });
    expect(await answer.json()).toMatchObject({ output: { shouted: "DEEP" } });
    await client.close();
  });
});
