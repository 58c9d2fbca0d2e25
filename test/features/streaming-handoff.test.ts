/** What a reader is told when a run's worker is lost, in virtual time: nothing committed twice, nothing lost, the rest taken back. */
import { expect, test } from "vitest";
import { Annotation, decodeValue, END, encodeValue, type NodeContext, START, StateGraph } from "../../src/mod.ts";
import type { RunEvent } from "../../src/run/events.ts";
import type { RunSettings } from "../../src/run/settings.ts";
import { gather, Stage } from "../unit/cluster/stage.ts";

/** Counts to ten; `at` is called before each step and may wait. */
function counter(at: (n: number, ctx: NodeContext) => unknown) {
  return new StateGraph({ n: Annotation<number> })
    .addNode("step", async ({ n = 0 }, ctx) => {
      ctx.stream(`${n + 1} by ${ctx.attempt}`);
      await at(n + 1, ctx);
      return { n: n + 1 };
    })
    .addEdge(START, "step")
    .addConditionalEdges("step", ({ n }) => (n < 10 ? "step" : END))
    .plan({ name: "counter" });
}

const settings = (given: RunSettings) => ({ settings: encodeValue(given) });

/** The steps that a reader believes to have been taken, once it has dropped what was taken back. */
function believed(events: readonly RunEvent[]): number[] {
  let kept: { readonly seq: number; readonly n: number; readonly epoch: number }[] = [];
  for (const { kind, seq, data, epoch } of events) {
    if (kind === "retract") {
      const { after } = decodeValue(data) as { after?: number };
      if (after !== undefined) kept = kept.filter((one) => one.seq <= after);
    } else if (kind === "updates") kept.push({ seq, epoch, n: (decodeValue(data) as { n: number }).n });
  }
  return kept.map(({ n }) => n);
}

const told = (events: readonly RunEvent[]) => events.map(({ kind, attempt }) => `${kind} ${attempt}`);
const oneToTen = Array.from({ length: 10 }, (_, index) => index + 1);

/** Runs on w0 until step 7 of its first attempt, where w0 dies; `before` is called when it begins step 4. */
async function lostAtSeven(given: RunSettings, before: (stage: Stage) => void) {
  let reached = 0;
  const stage = new Stage(
    counter(async (n, { attempt }) => {
      if (attempt > 1) return undefined;
      reached = n;
      if (n === 4) before(stage);
      return n === 7 ? await new Promise(() => {}) : undefined;
    }),
  );
  const { proc } = await stage.worker("w0");
  const { coordinator } = stage.lead();
  const request = stage.request({ events: ["updates", "custom"], ...settings(given) });
  const handle = await stage.do(coordinator.start(request));
  const events = gather(handle);
  await stage.until(() => reached === 7);
  await stage.until(() => false, 100);
  await stage.worker("w1");
  coordinator.addWorker("w1");
  await stage.until(() => false, 500);
  proc.kill();
  stage.cut();
  expect((await stage.do(handle.end)).status).toBe("succeeded");
  await stage.until(() => false, 100);
  return { events, stage };
}

test("sync: every step is told of once; words of the lost attempt are taken back", async () => {
  const { events } = await lostAtSeven({}, () => {});
  expect(believed(events)).toEqual(oneToTen);
  expect(events.filter(({ kind }) => kind === "updates")).toHaveLength(10);
  const retracts = events.filter(({ kind }) => kind === "retract").map(({ data }) => decodeValue(data));
  expect(retracts).toEqual([{ attempt: 1 }]);
  expect(told(events).lastIndexOf("custom 1")).toBeLessThan(told(events).indexOf("retract 1"));
});

test("async: steps that were told of and lost are taken back and told again; those that were stored are not repeated", async () => {
  const { events, stage } = await lostAtSeven({ durability: "async" }, (world) =>
    world.world.outage({ name: "w0" } as never, 1_000_000),
  );
  const claimed = stage.record().claimSeq!;
  expect(claimed).toBeGreaterThan(0);
  expect(claimed).toBeLessThan(7);
  const retracts = events.filter(({ kind }) => kind === "retract").map(({ data }) => decodeValue(data));
  expect(retracts).toEqual([{ attempt: 1 }, { attempt: 1, after: claimed }]);
  expect(believed(events)).toEqual(oneToTen);
  const stored = events.filter(({ kind, seq }) => kind === "updates" && seq <= claimed).map(({ seq }) => seq);
  expect(new Set(stored).size).toBe(stored.length);
});

test("exit: nothing of the lost attempt stays, and the run is told of from its beginning", async () => {
  const { events, stage } = await lostAtSeven({ durability: "exit" }, () => {});
  expect(stage.record().claimSeq).toBe(0);
  const retracts = events.filter(({ kind }) => kind === "retract").map(({ data }) => decodeValue(data));
  expect(retracts).toEqual([{ attempt: 1 }, { attempt: 1, after: 0 }]);
  expect(believed(events)).toEqual(oneToTen);
  expect(events.filter(({ kind }) => kind === "updates")).toHaveLength(16);
});

test("async: what was told while the link was broken is read from the store, once it is there", async () => {
  let go = () => {};
  const stage = new Stage(
    counter((n) =>
      n === 5 || n === 8
        ? new Promise<void>((resolve) => {
            go = resolve;
          })
        : undefined,
    ),
  );
  const { proc } = await stage.worker("w0");
  const { coordinator } = stage.lead();
  const request = stage.request({ events: ["updates"], ...settings({ durability: "async" }) });
  const handle = await stage.do(coordinator.start(request));
  const events = gather(handle);
  await stage.until(() => believed(events).length === 4);
  await stage.until(() => false, 100);
  stage.world.outage(proc, 500);
  stage.cut();
  go();
  await stage.until(() => false, 50);
  go();
  expect((await stage.do(handle.end)).status).toBe("succeeded");
  await stage.until(() => false, 100);
  expect(believed(events)).toEqual(oneToTen);
  expect(events.map(({ kind, seq }) => `${kind} ${seq}`)).toEqual(oneToTen.map((n) => `updates ${n + 1}`));
  expect(stage.record().attempt).toBe(1);
});

test("exit: a reader whose link broke is told that something is missing", async () => {
  let go = () => {};
  const stage = new Stage(
    counter((n) =>
      n === 5
        ? new Promise<void>((resolve) => {
            go = resolve;
          })
        : undefined,
    ),
  );
  await stage.worker("w0");
  const { coordinator } = stage.lead();
  const request = stage.request({ events: ["updates"], ...settings({ durability: "exit" }) });
  const handle = await stage.do(coordinator.start(request));
  const reading = (async () => {
    for await (const _ of handle.events);
  })();
  reading.catch(() => undefined);
  await stage.until(() => false, 200);
  stage.cut();
  await stage.until(() => false, 500);
  go();
  expect((await stage.do(handle.end)).status).toBe("succeeded");
  await expect(stage.do(reading)).rejects.toMatchObject({ code: "Unavailable", message: /durability "exit"/ });
});

test("commits of graphs inside are caught up with after a hand-off: none lost, none twice", async () => {
  let gate = () => {};
  const state = () => ({ n: Annotation<number>({ reducer: (a, b) => a + b, default: () => 0 }) });
  const inner = new StateGraph(state())
    .addNode("one", () => ({ n: 1 }))
    .addNode("two", async (_state, ctx) => {
      // The worker commits the step before, but its link is down.
      if (ctx.attempt === 1) {
        await new Promise<void>((resolve) => {
          gate = resolve;
        });
      }
      return { n: 2 };
    })
    .addNode("three", (_state, ctx) => (ctx.attempt === 1 ? new Promise<never>(() => {}) : { n: 3 }))
    .addEdge(START, "one")
    .addEdge("one", "two")
    .addEdge("two", "three")
    .compile({ name: "inner" });
  const plan = new StateGraph(state())
    .addNode("inner", inner)
    .addNode("after", () => ({ n: 100 }))
    .addEdge(START, "inner")
    .addEdge("inner", "after")
    .plan({ name: "outer" });
  const stage = new Stage(plan);
  const { proc } = await stage.worker("w0");
  const { coordinator } = stage.lead();
  const kinds = ["updates", "values", "checkpoints"] as const;
  const request = stage.request({ events: kinds, ...settings({ subgraphs: true }) });
  const handle = await stage.do(coordinator.start(request));
  const events = gather(handle);
  await stage.until(() => events.length >= 4);
  await stage.until(() => false, 100);
  stage.world.refuse.add("w0");
  stage.cut();
  await stage.until(() => false, 20);
  gate();
  await stage.until(() => false, 200);
  proc.kill();
  await stage.worker("w1");
  coordinator.addWorker("w1");
  expect((await stage.do(handle.end)).status).toBe("succeeded");
  await stage.until(() => false, 100);
  const of = (kind: string) =>
    events
      .filter((event) => event.kind === kind)
      .map(({ ns, node, seq }) => `${seq} ${ns === "" ? "" : "inner/"}${node}`);
  expect(of("updates")).toEqual(["3 inner/one", "4 inner/two", "5 inner/three", "6 inner", "7 after"]);
  expect(of("values").map((one) => one.split(" ")[0])).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
  expect(of("checkpoints")).toEqual(of("values"));
  const [replayed] = events.filter(({ kind, seq }) => kind === "checkpoints" && seq === 4);
  expect(decodeValue(replayed!.data)).toEqual({
    checkpointId: "r.2",
    parentId: "r.1",
    step: 2,
    source: "loop",
    next: ["three"],
    sends: [],
    values: { n: 3 },
  });
});
