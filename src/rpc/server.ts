/** `WorkerService` over any `WorkerEndpoint`: the worker in this process, or a fake one in a test. */
import { ConnectError, type ConnectRouter, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { AgentmaticError } from "../errors.ts";
import type { EventKind } from "../run/events.ts";
import type { Dispatch, ExecuteFrame, NewRun, RunEnd, WorkerEndpoint } from "../run/link.ts";
import { endToWire, workerToWire } from "./convert.ts";
import { abortError, toConnectError } from "./errors.ts";
import { executeFrameToWire, runFromWire, toCoordinatorToWire, toWorkerFromWire } from "./frames.ts";
import { WorkerService } from "./gen/agentmatic/v1/worker_pb.ts";
import { type Json, jsonToWire } from "./json.ts";
import { mapped } from "./mapped.ts";

export interface WorkerRoutesOptions {
  /** Makes JSON of a value of the state codec, for clients that know nothing of it. */
  toJson(bytes: Uint8Array): Json;
  /** Is told of errors that clients only see as "internal error". */
  onError?(error: unknown): void;
}

/** What the caller of `ExecuteStream` with a new run gets: all but the tasks' comings and goings. */
const streamedKinds: readonly EventKind[] = ["values", "updates", "messages", "custom", "checkpoints", "retract"];

/** The routes, for connect-node's adapter, a fetch handler or a router transport. */
export function workerRoutes(endpoint: WorkerEndpoint, options: WorkerRoutesOptions): (router: ConnectRouter) => void {
  const refuse = (thrown: unknown) => {
    if (!AgentmaticError.is(thrown) && !(thrown instanceof ConnectError)) options.onError?.(thrown);
    return toConnectError(thrown);
  };
  const service: ServiceImpl<typeof WorkerService> = {
    async describe(_request, context) {
      try {
        const { worker, draining } = await endpoint.describe(context.signal);
        return { worker: workerToWire(worker), draining };
      } catch (thrown) {
        throw refuse(thrown);
      }
    },

    async *link(requests, context) {
      try {
        const inbound = mapped(requests, toWorkerFromWire, refuse);
        for await (const frame of endpoint.link(inbound, context.signal)) yield toCoordinatorToWire(frame);
      } catch (thrown) {
        throw refuse(thrown);
      }
    },

    async execute(request, context) {
      try {
        const run = withTrace(runFromWire(request.run, []), context);
        const end = await endOf(endpoint.execute(run, context.signal), context.signal);
        const output = end.values && jsonToWire("output", options.toJson(end.values));
        return { end: endToWire(end), ...(output ? { output } : {}) };
      } catch (thrown) {
        throw refuse(thrown);
      }
    },

    async *executeStream(request, context) {
      try {
        const run = withTrace(runFromWire(request.run, streamedKinds), context);
        for await (const frame of endpoint.execute(run, context.signal)) yield executeFrameToWire(frame);
      } catch (thrown) {
        throw refuse(thrown);
      }
    },
  };
  return (router) => {
    router.service(WorkerService, service);
  };
}

async function endOf(frames: AsyncIterable<ExecuteFrame>, signal: AbortSignal): Promise<RunEnd> {
  for await (const frame of frames) if (frame.type === "end") return frame;
  if (signal.aborted) throw abortError(signal.reason);
  throw new AgentmaticError("Internal", "the worker ended the call without the run's end");
}

/** Clients of other makers send their trace in the W3C headers instead of the run's context. */
function withTrace(run: NewRun | Dispatch, context: HandlerContext): NewRun | Dispatch {
  const traceparent = context.requestHeader.get("traceparent");
  if (run.context.trace || traceparent === null) return run;
  const tracestate = context.requestHeader.get("tracestate");
  const baggage = context.requestHeader.get("baggage");
  const trace = { traceparent, ...(tracestate ? { tracestate } : {}), ...(baggage ? { baggage } : {}) };
  return { ...run, context: { ...run.context, trace } };
}
