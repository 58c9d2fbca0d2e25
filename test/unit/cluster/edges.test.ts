/** What coordinators, workers and callers may do to each other: each case broke something once. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { AgentmaticError } from "../../../src/errors.ts";
import { Annotation, Command, encodeValue, MemorySaver, Send, START, StateGraph } from "../../../src/mod.ts";
import type { NewRun } from "../../../src/run/link.ts";
import type { Worker } from "../../../src/worker/worker.ts";
import { until } from "../../support/wait.ts";
import { gather, list, Stage, steps } from "./stage.ts";

const refused = (thrown: AgentmaticError) => thrown.code;

test("no more runs wait than the queue may hold, however many ask at once", async () => {
  const stage = new Stage(steps(() => new Promise(() => {})));
  await stage.worker("w", { slots: 1 });
  const { coordinator } = stage.lead({ queueMax: 5 });
  await stage.do(coordinator.connect());
  const asked = Array.from({ length: 50 }, (_, i) =>
    coordinator.start(stage.request({ runId: `r${i}`, threadId: `t${i}` })).then(() => "accepted", refused),
  );
  const answers = await stage.do(Promise.all(asked));
  // One in the slot.
  expect(answers.filter((answer) => answer === "accepted").length).toBeLessThanOrEqual(6);
});

test("runs that wait for another one of their thread count as waiting too", async () => {
  const stage = new Stage(steps(() => new Promise(() => {})));
  await stage.worker("w", { slots: 4 });
  const { coordinator } = stage.lead({ queueMax: 5 });
  const answers: string[] = [];
  for (let i = 0; i < 20; i++) {
    const asked = coordinator.start(stage.request({ runId: `r${i}` })).then(() => "accepted", refused);
    answers.push(await stage.do(asked));
  }
  expect(answers.filter((answer) => answer === "accepted").length).toBeLessThanOrEqual(6);
});

test("a repeated runId under another residency rule is not the same run", async () => {
  const stage = new Stage(steps(() => new Promise(() => {})));
  await stage.worker("w");
  const { coordinator } = stage.lead();
  await stage.do(coordinator.start(stage.request()));
  const stricter = stage.request({ context: { residency: { regions: ["eu-west-1"] } } });
  const answer = await stage.do(coordinator.start(stricter).then(() => "accepted", refused));
  expect(["AlreadyExists", "ResidencyViolation"]).toContain(answer);
});

test("a reader of `updates` gets those of a gap, or is told that they are missing", async () => {
  const gates = new Map<string, () => void>();
  const stage = new Stage(
    steps(async (name) => {
      await new Promise<void>((resolve) => gates.set(name, resolve));
    }),
  );
  await stage.worker("w");
  const { coordinator } = stage.lead();
  const handle = await stage.do(coordinator.start(stage.request({ events: ["updates"] })));
  const nodes: string[] = [];
  let told: unknown;
  void (async () => {
    for await (const event of handle.events) nodes.push(event.node);
  })().catch((thrown) => {
    told = thrown;
  });
  await stage.until(() => gates.has("one"));
  gates.get("one")!();
  await stage.until(() => gates.has("two"));
  stage.world.refuse.add("w");
  stage.cut();
  gates.get("two")!();
  await stage.until(() => gates.has("three"));
  stage.world.refuse.delete("w");
  await stage.until(() => stage.world.links.size === 1);
  await stage.until(() => false, 100);
  gates.get("three")!();
  await stage.do(handle.end);
  await stage.until(() => false, 100);
  if (told === undefined) expect(nodes).toEqual(["one", "two", "three"]);
});

test("a coordinator that allows long silence is not silent itself", async () => {
  const stage = new Stage(steps(() => undefined));
  await stage.worker("w");
  const { coordinator } = stage.lead({ silentMs: 300_000 });
  await stage.do(coordinator.connect());
  let ups = 0;
  coordinator.observe((event) => {
    if (event.type === "worker-up") ups++;
  });
  await stage.until(() => false, 120_000);
  expect(ups).toBe(0);
});

test("a closed coordinator leaves no timer behind", async () => {
  const stage = new Stage(steps(() => new Promise(() => {})));
  const { worker } = await stage.worker("w", { slots: 1 });
  const { coordinator, proc } = stage.lead();
  await stage.do(coordinator.start(stage.request()));
  await stage.until(() => worker.active === 1);
  // The run's record cannot be read, and the coordinator waits before it tries again.
  stage.world.outage(proc, 600_000);
  stage.world.refuse.add("w");
  stage.cut();
  await stage.until(() => false, 5_000);
  await stage.do(coordinator.close());
  await stage.until(() => false, 10);
  expect(stage.sim.pending().filter((owner) => owner === "coordinator")).toEqual([]);
});

test("a coordinator that was too late to take runs over does not read them again and again", async () => {
  const stage = new Stage(steps(() => new Promise(() => {})));
  await stage.worker("w", { slots: 60 });
  const { coordinator, proc } = stage.lead();
  for (let i = 0; i < 50; i++) await stage.do(coordinator.start(stage.request({ runId: `r${i}`, threadId: `t${i}` })));
  const others = [stage.lead(), stage.lead()];
  for (const other of others) void other.coordinator.connect();
  await stage.until(() => false, 2_000);
  proc.kill();
  await stage.until(() => false, 20_000);
  let reads = 0;
  stage.world.onCall = (_proc, key) => {
    if (key === "getRun") reads++;
  };
  await stage.until(() => false, 5_000);
  expect(reads).toBeLessThan(50);
});

test("resuming ten times as many tasks takes about ten times as long, not a hundred times", {
  timeout: 60_000,
}, async () => {
  const resumeMs = async (count: number) => {
    let fails = true;
    const failed = Promise.withResolvers<void>();
    let ran = 0;
    const graph = new StateGraph({ n: Annotation<number, number>({ reducer: (a, b) => a + b, default: () => 0 }) })
      .addNode("work", async (item: number) => {
        if (++ran === count) failed.resolve();
        if (!fails || item > 0) return { n: 1 };
        await failed.promise;
        await new Promise((resolve) => setTimeout(resolve, 200));
        throw new Error("one fails");
      })
      .addConditionalEdges(START, () => Array.from({ length: count }, (_, item) => new Send("work", item)), ["work"])
      .compile({ checkpointer: new MemorySaver() });
    await expect(graph.invoke({}, { threadId: "t" })).rejects.toMatchObject({ code: "NodeFailed" });
    fails = false;
    const startMs = performance.now();
    expect(await graph.invoke(null, { threadId: "t" })).toEqual({ n: count });
    expect(ran).toBe(count + 1);
    return performance.now() - startMs;
  };
  await resumeMs(1_000);
  const few = await resumeMs(1_000);
  expect((await resumeMs(10_000)) / few).toBeLessThan(50);
});

function asking() {
  const keys: string[] = [];
  const graph = new StateGraph({ log: list() })
    .addNode("ask", (_s, ctx) => {
      keys.push(ctx.idempotencyKey);
      return { log: [ctx.interrupt<string>("well?")] };
    })
    .addEdge(START, "ask")
    .compile({ checkpointer: new MemorySaver() });
  return { graph, keys };
}

test("a fork that asks anew can be answered like any other run", async () => {
  const { graph } = asking();
  await graph.invoke({}, { threadId: "t" });
  const asked = await graph.getState({ threadId: "t" });
  await graph.invoke(new Command({ resume: "yes" }), { threadId: "t" });
  const fork = await graph.invoke(null, { threadId: "t", checkpointId: asked!.checkpointId });
  expect(fork.__interrupt__).toHaveLength(1);
  expect((await graph.getState({ threadId: "t" }))?.interrupts).toHaveLength(1);
  expect((await graph.invoke(new Command({ resume: "no" }), { threadId: "t" })).log).toEqual(["no"]);
});

test("an answer that names the thread's head as its checkpoint is no fork: what has finished is not run again", async () => {
  let ran = 0;
  const graph = new StateGraph({ log: list() })
    .addNode("ask", (_s, ctx) => ({ log: [ctx.interrupt<string>("well?")] }))
    .addNode("pay", () => {
      ran++;
      return { log: ["paid"] };
    })
    .addEdge(START, "ask")
    .addEdge(START, "pay")
    .compile({ checkpointer: new MemorySaver() });
  await graph.invoke({}, { threadId: "t" });
  const asked = await graph.getState({ threadId: "t" });
  const answer = { threadId: "t", checkpointId: asked!.checkpointId };
  expect((await graph.invoke(new Command({ resume: "yes" }), answer)).log).toEqual(["yes", "paid"]);
  expect(ran).toBe(1);
});

test("what a fork does anew has idempotency keys of its own", async () => {
  const { graph, keys } = asking();
  await graph.invoke({}, { threadId: "t" });
  const asked = await graph.getState({ threadId: "t" });
  await graph.invoke(new Command({ resume: "yes" }), { threadId: "t" });
  // Asked and answered within one superstep: one effect.
  expect(keys[1]).toBe(keys[0]);
  await graph.invoke(new Command({ resume: "no" }), { threadId: "t", checkpointId: asked!.checkpointId });
  expect(keys[2]).not.toBe(keys[0]);
});

test("nothing of a run stays in coordinator and worker once it has ended", async () => {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  const signals: WeakRef<AbortSignal>[] = [];
  const stage = new Stage(
    steps((_name, ctx) => {
      signals.push(new WeakRef(ctx.signal));
    }),
  );
  await stage.worker("w");
  const { coordinator } = stage.lead();
  const channels: WeakRef<object>[] = [];
  const run = async (i: number) => {
    const request = stage.request({ runId: `r${i}`, threadId: `t${i}`, events: ["values"], input: encodeValue({}) });
    const handle = await coordinator.start(request, new AbortController().signal);
    channels.push(new WeakRef(handle.events as object));
    gather(handle);
    await handle.end;
  };
  for (let i = 0; i < 100; i++) await stage.do(run(i));
  await stage.until(() => false, 10_000);
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    gc();
  }
  expect(signals.filter((ref) => ref.deref()).length).toBeLessThan(15);
  expect(channels.filter((ref) => ref.deref()).length).toBeLessThan(5);
});

test("a run that ends badly at every write is not tried for ever", async () => {
  const stage = new Stage(steps(() => undefined));
  const { proc } = await stage.worker("w");
  const { coordinator } = stage.lead();
  let claims = 0;
  stage.world.onCall = (caller, key) => {
    if (caller === proc && key === "claim") claims++;
    // A store that refuses this run's commits for a reason of its own: damaged, or a value that it cannot take.
    if (caller === proc && key === "commit") throw new AgentmaticError("DataLoss", "the thread's rows are damaged");
  };
  const handle = await stage.do(coordinator.start(stage.request({ maxAttempts: 3 })));
  await stage.do(handle.end, 300_000).catch(() => undefined);
  expect(claims).toBeLessThan(20);
});

/** A client's own run at a worker; resolves with the status, or with the error's code. */
async function execute(
  worker: Worker,
  runId: string,
  signal: AbortSignal = new AbortController().signal,
): Promise<string> {
  const run: NewRun = {
    type: "new",
    runId,
    threadId: "t",
    graph: "steps",
    input: {},
    context: { correlationId: "" },
    maxSteps: 0,
    events: [],
  };
  try {
    for await (const frame of worker.endpoint.execute(run, signal)) {
      if (frame.type === "end") return frame.status;
    }
    return "nothing";
  } catch (thrown) {
    return AgentmaticError.from(thrown).code;
  }
}

test("a client that calls again with the runId of a run that has ended is given its end", async () => {
  let ran = 0;
  const stage = new Stage(steps(() => void ran++));
  const { worker } = await stage.worker("w");
  expect(await stage.do(execute(worker, "r"))).toBe("succeeded");
  expect(await stage.do(execute(worker, "r"))).toBe("succeeded");
  expect(ran).toBe(3);
});

test("a client that calls another worker with the same runId does not take the run from the one that has it", async () => {
  const gate = Promise.withResolvers<void>();
  const ran: string[] = [];
  const stage = new Stage(
    steps(async (name, ctx) => {
      ran.push(`${name} ${ctx.epoch}`);
      await gate.promise;
    }),
  );
  const { worker: first } = await stage.worker("w0");
  const { worker: second } = await stage.worker("w1");
  const running = execute(first, "r");
  await stage.do(until(() => ran.length === 1, { what: "the first step" }));
  const again = execute(second, "r");
  await stage.until(() => false, 2_000);
  gate.resolve();
  expect(await stage.do(running)).toBe("succeeded");
  expect(["succeeded", "AlreadyExists", "ThreadBusy", "Unavailable"]).toContain(await stage.do(again));
  expect(ran).toEqual(["one 1", "two 1", "three 1"]);
});

test("a run that waits at a coordinator is not executed by whoever calls a worker with its runId", async () => {
  let ran = 0;
  const stage = new Stage(steps(() => void ran++));
  const { worker } = await stage.worker("w0");
  // A coordinator that cannot reach the worker has accepted the run.
  stage.world.refuse.add("w0");
  const { coordinator } = stage.lead();
  const handle = await stage.do(coordinator.start(stage.request()));
  const answer = await stage.do(execute(worker, "r"));
  await stage.until(() => false, 500);
  stage.world.refuse.delete("w0");
  expect((await stage.do(handle.end)).status).toBe("succeeded");
  expect(["AlreadyExists", "ThreadBusy", "Unavailable"]).toContain(answer);
  expect(ran).toBe(3);
});

test("events for a coordinator that does not read do not pile up without bound within a step", async () => {
  let spoken = false;
  const stage: Stage = new Stage(
    steps(async (_name, ctx) => {
      for (let i = 0; i < 4_500; i++) {
        ctx.stream("x".repeat(20_000));
        await stage.sim.sleep(1);
      }
      spoken = true;
      await new Promise(() => {});
    }),
  );
  const { worker } = await stage.worker("w");
  const { coordinator, proc } = stage.lead();
  await stage.do(coordinator.start(stage.request({ events: ["custom"] })));
  await stage.until(() => worker.active === 1);
  const before = process.memoryUsage().arrayBuffers;
  proc.pause();
  await stage.until(() => spoken);
  const kept = process.memoryUsage().arrayBuffers - before;
  expect(kept).toBeLessThan(50_000_000);
});

test("a second caller of a run who leaves does not cancel it for the first", async () => {
  const gate = Promise.withResolvers<void>();
  let began = false;
  const stage = new Stage(
    steps(async () => {
      began = true;
      await gate.promise;
    }),
  );
  const { worker } = await stage.worker("w");
  const running = execute(worker, "r");
  await stage.do(until(() => began, { what: "the first step" }));
  const leaves = new AbortController();
  const again = execute(worker, "r", leaves.signal);
  await stage.until(() => false, 1_000);
  leaves.abort();
  await stage.until(() => false, 100);
  gate.resolve();
  expect(await stage.do(running)).toBe("succeeded");
  await stage.do(again);
});

test("a run without a coordinator that takes each of its workers down is dead-lettered in the end", async () => {
  const stage = new Stage(steps(() => new Promise(() => {})));
  let claims = 0;
  stage.world.onCall = (_proc, key) => {
    if (key === "claim") claims++;
  };
  const dead = () => stage.world.store.runs.get("r")?.state.status === "dead";
  for (let i = 0; i < 12 && !dead(); i++) {
    const { worker, proc } = await stage.worker(`w${i}`);
    const before = claims;
    const call = execute(worker, "r");
    await stage.do(until(() => claims > before || dead(), { what: "the next worker has it", timeoutMs: 20_000 }));
    await stage.until(() => false, 100);
    proc.kill();
    void call;
  }
  // As many as spec.ts allows where nothing is said; the first of them commits the input.
  expect(claims).toBeLessThanOrEqual(6);
  expect(stage.record().status).toBe("dead");
});
