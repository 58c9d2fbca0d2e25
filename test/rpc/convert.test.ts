import { create, fromBinary, fromJson, toBinary, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { errorCodes } from "../../src/errors.ts";
import {
  executeFrameFromWire,
  executeFrameToWire,
  runFromWire,
  runToWire,
  toCoordinatorFromWire,
  toCoordinatorToWire,
  toWorkerFromWire,
  toWorkerToWire,
} from "../../src/rpc/frames.ts";
import {
  ExecuteRequestSchema,
  ExecuteStreamResponseSchema,
  LinkRequestSchema,
  LinkResponseSchema,
} from "../../src/rpc/gen/agentmatic/v1/worker_pb.ts";
import { jsonDepthMax, jsonFromWire, jsonToWire } from "../../src/rpc/json.ts";
import { eventKinds } from "../../src/run/events.ts";
import type { Dispatch, ExecuteFrame, NewRun, RunEnd, ToCoordinator, ToWorker } from "../../src/run/link.ts";
import { terminalStatuses } from "../../src/run/record.ts";

const store = { id: "store-1", kind: "postgres", zone: "eu", region: "eu-west-1", shared: true };
const graphs = [
  { name: "mail", version: "sha256:1" },
  { name: "echo", version: "" },
];
const context = {
  caller: "tenant-7",
  residency: { regions: ["eu-west-1", "eu-central-1"] },
  trace: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate: "a=1", baggage: "b=2" },
  correlationId: "corr-1",
};
const data = new Uint8Array([0, 1, 255]);
const dispatch: Dispatch = {
  type: "dispatch",
  runId: "eu::run-1",
  threadId: "eu::thread-1",
  attempt: 2,
  graph: { name: "mail", version: "sha256:1" },
  context,
  events: eventKinds,
};
const end: RunEnd = {
  type: "end",
  runId: "run-1",
  attempt: 3,
  epoch: Number.MAX_SAFE_INTEGER,
  status: "succeeded",
  checkpointId: "cp-9",
  values: data,
  interrupts: new Uint8Array([7]),
};
const events = eventKinds.map((kind, index) => ({
  runId: "run-1",
  kind,
  epoch: 2 ** 33,
  attempt: 1,
  seq: index,
  ns: "sub|1",
  node: "parse",
  taskId: "t/1",
  data,
}));

const toWorker: Record<string, ToWorker> = {
  hello: { type: "hello", coordinatorId: "c-1", store, graphs, packageVersion: "0.1.0" },
  dispatch,
  "dispatch without context": { ...dispatch, context: { correlationId: "" }, events: [] },
  "dispatch with a rule that allows nothing": {
    ...dispatch,
    context: { residency: { regions: [] }, correlationId: "x" },
  },
  "dispatch with its run": { ...dispatch, inline: { kind: "resume", input: data, maxSteps: 25 } },
  "dispatch with all that its run may say": {
    ...dispatch,
    inline: { kind: "resume", input: data, maxSteps: 25, settings: data, fromCheckpointId: "c.1", deadlineMs: 5_000 },
  },
  "flow: no room": { type: "flow", runId: "run-1", open: false },
  "flow: room again": { type: "flow", runId: "run-1", open: true },
  cancel: { type: "cancel", runId: "run-1" },
  attach: { type: "attach", runId: "run-1", attempt: 4, events: ["values", "retract"] },
  heartbeat: { type: "heartbeat", count: 2 ** 40, active: 3, loopDelayMs: 12 },
};

const toCoordinator: Record<string, ToCoordinator> = {
  welcome: {
    type: "welcome",
    worker: {
      workerId: "w-1",
      name: "box-1",
      region: "eu-west-1",
      labels: { gpu: "yes", tier: "a" },
      slots: 16,
      graphs,
      store,
      packageVersion: "0.1.0",
      heartbeatMs: 1000,
    },
  },
  permits: { type: "permits", seen: 2 ** 50, free: 9 },
  accepted: { type: "accepted", runId: "run-1", attempt: 1 },
  refusal: { type: "refusal", runId: "run-1", attempt: 1, error: { code: "ResourceExhausted", message: "slots full" } },
  events: { type: "events", events },
  "no events": { type: "events", events: [] },
  end,
  "end without anything": { type: "end", runId: "r", attempt: 1, epoch: 0, status: "queued", checkpointId: null },
  heartbeat: { type: "heartbeat", count: 0, active: 0, loopDelayMs: 0 },
  draining: { type: "draining" },
};

describe("frames over the wire and back", () => {
  it.each(Object.entries(toWorker))("to a worker: %s", (_name, frame) => {
    const bytes = toBinary(LinkRequestSchema, toWorkerToWire(frame));
    expect(toWorkerFromWire(fromBinary(LinkRequestSchema, bytes))).toEqual(frame);
    const json = toJson(LinkRequestSchema, toWorkerToWire(frame));
    expect(toWorkerFromWire(fromJson(LinkRequestSchema, json))).toEqual(frame);
  });

  it.each(Object.entries(toCoordinator))("to a coordinator: %s", (_name, frame) => {
    const bytes = toBinary(LinkResponseSchema, toCoordinatorToWire(frame));
    expect(toCoordinatorFromWire(fromBinary(LinkResponseSchema, bytes))).toEqual(frame);
    const json = toJson(LinkResponseSchema, toCoordinatorToWire(frame));
    expect(toCoordinatorFromWire(fromJson(LinkResponseSchema, json))).toEqual(frame);
  });

  it.each(["queued", "running", ...terminalStatuses] as const)("a run's end as %s", (status) => {
    const frame: ExecuteFrame = { ...end, status };
    const bytes = toBinary(ExecuteStreamResponseSchema, executeFrameToWire(frame));
    expect(executeFrameFromWire(fromBinary(ExecuteStreamResponseSchema, bytes))).toEqual(frame);
  });

  it.each(Object.keys(errorCodes) as (keyof typeof errorCodes)[])("a run's error %s", (code) => {
    const frame: ExecuteFrame = { ...end, status: "failed", error: { code, message: "what happened" } };
    const bytes = toBinary(ExecuteStreamResponseSchema, executeFrameToWire(frame));
    expect(executeFrameFromWire(fromBinary(ExecuteStreamResponseSchema, bytes))).toEqual(frame);
  });

  it.each<[string, NewRun | Dispatch]>([
    ["a dispatch", dispatch],
    [
      "a new run",
      {
        type: "new",
        runId: "",
        threadId: "t1",
        graph: "echo",
        input: { text: "hi", list: [1, null, { deep: true }] },
        context,
        maxSteps: 50,
        events: ["values"],
      },
    ],
    [
      "an answer",
      { type: "new", runId: "r", threadId: "t", graph: "g", resume: null, context, maxSteps: 0, events: ["values"] },
    ],
    [
      "neither input nor answer",
      { type: "new", runId: "r", threadId: "t", graph: "g", context, maxSteps: 0, events: ["values"] },
    ],
  ])("what to execute: %s", (_name, run) => {
    const message = create(ExecuteRequestSchema, { run: runToWire(run) });
    const bytes = toBinary(ExecuteRequestSchema, message);
    expect(runFromWire(fromBinary(ExecuteRequestSchema, bytes).run, ["values"])).toEqual(run);
  });

  it("measured values with fractions or out of range become whole numbers that fit", () => {
    const frame = { type: "heartbeat", count: 1, active: 1, loopDelayMs: 0.6 } as const;
    for (const [given, sent] of [
      [0.6, 1],
      [Number.NaN, 0],
      [-3, 0],
      [1e12, 0xffff_ffff],
    ] as const) {
      const bytes = toBinary(LinkRequestSchema, toWorkerToWire({ ...frame, loopDelayMs: given }));
      expect(toWorkerFromWire(fromBinary(LinkRequestSchema, bytes))).toMatchObject({ loopDelayMs: sent });
    }
  });
});

describe("what is refused, by its field", () => {
  const request = (json: object) => toWorkerFromWire(fromJson(LinkRequestSchema, json as never));
  const response = (json: object) => toCoordinatorFromWire(fromJson(LinkResponseSchema, json as never));
  const run = (json: object) => runFromWire(fromJson(ExecuteRequestSchema, json as never).run, []);
  const graph = { name: "g", version: "1" };

  it.each<[string, RegExp, () => unknown]>([
    ["a frame of no kind", /frame: LinkRequest/, () => request({})],
    ["a response of no kind", /frame: LinkResponse/, () => response({})],
    ["a run of no kind", /run: is missing/, () => run({})],
    ["an unknown event kind", /attach\.events\[1\].*99/, () => request({ attach: { runId: "r", events: [1, 99] } })],
    [
      "an event kind not set",
      /attach\.events\[0\]: is not set/,
      () => request({ attach: { runId: "r", events: [0] } }),
    ],
    ["an unknown status", /end\.status.*42/, () => response({ end: { runId: "r", status: 42 } })],
    ["a status not set", /end\.status: is not set/, () => response({ end: { runId: "r" } })],
    ["a hello without a store", /hello\.store: is missing/, () => request({ hello: { coordinatorId: "c" } })],
    ["a hello of nobody", /hello\.coordinator_id/, () => request({ hello: { store: {} } })],
    ["a welcome without a store", /welcome\.store/, () => response({ welcome: { workerId: "w" } })],
    ["a refusal without an error", /refusal\.error/, () => response({ refusal: { runId: "r" } })],
    ["a dispatch without a run", /dispatch\.run_id/, () => request({ dispatch: { threadId: "t", attempt: 1, graph } })],
    [
      "a dispatch without a graph",
      /dispatch\.graph/,
      () => request({ dispatch: { runId: "r", threadId: "t", attempt: 1 } }),
    ],
    ["attempt 0", /dispatch\.attempt/, () => request({ dispatch: { runId: "r", threadId: "t", graph } })],
    ["a cancel of nothing", /cancel\.run_id/, () => request({ cancel: {} })],
    ["a number above 2^53", /permits\.seen/, () => response({ permits: { seen: "9007199254740993" } })],
    ["a new run with a bad id", /new_run\.thread_id/, () => run({ newRun: { graph: "g", threadId: "a\nb" } })],
    ["a new run without a graph", /new_run\.graph/, () => run({ newRun: { threadId: "t" } })],
    [
      "input and answer at once",
      /new_run\.resume/,
      () => run({ newRun: { threadId: "t", graph: "g", input: 1, resume: 1 } }),
    ],
    ["a value without a kind", /new_run\.input/, () => run2({ kind: { case: undefined } })],
    [
      "a value that is not finite",
      /new_run\.input is NaN|new_run\.input: is NaN/,
      () => run2({ kind: { case: "numberValue", value: Number.NaN } }),
    ],
  ])("%s", (_name, message, body) => {
    expect(body).toThrow(expect.objectContaining({ code: "InvalidArgument", message: expect.stringMatching(message) }));
  });

  function run2(input: object) {
    const message = create(ExecuteRequestSchema, {
      run: { case: "newRun", value: { threadId: "t", graph: "g", input: input as never } },
    });
    return runFromWire(message.run, []);
  }
});

describe("JSON values", () => {
  it("go over the wire and back unchanged", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (given) => {
        // "__proto__" is no key of a map in generated code, and -0 no number of JSON.
        const value = JSON.parse(JSON.stringify(given).replaceAll("__proto__", "proto"));
        const bytes = toBinary(ValueSchema, jsonToWire("input", value));
        expect(jsonFromWire("input", fromBinary(ValueSchema, bytes))).toEqual(value);
      }),
    );
  });

  it.each<[string, unknown, string]>([
    ["undefined inside", { a: [{ b: undefined }] }, "input.a[0].b"],
    ["a date", { at: new Date(0) }, "input.at"],
    ["NaN", [1, Number.NaN], "input[1]"],
    ["a bigint", 1n, "input"],
    ["a function", { f() {} }, "input.f"],
    ["a hole", Object.assign([1], { length: 2 }), "input[1]"],
    ["bytes", { b: new Uint8Array(1) }, "input.b"],
  ])("refuse %s by its path", (_name, value, path) => {
    expect(() => jsonToWire("input", value)).toThrow(
      expect.objectContaining({ code: "StateNotSerializable", details: { path } }),
    );
  });

  it("are bounded in depth, both ways, below what readers of protobuf take", () => {
    const nested = (levels: number) => JSON.parse(`${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`);
    const deepest = toBinary(ValueSchema, jsonToWire("input", nested(jsonDepthMax)));
    expect(jsonFromWire("input", fromBinary(ValueSchema, deepest))).toEqual(nested(jsonDepthMax));
    expect(() => jsonToWire("input", nested(jsonDepthMax + 1))).toThrow(/deeper/);
    const deeper = fromJson(ValueSchema, nested(jsonDepthMax + 1));
    expect(() => jsonFromWire("input", deeper)).toThrow(/deeper/);
  });
});
