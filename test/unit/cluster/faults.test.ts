/** Defects of coordinator and worker, one test each, in virtual time. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { Coordinator } from "../../../src/coordinator/coordinator.ts";
import { AgentmaticError } from "../../../src/errors.ts";
import { MemorySaver, systemPorts } from "../../../src/mod.ts";
import type { EventKind } from "../../../src/run/events.ts";
import type { Dialer, ToCoordinator, WorkerEndpoint, WorkerInfo } from "../../../src/run/link.ts";
import { gather, logs, Stage, steps } from "./stage.ts";
import { Proc } from "./world.ts";

test("a link keeps nothing of the frames that it has passed on", async () => {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  const seen: WeakRef<Uint8Array>[] = [];
  const passed = Promise.withResolvers<void>();
  const worker: WorkerInfo = {
    workerId: "w",
    name: "",
    region: "",
    labels: {},
    slots: 1,
    graphs: [],
    store: { id: "s", kind: "memory", zone: "", region: "", shared: false },
    packageVersion: "",
    heartbeatMs: 1_000,
  };
  const endpoint: WorkerEndpoint = {
    describe: async () => ({ worker, draining: false }),
    async *link(_inbound, signal): AsyncGenerator<ToCoordinator> {
      yield { type: "welcome", worker };
      for (let i = 0; i < 200; i++) {
        const data = new Uint8Array(10_000);
        seen.push(new WeakRef(data));
        const event = {
          runId: "r",
          kind: "custom",
          epoch: 1,
          attempt: 1,
          seq: 0,
          ns: "",
          node: "",
          taskId: "",
          data,
        } as const;
        yield { type: "events", events: [event] };
      }
      passed.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
    execute: () => {
      throw new Error("not here");
    },
  };
  const dialer: Dialer = { dial: () => ({ ...endpoint, close: async () => {} }) };
  const coordinator = new Coordinator({ saver: new MemorySaver(), dialer, workers: ["w"], ports: systemPorts });
  await coordinator.connect();
  await passed.promise;
  await new Promise((resolve) => setTimeout(resolve, 10));
  gc();
  await new Promise((resolve) => setTimeout(resolve, 10));
  gc();
  const kept = seen.filter((ref) => ref.deref() !== undefined).length;
  await coordinator.close();
  expect(kept).toBeLessThan(10);
});

test("who asks again for a run that has ended is told, though the store was away at the first try", async () => {
  const stage = new Stage(steps(() => undefined));
  await stage.worker("w");
  const { coordinator } = stage.lead();
  await stage.do((await stage.do(coordinator.start(stage.request()))).end);
  const { coordinator: other, proc } = stage.lead();
  await stage.do(other.connect());
  await stage.until(() => false, 1_000);
  const first = other.start(stage.request()).catch(() => undefined);
  // The record has been read, the result not yet.
  const saver = stage.world.store.runs.get("r");
  expect(saver?.state.status).toBe("succeeded");
  stage.world.failOnce(proc, "get");
  await stage.do(first);
  const handle = await stage.do(other.start(stage.request()));
  expect((await stage.do(handle.end)).status).toBe("succeeded");
});

test("over memory of its own a run that ends while its link is broken is told or fails, and does not go round for ever", async () => {
  const gate = Promise.withResolvers<void>();
  let began = false;
  const stage = new Stage(
    steps(async (name) => {
      began = true;
      if (name === "three") await gate.promise;
    }),
  );
  await stage.worker("w", { saver: new MemorySaver() });
  const { coordinator } = stage.lead();
  const handle = await stage.do(coordinator.start(stage.request()));
  await stage.until(() => began);
  stage.cut();
  gate.resolve();
  const end = await stage.do(
    handle.end.catch((thrown: AgentmaticError) => thrown),
    120_000,
  );
  expect(end).toBeDefined();
});

test("a run that `execute` refuses for want of a slot is not left behind on its thread", async () => {
  const gate = Promise.withResolvers<void>();
  const stage = new Stage(steps(() => gate.promise));
  const { worker } = await stage.worker("w", { slots: 1 });
  const call = async (runId: string) => {
    const run = {
      type: "new",
      runId,
      threadId: `thread of ${runId}`,
      graph: "steps",
      input: {},
      context: { correlationId: "" },
      maxSteps: 0,
      events: [],
    } as const;
    let status = "";
    for await (const frame of worker.endpoint.execute(run, new AbortController().signal)) {
      if (frame.type === "end") status = frame.status;
    }
    return status;
  };
  const all = ["a", "b"].map((runId) => call(runId).catch((thrown: AgentmaticError) => thrown.code));
  await stage.until(() => stage.world.store.runs.size === 2, 10_000);
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 1));
  await stage.until(() => false, 1_000);
  gate.resolve();
  const ends = await stage.do(Promise.all(all));
  expect([...ends].sort()).toEqual(["ResourceExhausted", "succeeded"]);
  const refused = ["a", "b"][ends.indexOf("ResourceExhausted")]!;
  // Accepted or refused, never both.
  expect(stage.world.store.runs.get(refused)?.state.status ?? "absent").not.toBe("queued");
});

test("a run that was accepted while the coordinator closed is let go of with an error", async () => {
  const stage = new Stage(steps(() => new Promise(() => {})));
  await stage.worker("w");
  const { coordinator } = stage.lead();
  await stage.do(coordinator.connect());
  const starting = coordinator.start(stage.request());
  await stage.until(() => stage.world.store.runs.size === 1, 10_000);
  for (let i = 0; i < 100 && stage.world.store.runs.size === 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    await stage.until(() => stage.world.store.runs.size === 1, 10);
  }
  await stage.do(Promise.all([coordinator.close(), starting.catch(() => undefined)]));
  const end = starting.then((handle) => handle.end).catch((thrown: AgentmaticError) => thrown);
  expect(await stage.do(end, 10_000)).toMatchObject({ code: "Unavailable" });
});

test("joining a run at a closed coordinator is an error", async () => {
  const stage = new Stage(steps(() => new Promise(() => {})));
  await stage.worker("w");
  const { coordinator } = stage.lead();
  await stage.do(coordinator.start(stage.request()));
  await stage.do(coordinator.close());
  const end = coordinator
    .join("r")
    .then((handle) => handle.end)
    .catch((thrown: AgentmaticError) => thrown);
  expect(await stage.do(end, 10_000)).toMatchObject({ code: "Unavailable" });
});

test("who joins a run that is under way here gets the events asked for, once each", async () => {
  const gate = Promise.withResolvers<void>();
  let began = false;
  const stage = new Stage(
    steps(async (name) => {
      if (name !== "two") return;
      began = true;
      await gate.promise;
    }),
  );
  await stage.worker("w");
  const { coordinator } = stage.lead();
  const handle = await stage.do(coordinator.start(stage.request()));
  await stage.until(() => began);
  const events = gather(await stage.do(coordinator.join("r", ["values"])));
  await stage.until(() => false, 100);
  gate.resolve();
  await stage.do(handle.end);
  await stage.until(() => false, 100);
  expect(logs(events).slice(-2)).toEqual(["one,two", "one,two,three"]);
});

test("who joins at a second coordinator gets the events asked for while the first lives", async () => {
  const gate = Promise.withResolvers<void>();
  let began = false;
  const stage = new Stage(
    steps(async (name) => {
      if (name !== "two") return;
      began = true;
      await gate.promise;
    }),
  );
  await stage.worker("w");
  const { coordinator } = stage.lead();
  const handle = await stage.do(coordinator.start(stage.request()));
  await stage.until(() => began);
  const { coordinator: other } = stage.lead();
  const joined = await stage.do(other.join("r", ["values"]));
  const events = gather(joined);
  await stage.until(() => false, 100);
  gate.resolve();
  await stage.do(handle.end);
  await stage.do(joined.end);
  expect(logs(events).slice(-2)).toEqual(["one,two", "one,two,three"]);
});

/** Runs with a reader of `values`; the link breaks in step two, and nobody can call the worker until `back`. */
async function gap(
  kinds: readonly EventKind[],
  lasting: (stage: Stage, gates: Map<string, () => void>) => Promise<void>,
) {
  const gates = new Map<string, () => void>();
  const stage = new Stage(
    steps(async (name) => {
      await new Promise<void>((resolve) => gates.set(name, resolve));
    }),
  );
  await stage.worker("w");
  const { coordinator } = stage.lead();
  const handle = await stage.do(coordinator.start(stage.request({ events: kinds })));
  const events = gather(handle);
  await stage.until(() => gates.has("one"));
  gates.get("one")!();
  await stage.until(() => gates.has("two"));
  await stage.until(() => false, 50);
  await lasting(stage, gates);
  const end = await stage.do(handle.end);
  await stage.until(() => false, 50);
  return { events, end, stage };
}

test("`values` of commits made while the link was broken are delivered, in order", async () => {
  const { events } = await gap(["values"], async (stage, gates) => {
    stage.cut();
    gates.get("two")!();
    // The next step's commit comes right after the link is there again.
    await stage.until(() => gates.has("three"));
    await stage.until(() => stage.world.links.size === 1);
    gates.get("three")!();
  });
  expect(logs(events)).toEqual(["", "one", "one,two", "one,two,three"]);
});

test("`values` are complete where the run ended while the link was broken", async () => {
  const { events } = await gap(["values"], async (stage, gates) => {
    stage.world.refuse.add("w");
    stage.cut();
    gates.get("two")!();
    await stage.until(() => gates.has("three"));
    gates.get("three")!();
    await stage.until(() => stage.record().status === "succeeded");
    stage.world.refuse.delete("w");
  });
  expect(logs(events)).toEqual(["", "one", "one,two", "one,two,three"]);
});

test("`values` of what a lost worker committed unheard are delivered before those of its successor", async () => {
  let second = false;
  const { events, stage } = await gap(["values"], async (at, gates) => {
    const { proc } = at.world.endpoints.get("w")!;
    at.world.refuse.add("w");
    at.cut();
    gates.get("two")!();
    await at.until(() => gates.has("three"));
    proc.kill();
    gates.delete("three");
    await at.worker("w");
    at.world.refuse.delete("w");
    await at.until(() => gates.has("three"));
    second = true;
    gates.get("three")!();
  });
  expect(second && stage.record().attempt > 1).toBe(true);
  expect(logs(events)).toEqual(["", "one", "one,two", "one,two,three"]);
});

test("tokens of an attempt that a drain broke off are retracted", async () => {
  let spoke = 0;
  const stage = new Stage(
    steps((name, ctx) => {
      if (name !== "two") return undefined;
      spoke++;
      ctx.stream(`attempt ${ctx.attempt}`);
      return ctx.attempt === 1 ? new Promise(() => {}) : undefined;
    }),
  );
  const { worker } = await stage.worker("w0", { slots: 2 });
  const { coordinator } = stage.lead();
  const handle = await stage.do(coordinator.start(stage.request({ events: ["custom"] })));
  const events = gather(handle);
  await stage.until(() => spoke === 1);
  await stage.worker("w1");
  coordinator.addWorker("w1");
  await stage.until(() => false, 1_000);
  await stage.do(worker.drain(0));
  await stage.do(handle.end);
  await stage.until(() => false, 50);
  expect(events.map(({ kind, attempt }) => `${kind} ${attempt}`)).toEqual(["custom 1", "retract 1", "custom 2"]);
});

test("an observer that throws costs no run its hand-off", async () => {
  let began = 0;
  const stage = new Stage(
    steps((_name, ctx) => {
      began++;
      return ctx.attempt === 1 ? new Promise(() => {}) : undefined;
    }),
  );
  const { proc } = await stage.worker("w0");
  const { coordinator } = stage.lead();
  coordinator.observe(() => {
    throw new Error("a fault of the application's");
  });
  const handle = await stage.do(coordinator.start(stage.request()));
  await stage.until(() => began === 1);
  await stage.worker("w1");
  coordinator.addWorker("w1");
  await stage.until(() => false, 500);
  proc.kill();
  stage.cut();
  expect((await stage.do(handle.end, 30_000)).status).toBe("succeeded");
  expect(stage.record().attempt).toBe(2);
});

test("connecting in vain again and again leaves one sweep, not one more each time", async () => {
  const stage = new Stage(steps(() => undefined));
  let beats = 0;
  const proc = new Proc(stage.sim, "coordinator");
  const saver = new Proxy(new MemorySaver({ store: stage.world.store }), {
    get(target, key) {
      if (key === "beat") beats++;
      const value = Reflect.get(target, key, target) as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const dialer: Dialer = {
    dial: () => {
      throw new AgentmaticError("InvalidArgument", "address: has no port");
    },
  };
  const coordinator = new Coordinator({ saver, dialer, workers: ["w"], ports: proc.ports, takeoverMs: 3_000 });
  for (let i = 0; i < 20; i++) {
    await expect(stage.do(coordinator.connect(), 10)).rejects.toMatchObject({ code: "InvalidArgument" });
  }
  beats = 0;
  await stage.until(() => false, 3_000);
  expect(beats).toBeLessThanOrEqual(7);
  await stage.do(coordinator.close());
  expect(stage.sim.pending()).toEqual([]);
});

test("a run whose cancel was asked for ends, though no worker is left to do it", async () => {
  let began = false;
  const stage = new Stage(
    steps(() => {
      began = true;
      return new Promise(() => {});
    }),
  );
  const { proc } = await stage.worker("w");
  const { coordinator } = stage.lead();
  const handle = await stage.do(coordinator.start(stage.request()));
  await stage.until(() => began);
  // The worker is gone before it hears of the cancel.
  proc.kill();
  await stage.do(coordinator.cancel("r"));
  stage.cut();
  expect((await stage.do(handle.end, 60_000)).status).toBe("cancelled");
});

test("a node that makes each of its workers stand still is dead-lettered in the end", async () => {
  const stage = new Stage(
    steps((_name, ctx) => {
      // An endless loop: its process never does anything again.
      stage.world.endpoints.get(String(ctx.config.process))!.proc.pause();
      return new Promise(() => {});
    }),
  );
  for (let i = 0; i < 8; i++) await stage.worker(`w${i}`, { config: { process: `w${i}` } });
  const { coordinator } = stage.lead();
  const handle = await stage.do(coordinator.start(stage.request({ maxAttempts: 3 })));
  expect((await stage.do(handle.end, 120_000)).status).toBe("dead");
  const frozen = [...stage.world.endpoints.values()].filter(({ proc }) => proc.paused).length;
  // The first attempt commits the input, which is progress.
  expect(frozen).toBeLessThanOrEqual(4);
});
