import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { CompiledGraph, Saver } from "agentmatic";
import { ClusterConfig, type Coordinator } from "agentmatic/cluster";
import { openStore, ports } from "agentmatic/node";
import { lockHolders, SqliteSaver, stuckHolders, writeLockHeld } from "agentmatic/sqlite";
import type { FaultTarget } from "./faults.ts";
import { Fleet, type WorkerProcess } from "./fleet.ts";
import { GRAPH_NAME, mailTriage, type TriageChannels } from "./graph.ts";
import type { WorkerLoad } from "./progress.ts";

/** Runs that one worker holds at once. */
export const SLOTS: number = 16;
/** A worker that is unheard for this long has its runs handed off. */
const SILENT_MS = 3_000;
/** A store that takes no write for this long while a worker is frozen is blocked by that worker. */
const BLOCKED_MS = 300;
const JOIN_MS = 30_000;
const POLL_MS = 5;

/** Switches the fence off, in the processes that see it: a test hook, see the package's own documents. */
const UNFENCED_VARIABLE = "AGENTMATIC_UNSAFE_NO_FENCE";
const STORE_VARIABLE = "AGENTMATIC_STORE";

export interface ClusterSettings {
  /** The URL that the workers are given; `saver` is the launcher's own way to the same store. */
  readonly store: string;
  readonly saver: Saver;
  readonly workers: number;
  readonly unfenced: boolean;
  /** For the workers' logs. */
  readonly folder: string;
  /** What the workers need to know, beyond this process's own environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** Opens the store and makes its tables. @throws AgentmaticError, `InvalidArgument` where the URL is wrong. */
export async function openSaver(url: string, unfenced: boolean): Promise<Saver> {
  const saver = await openStore(url, { logger: ports.logger, field: "--store", unsafeWithoutFence: unfenced });
  try {
    await saver.setup();
    return saver;
  } catch (error) {
    await saver.close();
    throw error;
  }
}

/** The cluster of one job: its store, its worker processes, and the coordinator that this process is. */
export class Cluster implements FaultTarget {
  readonly saver: Saver;
  readonly graph: CompiledGraph<TriageChannels>;
  readonly coordinator: Coordinator;
  readonly fleet: Fleet;
  readonly #config: ClusterConfig;
  readonly #removed: Set<string> = new Set();

  private constructor(saver: Saver, fleet: Fleet, config: ClusterConfig) {
    this.saver = saver;
    this.fleet = fleet;
    this.#config = config;
    this.graph = mailTriage.compile({ name: GRAPH_NAME, checkpointer: saver, cluster: config });
    this.coordinator = config.coordinator(saver);
  }

  /** Starts the workers and connects to them. Leaves no process behind where that fails. */
  static async start(settings: ClusterSettings): Promise<Cluster> {
    const fleet = fleetOf(settings);
    let cluster: Cluster | undefined;
    try {
      const workers = await Promise.all(Array.from({ length: settings.workers }, () => fleet.start()));
      const config = new ClusterConfig({
        topology: "coordinator-worker",
        transport: "grpc",
        workers: workers.map(({ address }) => address),
        loadBalancing: "least-loaded",
        silentMs: SILENT_MS,
      });
      cluster = new Cluster(settings.saver, fleet, config);
      await cluster.coordinator.connect();
      for (const worker of workers) await Promise.race([cluster.#joined(worker), fleet.unasked]);
      return cluster;
    } catch (error) {
      fleet.killAll();
      await cluster?.stop();
      throw error;
    }
  }

  /** Calls `listener` when the coordinator has found out that a worker is gone or silent. */
  onDown(listener: (name: string, reason: "lost" | "silent") => void): void {
    this.coordinator.observe((event) => {
      if (event.type !== "worker-down" || this.#removed.has(event.address)) return;
      const worker = this.fleet.all().find(({ id }) => id === event.workerId);
      if (worker) listener(worker.name, event.reason);
    });
  }

  /** Each live worker and the runs it holds, as the coordinator knows it. */
  loads(): WorkerLoad[] {
    const active = this.#active();
    return this.fleet
      .all()
      .map(({ name, id }) => ({ name, state: this.fleet.state(name), active: active.get(id) ?? 0 }))
      .filter(({ state }) => state !== "dead");
  }

  up(): WorkerProcess[] {
    return this.fleet.up();
  }

  busy(): WorkerProcess[] {
    const active = this.#active();
    const up = this.fleet.up();
    const most = Math.max(...up.map(({ id }) => active.get(id) ?? 0));
    return most > 0 ? up.filter(({ id }) => active.get(id) === most) : [];
  }

  kill(name: string): Promise<void> {
    return this.fleet.kill(name);
  }

  freeze(name: string): void {
    this.fleet.freeze(name);
  }

  thaw(name: string): void {
    this.fleet.thaw(name);
  }

  async blocksStore({ pid }: WorkerProcess): Promise<boolean> {
    const { saver } = this;
    if (!(saver instanceof SqliteSaver)) return false;
    // Where the system does not say who holds the lock, the one that stands still is the one that holds it.
    if (process.platform !== "linux") return writeLockHeld(saver.path, { forMs: BLOCKED_MS });
    if (!(await lockHolders(saver.path)).includes(pid)) return false;
    return (await stuckHolders(saver.path, [pid], { forMs: BLOCKED_MS })).length > 0;
  }

  /** The coordinator must find out by itself that the old one is gone: it is told of the new one only. */
  async replace(killed: WorkerProcess): Promise<void> {
    const worker = await this.fleet.start();
    this.#removed.delete(worker.address);
    this.coordinator.addWorker(worker.address);
    await this.#joined(worker);
    if (killed.address === worker.address) return;
    this.#removed.add(killed.address);
    await this.coordinator.removeWorker(killed.address);
  }

  /** Lets the workers end what they do, so that whatever a thawed one still writes is in the store afterwards. */
  async stop(): Promise<void> {
    await this.#config.close();
    await this.fleet.close();
  }

  #active(): Map<string, number> {
    return new Map(this.coordinator.workers().map(({ info, active }) => [info.workerId, active]));
  }

  async #joined({ id, name, address }: WorkerProcess): Promise<void> {
    for (const deadline = performance.now() + JOIN_MS; performance.now() < deadline; await sleep(POLL_MS)) {
      if (this.coordinator.workers().some(({ info, healthy }) => info.workerId === id && healthy)) return;
      if (this.fleet.state(name) === "dead") break;
    }
    const reason = this.coordinator.problems().get(address)?.message ?? "no answer";
    throw new Error(`worker ${name} did not join within ${JOIN_MS} ms: ${reason}`);
  }
}

function fleetOf({ store, unfenced, folder, env }: ClusterSettings): Fleet {
  const worker = fileURLToPath(import.meta.resolve("agentmatic/worker"));
  const listen = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
  const graphs = join(import.meta.dirname, "graphs.ts");
  const fleet = new Fleet({
    command: [
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      worker,
      ...listen,
      "--graphs",
      graphs,
      "--slots",
      String(SLOTS),
    ],
    // The store by the environment, as its URL may hold a password, and anybody may read a command line.
    env: { ...process.env, ...env, [STORE_VARIABLE]: store, ...(unfenced ? { [UNFENCED_VARIABLE]: "1" } : {}) },
    logFolder: folder,
  });
  // However this process ends, its workers end with it.
  process.once("exit", () => fleet.killAll());
  return fleet;
}
