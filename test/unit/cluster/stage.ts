/** A small cluster in virtual time, without any fault but those that a test makes. */
import { Coordinator, type CoordinatorOptions } from "../../../src/coordinator/coordinator.ts";
import type { NodeContext } from "../../../src/graph/context.ts";
import type { Plan } from "../../../src/graph/plan.ts";
import { Annotation, decodeValue, encodeValue, START, StateGraph } from "../../../src/mod.ts";
import type { RunEvent } from "../../../src/run/events.ts";
import type { RunHandle, RunRequest } from "../../../src/run/runner.ts";
import { Worker, type WorkerOptions } from "../../../src/worker/worker.ts";
import { generator } from "../../support/seed.ts";
import { Proc, Sim, World } from "./world.ts";

export const list = () => Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });

/** Steps one, two, three; `at` is called in each and may wait. */
export function steps(at: (name: string, ctx: NodeContext) => unknown): Plan {
  const node = (name: string) => async (_s: unknown, ctx: NodeContext) => {
    await at(name, ctx);
    return { log: [name] };
  };
  return new StateGraph({ log: list() })
    .addNode("one", node("one"))
    .addNode("two", node("two"))
    .addNode("three", node("three"))
    .addEdge(START, "one")
    .addEdge("one", "two")
    .addEdge("two", "three")
    .plan({ name: "steps" });
}

export class Stage {
  readonly sim: Sim = new Sim(generator(1));
  readonly world: World = new World(this.sim);
  readonly plan: Plan;
  readonly addresses: string[] = [];

  constructor(plan: Plan) {
    this.plan = plan;
  }

  async worker(address: string, options: Partial<WorkerOptions> = {}): Promise<{ worker: Worker; proc: Proc }> {
    const proc = new Proc(this.sim, address);
    const worker = new Worker({
      graphs: [this.plan],
      saver: this.world.saver(proc),
      ports: proc.ports,
      heartbeatMs: 500,
      leaseMs: 2_250,
      ...options,
    });
    await this.do(worker.start());
    this.world.endpoints.set(address, { endpoint: worker.endpoint, proc });
    if (!this.addresses.includes(address)) this.addresses.push(address);
    return { worker, proc };
  }

  lead(options: Partial<CoordinatorOptions> = {}): { coordinator: Coordinator; proc: Proc } {
    const proc = new Proc(this.sim, "coordinator");
    const coordinator = new Coordinator({
      saver: this.world.saver(proc),
      dialer: this.world.dialer(proc),
      workers: this.addresses,
      ports: proc.ports,
      silentMs: 1_500,
      takeoverMs: 3_000,
      ...options,
    });
    return { coordinator, proc };
  }

  request(fields: Partial<RunRequest> = {}): RunRequest {
    return {
      runId: "r",
      threadId: "t",
      graph: { name: this.plan.name, version: this.plan.version },
      kind: "input",
      input: encodeValue({}),
      maxSteps: 25,
      events: [],
      ...fields,
    };
  }

  /** Lets time pass until the promise has settled. Throws where it has not within `limitMs`. */
  async do<T>(promise: Promise<T>, limitMs = 60_000): Promise<T> {
    let over = false;
    const settled = () => {
      over = true;
    };
    promise.then(settled, settled);
    // What the real world (a hash in another thread) answers takes no virtual time.
    for (let i = 0; i < 200 && !over; i++) {
      await this.sim.run(() => over, limitMs / 200);
      await new Promise((resolve) => setTimeout(resolve, i < 20 ? 0 : 1));
    }
    if (!over) throw new Error(`nothing came of it in ${limitMs} ms`);
    return await promise;
  }

  until(condition: () => boolean, limitMs = 60_000): Promise<boolean> {
    return this.sim.run(condition, limitMs);
  }

  record(runId = "r") {
    return this.world.store.runs.get(runId)!.state;
  }

  cut(): void {
    for (const link of this.world.links) link.cut();
  }
}

export function gather(handle: RunHandle): RunEvent[] {
  const events: RunEvent[] = [];
  void (async () => {
    for await (const event of handle.events) events.push(event);
  })().catch(() => undefined);
  return events;
}

/** Logs as the `values` events show them. */
export function logs(events: readonly RunEvent[]): string[] {
  return events
    .filter(({ kind }) => kind === "values")
    .map(({ data }) => (decodeValue(data) as { log: string[] }).log.join());
}
