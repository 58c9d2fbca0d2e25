/** Clients that nobody here wrote: grpc-js from the proto files alone, and curl. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatAddress } from "../../adapters/_shared/address.ts";
import { type Listener, listen } from "../../adapters/_shared/listen.ts";
import { silentLogger } from "../../src/ports.ts";
import { workerRoutes } from "../../src/rpc/server.ts";
import { EchoEndpoint, type EchoInput, echoWorker, toJson } from "./echo.ts";

const proto = join(import.meta.dirname, "..", "..", "proto");
const endpoint = new EchoEndpoint();
let listener: Listener;
let address: string;

beforeAll(async () => {
  const routes = workerRoutes(endpoint, { toJson });
  listener = await listen({ address: { host: "127.0.0.1", port: 0 }, routes, logger: silentLogger });
  address = formatAddress(listener.address);
});

afterAll(() => listener.close());

describe("grpc-js with proto-loader", () => {
  const load = () => {
    const files = ["agentmatic/v1/run.proto", "agentmatic/v1/worker.proto"];
    const definition = loadSync(files, { includeDirs: [proto], keepCase: true, longs: String, enums: String });
    // biome-ignore lint/suspicious/noExplicitAny: proto-loader makes its classes at run time
    const root = grpc.loadPackageDefinition(definition) as any;
    return new root.agentmatic.v1.WorkerService(address, grpc.credentials.createInsecure());
  };
  // google.protobuf.Value as proto-loader wants it.
  const struct = (input: EchoInput) => ({
    structValue: {
      fields: Object.fromEntries(
        Object.entries(input).map(([key, value]) => [
          key,
          typeof value === "number" ? { numberValue: value } : { stringValue: value },
        ]),
      ),
    },
  });
  let client: ReturnType<typeof load>;

  beforeAll(() => {
    client = load();
  });
  afterAll(() => client.close());

  const execute = (input: EchoInput, options: grpc.CallOptions = {}) =>
    new Promise<Record<string, unknown>>((resolve, reject) => {
      const request = { new_run: { graph: "echo", thread_id: "t1", input: struct(input) } };
      client.Execute(request, new grpc.Metadata(), options, (error: Error | null, answer: Record<string, unknown>) =>
        error ? reject(error) : resolve(answer),
      );
    });

  it("Execute answers with the run's end and its output", async () => {
    const { end, output } = await execute({ text: "hi" });
    expect(end).toMatchObject({ status: "RUN_STATUS_SUCCEEDED", checkpoint_id: "cp-1" });
    expect(output).toMatchObject({ structValue: { fields: { text: { stringValue: "hi" } } } });
  });

  it("an error has the status of the table, the message, and our code as a detail", async () => {
    const error = (await execute({ fail: "FencedOut" }).catch((thrown) => thrown)) as grpc.ServiceError;
    expect(error.code).toBe(grpc.status.ABORTED);
    // grpc-js leaves reserved characters of the percent-encoded message as they are.
    expect(error.details.replace("%3A", ":")).toBe("told to fail: ünïcode – %");
    expect(error.metadata.get("agentmatic-retry-after-ms")).toEqual(["1500"]);
    const [status] = error.metadata.get("grpc-status-details-bin");
    expect(String(status)).toContain("FencedOut");
    expect(JSON.stringify(error)).not.toContain("secret");
  });

  it("a deadline ends the call here, and there", async () => {
    const before = endpoint.abandoned;
    await expect(execute({ waitMs: 60_000 }, { deadline: Date.now() + 200 })).rejects.toMatchObject({
      code: grpc.status.DEADLINE_EXCEEDED,
    });
    await expect.poll(() => endpoint.abandoned).toBe(before + 1);
  });

  it("Link talks both ways", async () => {
    const stream = client.Link();
    const frames: Record<string, unknown>[] = [];
    const ended = new Promise<void>((resolve, reject) => {
      stream.on("data", (frame: Record<string, unknown>) => frames.push(frame));
      stream.on("end", resolve);
      stream.on("error", reject);
    });
    stream.write({ hello: { coordinator_id: "c", store: echoWorker.store, package_version: "0" } });
    stream.write({ heartbeat: { count: 7, active: 0, loop_delay_ms: 1 } });
    const run = { run_id: "r1", thread_id: "t1", attempt: 1, graph: { name: "echo", version: "1" } };
    stream.write({ dispatch: run });
    stream.end();
    await ended;
    expect(frames.map((frame) => Object.keys(frame).at(0))).toEqual([
      "welcome",
      "permits",
      "heartbeat",
      "accepted",
      "end",
    ]);
    expect(frames[2]).toMatchObject({ heartbeat: { count: "7" } });
    expect(frames[4]).toMatchObject({ end: { run_id: "r1", status: "RUN_STATUS_SUCCEEDED" } });
  });

  it("ExecuteStream gives the events before the end", async () => {
    const stream = client.ExecuteStream({
      new_run: { graph: "echo", thread_id: "t1", input: struct({ events: 3 }) },
    });
    const kinds: string[] = [];
    for await (const frame of stream) kinds.push(Object.keys(frame)[0] ?? "");
    expect(kinds).toEqual(["events", "events", "events", "end"]);
  });
});

describe("curl", () => {
  const call = async (flags: readonly string[], body: object) => {
    const url = `http://${address}/agentmatic.v1.WorkerService/Execute`;
    const json = ["-H", "content-type: application/json", "--data", JSON.stringify(body)];
    const args = [
      "--silent",
      "--max-time",
      "10",
      "--write-out",
      "\n%{http_version} %{http_code}",
      ...flags,
      ...json,
      url,
    ];
    const { stdout } = await promisify(execFile)("curl", args);
    const at = stdout.lastIndexOf("\n");
    const [version, code] = stdout.slice(at + 1).split(" ");
    return { version, code, answer: JSON.parse(stdout.slice(0, at)) };
  };
  const body = { newRun: { graph: "echo", threadId: "t1", input: { text: "hi" } } };

  it.each([
    ["HTTP/1.1", ["--http1.1"], "1.1"],
    ["HTTP/2 by prior knowledge", ["--http2-prior-knowledge"], "2"],
    ["HTTP/1.1 with an offer to upgrade", ["--http2"], "1.1"],
  ])("Connect JSON over %s", async (_name, flags, version) => {
    const { answer, ...status } = await call(flags, body);
    expect(status).toEqual({ version, code: "200" });
    expect(answer.output).toEqual({ text: "hi", threadId: "t1" });
    expect(answer.end.status).toBe("RUN_STATUS_SUCCEEDED");
  });

  it("an error is JSON with our code, and the table's HTTP status of its Connect code", async () => {
    const { code, answer } = await call([], { newRun: { graph: "echo", input: { fail: "NotFound" } } });
    expect(code).toBe("404");
    expect(answer).toMatchObject({ code: "not_found", details: [{ debug: { code: "NotFound" } }] });
  });

  it("bad input is refused by its field, an unknown one too", async () => {
    expect((await call([], { newRun: { threadId: "t" } })).answer).toMatchObject({
      code: "invalid_argument",
      message: "new_run.graph: must be the name of a graph",
    });
    expect((await call([], { newRun: { graf: "echo" } })).answer).toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining("graf"),
    });
    expect((await call([], {})).answer).toMatchObject({ code: "invalid_argument" });
  });

  it("a trace in W3C headers becomes the run's", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await call(["-H", `traceparent: ${traceparent}`, "-H", "tracestate: a=1"], body);
    expect(endpoint.seen.at(-1)?.context.trace).toEqual({ traceparent, tracestate: "a=1" });
  });
});
