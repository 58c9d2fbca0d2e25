/** What an application needs to be the coordinator of a cluster: imported as `agentmatic/cluster`. */
import type { Saver } from "../../src/checkpoint/saver.ts";
import { Coordinator as CoordinatorCore, type CoordinatorOptions } from "../../src/coordinator/coordinator.ts";
import { AgentmaticError, invalid } from "../../src/errors.ts";
import type { ClusterBinding } from "../../src/local/compiled-graph.ts";
import { type LoadBalancing, type Strategy, strategyOf } from "../../src/placement/strategies.ts";
import { type Ports, systemPorts } from "../../src/ports.ts";
import type { GraphRef } from "../../src/run/link.ts";
import type { Runner } from "../../src/run/runner.ts";
import { otelSpans } from "../../src/telemetry/trace.ts";
import { createDialer, type DialProtocol } from "./dial.ts";

export type { CoordinatorEvent } from "../../src/coordinator/coordinator.ts";
export type { LoadBalancing, Strategy } from "../../src/placement/strategies.ts";
export type { WorkerView } from "../../src/placement/view.ts";

export interface ClusterOptions {
  /** Who decides which worker runs a graph: this application. `p2p` is not there yet. */
  readonly topology: "coordinator-worker" | "p2p";
  /** How the workers are spoken to; default `grpc`. */
  readonly transport?: DialProtocol;
  /** Addresses, `host:port` or a URL. */
  readonly workers?: readonly string[];
  readonly peers?: readonly string[];
  readonly consensus?: "raft" | "etcd" | "store";
  /** Default `least-loaded`. */
  readonly loadBalancing?: LoadBalancing | Strategy;
  /** A worker unheard for this long has its runs handed off; default 3,000. */
  readonly silentMs?: number;
  /** A coordinator or a lease that stands still for this long is taken over; default 6,000. */
  readonly takeoverMs?: number;
  /** Accepted runs that may wait for a worker; beyond it new ones are refused; default 10,000. */
  readonly queueMax?: number;
  readonly ports?: Ports;
}

const topologies: readonly unknown[] = ["coordinator-worker", "p2p"];

/** The settings of a cluster. Graphs and agents that are bound to one config and store share one coordinator. */
export class ClusterConfig implements ClusterBinding {
  readonly options: ClusterOptions;
  readonly #coordinators: Map<Saver, Coordinator> = new Map();

  /** Throws `InvalidArgument`, naming the option. */
  constructor(options: ClusterOptions) {
    checkOptions(options);
    this.options = options;
  }

  /** Discovery by DNS is not there yet: throws `Unsupported`. List the workers, or call `coordinator.addWorker`. */
  static fromDns(name: string): ClusterConfig {
    throw new AgentmaticError("Unsupported", `fromDns(${name}): discovery by DNS is not there yet; list the workers`);
  }

  /** The coordinator of this config over a store, made at the first call. */
  coordinator(saver: Saver): Coordinator {
    let coordinator = this.#coordinators.get(saver);
    if (!coordinator) {
      coordinator = new Coordinator({ config: this, saver });
      this.#coordinators.set(saver, coordinator);
    }
    return coordinator;
  }

  runner({ saver, graph }: { readonly saver: Saver; readonly graph: GraphRef }): Runner {
    const coordinator = this.coordinator(saver);
    coordinator.serve(graph);
    return coordinator;
  }

  /** Closes every coordinator made from this config; accepted runs stay in the store. */
  async close(): Promise<void> {
    await Promise.all([...this.#coordinators.values()].map((coordinator) => coordinator.close()));
    this.#coordinators.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The coordinator of a cluster, speaking to its workers over the network. */
export class Coordinator extends CoordinatorCore {
  constructor(options: { config: ClusterConfig; saver: Saver } & Pick<CoordinatorOptions, "graphs" | "metrics">) {
    const { config, saver, ...others } = options;
    const {
      transport = "grpc",
      workers = [],
      loadBalancing = "least-loaded",
      silentMs,
      takeoverMs,
      queueMax,
    } = config.options;
    super({
      saver,
      dialer: createDialer({ transport }),
      workers,
      ports: config.options.ports ?? systemPorts,
      strategy: strategyOf(loadBalancing),
      spans: otelSpans(),
      ...(silentMs === undefined ? {} : { silentMs }),
      ...(takeoverMs === undefined ? {} : { takeoverMs }),
      ...(queueMax === undefined ? {} : { queueMax }),
      ...others,
    });
  }
}

function checkOptions(options: ClusterOptions): void {
  const { topology, transport = "grpc", workers, loadBalancing = "least-loaded" } = options;
  if (!topologies.includes(topology))
    throw invalid("topology", `"${String(topology)}" is not coordinator-worker or p2p`);
  if (topology === "p2p") {
    throw new AgentmaticError("Unsupported", "topology: p2p is not there yet; use coordinator-worker");
  }
  if (!["grpc", "connect", "grpc-web"].includes(transport)) {
    throw invalid("transport", `"${String(transport)}" is not grpc, connect or grpc-web`);
  }
  if (!Array.isArray(workers) || workers.length === 0) throw invalid("workers", "must list at least one address");
  workers.forEach((address, index) => {
    if (typeof address !== "string" || address === "") throw invalid(`workers[${index}]`, "must be an address");
    if (workers.indexOf(address) !== index) throw invalid(`workers[${index}]`, `${address} is listed twice`);
  });
  strategyOf(loadBalancing);
  for (const field of ["silentMs", "takeoverMs", "queueMax"] as const) {
    const value = options[field];
    if (value !== undefined && !(Number.isFinite(value) && value > 0)) throw invalid(field, "must be above 0");
  }
}
