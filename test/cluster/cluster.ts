/** A cluster of real processes for one test: a store, workers started from their sources, coordinators in this process. */
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClusterConfig, type ClusterOptions, Coordinator } from "../../adapters/cluster/mod.ts";
import { PostgresSaver } from "../../adapters/postgres/mod.ts";
import { SqliteSaver, stuckHolders } from "../../adapters/sqlite/mod.ts";
import { type Saver, systemPorts } from "../../src/mod.ts";
import { createDatabase } from "../support/postgres.ts";
import { type Child, start } from "../support/process.ts";
import { until } from "../support/wait.ts";
import { check, readStored, storedTasks, type Verdict } from "./checker.ts";
import type { ChildOptions } from "./coordinator-child.ts";
import { type Mark, type Start, WitnessReader, witnessVariable } from "./witness.ts";

export type StoreKind = "sqlite" | "postgres";
export const storeKinds: readonly StoreKind[] = ["sqlite", "postgres"];

const root = join(import.meta.dirname, "..", "..");
const workerFile = join(root, "bin", "agentmatic-worker.ts");
const coordinatorFile = join(import.meta.dirname, "coordinator-child.ts");
const graphsFile = join(import.meta.dirname, "graphs.ts");
const startMsMax = 30_000;
const quiet = { ...systemPorts, logger: { log: () => {} } };

export interface WorkerOptions {
  /** `127.0.0.1:PORT`; a free one if not given. */
  readonly listen?: string;
  readonly slots?: number;
  readonly region?: string;
  readonly drainMs?: number;
  readonly leaseMs?: number;
  /** The module whose graphs it serves; `graphs.ts` if not given. */
  readonly graphs?: string;
  readonly env?: Record<string, string>;
}

export interface WorkerProcess {
  readonly child: Child;
  readonly pid: number;
  /** Its random incarnation id. */
  readonly id: string;
  readonly address: string;
  readonly metrics: string;
}

export class Cluster {
  readonly kind: StoreKind;
  readonly folder: string;
  readonly url: string;
  /** This test's own view of the store. */
  readonly saver: Saver;
  readonly witness: WitnessReader;
  readonly workers: WorkerProcess[] = [];
  /** Runs whose admission was acknowledged. */
  readonly accepted: string[] = [];
  /** What `lookAfter` found. */
  readonly found: Mark[] = [];
  readonly #savers: Saver[] = [];
  readonly #coordinators: Coordinator[] = [];
  readonly #children: Child[] = [];

  private constructor(kind: StoreKind, folder: string, url: string) {
    this.kind = kind;
    this.folder = folder;
    this.url = url;
    this.saver = this.openStore();
    this.witness = new WitnessReader(join(folder, "witness"));
  }

  static async open(kind: StoreKind, options: { region?: string; url?: string } = {}): Promise<Cluster> {
    const folder = await mkdtemp(join(tmpdir(), "agentmatic-cluster-"));
    await mkdir(join(folder, "witness"));
    const url = new URL(options.url ?? (kind === "sqlite" ? `sqlite://${folder}/store.db` : await createDatabase()));
    if (options.region) url.searchParams.set(kind === "sqlite" ? "region" : "agentmatic_region", options.region);
    const cluster = new Cluster(kind, folder, url.href);
    await cluster.saver.setup();
    return cluster;
  }

  openStore(url = this.url): Saver {
    const saver = this.kind === "sqlite" ? SqliteSaver.fromUrl(url) : PostgresSaver.fromUrl(url);
    this.#savers.push(saver);
    return saver;
  }

  /** The SQLite file. */
  get path(): string {
    return join(this.folder, "store.db");
  }

  async startWorker(options: WorkerOptions = {}): Promise<WorkerProcess> {
    const { listen = "127.0.0.1:0", slots = 16, region, drainMs, leaseMs, graphs = graphsFile, env = {} } = options;
    const args = ["--listen", listen, "--metrics", "127.0.0.1:0", "--graphs", graphs, "--store", this.url];
    args.push("--slots", String(slots));
    if (region !== undefined) args.push("--region", region);
    if (drainMs !== undefined) args.push("--drain-ms", String(drainMs));
    if (leaseMs !== undefined) args.push("--lease-ms", String(leaseMs));
    const child = await this.spawn([workerFile, ...args], env);
    const pattern = /^agentmatic-worker listening on (\S+) \(metrics (\S+)\) id=(\S+)$/;
    const [, address = "", metrics = "", id = ""] = await child.line(pattern, { timeoutMs: startMsMax });
    const worker = { child, pid: child.pid, id, address, metrics };
    this.workers.push(worker);
    return worker;
  }

  startWorkers(count: number, options: WorkerOptions = {}): Promise<WorkerProcess[]> {
    return Promise.all(Array.from({ length: count }, () => this.startWorker(options)));
  }

  /** A Node process that ends with this test. */
  async spawn(args: readonly string[], env: Record<string, string> = {}): Promise<Child> {
    const child = await start(process.execPath, ["--disable-warning=ExperimentalWarning", ...args], {
      env: {
        AGENTMATIC_LOG: "warn",
        NODE_COMPILE_CACHE: join(tmpdir(), "agentmatic-compile-cache"),
        [witnessVariable]: join(this.folder, "witness"),
        ...env,
      },
    });
    this.#children.push(child);
    return child;
  }

  /** A coordinator in a process of its own. */
  spawnCoordinator(options: Omit<ChildOptions, "url">): Promise<Child> {
    return this.spawn([coordinatorFile, JSON.stringify({ url: this.url, ...options })]);
  }

  /** The same; resolves once all of its runs are accepted. */
  async coordinatorChild(options: Omit<ChildOptions, "url">): Promise<Child> {
    const child = await this.spawnCoordinator(options);
    for (const { runId } of options.runs) {
      await child.line(new RegExp(`^accepted ${runId}$`), { timeoutMs: startMsMax });
      this.accepted.push(runId);
    }
    return child;
  }

  coordinator(workers: readonly string[], options: Partial<ClusterOptions> = {}): Coordinator {
    const config = new ClusterConfig({ topology: "coordinator-worker", workers, ports: quiet, ...options });
    const coordinator = new Coordinator({ config, saver: this.openStore() });
    this.#coordinators.push(coordinator);
    return coordinator;
  }

  /** Waits until the coordinator can place runs on so many workers. */
  async ready(coordinator: Coordinator, count: number): Promise<void> {
    await coordinator.connect();
    await until(() => coordinator.workers().filter(({ healthy, permits }) => healthy && permits > 0).length >= count, {
      what: `${count} workers to be there`,
      timeoutMs: startMsMax,
    });
  }

  /** Joins witness and store over all runs that were accepted. */
  async verdict(): Promise<Verdict> {
    const stored = await readStored(this.saver, this.accepted);
    return check({ accepted: this.accepted, witness: this.witness.lines(), stored, found: this.found });
  }

  /** To be called when a process was killed or frozen: notes which tasks of unfinished supersteps it has stored. */
  async lookAfter(pid: number): Promise<void> {
    const threads = new Set(this.latest().flatMap(([, start]) => (start.pid === pid ? [start.threadId] : [])));
    this.found.push(...(await storedTasks(this.saver, threads, pid)));
  }

  /** Starts of nodes of a run so far, in the order of their times. */
  starts(runId?: string): Start[] {
    const all = this.witness.starts();
    return (runId === undefined ? all : all.filter((each) => each.runId === runId)).sort((a, b) => a.t - b.t);
  }

  /** Each run's last start of a node so far. */
  latest(): [runId: string, Start][] {
    return [...new Map(this.starts().map((start) => [start.runId, start]))];
  }

  async close(): Promise<void> {
    for (const coordinator of this.#coordinators) await coordinator.close();
    await Promise.all(this.#children.map((child) => child.kill()));
    for (const saver of this.#savers) await saver.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** SIGSTOP, and sure that it has taken hold where the system tells. */
export async function freeze(child: Child): Promise<void> {
  child.signal("SIGSTOP");
  if (process.platform !== "linux") return;
  const state = () => /\) (\w)/.exec(readFileSync(`/proc/${child.pid}/stat`, "utf8"))?.[1];
  await until(() => state() === "T", { what: `process ${child.pid} to stand still`, everyMs: 1 });
}

/** What whoever starts workers does about a silent one: kills it if it is what blocks the SQLite file (P20). */
export async function guard(cluster: Cluster, silent: WorkerProcess): Promise<boolean> {
  if (cluster.kind !== "sqlite") return false;
  const stuck = await stuckHolders(cluster.path, [silent.pid], { forMs: 500 });
  if (stuck.length === 0) return false;
  await silent.child.kill();
  return true;
}

/** One value of a worker's /metrics: the sum over its series. */
export async function metric(worker: WorkerProcess, name: string): Promise<number> {
  const text = await (await fetch(`http://${worker.metrics}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

export async function readyz(worker: WorkerProcess): Promise<number> {
  return (await fetch(`http://${worker.metrics}/readyz`)).status;
}
