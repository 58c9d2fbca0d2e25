/**
 * The promise, under whatever one seed brings: two coordinators and three workers in virtual time, with a store that
 * fails in every way it can. First everything goes wrong at once, then nothing any more, and by then every accepted run
 * must come to its end: no superstep committed twice, no stored task run again, no input applied twice.
 *
 * AGENTMATIC_TEST_LONG=1 tries twenty times as many seeds; AGENTMATIC_TEST_SEED=n tries that one alone.
 */
import { beforeEach, expect, test, vi } from "vitest";
import { Coordinator } from "../../../src/coordinator/coordinator.ts";
import { AgentmaticError } from "../../../src/errors.ts";
import type { NodeContext } from "../../../src/graph/context.ts";
import type { Plan } from "../../../src/graph/plan.ts";
import { Annotation, decodeValue, END, encodeValue, MemorySaver, Send, START, StateGraph } from "../../../src/mod.ts";
import type { RunEvent } from "../../../src/run/events.ts";
import type { RunEnd } from "../../../src/run/link.ts";
import { isTerminal, type RunStatus } from "../../../src/run/record.ts";
import type { RunRequest } from "../../../src/run/runner.ts";
import { Worker } from "../../../src/worker/worker.ts";
import { generator, givenSeed } from "../../support/seed.ts";
import { leaseMs, Proc, Sim, World } from "./world.ts";

const seedsDefault = process.env.AGENTMATIC_TEST_LONG ? 4_000 : 200;
const troubleMs = 15_000;
/** With nothing wrong any more everything must end within this time. */
const calmMs = 30_000;
const attemptsMax = 30;

beforeEach(() => {
  // The one real clock in the code under test: a thread pool that answers when it likes.
  vi.spyOn(crypto.subtle, "digest").mockImplementation(async (_algorithm, data) => {
    const bytes = new Uint8Array(data as ArrayBuffer);
    const out = new Uint8Array(32);
    bytes.forEach((byte, index) => {
      out[index % 32] = (out[index % 32]! * 31 + byte) & 255;
    });
    return out.buffer;
  });
});

interface Request {
  readonly runId: string;
  readonly threadId: string;
  readonly graph: string;
  readonly resume: boolean;
  /** Entries of the log that a run that succeeds leaves behind. */
  readonly full: readonly string[];
  cancelled: boolean;
  accepted: boolean;
}

interface Node {
  readonly proc: Proc;
  readonly address: string;
  readonly worker: Worker;
}

interface Lead {
  readonly proc: Proc;
  readonly coordinator: Coordinator;
}

class Torture {
  readonly sim: Sim;
  readonly world: World;
  readonly plans: readonly Plan[];
  readonly nodes: Node[] = [];
  readonly leads: Lead[] = [];
  readonly requests: Request[] = [];
  readonly ends: { readonly lead: Lead; readonly runId: string; end?: RunEnd; error?: unknown }[] = [];
  #names = 0;
  #open = 0;

  constructor(random: () => number) {
    this.sim = new Sim(random);
    this.world = new World(this.sim);
    this.plans = this.#makePlans();
  }

  #makePlans(): Plan[] {
    const state = () => ({
      run: Annotation<string>(),
      log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
      rounds: Annotation<number>(),
    });
    const does =
      (name: string, maxMs: number) =>
      async (at: { run: string }, ctx: NodeContext): Promise<{ log: string[] }> => {
        this.world.witness.started(ctx.threadId, ctx.taskId, ctx.checkpointId, ctx.epoch);
        ctx.stream({ name });
        await this.#nodeSleep(ctx, this.sim.between(0, maxMs));
        return { log: [`${at.run}:${name}`] };
      };
    const chain = new StateGraph(state())
      .addNode("one", does("one", 600))
      .addNode("two", does("two", 1_500))
      .addNode("three", does("three", 300))
      .addEdge(START, "one")
      .addEdge("one", "two")
      .addEdge("two", "three");
    const fan = new StateGraph(state())
      .addNode("split", does("split", 100))
      .addNode("side", does("side", 2_000))
      .addNode<{ run: string; item: number }>("work", async (item, ctx) => {
        return await does(`work${item.item}`, 2_000)(item, ctx);
      })
      .addNode("join", does("join", 100))
      .addEdge(START, "split")
      .addEdge("split", "side")
      .addConditionalEdges("split", (s) => [1, 2, 3].map((item) => new Send("work", { run: s.run, item })), ["work"])
      .addEdge(["side", "work"], "join")
      .addEdge("join", END);
    const loop = new StateGraph(state())
      .addNode("turn", async (s, ctx) => {
        const { log } = await does(`turn${s.rounds}`, 400)(s, ctx);
        return { log, rounds: s.rounds + 1 };
      })
      .addEdge(START, "turn")
      .addConditionalEdges("turn", (s) => (s.rounds < 4 ? "turn" : END));
    const ask = new StateGraph(state())
      .addNode("before", does("before", 200))
      .addNode("other", does("other", 800))
      .addNode("ask", async (s, ctx) => {
        this.world.witness.started(ctx.threadId, ctx.taskId, ctx.checkpointId, ctx.epoch);
        const answer = ctx.interrupt<string>("well?");
        await this.#nodeSleep(ctx, this.sim.between(0, 300));
        return { log: [`${s.run}:${answer}`] };
      })
      .addEdge(START, "before")
      .addEdge("before", "ask")
      .addEdge("before", "other");
    return [
      chain.plan({ name: "chain" }),
      fan.plan({ name: "fan" }),
      loop.plan({ name: "loop" }),
      ask.plan({ name: "ask" }),
    ];
  }

  /** Work that stands still with the process that does it. */
  async #nodeSleep(ctx: NodeContext, delayMs: number): Promise<void> {
    const owner = this.nodes.find(({ proc }) => proc.name === ctx.config.process);
    await this.sim.sleep(delayMs);
    await owner?.proc.turn();
  }

  async addWorker(address: string): Promise<Node> {
    const proc = new Proc(this.sim, `${address}#${this.#names++}`);
    const worker = new Worker({
      graphs: this.plans,
      saver: this.world.saver(proc),
      ports: proc.ports,
      name: address,
      slots: 3,
      heartbeatMs: 500,
      leaseMs,
      config: { process: proc.name },
    });
    const node = { proc, address, worker };
    for (;;) {
      try {
        await worker.start();
        break;
      } catch {
        await this.sim.sleep(100);
      }
    }
    this.nodes.push(node);
    this.world.endpoints.set(address, { endpoint: worker.endpoint, proc });
    return node;
  }

  addLead(): Lead {
    const proc = new Proc(this.sim, `c#${this.#names++}`);
    const coordinator = new Coordinator({
      saver: this.world.saver(proc),
      dialer: this.world.dialer(proc),
      workers: ["w0", "w1", "w2"],
      ports: proc.ports,
      silentMs: 1_500,
      takeoverMs: 3_000,
    });
    const lead = { proc, coordinator };
    this.leads.push(lead);
    void this.#connect(lead);
    return lead;
  }

  async #connect({ proc, coordinator }: Lead): Promise<void> {
    while (proc.alive) {
      try {
        return await coordinator.connect();
      } catch {
        await this.sim.sleep(100);
      }
    }
  }

  /** A client that wants its run accepted, whatever it takes. */
  async submit(request: Request): Promise<void> {
    this.requests.push(request);
    this.#open++;
    const plan = this.plans.find(({ name }) => name === request.graph)!;
    const input = request.resume
      ? { kind: "one", value: "answer" }
      : { run: request.runId, log: [`${request.runId}:input`], rounds: 0 };
    const call: RunRequest = {
      runId: request.runId,
      threadId: request.threadId,
      graph: { name: plan.name, version: plan.version },
      kind: request.resume ? "resume" : "input",
      input: encodeValue(input),
      maxSteps: 25,
      events: this.sim.chance(0.5) ? ["values", "custom"] : [],
    };
    for (;;) {
      const lead = this.sim.pick(this.leads.filter(({ proc }) => proc.alive));
      const accepted = await Promise.race([this.#start(lead, call, request), this.sim.sleep(5_000).then(() => false)]);
      if (accepted) break;
      await this.sim.sleep(this.sim.between(10, 500));
    }
    request.accepted = true;
    this.#open--;
  }

  async #start(lead: Lead, call: RunRequest, request: Request): Promise<boolean> {
    try {
      const handle = await lead.coordinator.start(call);
      const seen: (typeof this.ends)[number] = { lead, runId: handle.runId };
      this.ends.push(seen);
      handle.end.then(
        (end) => {
          seen.end = end;
        },
        (error) => {
          seen.error = error;
        },
      );
      void this.#follow(handle.events, request, lead);
      return true;
    } catch (thrown) {
      const { code, message } = AgentmaticError.from(thrown);
      if (code !== "Unavailable") this.sim.problem(`start of ${call.runId}: ${code} ${message}`);
      return false;
    }
  }

  /** Reads a run's events as a caller would; what is missing or out of order is a problem (P16). */
  async #follow(events: AsyncIterable<RunEvent>, request: Request, lead: Lead): Promise<void> {
    const { runId, threadId } = request;
    const seen: number[] = [];
    let epoch = 0;
    let spoke = 0;
    try {
      for await (const event of events) {
        if (event.epoch < epoch) this.sim.problem(`run ${runId}: an event of epoch ${event.epoch} after ${epoch}`);
        epoch = event.epoch;
        if (event.kind === "values") {
          if (event.seq <= (seen.at(-1) ?? 0))
            this.sim.problem(`run ${runId}: values of ${event.seq} after ${seen.at(-1)}`);
          seen.push(event.seq);
        } else if (event.kind === "retract") {
          spoke = 0;
        } else if (event.kind === "custom") {
          if (spoke !== 0 && spoke < event.epoch && !this.#committed(threadId, spoke)) {
            this.sim.problem(`run ${runId}: words of epoch ${spoke} were not retracted before those of ${event.epoch}`);
          }
          spoke = event.epoch;
        }
      }
    } catch {
      // Its end says more; a reader that was told that it missed something knows.
      return;
    }
    if (!lead.proc.alive || seen.length === 0) return;
    const rows = [...(this.world.store.threads.get(threadId)?.rows.values() ?? [])];
    const all = rows.filter(({ checkpoint }) => checkpoint.runId === runId).map(({ seq }) => seq);
    const missing = all.filter((seq) => seq > seen[0]! && !seen.includes(seq));
    if (missing.length > 0) this.sim.problem(`run ${runId}: values of ${missing} are missing, seen ${seen}`);
  }

  /** True where the newest epoch at or below this one left a commit: its words may stand. */
  #committed(threadId: string, epoch: number): boolean {
    return [...(this.world.store.threads.get(threadId)?.rows.values() ?? [])].some((row) => row.epoch === epoch);
  }

  async cancel(request: Request): Promise<void> {
    request.cancelled = true;
    for (let tries = 0; tries < 50; tries++) {
      const lead = this.sim.pick(this.leads.filter(({ proc }) => proc.alive));
      const done = await Promise.race([
        lead.coordinator.cancel(request.runId).then(
          () => true,
          () => false,
        ),
        this.sim.sleep(3_000).then(() => false),
      ]);
      if (done) return;
      await this.sim.sleep(200);
    }
  }

  /** Everything that goes wrong, until `untilMs`. */
  async trouble(untilMs: number): Promise<void> {
    const { sim, world } = this;
    let deaths = 0;
    while (sim.nowMs < untilMs) {
      await sim.sleep(sim.between(50, 1_500));
      const what = sim.random();
      const node = sim.pick(this.nodes.filter(({ proc }) => proc.alive));
      const lead = sim.pick(this.leads.filter(({ proc }) => proc.alive));
      if (!node || !lead) continue;
      if (what < 0.3) {
        const link = sim.pick([...world.links]);
        link?.cut(sim.between(0, 3_000), sim.chance(0.5) ? 0 : sim.between(0, 3_000));
      } else if (what < 0.5) {
        const proc = sim.chance(0.7) ? node.proc : lead.proc;
        proc.pause();
        sim.after(sim.between(100, 7_000), () => proc.resume());
      } else if (what < 0.6) {
        world.outage(sim.chance(0.6) ? node.proc : lead.proc, sim.between(100, 5_000));
      } else if (what < 0.75 && deaths < 4) {
        deaths++;
        this.#kill(node.proc);
        sim.after(sim.between(0, 4_000), () => void this.addWorker(node.address));
      } else if (what < 0.85 && this.leads.filter(({ proc }) => proc.alive).length > 1) {
        this.#kill(lead.proc);
        sim.after(sim.between(0, 4_000), () => this.addLead());
      } else if (what < 0.93) {
        sim.note(`${node.proc.name} drains`);
        void node.worker.drain(sim.between(0, 1_000)).then(() => {
          this.#kill(node.proc);
          void this.addWorker(node.address);
        });
      }
    }
  }

  #kill(proc: Proc): void {
    if (!proc.alive) return;
    proc.kill();
    for (const link of this.world.links) {
      if (link.coordinator === proc || link.worker === proc) link.cut(this.sim.between(0, 50), this.sim.between(0, 50));
    }
  }

  calm(): void {
    this.world.faults = 0;
    this.world.endOutages();
    for (const { proc } of [...this.nodes, ...this.leads]) proc.resume();
  }

  status(runId: string): RunStatus | "absent" {
    return this.world.store.runs.get(runId)?.state.status ?? "absent";
  }

  get done(): boolean {
    if (this.sim.problems.length > 0) return true;
    if (this.#open > 0) return false;
    const ended = (runId: string) => this.status(runId) !== "absent" && isTerminal(this.status(runId) as RunStatus);
    if (!this.requests.every(({ runId }) => ended(runId))) return false;
    return this.ends.every(({ lead, end, error }) => !lead.proc.alive || end || error);
  }

  async check(): Promise<void> {
    const { sim } = this;
    const saver = new MemorySaver({ store: this.world.store });
    for (const { runId, end, error, lead } of this.ends) {
      if (error && lead.proc.alive) sim.problem(`the follower of ${runId} got ${AgentmaticError.from(error).message}`);
      if (end && end.status !== this.status(runId))
        sim.problem(`${runId} is ${this.status(runId)}, told ${end.status}`);
    }
    for (const request of this.requests) {
      const { runId, threadId, full } = request;
      const status = this.status(runId);
      const allowed = ["succeeded", ...(request.cancelled ? ["cancelled"] : [])];
      if (request.graph === "ask" && !request.resume) allowed.push("interrupted");
      if (!allowed.includes(status)) {
        const { state } = this.world.store.runs.get(runId)!;
        sim.problem(`${runId} is ${status}: ${JSON.stringify(state.outcome)} ${JSON.stringify(state.history)}`);
      }
      const stored = await saver.get(threadId, "");
      const log = stored ? (decodeValue(stored.checkpoint.values.log!) as string[]) : [];
      const mine = log.filter((entry) => full.includes(entry));
      if (new Set(mine).size !== mine.length) sim.problem(`${runId} wrote twice: ${mine.join(" ")}`);
      if (status === "succeeded" && mine.length !== full.length) {
        sim.problem(`${runId} succeeded without ${full.filter((entry) => !mine.includes(entry)).join(" ")}`);
      }
    }
    for (const [runId, { state }] of this.world.store.runs) {
      if (state.attempt > attemptsMax) sim.problem(`${runId} took ${state.attempt} attempts`);
    }
    for (const { thread, id } of [...this.world.store.threads].map(([id, thread]) => ({ thread, id }))) {
      if (thread.activeRun !== null) sim.problem(`thread ${id} still has the active run ${thread.activeRun}`);
    }
  }
}

function entries(runId: string, graph: string, threadId: string): Request {
  const names: Record<string, string[]> = {
    chain: ["input", "one", "two", "three"],
    fan: ["input", "split", "side", "work1", "work2", "work3", "join"],
    loop: ["input", "turn0", "turn1", "turn2", "turn3"],
    ask: ["input", "before"],
  };
  const full = names[graph]!.map((name) => `${runId}:${name}`);
  return { runId, threadId, graph, resume: false, full, cancelled: false, accepted: false };
}

async function torture(
  seed: number,
): Promise<{ problems: readonly string[]; trace: readonly string[]; starts: number }> {
  const world = new Torture(generator(seed));
  const { sim } = world;
  const scene = (async () => {
    await Promise.all(["w0", "w1", "w2"].map((address) => world.addWorker(address)));
    world.addLead();
    world.addLead();
    await sim.sleep(50);
    world.world.faults = sim.pick([0, 0.02, 0.1, 0.25]);
    const clients: Promise<void>[] = [];
    for (let i = 0; i < 12; i++) {
      clients.push(
        (async () => {
          await sim.sleep(sim.between(0, troubleMs * 0.8));
          const graph = sim.pick(["chain", "fan", "loop", "ask"]);
          // Three runs in four share a thread with others; an interrupted one must not be driven over.
          const threadId = graph === "ask" ? `own${i}` : sim.pick(["t0", "t1", "t2", `own${i}`]);
          const request = entries(`r${i}`, graph, threadId);
          await world.submit(request);
          if (sim.chance(0.15)) {
            await sim.sleep(sim.between(0, 2_000));
            await world.cancel(request);
          }
          if (graph !== "ask") return;
          while (!isTerminal(world.status(request.runId) as RunStatus)) await sim.sleep(200);
          if (world.status(request.runId) !== "interrupted") return;
          const full = [`${request.runId}:other`, `${request.runId}:answer`];
          await world.submit({ ...request, runId: `${request.runId}b`, resume: true, full, cancelled: false });
        })(),
      );
    }
    await world.trouble(troubleMs);
    world.calm();
    // Replacements of what died last are there.
    await sim.sleep(4_500);
    await Promise.all(clients);
  })();
  let over = false;
  scene.then(
    () => {
      over = true;
    },
    (thrown: unknown) => {
      sim.problem(`the scene itself failed: ${thrown instanceof Error ? thrown.stack : String(thrown)}`);
    },
  );
  const settled = await sim.run(() => sim.problems.length > 0 || (over && world.done), troubleMs + calmMs);
  if (!settled) {
    const open = world.requests.filter(({ runId }) => !isTerminal(world.status(runId) as RunStatus));
    for (const { runId, threadId } of open) {
      const run = world.world.store.runs.get(runId);
      const active = world.world.store.threads.get(threadId)?.activeRun;
      sim.problem(`${runId} never ended; thread ${threadId} is ${active}'s; ${JSON.stringify({ ...run?.state })}`);
    }
    for (const { runId, lead, end, error } of world.ends) {
      if (lead.proc.alive && !end && !error && isTerminal(world.status(runId) as RunStatus)) {
        sim.problem(`${runId} is ${world.status(runId)}, and whoever follows it at ${lead.proc.name} is not told`);
      }
    }
    if (sim.problems.length === 0) sim.problem("the clients did not get through");
  }
  if (sim.problems.length === 0) await world.check();
  if (sim.problems.length === 0) {
    for (const { proc, coordinator } of world.leads) if (proc.alive) void coordinator.close();
    await sim.run(() => false, 30_000);
    const left = sim.pending().filter((owner) => owner.startsWith("c#"));
    if (left.length > 0) sim.problem(`timers of closed coordinators are left: ${[...new Set(left)].join(" ")}`);
  }
  return { problems: sim.problems, trace: sim.trace, starts: world.world.witness.starts };
}

const given = givenSeed();
const seeds = given === undefined ? Array.from({ length: seedsDefault }, (_, i) => i + 1) : [given];

test(`${seeds.length} seeds of trouble: every accepted run ends, once`, { timeout: 600_000 }, async () => {
  const failed: string[] = [];
  let starts = 0;
  for (const seed of seeds) {
    const result = await torture(seed);
    starts += result.starts;
    if (result.problems.length === 0) continue;
    const story = given === undefined ? "" : `\n${result.trace.join("\n")}`;
    failed.push(`AGENTMATIC_TEST_SEED=${seed}: ${result.problems.slice(0, 4).join("\n    ")}${story}`);
    if (failed.length >= 10) break;
  }
  expect(failed.join("\n")).toBe("");
  expect(starts).toBeGreaterThan(seeds.length * 10);
});
