/**
 * A cluster in virtual time, made from one seed: processes that stand still or die, links that break on one side first,
 * and a store that fails before or after a call, answers late, or does what was asked only after its caller gave up.
 */
import type { Saver } from "../../../src/checkpoint/saver.ts";
import { AgentmaticError } from "../../../src/errors.ts";
import { MemorySaver, MemoryStore } from "../../../src/mod.ts";
import { type Ports, silentLogger } from "../../../src/ports.ts";
import type { Dialer, ToWorker, WorkerEndpoint } from "../../../src/run/link.ts";
import { isTerminal, type RunStatus } from "../../../src/run/record.ts";

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly owner: string;
  readonly run: () => void;
  cancelled: boolean;
}

/** Calls to the store within one instant: beyond it something goes round without ever waiting. */
const callsPerInstantMax = 20_000;

export class Sim {
  nowMs = 0;
  readonly random: () => number;
  readonly problems: string[] = [];
  readonly trace: string[] = [];
  #timers: Timer[] = [];
  #order = 0;
  #calls = 0;
  #callsAtMs = -1;
  #ids = 0;

  constructor(random: () => number) {
    this.random = random;
  }

  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }

  chance(part: number): boolean {
    return this.random() < part;
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random() * list.length)] as T;
  }

  id(): string {
    return `id${String(this.#ids++).padStart(20, "0")}`;
  }

  problem(text: string): void {
    if (this.problems.length < 20) this.problems.push(`${Math.round(this.nowMs)} ms: ${text}`);
  }

  note(text: string): void {
    this.trace.push(`${Math.round(this.nowMs)} ${text}`);
  }

  /** True while the world may go on within this instant. */
  call(what: string): boolean {
    if (this.#callsAtMs !== this.nowMs) {
      this.#callsAtMs = this.nowMs;
      this.#calls = 0;
    }
    if (++this.#calls < callsPerInstantMax) return true;
    if (this.#calls === callsPerInstantMax) this.problem(`over ${callsPerInstantMax} calls in one instant: ${what}`);
    return false;
  }

  after(delayMs: number, run: () => void, owner = ""): () => void {
    const timer: Timer = {
      atMs: this.nowMs + Math.max(0, delayMs),
      order: this.#order++,
      owner,
      run,
      cancelled: false,
    };
    this.#push(timer);
    return () => {
      timer.cancelled = true;
    };
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** Owners of timers that are still set. */
  pending(): readonly string[] {
    return this.#timers.filter(({ cancelled }) => !cancelled).map(({ owner }) => owner);
  }

  /** Lets time pass until `done`; false where `limitMs` of virtual time or all timers ran out before. */
  async run(done: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.nowMs + limitMs;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (done()) return true;
      const next = this.#pop();
      if (!next || next.atMs > endMs) {
        if (next) this.#push(next);
        this.nowMs = endMs;
        return false;
      }
      this.nowMs = next.atMs;
      if (!next.cancelled) next.run();
    }
  }

  #push(timer: Timer): void {
    const heap = this.#timers;
    let at = heap.push(timer) - 1;
    for (let up = (at - 1) >> 1; at > 0 && before(timer, heap[up]!); up = (at - 1) >> 1) {
      heap[at] = heap[up]!;
      at = up;
    }
    heap[at] = timer;
  }

  #pop(): Timer | undefined {
    const heap = this.#timers;
    const top = heap[0];
    const last = heap.pop();
    if (!top || !last || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** A process: nothing happens in it while it stands still, nor ever again once it is dead. */
export class Proc {
  readonly name: string;
  readonly ports: Ports;
  readonly #sim: Sim;
  readonly #waiting: (() => void)[] = [];
  alive = true;
  paused = false;

  constructor(sim: Sim, name: string) {
    this.#sim = sim;
    this.name = name;
    this.ports = {
      clock: { monotonicMs: () => sim.nowMs, wallMs: () => sim.nowMs },
      timers: {
        after: (delayMs, run) => {
          let cancelled = false;
          const cancel = sim.after(delayMs, () => this.deliver(() => !cancelled && run()), name);
          return () => {
            cancelled = true;
            cancel();
          };
        },
      },
      random: { next: sim.random },
      ids: { next: () => sim.id() },
      logger: silentLogger,
    };
  }

  deliver(run: () => void): void {
    if (!this.alive) return;
    if (this.paused) this.#waiting.push(run);
    else run();
  }

  /** Resolves when the process can go on; never where it is dead. */
  turn(): Promise<void> {
    return new Promise((resolve) => this.deliver(resolve));
  }

  pause(): void {
    this.paused = true;
    this.#sim.note(`${this.name} stands still`);
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#sim.note(`${this.name} goes on`);
    for (const run of this.#waiting.splice(0)) run();
  }

  kill(): void {
    this.alive = false;
    this.#waiting.length = 0;
    this.#sim.note(`${this.name} dies`);
  }
}

/** The lease of the workers here, and what they may start on credit within it. */
export const leaseMs = 2_250;
const creditMs = (leaseMs * 2) / 3;

/** What was seen in the store, from outside of engine and saver. */
export class Witness {
  readonly #sim: Sim;
  readonly #store: MemoryStore;
  readonly #commits: Map<string, string> = new Map();
  /** When a task's writes, or the commit of its superstep, came to be in the store: by the count of claims. */
  readonly #stored: Map<string, number> = new Map();
  readonly #claims: Map<string, number> = new Map();
  /** By thread, the newest epoch and the time of its claim. */
  readonly #newest: Map<string, { readonly epoch: number; readonly atMs: number }> = new Map();
  readonly #ended: Map<string, RunStatus> = new Map();
  #order = 0;
  starts = 0;

  constructor(sim: Sim, store: MemoryStore) {
    this.#sim = sim;
    this.#store = store;
  }

  /** Called in the instant in which the store has done a call. */
  saw(key: string, args: readonly unknown[], result: unknown): void {
    this.#order++;
    if (key === "claim") {
      const { fence, record } = result as Awaited<ReturnType<Saver["claim"]>>;
      const { runId, attempt } = args[0] as Parameters<Saver["claim"]>[0];
      if (attempt !== record.state.attempt) {
        this.#sim.problem(`attempt ${attempt} of ${runId} claimed when ${record.state.attempt} was due`);
      }
      const claim = `${fence.threadId} ${fence.epoch}`;
      if (!this.#claims.has(claim)) {
        this.#claims.set(claim, this.#order);
        this.#newest.set(fence.threadId, { epoch: fence.epoch, atMs: this.#sim.nowMs });
      }
    } else if (key === "putWrites") {
      (args[0] as Parameters<Saver["putWrites"]>[0]).forEach(({ fence, writes }, index) => {
        if (!(result as Awaited<ReturnType<Saver["putWrites"]>>)[index]?.ok) return;
        for (const write of writes) {
          if (write.kind === "done") this.#keep(`${fence.threadId} ${write.taskId}`);
        }
      });
    } else if (key === "commit") {
      (args[0] as Parameters<Saver["commit"]>[0]).forEach((commit, index) => {
        if ((result as Awaited<ReturnType<Saver["commit"]>>)[index]?.ok) this.#sawCommit(commit);
      });
    }
    for (const [runId, { state }] of this.#store.runs) {
      const before = this.#ended.get(runId);
      if (before !== undefined && state.status !== before) {
        this.#sim.problem(`run ${runId} was ${before} and became ${state.status}`);
      }
      if (isTerminal(state.status)) this.#ended.set(runId, state.status);
    }
  }

  #sawCommit({ fence, checkpoint, commitId, writes = [] }: Parameters<Saver["commit"]>[0][number]): void {
    for (const write of writes) if (write.kind === "done") this.#keep(`${fence.threadId} ${write.taskId}`);
    if (!checkpoint) return;
    const key = `${fence.threadId} ${checkpoint.checkpointId}`;
    const other = this.#commits.get(key);
    if (other !== undefined && other !== commitId) this.#sim.problem(`superstep ${key} was committed twice`);
    this.#commits.set(key, commitId);
    if (checkpoint.parentId !== null) this.#keep(`${fence.threadId} ${checkpoint.parentId}|`);
  }

  #keep(key: string): void {
    if (!this.#stored.has(key)) this.#stored.set(key, this.#order);
  }

  /** A node begins: it must not have been stored before its owner's claim. */
  started(threadId: string, taskId: string, checkpointId: string, epoch: number): void {
    this.starts++;
    const claimed = this.#claims.get(`${threadId} ${epoch}`);
    if (claimed === undefined) {
      this.#sim.problem(`task ${taskId} began under epoch ${epoch}, which nobody claimed`);
      return;
    }
    const newest = this.#newest.get(threadId)!;
    const lateMs = this.#sim.nowMs - newest.atMs;
    // P5: after two thirds of a lease without a confirmed renewal nothing starts on credit.
    if (newest.epoch > epoch && lateMs > creditMs) {
      this.#sim.problem(`task ${taskId} began ${Math.round(lateMs)} ms after a newer claim`);
    }
    for (const key of [`${threadId} ${taskId}`, `${threadId} ${checkpointId}|`]) {
      const stored = this.#stored.get(key);
      if (stored !== undefined && stored < claimed) this.#sim.problem(`finished task ${taskId} began again`);
    }
  }
}

type Method = (...args: unknown[]) => Promise<unknown>;

type Fault = "none" | "before" | "after" | "late-effect" | "slow";

/** A store of one's own process's view: each call travels, is done in one instant, and its answer travels back. */
export class World {
  readonly sim: Sim;
  readonly store: MemoryStore;
  readonly witness: Witness;
  readonly endpoints: Map<string, { readonly endpoint: WorkerEndpoint; readonly proc: Proc }> = new Map();
  readonly links: Set<Link> = new Set();
  /** Part of the store's calls that go wrong. */
  faults = 0;
  /** Addresses that cannot be reached now. */
  readonly refuse: Set<string> = new Set();
  /** Called before each call to the store. */
  onCall: (proc: Proc, key: string) => void = () => {};
  readonly #outages: Map<string, number> = new Map();
  readonly #failing: Set<string> = new Set();

  constructor(sim: Sim) {
    this.sim = sim;
    this.store = new MemoryStore({ next: () => sim.id() });
    this.witness = new Witness(sim, this.store);
  }

  /** Nothing gets through between this process and the store for a while. */
  outage(proc: Proc, forMs: number): void {
    this.#outages.set(proc.name, this.sim.nowMs + forMs);
    this.sim.note(`${proc.name} is without its store for ${Math.round(forMs)} ms`);
  }

  endOutages(): void {
    this.#outages.clear();
  }

  /** The next call of this kind does not get through. */
  failOnce(proc: Proc, key: string): void {
    this.#failing.add(`${proc.name} ${key}`);
  }

  #fault(proc: Proc, key: string): Fault {
    if (this.#failing.delete(`${proc.name} ${key}`)) return "before";
    if ((this.#outages.get(proc.name) ?? 0) > this.sim.nowMs) return "before";
    if (!this.sim.chance(this.faults)) return "none";
    return this.sim.pick(["before", "after", "late-effect", "slow"] as const);
  }

  saver(proc: Proc): Saver {
    const inner = new MemorySaver({ store: this.store });
    return new Proxy(inner, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target) as unknown;
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => this.#call(proc, target, String(key), value as Method, args);
      },
    });
  }

  async #call(proc: Proc, target: Saver, key: string, method: Method, args: unknown[]): Promise<unknown> {
    const { sim } = this;
    if (!proc.alive || !sim.call(`${proc.name} ${key}`)) return await new Promise<never>(() => {});
    this.onCall(proc, key);
    const fault = this.#fault(proc, key);
    const apply = async (): Promise<unknown> => {
      const result: unknown = await method.apply(target, args);
      this.witness.saw(key, args, result);
      return result;
    };
    if (fault === "late-effect") sim.after(sim.between(100, 3_000), () => void apply().catch(() => undefined));
    else await sim.sleep(sim.between(0, 4));
    let failed = fault === "before" || fault === "late-effect";
    let answer: { ok: true; result: unknown } | { ok: false; thrown: unknown } | undefined;
    if (!failed) {
      answer = await apply().then(
        (result) => ({ ok: true as const, result }),
        (thrown: unknown) => ({ ok: false as const, thrown }),
      );
      failed = fault === "after";
    }
    await sim.sleep(fault === "slow" ? sim.between(500, 4_000) : sim.between(0, fault === "none" ? 4 : 300));
    await proc.turn();
    if (failed || !answer) throw new AgentmaticError("Unavailable", "the store cannot be reached");
    if (!answer.ok) throw answer.thrown;
    return answer.result;
  }

  dialer(proc: Proc): Dialer {
    return {
      dial: (address) => ({
        describe: () => this.#endpoint(address).endpoint.describe(),
        link: (outbound: AsyncIterable<ToWorker>, signal: AbortSignal) => this.#link(proc, address, outbound, signal),
        execute: (run, signal) => this.#endpoint(address).endpoint.execute(run, signal),
        close: async () => {},
      }),
    };
  }

  #endpoint(address: string): { readonly endpoint: WorkerEndpoint; readonly proc: Proc } {
    const found = this.endpoints.get(address);
    if (!found?.proc.alive || this.refuse.has(address))
      throw new AgentmaticError("Unavailable", `connection refused: ${address}`);
    return found;
  }

  async *#link(proc: Proc, address: string, outbound: AsyncIterable<ToWorker>, signal: AbortSignal) {
    await this.sim.sleep(this.sim.between(0, 3));
    await proc.turn();
    const { endpoint, proc: worker } = this.#endpoint(address);
    const link = new Link(this.sim, proc, worker);
    this.links.add(link);
    const hangUp = () => link.cut();
    signal.addEventListener("abort", hangUp, { once: true });
    try {
      const inbound = endpoint.link(link.pipe(outbound, worker, link.atWorker), link.atWorker.signal);
      yield* link.pipe(inbound, proc, link.atCoordinator);
    } finally {
      signal.removeEventListener("abort", hangUp);
      link.cut();
      this.links.delete(link);
    }
  }
}

/** A connection; either end may notice later than the other that it broke. */
export class Link {
  readonly coordinator: Proc;
  readonly worker: Proc;
  readonly atCoordinator: AbortController = new AbortController();
  readonly atWorker: AbortController = new AbortController();
  readonly #sim: Sim;
  #dead = false;

  constructor(sim: Sim, coordinator: Proc, worker: Proc) {
    this.#sim = sim;
    this.coordinator = coordinator;
    this.worker = worker;
  }

  cut(workerLaterMs = 0, coordinatorLaterMs = 0): void {
    if (this.#dead) return;
    this.#dead = true;
    const reset = () => new AgentmaticError("Unavailable", "connection reset");
    this.#sim.after(workerLaterMs, () => this.worker.deliver(() => this.atWorker.abort(reset())));
    this.#sim.after(coordinatorLaterMs, () => this.coordinator.deliver(() => this.atCoordinator.abort(reset())));
  }

  /** Carries frames one way, in order; what is under way when the link breaks is lost. */
  async *pipe<T>(source: AsyncIterable<T>, to: Proc, end: AbortController): AsyncGenerator<T> {
    const frames = source[Symbol.asyncIterator]();
    const { promise: broken, reject } = Promise.withResolvers<never>();
    broken.catch(() => undefined);
    end.signal.addEventListener("abort", () => reject(end.signal.reason), { once: true });
    if (end.signal.aborted) throw end.signal.reason;
    try {
      for (;;) {
        const next = await Promise.race([frames.next(), broken]);
        if (this.#dead) await broken;
        if (next.done) return;
        await this.#sim.sleep(this.#sim.between(0, 3));
        if (this.#dead) await broken;
        await Promise.race([to.turn(), broken]);
        yield next.value;
      }
    } finally {
      void frames.return?.(undefined);
    }
  }
}
