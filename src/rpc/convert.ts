/** The values that frames are made of ↔ their messages. `path` names the message in errors about it. */
import { create } from "@bufbuild/protobuf";
import { type ErrorValue, invalid, isErrorCode } from "../errors.ts";
import type { EventKind, RunEvent } from "../run/events.ts";
import { checkId } from "../run/ids.ts";
import type { Dispatch, GraphRef, InlineRun, NewRun, RunContext, RunEnd, StoreRef, WorkerInfo } from "../run/link.ts";
import type { TraceContext } from "../run/record.ts";
import { kindFromWire, kindToWire, runKindFromWire, runKindToWire, statusFromWire, statusToWire } from "./enums.ts";
import * as run from "./gen/agentmatic/v1/run_pb.ts";
import * as worker from "./gen/agentmatic/v1/worker_pb.ts";
import { jsonFromWire, jsonToWire } from "./json.ts";

const uint32Max = 0xffff_ffff;

export function graphToWire(graph: GraphRef): run.GraphRef {
  return create(run.GraphRefSchema, { name: graph.name, version: graph.version });
}

export function graphFromWire({ name, version }: run.GraphRef): GraphRef {
  return { name, version };
}

export function storeToWire(store: StoreRef): worker.StoreRef {
  return create(worker.StoreRefSchema, { ...store });
}

export function storeFromWire(path: string, message: worker.StoreRef | undefined): StoreRef {
  const { id, kind, zone, region, shared } = present(path, message);
  return { id, kind, zone, region, shared };
}

export function workerToWire(info: WorkerInfo): worker.WorkerInfo {
  return create(worker.WorkerInfoSchema, {
    workerId: info.workerId,
    name: info.name,
    region: info.region,
    labels: { ...info.labels },
    slots: info.slots,
    graphs: info.graphs.map(graphToWire),
    store: storeToWire(info.store),
    packageVersion: info.packageVersion,
    heartbeatMs: uint32(info.heartbeatMs),
  });
}

export function workerFromWire(path: string, message: worker.WorkerInfo | undefined): WorkerInfo {
  const info = present(path, message);
  return {
    workerId: info.workerId,
    name: info.name,
    region: info.region,
    labels: { ...info.labels },
    slots: info.slots,
    graphs: info.graphs.map(graphFromWire),
    store: storeFromWire(`${path}.store`, info.store),
    packageVersion: info.packageVersion,
    heartbeatMs: info.heartbeatMs,
  };
}

export function contextToWire(context: RunContext): run.RunContext {
  return create(run.RunContextSchema, {
    caller: context.caller ?? "",
    residency: context.residency && { regions: [...context.residency.regions] },
    trace: context.trace && { ...context.trace },
    correlationId: context.correlationId,
  });
}

/** A residency rule that is there but empty stays one: it allows nothing. */
export function contextFromWire(message: run.RunContext | undefined): RunContext {
  const trace = message?.trace?.traceparent ? traceFromWire(message.trace) : undefined;
  return {
    ...(message?.caller ? { caller: message.caller } : {}),
    ...(message?.residency ? { residency: { regions: [...message.residency.regions] } } : {}),
    ...(trace ? { trace } : {}),
    correlationId: message?.correlationId ?? "",
  };
}

function traceFromWire({ traceparent, tracestate, baggage }: run.TraceContext): TraceContext {
  return { traceparent, ...(tracestate ? { tracestate } : {}), ...(baggage ? { baggage } : {}) };
}

export function errorToWire(error: ErrorValue): run.RunError {
  return create(run.RunErrorSchema, { code: error.code, message: error.message });
}

/** A code that this version does not know is from a newer peer: it stays an error, as `Internal`. */
export function errorFromWire(error: run.RunError): ErrorValue {
  if (isErrorCode(error.code)) return { code: error.code, message: error.message };
  return { code: "Internal", message: `${error.code}: ${error.message}` };
}

export function kindsToWire(kinds: readonly EventKind[]): run.EventKind[] {
  return kinds.map(kindToWire);
}

export function kindsFromWire(path: string, kinds: readonly run.EventKind[]): EventKind[] {
  return kinds.map((kind, index) => kindFromWire(`${path}[${index}]`, kind));
}

export function eventToWire(event: RunEvent): run.RunEvent {
  return create(run.RunEventSchema, {
    runId: event.runId,
    kind: kindToWire(event.kind),
    epoch: BigInt(event.epoch),
    attempt: event.attempt,
    seq: BigInt(event.seq),
    ns: event.ns,
    node: event.node,
    taskId: event.taskId,
    data: event.data,
    notDurable: event.durable === false,
  });
}

export function eventFromWire(path: string, event: run.RunEvent): RunEvent {
  return {
    runId: event.runId,
    kind: kindFromWire(`${path}.kind`, event.kind),
    epoch: safe(`${path}.epoch`, event.epoch),
    attempt: event.attempt,
    seq: safe(`${path}.seq`, event.seq),
    ns: event.ns,
    node: event.node,
    taskId: event.taskId,
    ...(event.notDurable ? { durable: false as const } : {}),
    data: event.data,
  };
}

export function endToWire(end: RunEnd): run.RunEnd {
  return create(run.RunEndSchema, {
    runId: end.runId,
    attempt: end.attempt,
    epoch: BigInt(end.epoch),
    status: statusToWire(end.status),
    checkpointId: end.checkpointId ?? "",
    error: end.error && errorToWire(end.error),
    values: end.values,
    interrupts: end.interrupts,
  });
}

export function endFromWire(path: string, message: run.RunEnd | undefined): RunEnd {
  const end = present(path, message);
  return {
    type: "end",
    runId: end.runId,
    attempt: end.attempt,
    epoch: safe(`${path}.epoch`, end.epoch),
    status: statusFromWire(`${path}.status`, end.status),
    checkpointId: end.checkpointId || null,
    ...(end.error ? { error: errorFromWire(end.error) } : {}),
    ...(end.values.length > 0 ? { values: end.values } : {}),
    ...(end.interrupts.length > 0 ? { interrupts: end.interrupts } : {}),
  };
}

export function dispatchToWire(dispatch: Dispatch): worker.Dispatch {
  return create(worker.DispatchSchema, {
    runId: dispatch.runId,
    threadId: dispatch.threadId,
    attempt: dispatch.attempt,
    graph: graphToWire(dispatch.graph),
    context: contextToWire(dispatch.context),
    events: kindsToWire(dispatch.events),
    inline: dispatch.inline && inlineToWire(dispatch.inline),
  });
}

export function dispatchFromWire(path: string, message: worker.Dispatch): Dispatch {
  const { runId, threadId, attempt } = message;
  checkId(`${path}.run_id`, runId);
  checkId(`${path}.thread_id`, threadId);
  if (attempt < 1) throw invalid(`${path}.attempt`, "must be at least 1");
  return {
    type: "dispatch",
    runId,
    threadId,
    attempt,
    graph: graphFromWire(present(`${path}.graph`, message.graph)),
    context: contextFromWire(message.context),
    events: kindsFromWire(`${path}.events`, message.events),
    ...(message.inline ? { inline: inlineFromWire(`${path}.inline`, message.inline) } : {}),
  };
}

function inlineToWire({ kind, input, maxSteps, settings, fromCheckpointId, deadlineMs }: InlineRun): worker.InlineRun {
  return create(worker.InlineRunSchema, {
    kind: runKindToWire(kind),
    input,
    maxSteps,
    settings: settings ?? new Uint8Array(),
    fromCheckpointId: fromCheckpointId ?? "",
    deadlineMs: BigInt(deadlineMs ?? 0),
  });
}

function inlineFromWire(path: string, message: worker.InlineRun): InlineRun {
  const { kind, input, maxSteps, settings, fromCheckpointId } = message;
  const deadlineMs = safe(`${path}.deadline_ms`, message.deadlineMs);
  return {
    kind: runKindFromWire(`${path}.kind`, kind),
    input,
    maxSteps,
    ...(settings.length > 0 ? { settings } : {}),
    ...(fromCheckpointId === "" ? {} : { fromCheckpointId }),
    ...(deadlineMs === 0 ? {} : { deadlineMs }),
  };
}

export function newRunToWire(path: string, newRun: NewRun): worker.NewRun {
  return create(worker.NewRunSchema, {
    runId: newRun.runId,
    threadId: newRun.threadId,
    graph: newRun.graph,
    input: newRun.input === undefined ? undefined : jsonToWire(`${path}.input`, newRun.input),
    resume: newRun.resume === undefined ? undefined : jsonToWire(`${path}.resume`, newRun.resume),
    context: contextToWire(newRun.context),
    maxSteps: newRun.maxSteps,
    events: kindsToWire(newRun.events),
  });
}

/** Ids may be empty: the worker mints them. `events` are those for a caller who names none. */
export function newRunFromWire(path: string, message: worker.NewRun, events: readonly EventKind[]): NewRun {
  const { runId, threadId, graph, input, resume, maxSteps } = message;
  if (runId !== "") checkId(`${path}.run_id`, runId);
  if (threadId !== "") checkId(`${path}.thread_id`, threadId);
  if (graph === "") throw invalid(`${path}.graph`, "must be the name of a graph");
  if (input && resume) throw invalid(`${path}.resume`, "cannot be given together with an input");
  return {
    type: "new",
    runId,
    threadId,
    graph,
    ...(input ? { input: jsonFromWire(`${path}.input`, input) } : {}),
    ...(resume ? { resume: jsonFromWire(`${path}.resume`, resume) } : {}),
    context: contextFromWire(message.context),
    maxSteps,
    events: message.events.length > 0 ? kindsFromWire(`${path}.events`, message.events) : events,
  };
}

/** Throws `InvalidArgument` where a message that must be there is not. */
export function present<T>(path: string, message: T | undefined): T {
  if (message === undefined) throw invalid(path, "is missing");
  return message;
}

/** Numbers up to 2^53 - 1 on both sides: a larger one is refused instead of rounded. */
export function safe(path: string, value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid(path, `${value} is above 2^53 - 1`);
  return Number(value);
}

/** For measured values, which may have fractions: the nearest whole number that fits. */
export function uint32(value: number): number {
  return Math.min(uint32Max, Math.max(0, Math.round(value) || 0));
}
