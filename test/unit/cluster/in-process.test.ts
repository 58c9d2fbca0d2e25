/** Coordinators and workers in one process: real decision code, no network. */
import { afterEach, expect, test } from "vitest";
import { Coordinator } from "../../../src/coordinator/coordinator.ts";
import { Annotation, MemorySaver, MemoryStore, START, StateGraph, systemPorts } from "../../../src/mod.ts";
import type { Dialer, ToWorker, WorkerEndpoint } from "../../../src/run/link.ts";
import { Worker } from "../../../src/worker/worker.ts";
import { until } from "../../support/wait.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const ran: string[] = [];
let gate = Promise.withResolvers<void>();

function builder() {
  return new StateGraph({
    n: Annotation<number>,
    log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
  })
    .addNode("one", (_s, ctx) => {
      ran.push(`one@${ctx.attempt}`);
      return { log: ["one"] };
    })
    .addNode("two", async (_s, ctx) => {
      ran.push(`two@${ctx.attempt}`);
      if (ctx.attempt === 1) await gate.promise;
      return { log: ["two"] };
    })
    .addNode("three", () => ({ log: ["three"] }))
    .addEdge(START, "one")
    .addEdge("one", "two")
    .addEdge("two", "three");
}

/** An in-process network whose addresses can be cut. */
class Net implements Dialer {
  readonly endpoints = new Map<string, WorkerEndpoint>();
  readonly cuts = new Map<string, AbortController>();

  dial(address: string) {
    const find = () => {
      const endpoint = this.endpoints.get(address);
      if (!endpoint) throw new Error(`connection refused: ${address}`);
      return endpoint;
    };
    return {
      describe: async () => await find().describe(),
      link: (inbound: AsyncIterable<ToWorker>, signal: AbortSignal) => {
        const cut = new AbortController();
        this.cuts.set(address, cut);
        return this.#cuttable(find().link(inbound, AbortSignal.any([signal, cut.signal])), cut.signal);
      },
      execute: (run: never, signal: AbortSignal) => find().execute(run, signal),
      close: async () => {},
    };
  }

  async *#cuttable<T>(frames: AsyncIterable<T>, cut: AbortSignal): AsyncGenerator<T> {
    for await (const frame of frames) {
      if (cut.aborted) throw new Error("connection reset");
      yield frame;
    }
    if (cut.aborted) throw new Error("connection reset");
  }
}

async function cluster(count: number, options: { slots?: number; regions?: string[]; silentMs?: number } = {}) {
  const store = new MemoryStore();
  const net = new Net();
  const workers: Worker[] = [];
  for (let i = 0; i < count; i++) {
    const region = options.regions?.[i];
    const worker = new Worker({
      graphs: [builder().plan({ name: "g" })],
      saver: new MemorySaver({ store, region: "eu-west-1" }),
      ports: systemPorts,
      slots: options.slots ?? 4,
      ...(region === undefined ? {} : { region }),
    });
    await worker.start();
    workers.push(worker);
    net.endpoints.set(`w${i}`, worker.endpoint);
  }
  const saver = new MemorySaver({ store, region: "eu-west-1" });
  const make = () => {
    const coordinator = new Coordinator({
      saver,
      dialer: net,
      workers: workers.map((_, i) => `w${i}`),
      ports: systemPorts,
      silentMs: options.silentMs ?? 3_000,
      takeoverMs: 300,
    });
    closers.push(() => coordinator.close());
    return coordinator;
  };
  const coordinator = make();
  const graph = builder().compile({ name: "g", checkpointer: saver, cluster: { runner: () => coordinator } });
  return { store, net, workers, coordinator, graph, saver, make };
}

test("invoke and stream through the cluster are as in this process", async () => {
  gate.resolve();
  const { graph, coordinator } = await cluster(2);
  const local = await builder().compile({ name: "g" }).invoke({ n: 1 });
  expect(await graph.invoke({ n: 1 }, { threadId: "t1" })).toEqual(local);
  const parts: unknown[] = [];
  for await (const part of graph.stream({ n: 2 }, { threadId: "t2", streamMode: "updates" })) parts.push(part);
  expect(parts).toEqual([{ one: { log: ["one"] } }, { two: { log: ["two"] } }, { three: { log: ["three"] } }]);
  expect(coordinator.queueDepth).toBe(0);
});

test("many runs on few slots all end, in any order, none refused", async () => {
  gate.resolve();
  const { graph } = await cluster(2, { slots: 2 });
  const results = await Promise.all(
    Array.from({ length: 50 }, (_, i) => graph.invoke({ n: i }, { threadId: `t${i}` })),
  );
  expect(results.map(({ n }) => n)).toEqual(Array.from({ length: 50 }, (_, i) => i));
});

test("P14: a broken stream is re-attached, a lost worker's run goes on elsewhere from its last checkpoint", async () => {
  gate = Promise.withResolvers();
  ran.length = 0;
  const { graph, net, workers, saver } = await cluster(2, { slots: 1 });
  const running = graph.invoke({ n: 1 }, { threadId: "t", runId: "r" });
  await until(() => ran.includes("two@1"), { timeoutMs: 5_000, what: "the run is in its second step" });
  const owner = workers.findIndex((worker) => worker.active === 1);
  net.cuts.get(`w${owner}`)!.abort();
  await until(() => net.cuts.get(`w${owner}`)!.signal.aborted === false, {
    timeoutMs: 5_000,
    what: "the link is made again",
  });
  expect((await saver.getRun("r"))?.state.attempt).toBe(1);
  net.endpoints.delete(`w${owner}`);
  net.cuts.get(`w${owner}`)!.abort();
  expect((await running).log).toEqual(["one", "two", "three"]);
  expect(ran).toEqual(["one@1", "two@1", "two@2"]);
  const record = await saver.getRun("r");
  expect(record?.state).toMatchObject({ status: "succeeded", attempt: 2 });
  // The zombie wakes up and finds that its claim is over.
  gate.resolve();
  await until(() => workers[owner]!.active === 0, { timeoutMs: 5_000, what: "the zombie stops" });
  expect((await saver.getRun("r"))?.state).toEqual(record?.state);
});

test("a drained worker hands its runs over without an attempt being counted as poison", async () => {
  gate = Promise.withResolvers();
  ran.length = 0;
  const { graph, workers, saver } = await cluster(2, { slots: 1 });
  const running = graph.invoke({ n: 1 }, { threadId: "t", runId: "r" });
  await until(() => ran.includes("two@1"), { timeoutMs: 5_000, what: "the run is in its second step" });
  const owner = workers.find((worker) => worker.active === 1)!;
  const drained = owner.drain(5_000);
  gate.resolve();
  await drained;
  expect((await running).log).toEqual(["one", "two", "three"]);
  expect(ran).toEqual(["one@1", "two@1"]);
  expect((await saver.getRun("r"))?.state).toMatchObject({ attempt: 2, poison: 0 });
});

test("P4: when the coordinator vanishes workers go on; another coordinator re-attaches and follows", async () => {
  gate = Promise.withResolvers();
  ran.length = 0;
  const { graph, coordinator, make, saver, workers } = await cluster(1);
  const running = graph.invoke({ n: 1 }, { threadId: "t", runId: "r" });
  running.catch(() => undefined);
  await until(() => ran.includes("two@1"), { timeoutMs: 5_000, what: "the run is in its second step" });
  await coordinator.close();
  await expect(running).rejects.toMatchObject({ code: "Unavailable" });
  const second = make();
  const handle = await second.join("r");
  expect(workers[0]!.active).toBe(1);
  gate.resolve();
  expect((await handle.end).status).toBe("succeeded");
  expect(ran).toEqual(["one@1", "two@1"]);
  expect((await saver.getRun("r"))?.state.attempt).toBe(1);
});

test("P12: the same runId is the same run, with other input AlreadyExists", async () => {
  gate.resolve();
  ran.length = 0;
  const { graph } = await cluster(1);
  const first = await graph.invoke({ n: 1 }, { threadId: "t", runId: "r" });
  expect(await graph.invoke({ n: 1 }, { threadId: "t", runId: "r" })).toEqual(first);
  await expect(graph.invoke({ n: 2 }, { threadId: "t", runId: "r" })).rejects.toMatchObject({ code: "AlreadyExists" });
  expect(ran.filter((step) => step.startsWith("one"))).toHaveLength(1);
});

test("runs of one thread follow one another", async () => {
  gate.resolve();
  const { graph } = await cluster(2);
  const all = await Promise.all([1, 2, 3, 4].map((n) => graph.invoke({ n }, { threadId: "t" })));
  expect(all.map(({ log }) => log.length).sort((a, b) => a - b)).toEqual([3, 6, 9, 12]);
});

test("residency: only workers within the rule; none at all is an error that names the filter; unknown is outside", async () => {
  gate.resolve();
  const { graph, workers, saver } = await cluster(2, { regions: ["us-east-1", "eu-west-1"] });
  const residency = { regions: ["eu-west-1"] };
  for (let i = 0; i < 6; i++) await graph.invoke({ n: i }, { threadId: `eu${i}`, runId: `eu${i}`, residency });
  for (let i = 0; i < 6; i++) expect((await saver.getRun(`eu${i}`))?.state.owner).toBe(workers[1]!.id);
  await expect(graph.invoke({ n: 1 }, { threadId: "x", residency: { regions: ["ap-south-1"] } })).rejects.toMatchObject(
    { code: "ResidencyViolation", details: { filter: "residency" } },
  );
  const unknown = await cluster(1);
  await expect(unknown.graph.invoke({ n: 1 }, { threadId: "x", residency })).rejects.toMatchObject({
    code: "ResidencyViolation",
  });
});

test("the worker checks residency and version itself, whatever a dispatch says", async () => {
  const { workers } = await cluster(1, { regions: ["us-east-1"] });
  const worker = workers[0]!;
  const graph = worker.info.graphs[0]!;
  const base = { type: "dispatch", runId: "r", threadId: "t", attempt: 1, graph, events: [] } as const;
  const context = { correlationId: "c", residency: { regions: ["eu-west-1"] } };
  expect(() => worker.take({ ...base, context })).toThrow(expect.objectContaining({ code: "ResidencyViolation" }));
  expect(() =>
    worker.take({ ...base, context: { correlationId: "c" }, graph: { name: "g", version: "other" } }),
  ).toThrow(expect.objectContaining({ code: "FailedPrecondition" }));
});

test("graph versions are compared at connect: an error names both", async () => {
  const { coordinator, saver } = await cluster(1);
  const other = builder().compile({
    name: "g",
    version: "v9",
    checkpointer: saver,
    cluster: { runner: () => coordinator },
  });
  await coordinator.connect();
  await until(() => coordinator.workers().length === 1, { timeoutMs: 5_000, what: "the worker is known" });
  const error = await other.invoke({ n: 1 }, { threadId: "t" }).catch((thrown: Error) => thrown);
  expect(error).toMatchObject({ code: "FailedPrecondition" });
  expect((error as Error).message).toMatch(/version v9: workers serve version h-/);
  expect([...coordinator.problems().values()][0]?.message).toMatch(/application has version v9, worker w0 has h-/);
});

test("a full queue refuses before it accepts, with a hint when to try again", async () => {
  gate = Promise.withResolvers();
  const { net, saver } = await cluster(1, { slots: 1 });
  const coordinator = new Coordinator({
    saver,
    dialer: net,
    workers: ["w0"],
    ports: systemPorts,
    queueMax: 2,
    takeoverMs: 300,
  });
  closers.push(() => coordinator.close());
  const graph = builder().compile({ name: "g", checkpointer: saver, cluster: { runner: () => coordinator } });
  const first = graph.start({ n: 0 }, { threadId: "t0" }, []);
  await first;
  await until(() => coordinator.queueDepth === 0, { timeoutMs: 5_000, what: "the first run is placed" });
  const others = [
    await graph.start({ n: 1 }, { threadId: "t1" }, []),
    await graph.start({ n: 2 }, { threadId: "t2" }, []),
  ];
  await expect(graph.start({ n: 3 }, { threadId: "t3" }, [])).rejects.toMatchObject({
    code: "ResourceExhausted",
    retryAfterMs: 1_000,
  });
  gate.resolve();
  for (const handle of [await first, ...others]) expect((await handle.end).status).toBe("succeeded");
});

test("a cancel reaches the node and the record", async () => {
  gate = Promise.withResolvers();
  ran.length = 0;
  const { graph, saver } = await cluster(1);
  const abort = new AbortController();
  const running = graph.invoke({ n: 1 }, { threadId: "t", runId: "r", signal: abort.signal });
  running.catch(() => undefined);
  await until(() => ran.includes("two@1"), { timeoutMs: 5_000, what: "the run is in its second step" });
  abort.abort();
  await expect(running).rejects.toMatchObject({ code: "Cancelled" });
  expect((await saver.getRun("r"))?.state.status).toBe("cancelled");
});

test("over memory savers of its own a lost worker's run fails with an error that says why", async () => {
  gate = Promise.withResolvers();
  ran.length = 0;
  const net = new Net();
  const worker = new Worker({ graphs: [builder().plan({ name: "g" })], saver: new MemorySaver(), ports: systemPorts });
  await worker.start();
  net.endpoints.set("w0", worker.endpoint);
  const saver = new MemorySaver();
  const coordinator = new Coordinator({ saver, dialer: net, workers: ["w0"], ports: systemPorts });
  closers.push(() => coordinator.close());
  const graph = builder().compile({ name: "g", checkpointer: saver, cluster: { runner: () => coordinator } });
  const running = graph.invoke({ n: 1 }, { threadId: "t", runId: "r" });
  running.catch(() => undefined);
  await until(() => ran.includes("two@1"), { timeoutMs: 5_000, what: "the run is in its second step" });
  net.endpoints.delete("w0");
  net.cuts.get("w0")!.abort();
  await expect(running).rejects.toMatchObject({ code: "DataLoss", message: expect.stringMatching(/shared store/) });
  expect((await saver.getRun("r"))?.state.status).toBe("failed");
  gate.resolve();
});

test("stores are compared at connect: an error names both", async () => {
  const net = new Net();
  const shared = (store: MemoryStore): MemorySaver =>
    new Proxy(new MemorySaver({ store }), { get: (saver, key) => (key === "shared" ? true : bound(saver, key)) });
  const worker = new Worker({ graphs: [], saver: shared(new MemoryStore()), ports: systemPorts });
  await worker.start();
  net.endpoints.set("w0", worker.endpoint);
  const coordinator = new Coordinator({
    saver: shared(new MemoryStore()),
    dialer: net,
    workers: ["w0"],
    ports: systemPorts,
  });
  closers.push(() => coordinator.close());
  await coordinator.connect();
  await until(() => coordinator.problems().has("w0"), { timeoutMs: 5_000, what: "the link is refused" });
  await until(
    () => /store is memory .*, the worker's is memory /.test(coordinator.problems().get("w0")?.message ?? ""),
    {
      timeoutMs: 5_000,
      what: "the error names both stores",
    },
  );
});

function bound(target: MemorySaver, key: PropertyKey): unknown {
  const value = Reflect.get(target, key, target) as unknown;
  return typeof value === "function" ? value.bind(target) : value;
}
