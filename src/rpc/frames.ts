/** What travels on each of the four calls ↔ its messages: one function a direction, one case a frame. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { invalid } from "../errors.ts";
import type { EventKind, RunEvent } from "../run/events.ts";
import { checkId } from "../run/ids.ts";
import type { Dispatch, ExecuteFrame, Heartbeat, NewRun, ToCoordinator, ToWorker } from "../run/link.ts";
import {
  dispatchFromWire,
  dispatchToWire,
  endFromWire,
  endToWire,
  errorFromWire,
  errorToWire,
  eventFromWire,
  eventToWire,
  graphFromWire,
  graphToWire,
  kindsFromWire,
  kindsToWire,
  newRunFromWire,
  newRunToWire,
  present,
  safe,
  storeFromWire,
  storeToWire,
  uint32,
  workerFromWire,
  workerToWire,
} from "./convert.ts";
import * as wire from "./gen/agentmatic/v1/worker_pb.ts";

export function toWorkerToWire(frame: ToWorker): wire.LinkRequest {
  return create(wire.LinkRequestSchema, { frame: linkRequestFrame(frame) });
}

function linkRequestFrame(frame: ToWorker): MessageInitShape<typeof wire.LinkRequestSchema>["frame"] {
  switch (frame.type) {
    case "hello":
      return {
        case: "hello",
        value: {
          coordinatorId: frame.coordinatorId,
          store: storeToWire(frame.store),
          graphs: frame.graphs.map(graphToWire),
          packageVersion: frame.packageVersion,
        },
      };
    case "dispatch":
      return { case: "dispatch", value: dispatchToWire(frame) };
    case "cancel":
      return { case: "cancel", value: { runId: frame.runId } };
    case "attach":
      return {
        case: "attach",
        value: { runId: frame.runId, attempt: frame.attempt, events: kindsToWire(frame.events) },
      };
    case "flow":
      return { case: "flow", value: { runId: frame.runId, open: frame.open } };
    case "heartbeat":
      return { case: "heartbeat", value: heartbeatToWire(frame) };
  }
}

/** Throws `InvalidArgument` for a frame of no known kind, or one with a bad field, which it names. */
export function toWorkerFromWire(message: wire.LinkRequest): ToWorker {
  const { frame } = message;
  switch (frame.case) {
    case "hello": {
      const { coordinatorId, store, graphs, packageVersion } = frame.value;
      if (coordinatorId === "") throw invalid("hello.coordinator_id", "is empty");
      return {
        type: "hello",
        coordinatorId,
        store: storeFromWire("hello.store", store),
        graphs: graphs.map(graphFromWire),
        packageVersion,
      };
    }
    case "dispatch":
      return dispatchFromWire("dispatch", frame.value);
    case "cancel":
      checkId("cancel.run_id", frame.value.runId);
      return { type: "cancel", runId: frame.value.runId };
    case "attach": {
      const { runId, attempt, events } = frame.value;
      checkId("attach.run_id", runId);
      return { type: "attach", runId, attempt, events: kindsFromWire("attach.events", events) };
    }
    case "flow":
      checkId("flow.run_id", frame.value.runId);
      return { type: "flow", runId: frame.value.runId, open: frame.value.open };
    case "heartbeat":
      return heartbeatFromWire(frame.value);
    case undefined:
      throw unknownFrame("LinkRequest");
  }
}

export function toCoordinatorToWire(frame: ToCoordinator): wire.LinkResponse {
  return create(wire.LinkResponseSchema, { frame: linkResponseFrame(frame) });
}

function linkResponseFrame(frame: ToCoordinator): MessageInitShape<typeof wire.LinkResponseSchema>["frame"] {
  switch (frame.type) {
    case "welcome":
      return { case: "welcome", value: workerToWire(frame.worker) };
    case "permits":
      return { case: "permits", value: { seen: BigInt(frame.seen), free: frame.free } };
    case "accepted":
      return { case: "accepted", value: { runId: frame.runId, attempt: frame.attempt } };
    case "refusal":
      return {
        case: "refusal",
        value: { runId: frame.runId, attempt: frame.attempt, error: errorToWire(frame.error) },
      };
    case "events":
      return { case: "events", value: { events: frame.events.map(eventToWire) } };
    case "end":
      return { case: "end", value: endToWire(frame) };
    case "heartbeat":
      return { case: "heartbeat", value: heartbeatToWire(frame) };
    case "draining":
      return { case: "draining", value: {} };
  }
}

/** Throws `InvalidArgument` for a frame of no known kind, or one with a bad field, which it names. */
export function toCoordinatorFromWire(message: wire.LinkResponse): ToCoordinator {
  const { frame } = message;
  switch (frame.case) {
    case "welcome":
      return { type: "welcome", worker: workerFromWire("welcome", frame.value) };
    case "permits":
      return { type: "permits", seen: safe("permits.seen", frame.value.seen), free: frame.value.free };
    case "accepted":
      return { type: "accepted", runId: frame.value.runId, attempt: frame.value.attempt };
    case "refusal": {
      const { runId, attempt, error } = frame.value;
      return { type: "refusal", runId, attempt, error: errorFromWire(present("refusal.error", error)) };
    }
    case "events":
      return { type: "events", events: eventsFromWire(frame.value) };
    case "end":
      return endFromWire("end", frame.value);
    case "heartbeat":
      return heartbeatFromWire(frame.value);
    case "draining":
      return { type: "draining" };
    case undefined:
      throw unknownFrame("LinkResponse");
  }
}

type WireRun = wire.ExecuteRequest["run"] | wire.ExecuteStreamRequest["run"];

export function runToWire(run: NewRun | Dispatch): WireRun {
  if (run.type === "new") return { case: "newRun", value: newRunToWire("new_run", run) };
  return { case: "dispatch", value: dispatchToWire(run) };
}

/** `events` are the kinds that a new run's caller gets: unlike a dispatch it names none itself. */
export function runFromWire(run: WireRun, events: readonly EventKind[]): NewRun | Dispatch {
  switch (run.case) {
    case "newRun":
      return newRunFromWire("new_run", run.value, events);
    case "dispatch":
      return dispatchFromWire("dispatch", run.value);
    case undefined:
      throw invalid("run", "is missing: give a new_run or a dispatch");
  }
}

export function executeFrameToWire(frame: ExecuteFrame): wire.ExecuteStreamResponse {
  return create(wire.ExecuteStreamResponseSchema, {
    frame:
      frame.type === "end"
        ? { case: "end", value: endToWire(frame) }
        : { case: "events", value: { events: frame.events.map(eventToWire) } },
  });
}

export function executeFrameFromWire(message: wire.ExecuteStreamResponse): ExecuteFrame {
  const { frame } = message;
  switch (frame.case) {
    case "events":
      return { type: "events", events: eventsFromWire(frame.value) };
    case "end":
      return endFromWire("end", frame.value);
    case undefined:
      throw unknownFrame("ExecuteStreamResponse");
  }
}

function heartbeatToWire({ count, active, loopDelayMs }: Heartbeat): wire.Heartbeat {
  return create(wire.HeartbeatSchema, { count: BigInt(count), active, loopDelayMs: uint32(loopDelayMs) });
}

function heartbeatFromWire({ count, active, loopDelayMs }: wire.Heartbeat): Heartbeat {
  return { type: "heartbeat", count: safe("heartbeat.count", count), active, loopDelayMs };
}

function eventsFromWire(batch: wire.EventBatch): RunEvent[] {
  return batch.events.map((event, index) => eventFromWire(`events[${index}]`, event));
}

function unknownFrame(message: string) {
  return invalid("frame", `${message} has none that this version knows`);
}
