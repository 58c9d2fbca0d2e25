/** A worker on each runtime, from the sources: all protocols, its probes, SQLite, and a kill with hand-off. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterEach, describe, expect, it } from "vitest";
import { valueToJson } from "../../adapters/_shared/json.ts";
import { createDialer, type DialProtocol } from "../../adapters/cluster/dial.ts";
import { ClusterConfig } from "../../adapters/cluster/mod.ts";
import { SqliteSaver } from "../../adapters/sqlite/mod.ts";
import { encodeValue } from "../../src/mod.ts";
import type { RunEnd } from "../../src/run/link.ts";
import { steps, type WitnessLine } from "../fixtures/graphs.ts";
import { framesOf, newRun } from "../rpc/cases.ts";
import { type Child, start } from "../support/process.ts";
import { type Runtime, runtimes } from "../support/runtimes.ts";
import { until } from "../support/wait.ts";

const root = join(import.meta.dirname, "..", "..");
const program = join(root, "bin", "agentmatic-worker.ts");
const fixtures = join(root, "test", "fixtures", "graphs.ts");
const protocols: readonly DialProtocol[] = ["grpc", "connect", "grpc-web"];
const never = new AbortController().signal;
const open: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

interface WorkerProcess {
  readonly child: Child;
  readonly address: string;
  readonly metrics: string;
  readonly id: string;
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "agentmatic-runtime-"));
  open.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function startWorker(runtime: Runtime, folder: string): Promise<WorkerProcess> {
  const { cmd, args } = runtime.command([
    ...[program, "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--graphs", fixtures],
    ...["--store", `sqlite:${join(folder, "runs.db")}`, "--drain-ms", "2000"],
  ]);
  const child = await start(cmd, args, { cwd: folder, env: { AGENTMATIC_WITNESS: join(folder, "witness.jsonl") } });
  open.push(() => child.kill());
  const line = /^agentmatic-worker listening on (\S+) \(metrics (\S+)\) id=(\S+)$/;
  const [, address = "", metrics = "", id = ""] = await child.line(line, { timeoutMs: 30_000 });
  return { child, address, metrics, id };
}

/** What the nodes have written so far; nothing before the first line. */
function witnessed(folder: string): WitnessLine[] {
  const file = join(folder, "witness.jsonl");
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

describe.each(runtimes())("a worker on $name", (runtime) => {
  it("serves gRPC, Connect and gRPC-web, Connect JSON on HTTP/1.1, its probes, and ends when told to", async () => {
    const { child, address, metrics, id } = await startWorker(runtime, newFolder());
    for (const transport of protocols) {
      const client = createDialer({ transport }).dial(address);
      expect((await client.describe()).worker).toMatchObject({ workerId: id, store: { kind: "sqlite", shared: true } });
      const run = newRun({}, { runId: "", threadId: `of ${transport}`, graph: "fan", events: ["values"] });
      const frames = await framesOf(client.execute({ ...run, input: { words: ["a", "bc", "def"] } }, never));
      const end = frames.at(-1) as RunEnd;
      expect(end).toMatchObject({ type: "end", status: "succeeded" });
      expect(valueToJson(end.values!)).toEqual({ words: ["a", "bc", "def"], lengths: [1, 2, 3], total: 6 });
      expect(frames.filter(({ type }) => type === "events").length).toBeGreaterThan(0);
      await client.close();
    }
    const answer = await fetch(`http://${address}/agentmatic.v1.WorkerService/Execute`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ newRun: { graph: "echo", threadId: "json", input: { text: "hi" } } }),
    });
    expect(await answer.json()).toMatchObject({ end: { status: "RUN_STATUS_SUCCEEDED" }, output: { shouted: "HI" } });
    expect((await fetch(`http://${metrics}/healthz`)).status).toBe(200);
    expect((await fetch(`http://${metrics}/readyz`)).status).toBe(200);
    const text = await (await fetch(`http://${metrics}/metrics`)).text();
    expect(text).toContain('agentmatic_runs_total{status="succeeded"} 4\n');
    expect(text).toContain(`runtime="${runtime.name}"`);
    child.signal("SIGTERM");
    expect(await child.exited).toEqual({ code: 0, signal: null });
  });

  it("answers grpc-js, which knows nothing but the proto files", async () => {
    const { address } = await startWorker(runtime, newFolder());
    const includeDirs = [join(root, "proto")];
    const definition = loadSync(["agentmatic/v1/worker.proto"], { includeDirs, enums: String });
    // biome-ignore lint/suspicious/noExplicitAny: proto-loader makes its classes at run time
    const loaded = grpc.loadPackageDefinition(definition) as any;
    const client = new loaded.agentmatic.v1.WorkerService(address, grpc.credentials.createInsecure());
    open.push(() => client.close());
    const input = { structValue: { fields: { text: { stringValue: "hi" } } } };
    const answer = await new Promise<{ end: object; output: object }>((resolve, reject) => {
      client.Execute({ newRun: { graph: "echo", input } }, (error: Error | null, value: never) =>
        error ? reject(error) : resolve(value),
      );
    });
    expect(answer.end).toMatchObject({ status: "RUN_STATUS_SUCCEEDED" });
    expect(answer.output).toMatchObject({ structValue: { fields: { shouted: { stringValue: "HI" } } } });
  });

  it("is killed in the middle, and another one goes on from the last checkpoint", async () => {
    const folder = newFolder();
    const workers = [await startWorker(runtime, folder), await startWorker(runtime, folder)];
    const saver = SqliteSaver.fromUrl(`sqlite:${join(folder, "runs.db")}`);
    open.push(() => saver.close());
    const config = new ClusterConfig({
      topology: "coordinator-worker",
      workers: workers.map(({ address }) => address),
    });
    open.push(() => config.close());
    const coordinator = config.coordinator(saver);
    const { name, version } = steps.plan;
    const handle = await coordinator.start({
      threadId: "killed",
      graph: { name, version },
      kind: "input",
      input: encodeValue({ steps: 30, stepMs: 30 }),
      maxSteps: 1000,
      events: [],
    });
    const first = await until(
      () => witnessed(folder).filter(({ at }) => at === "end").length >= 5 && witnessed(folder)[0],
      {
        what: "five steps to be done",
        timeoutMs: 20_000,
      },
    );
    const victim = workers.find(({ child }) => child.pid === first.pid);
    await victim!.child.kill();
    const end = await handle.end;
    expect(end).toMatchObject({ status: "succeeded" });
    expect(valueToJson(end.values!)).toMatchObject({ done: Array.from({ length: 30 }, (_, step) => step) });
    const ends = witnessed(folder).filter(({ at }) => at === "end");
    // What was committed is not run again. The witness writes before the commit, so that the step under way at the kill
    // may have its end written down and no more.
    const before = new Set(ends.filter(({ pid }) => pid === first.pid).map(({ taskId }) => taskId));
    const after = ends.filter(({ pid }) => pid !== first.pid).map(({ taskId }) => taskId);
    expect(after.length).toBeGreaterThan(0);
    expect(after.filter((taskId) => before.has(taskId)).length).toBeLessThanOrEqual(1);
    expect(new Set(after).size).toBe(after.length);
  });
});
