/** A worker as a server: its graphs and its store, the RPC port, the operations port, and an orderly end. */
import type { Saver } from "../../src/checkpoint/saver.ts";
import { AgentmaticError } from "../../src/errors.ts";
import { createOperationsApp, type Health } from "../../src/http/operations.ts";
import { sleep } from "../../src/ports.ts";
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
  const plans = plansOf(options.graphs);
  const rpc = parseAddress("listen", options.listen);
  const metrics = options.metrics === undefined ? undefined : parseAddress("metrics", options.metrics);
  const saver = await saverOf(runtime, options.store);
  const telemetry = await createTelemetry(runtime.env, resourceOf(options, runtime));
  const server = new Server(runtime, options, plans, saver, telemetry);
  try {
    await server.open(rpc, metrics);
    return server;
  } catch (thrown) {
    await server.stop(0);
    throw thrown;
  }
}

class Server implements WorkerServer {
  readonly #runtime: Runtime;
  readonly #options: ServeWorkerOptions;
  readonly #worker: Worker;
  readonly #saver: Saver;
  readonly #telemetry: Telemetry;
  readonly #watch: StoreWatch;
  readonly #sampler: Sampler;
  readonly #stopping = new AbortController();
  #rpc: Listener | undefined;
  #operations: Listener | undefined;
  #closed: Promise<void> | undefined;

  constructor(runtime: Runtime, options: ServeWorkerOptions, plans: Plans, saver: Saver, telemetry: Telemetry) {
    const { ports } = runtime;
    this.#runtime = runtime;
    this.#options = options;
    this.#saver = saver;
    this.#telemetry = telemetry;
    this.#worker = new Worker({
      ...chosen(options),
      graphs: plans,
      saver: timed(saver, telemetry.metrics, ports.clock),
      ports,
      packageVersion,
      metrics: telemetry.metrics,
      spans: telemetry.spans,
    });
    this.#watch = new StoreWatch(saver, ports);
    this.#sampler = new Sampler(saver, ports, telemetry.metrics);
  }

  get id(): string {
    return this.#worker.id;
  }

  get address(): Address {
    return this.#rpc!.address;
  }

  get metricsAddress(): Address | undefined {
    return this.#operations?.address;
  }

  get endpoint(): WorkerEndpoint {
    return this.#worker.endpoint;
  }

  ready(): Health {
    const { problem } = this.#watch;
    const reasons = [...this.#worker.ready().reasons, ...(problem === undefined ? [] : [problem])];
    return { ok: reasons.length === 0, reasons };
  }

  fail(runId: string, error: AgentmaticError): void {
    this.#worker.find(runId)?.cancel.abort(error);
  }

  close({ drainMs = this.#options.drainMs ?? drainMsDefault }: { drainMs?: number } = {}): Promise<void> {
    this.#closed ??= (async () => {
      await this.#worker.drain(drainMs);
      await this.#worker.close();
      await this.stop(lastAnswersMs);
    })();
    return this.#closed;
  }

  async open(rpc: Address, operations: Address | undefined): Promise<void> {
    const { logger } = this.#runtime.ports;
    // First the port for probes: from here on they hear why the worker is not ready.
    if (operations) this.#operations = await listenHttp(operations, this.#operationsApp().fetch);
    const { readMaxBytes } = this.#options;
    this.#rpc = await listen({
      address: rpc,
      routes: workerRoutes(this.endpoint, { toJson: valueToJson, onError: (thrown) => this.#logFault(thrown) }),
      logger,
      ...(readMaxBytes === undefined ? {} : { readMaxBytes }),
    });
    await this.#begin();
    this.#telemetry.metrics.gauge(metricNames.info, 1, {
      version: packageVersion,
      runtime: this.#runtime.name,
      runtime_version: this.#runtime.version,
      region: this.#options.region ?? "",
      store: this.#saver.kind,
    });
    this.#watch.start();
    this.#sampler.start();
  }

  /** Closes the ports and what lies behind them; the worker has drained, or was never reached. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    this.#watch.close();
    this.#sampler.close();
    await Promise.all([this.#rpc?.close({ graceMs }), this.#operations?.close({ graceMs })]);
    await this.#telemetry.close();
    if (typeof this.#options.store === "string") await this.#saver.close();
  }

  #operationsApp() {
    return createOperationsApp({
      // Whoever gets an answer at all has met a running event loop: that a process hangs shows as a time-out.
      health: () => ({ ok: true, reasons: [] }),
      ready: () => this.ready(),
      metrics: () => this.#telemetry.render(),
    });
  }

  /** The first try decides what the caller hears; further ones go on in the background. */
  async #begin(): Promise<void> {
    try {
      await this.#worker.start();
    } catch (thrown) {
      const error = AgentmaticError.from(thrown);
      if (error.code !== "Unavailable") throw error;
      this.#runtime.ports.logger.log("warn", "the store cannot be reached yet; trying again", { error: error.message });
      void this.#keepTrying();
    }
  }

  async #keepTrying(): Promise<void> {
    const { timers, logger } = this.#runtime.ports;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await sleep(timers, startRetryMs, signal);
        await this.#worker.start();
        logger.log("info", "the store is there");
        return;
      } catch (thrown) {
        if (!signal.aborted)
          logger.log("debug", "the store cannot be reached yet", { code: AgentmaticError.from(thrown).code });
      }
    }
  }

  #logFault(thrown: unknown): void {
    const error = thrown instanceof Error ? thrown.stack : String(thrown);
    this.#runtime.ports.logger.log("error", "a call failed by a fault of the worker", { error });
  }
}

type Plans = ReturnType<typeof plansOf>;
type Chosen = Pick<ServeWorkerOptions, "name" | "region" | "labels" | "slots" | "heartbeatMs" | "leaseMs">;

/** Only what was given: the worker has its own defaults for the rest. */
function chosen({ name, region, labels, slots, heartbeatMs, leaseMs }: ServeWorkerOptions): Chosen {
  const all = { name, region, labels, slots, heartbeatMs, leaseMs };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

async function saverOf({ env, ports: { logger } }: Runtime, store: Saver | string): Promise<Saver> {
  if (typeof store !== "string") return store;
  const unsafeWithoutFence = env.AGENTMATIC_UNSAFE_NO_FENCE === "1";
  return openStore(store, { logger, field: "store", unsafeWithoutFence });
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
