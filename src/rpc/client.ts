/** A worker behind a transport, as a `WorkerEndpoint`: its callers cannot tell it from one in their own process. */
import { createClient, type Transport } from "@connectrpc/connect";
import { AgentmaticError } from "../errors.ts";
import type { Dispatch, ExecuteFrame, NewRun, ToCoordinator, ToWorker, WorkerEndpoint } from "../run/link.ts";
import { workerFromWire } from "./convert.ts";
import { fromConnectError } from "./errors.ts";
import { executeFrameFromWire, runToWire, toCoordinatorFromWire, toWorkerToWire } from "./frames.ts";
import { WorkerService } from "./gen/agentmatic/v1/worker_pb.ts";
import { mapped } from "./mapped.ts";

export type WorkerClient = WorkerEndpoint & { close(): Promise<void> };

/**
 * Calls throw `AgentmaticError`s; a stream whose `signal` aborted ends without one. `disconnect` is called once by
 * `close`, after every call under way was told to end.
 */
export function workerClient(transport: Transport, disconnect?: () => void | Promise<void>): WorkerClient {
  const client = createClient(WorkerService, transport);
  const closing = new AbortController();
  let closed: Promise<void> | undefined;

  /** One streaming call: aborted by its caller, by `close`, or by a caller that reads no further. */
  async function* stream<Message, Frame>(
    signal: AbortSignal,
    call: (signal: AbortSignal) => AsyncIterable<Message>,
    convert: (message: Message) => Frame,
    onEnd?: () => void,
  ): AsyncGenerator<Frame, void, undefined> {
    const left = new AbortController();
    try {
      const any = AbortSignal.any([signal, closing.signal, left.signal]);
      for await (const message of call(any)) yield convert(message);
    } catch (thrown) {
      if (!signal.aborted) throw fromConnectError(thrown, closing.signal);
    } finally {
      left.abort();
      onEnd?.();
    }
  }

  return {
    async describe(signal) {
      const signals = signal ? [signal, closing.signal] : [closing.signal];
      try {
        const response = await client.describe({}, { signal: AbortSignal.any(signals) });
        return { worker: workerFromWire("worker", response.worker), draining: response.draining };
      } catch (thrown) {
        throw fromConnectError(
          thrown,
          signals.find((one) => one.aborted),
        );
      }
    },

    link(inbound: AsyncIterable<ToWorker>, signal: AbortSignal): AsyncIterable<ToCoordinator> {
      // The transport leaves the requests unread when the call ends, so their writer is told here.
      const iterator = mapped(inbound, toWorkerToWire, (thrown) => thrown)[Symbol.asyncIterator]();
      const requests = { [Symbol.asyncIterator]: () => iterator };
      const onEnd = () => void iterator.return?.();
      return stream(signal, (any) => client.link(requests, { signal: any }), toCoordinatorFromWire, onEnd);
    },

    execute(run: NewRun | Dispatch, signal: AbortSignal): AsyncIterable<ExecuteFrame> {
      return stream(
        signal,
        (any) => client.executeStream({ run: runToWire(run) }, { signal: any }),
        executeFrameFromWire,
      );
    },

    close() {
      closing.abort(new AgentmaticError("Cancelled", "the connection to the worker was closed"));
      closed ??= Promise.resolve(disconnect?.());
      return closed;
    },
  };
}
