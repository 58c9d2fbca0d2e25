/** A worker as a server: its graphs and its store, the RPC port, the operations port, and an orderly end. */
import type { Saver } from "../../src/checkpoint/saver.ts";
import { AgentmaticError } from "../../src/errors.ts";
import { createOperationsApp, type Health } from "../../src/http/operations.ts";
import { type Ports, sleep } from "../../src/ports.ts";
import { workerRoutes } from "../../src/rpc/server.ts";
import type { WorkerEndpoint } from "../../src/run/link.ts";
import { metricNames } from "../../src/telemetry/names.ts";
import { Worker } from "../../src/worker/worker.ts";
import { type Address, parseAddress } from "./address.ts";
import { install } from "./context.ts";
import { type Graphs, plansOf } from "./graphs.ts";
import { valueToJson } from "./json.ts";
import { type Listener, listen } from "./listen.ts";
import { listenHttp } from "./metrics-listen.ts";
import { StoreWatch } from "./readiness.ts";
import type { Runtime } from "./runtime.ts";
import { Sampler } from "./sampler.ts";
import { openStore } from "./store-url.ts";
import { createTelemetry, type Telemetry } from "./telemetry.ts";
import { timed } from "./timed.ts";
import { packageVersion } from "./version.ts";

export interface ServeWorkerOptions {
  /** `HOST:PORT` for gRPC, gRPC-web and Connect; port 0 takes a free one. */
  listen: string;
  /** `HOST:PORT` for /healthz, /readyz and /metrics; without it they are not served. */
  metrics?: string;
  /** Compiled graphs or agents: a list, or a module that exports them. */
  graphs: Graphs;
  /** A saver, or the URL of a store (`sqlite:./runs.db`, `postgres://…`). A saver that is handed in is not closed. */
  store: Saver | string;
  /** "" is unknown, which lies outside of every residency rule. */
  region?: string;
  labels?: Readonly<Record<string, string>>;
  /** For people; the id is random. */
  name?: string;
  /** Runs at once. */
  slots?: number;
  heartbeatMs?: number;
  leaseMs?: number;
  /** How long `close` lets runs go on to their next checkpoint before it hands them over; 25,000 if not given. */
  drainMs?: number;
  /** Bytes of one message; 16 MiB if not given. */
  readMaxBytes?: number;
}

export interface WorkerServer {
  /** Random, of this process. */
  readonly id: string;
  readonly address: Address;
  readonly metricsAddress: Address | undefined;
  readonly endpoint: WorkerEndpoint;
  ready(): Health;
  /** Ends a run of this worker because of an error that came from outside of its node's call. */
  fail(runId: string, error: AgentmaticError): void;
  /** Not ready at once; hands every run over, at the latest after `drainMs`; then closes both ports and the store. */
  close(options?: { drainMs?: number }): Promise<void>;
}

export const drainMsDefault = 25_000;
/** A store that is not there at the start is waited for, looking this often. */
const startRetryMs = 1000;
/** After the drain, for answers that are still being written. */
const lastAnswersMs = 1000;

/**
 * Resolves when both ports listen and the store was reached, or was found out of reach: then the worker is not ready
 * and goes on trying. Throws `InvalidArgument` (naming the option), `FailedPrecondition` (an address that is taken, a
 * store of a newer format).
 */
export async function serveWorker(runtime: Runtime, options: ServeWorkerOptions): Promise<WorkerServer> {
  install();
  const { ports } = runtime;
  const plans = plansOf(options.graphs);
  const addresses = {
    rpc: parseAddress("listen", options.listen),
    metrics: options.metrics === undefined ? undefined : parseAddress("metrics", options.metrics),
  };
  const unsafeWithoutFence = runtime.env.AGENTMATIC_UNSAFE_NO_FENCE === "1";
  const ownsStore = typeof options.store === "string";
  const saver =
    typeof options.store === "string"
      ? await openStore(options.store, { logger: ports.logger, field: "store", unsafeWithoutFence })
      : options.store;
  const telemetry = await createTelemetry(runtime.env, resourceOf(options, runtime));
  const worker = createWorker({ ...options, plans }, timed(saver, telemetry.metrics, ports.clock), ports, telemetry);
  const watch = new StoreWatch(saver, ports);
  const sampler = new Sampler(saver, ports, telemetry.metrics);

  const ready = (): Health => {
    const reasons = [...worker.ready().reasons, ...(watch.problem === undefined ? [] : [watch.problem])];
    return { ok: reasons.length === 0, reasons };
  };
  // Whoever gets an answer at all has met a running event loop: that a process hangs shows as a time-out.
  const operations = createOperationsApp({
    health: () => ({ ok: true, reasons: [] }),
    ready,
    metrics: telemetry.render,
  });
  const listeners: Listener[] = [];
  const stop = new AbortController();
  const close = async (graceMs: number): Promise<void> => {
    stop.abort();
    watch.close();
    sampler.close();
    await Promise.all(listeners.map((listener) => listener.close({ graceMs })));
    await telemetry.close();
    if (ownsStore) await saver.close();
  };

  try {
    const operationsListener = addresses.metrics && (await listenHttp(addresses.metrics, operations.fetch));
    if (operationsListener) listeners.push(operationsListener);
    const rpcListener = await listen({
      address: addresses.rpc,
      routes: workerRoutes(worker.endpoint, { toJson: valueToJson, onError: (error) => logFault(ports, error) }),
      logger: ports.logger,
      ...(options.readMaxBytes === undefined ? {} : { readMaxBytes: options.readMaxBytes }),
    });
    listeners.unshift(rpcListener);
    await begin(worker, ports, stop.signal);
    telemetry.metrics.gauge(metricNames.info, 1, {
      version: packageVersion,
      runtime: runtime.name,
      runtime_version: runtime.version,
      region: options.region ?? "",
      store: saver.kind,
    });
    watch.start();
    sampler.start();
    let closed: Promise<void> | undefined;
    return {
      id: worker.id,
      address: rpcListener.address,
      metricsAddress: operationsListener?.address,
      endpoint: worker.endpoint,
      ready,
      fail: (runId, error) => worker.find(runId)?.cancel.abort(error),
      close({ drainMs = options.drainMs ?? drainMsDefault } = {}) {
        closed ??= (async () => {
          await worker.drain(drainMs);
          await worker.close();
          await close(lastAnswersMs);
        })();
        return closed;
      },
    };
  } catch (thrown) {
    await close(0);
    throw thrown;
  }
}

function createWorker(
  options: Omit<ServeWorkerOptions, "graphs"> & { plans: ReturnType<typeof plansOf> },
  saver: Saver,
  ports: Ports,
  telemetry: Telemetry,
): Worker {
  const { plans, name, region, labels, slots, heartbeatMs, leaseMs } = options;
  const { metrics, spans } = telemetry;
  const given = Object.fromEntries(
    Object.entries({ name, region, labels, slots, heartbeatMs, leaseMs }).filter(([, value]) => value !== undefined),
  );
  return new Worker({ ...given, graphs: plans, saver, ports, packageVersion, metrics, spans });
}

/** The first try decides what the caller hears; further ones go on in the background. */
async function begin(worker: Worker, ports: Ports, stop: AbortSignal): Promise<void> {
  try {
    await worker.start();
  } catch (thrown) {
    const error = AgentmaticError.from(thrown);
    if (error.code !== "Unavailable") throw error;
    ports.logger.log("warn", "the store cannot be reached yet; trying again", { error: error.message });
    void keepTrying(worker, ports, stop);
  }
}

async function keepTrying(worker: Worker, ports: Ports, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    try {
      await sleep(ports.timers, startRetryMs, stop);
      await worker.start();
      ports.logger.log("info", "the store is there");
      return;
    } catch (thrown) {
      if (!stop.aborted)
        ports.logger.log("debug", "the store cannot be reached yet", { code: AgentmaticError.from(thrown).code });
    }
  }
}

function resourceOf(options: ServeWorkerOptions, runtime: Runtime): Record<string, string> {
  return {
    "service.version": packageVersion,
    "process.runtime.name": runtime.name,
    "process.runtime.version": runtime.version,
    ...(options.name ? { "service.instance.id": options.name } : {}),
    ...(options.region ? { "cloud.region": options.region } : {}),
  };
}

function logFault(ports: Ports, thrown: unknown): void {
  ports.logger.log("error", "a call failed by a fault of the worker", {
    error: thrown instanceof Error ? thrown.stack : String(thrown),
  });
}
