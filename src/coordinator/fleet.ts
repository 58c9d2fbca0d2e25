/** The workers of a coordinator: their links, what is known of them, and what is wrong with them. */
import type { Saver, StoreIdentity } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import type { WorkerView } from "../placement/view.ts";
import type { Ports } from "../ports.ts";
import type { Dialer, GraphRef, StoreRef, ToCoordinator } from "../run/link.ts";
import { WorkerLink } from "./link.ts";

export interface FleetOptions {
  readonly saver: Saver;
  readonly dialer: Dialer;
  readonly ports: Ports;
  readonly coordinatorId: string;
  readonly workers: readonly string[];
  readonly graphs: readonly GraphRef[];
  readonly silentMs: number;
  readonly packageVersion: string;
  readonly listener: FleetListener;
}

export interface FleetListener {
  /** `same`: it is the process that was there before the stream broke. */
  up(link: WorkerLink, same: boolean): void;
  frame(link: WorkerLink, frame: ToCoordinator): void;
  down(link: WorkerLink, reason: "lost" | "silent"): void;
  /** Permits, health or draining of some worker changed. */
  changed(): void;
}

/** How long the first run waits for all workers to be tried. */
const firstLookMs = 1_000;

export class Fleet {
  readonly #options: FleetOptions;
  readonly #addresses: Set<string>;
  readonly #links: Map<string, WorkerLink> = new Map();
  readonly #graphs: Map<string, GraphRef> = new Map();
  #store: StoreRef | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#addresses = new Set(options.workers);
    for (const graph of options.graphs) this.serve(graph);
  }

  /** Adds a graph to those that are compared with the workers'. */
  serve(graph: GraphRef): void {
    this.#graphs.set(graph.name, graph);
  }

  async connect({ id, zone, region }: StoreIdentity): Promise<void> {
    const { saver, ports } = this.#options;
    this.#store = { id, kind: saver.kind, zone, region, shared: saver.shared };
    for (const address of this.#addresses) this.#link(address);
    // A moment for a first look at the workers: what none of them could ever do is then an error and not a long wait.
    const tried = Promise.all([...this.#links.values()].map((link) => link.tried));
    let cancel = () => {};
    const patience = new Promise<void>((resolve) => {
      cancel = ports.timers.after(firstLookMs, resolve);
    });
    await Promise.race([tried, patience]);
    cancel();
  }

  add(address: string): void {
    this.#addresses.add(address);
    if (this.#store) this.#link(address);
  }

  async remove(address: string): Promise<void> {
    this.#addresses.delete(address);
    const link = this.#links.get(address);
    if (!link) return;
    this.#links.delete(address);
    await link.close();
    link.lost();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#links.values()].map((link) => link.close()));
  }

  /** The workers that were ever reached. */
  views(): readonly WorkerView[] {
    return [...this.#links.values()].flatMap(({ view }) => (view ? [view] : []));
  }

  /** True where every configured worker was reached at least once: only then can "never" be said (PROTOCOL.md P13). */
  get known(): boolean {
    const links = [...this.#links.values()];
    return links.length > 0 && links.every(({ view }) => view !== undefined);
  }

  /** The link to a worker that can be reached now. */
  of(workerId: string): WorkerLink | undefined {
    for (const link of this.#links.values()) {
      const { view } = link;
      if (view?.healthy && view.info.workerId === workerId) return link;
    }
    return undefined;
  }

  /** Why a configured worker cannot be used, by address. */
  problems(): ReadonlyMap<string, AgentmaticError> {
    const problems = new Map<string, AgentmaticError>();
    for (const [address, link] of this.#links) {
      const problem = link.problem ?? this.#versionProblem(link);
      if (problem) problems.set(address, problem);
    }
    return problems;
  }

  #link(address: string): void {
    if (this.#links.has(address)) return;
    const { dialer, ports, coordinatorId, silentMs, packageVersion, listener } = this.#options;
    const link = new WorkerLink({
      address,
      dialer,
      ports,
      coordinatorId,
      store: this.#store!,
      graphs: () => [...this.#graphs.values()],
      silentMs,
      packageVersion,
      listener: {
        up: (up, same) => {
          const problem = this.#versionProblem(up);
          if (problem) ports.logger.log("warn", problem.message, { worker: address });
          listener.up(up, same);
        },
        down: (down, reason) => listener.down(down, reason),
        frame: (from, frame) => listener.frame(from, frame),
        changed: () => listener.changed(),
      },
    });
    this.#links.set(address, link);
  }

  #versionProblem(link: WorkerLink): AgentmaticError | undefined {
    for (const { name, version } of link.view?.info.graphs ?? []) {
      const ours = this.#graphs.get(name);
      if (!ours || ours.version === version) continue;
      const text = `graph ${name}: the application has version ${ours.version}, worker ${link.address} has ${version}`;
      return new AgentmaticError("FailedPrecondition", text, {
        details: { graph: name, ours: ours.version, theirs: version },
      });
    }
    return undefined;
  }
}
