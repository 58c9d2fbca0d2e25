/** Coordinator and workers in this process whose frames all go through the wire's messages and bytes. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Coordinator } from "../../src/coordinator/coordinator.ts";
import type { Plan } from "../../src/graph/plan.ts";
import {
  type ChannelSpec,
  CompiledGraph,
  MemorySaver,
  MemoryStore,
  type Ports,
  type Saver,
  systemPorts,
} from "../../src/mod.ts";
import { toCoordinatorFromWire, toCoordinatorToWire, toWorkerFromWire, toWorkerToWire } from "../../src/rpc/frames.ts";
import { LinkRequestSchema, LinkResponseSchema } from "../../src/rpc/gen/agentmatic/v1/worker_pb.ts";
import type { Dialer, ToCoordinator, ToWorker, WorkerEndpoint } from "../../src/run/link.ts";
import { Worker, type WorkerOptions } from "../../src/worker/worker.ts";

export interface WiredOptions {
  readonly workers?: number;
  readonly worker?: Partial<WorkerOptions>;
  /** The store of coordinator and workers; a memory store that they share if not given. */
  readonly saver?: () => Saver;
  /** True where each worker has a memory of its own. */
  readonly apart?: boolean;
}

export class Wired {
  readonly coordinator: Coordinator;
  readonly saver: Saver;
  readonly workers: Worker[] = [];
  /** Frames that went to workers. */
  readonly toWorkers: ToWorker[] = [];
  /** Frames that workers handed out and that were read. */
  readonly fromWorkers: ToCoordinator[] = [];
  readonly #cuts: Map<string, AbortController> = new Map();

  private constructor(saver: Saver, ports: Ports, count: number) {
    this.saver = saver;
    this.coordinator = new Coordinator({
      saver,
      dialer: this.#dialer(),
      workers: Array.from({ length: count }, (_, index) => `w${index}`),
      ports,
      takeoverMs: 300,
    });
  }

  static async start(plans: readonly Plan[], options: WiredOptions = {}): Promise<Wired> {
    const { workers = 2, worker = {}, apart = false } = options;
    const store = new MemoryStore();
    const open = options.saver ?? (() => new MemorySaver({ store }));
    const wired = new Wired(open(), systemPorts, workers);
    for (let i = 0; i < workers; i++) {
      const saver = apart ? new MemorySaver() : open();
      const one = new Worker({ graphs: plans, saver, ports: systemPorts, slots: 8, ...worker });
      await one.start();
      wired.workers.push(one);
    }
    return wired;
  }

  bind<S extends ChannelSpec>(graph: CompiledGraph<S>): CompiledGraph<S> {
    const { coordinator, saver } = this;
    return new CompiledGraph<S>(graph.plan, { checkpointer: saver, cluster: { runner: () => coordinator } });
  }

  /** Breaks every link; coordinator and workers live on. */
  cut(): void {
    for (const cut of this.#cuts.values()) cut.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.coordinator.close();
    for (const worker of this.workers) await worker.close();
  }

  #dialer(): Dialer {
    return {
      dial: (address) => {
        const endpoint = (): WorkerEndpoint => this.workers[Number(address.slice(1))]!.endpoint;
        return {
          describe: (signal) => endpoint().describe(signal),
          link: (inbound, signal) => this.#link(address, endpoint(), inbound, signal),
          execute: (run, signal) => endpoint().execute(run, signal),
          close: async () => {},
        };
      },
    };
  }

  async *#link(address: string, endpoint: WorkerEndpoint, inbound: AsyncIterable<ToWorker>, signal: AbortSignal) {
    const cut = new AbortController();
    this.#cuts.set(address, cut);
    const requests = this.#requests(inbound);
    for await (const frame of endpoint.link(requests, AbortSignal.any([signal, cut.signal]))) {
      if (cut.signal.aborted) throw new Error("connection reset");
      const bytes = toBinary(LinkResponseSchema, toCoordinatorToWire(frame));
      const read = toCoordinatorFromWire(fromBinary(LinkResponseSchema, bytes));
      this.fromWorkers.push(read);
      yield read;
    }
    if (cut.signal.aborted) throw new Error("connection reset");
  }

  async *#requests(inbound: AsyncIterable<ToWorker>): AsyncGenerator<ToWorker> {
    for await (const frame of inbound) {
      const bytes = toBinary(LinkRequestSchema, toWorkerToWire(frame));
      const read = toWorkerFromWire(fromBinary(LinkRequestSchema, bytes));
      this.toWorkers.push(read);
      yield read;
    }
  }
}
