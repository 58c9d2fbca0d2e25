/** Streams from real worker processes, over gRPC. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Command, CompiledGraph, decodeValue, MemorySaver, type StreamMode } from "../../src/mod.ts";
import type { RunEvent } from "../../src/run/events.ts";
import { until } from "../support/wait.ts";
import { bind } from "./bind.ts";
import { Cluster } from "./cluster.ts";
import { counter, everything } from "./stream-graphs.ts";

const graphs = join(import.meta.dirname, "stream-graphs.ts");

async function read(graph: CompiledGraph, input: unknown, config: object): Promise<unknown[]> {
  const parts: unknown[] = [];
  for await (const part of graph.stream(input as never, config)) parts.push(part);
  return JSON.parse(JSON.stringify(parts, (key, value) => (key === "timestamp" ? "" : value)));
}

test("every mode at once, with subgraphs: the same sequence as in one process", async () => {
  await using cluster = await Cluster.open("sqlite");
  const { address } = await cluster.startWorker({ graphs });
  const coordinator = cluster.coordinator([address]);
  await cluster.ready(coordinator, 1);
  const there = bind(everything, coordinator, cluster.saver) as unknown as CompiledGraph;
  const here = new CompiledGraph(everything.plan, { checkpointer: new MemorySaver() });
  const streamMode: StreamMode[] = ["values", "updates", "messages", "custom", "tasks", "checkpoints", "debug"];
  for (const durability of ["sync", "async", "exit"] as const) {
    const config = { threadId: durability, streamMode, subgraphs: true, durability };
    const asked = await read(here, {}, { ...config, runId: `${durability}-1` });
    expect(await read(there, {}, { ...config, runId: `${durability}-1` })).toEqual(asked);
    const answer = new Command({ resume: "Ada" });
    const answered = await read(here, answer, { ...config, runId: `${durability}-2` });
    expect(await read(there, answer, { ...config, runId: `${durability}-2` })).toEqual(answered);
    expect(asked.length + answered.length).toBeGreaterThan(40);
    const [mine, theirs] = await Promise.all([here, there].map((graph) => graph.getState(config, { subgraphs: true })));
    expect(theirs?.values).toEqual(mine?.values);
    expect(theirs?.values).toMatchObject({ who: "Ada" });
  }
});

test.each(["sync", "async"] as const)(
  "%s: a worker is killed: committed steps are neither lost nor doubled once what is void was taken back",
  async (durability) => {
    await using cluster = await Cluster.open("sqlite");
    const [first, second] = [await cluster.startWorker({ graphs }), await cluster.startWorker({ graphs })];
    const coordinator = cluster.coordinator([first.address, second.address]);
    await cluster.ready(coordinator, 2);
    const gate = join(cluster.folder, "gate");
    const input = { n: 0, to: 40, bytes: 0, stopAt: 30, gate };
    const graph = bind(counter, coordinator, cluster.saver);
    const handle = await graph.start(input, { threadId: "t", runId: "r", durability }, ["updates", "custom"]);
    const events: RunEvent[] = [];
    const reading = (async () => {
      for await (const event of handle.events) events.push(event);
    })();
    await until(() => events.some(({ kind, data }) => kind === "custom" && decodeValue(data) === "30 by 1"), {
      what: "step 30",
      timeoutMs: 30_000,
    });
    const { owner } = (await cluster.saver.getRun("r"))!.state;
    const worker = [first, second].find(({ id }) => id === owner)!;
    await worker.child.kill();
    await writeFile(gate, "");
    expect((await handle.end).status).toBe("succeeded");
    await reading;
    let steps: { seq: number; n: number }[] = [];
    let words: number[] = [];
    for (const { kind, seq, attempt, data } of events) {
      const value = decodeValue(data) as { n: number; attempt: number; after?: number };
      if (kind === "updates") steps.push({ seq, n: value.n });
      if (kind === "custom") words.push(attempt);
      if (kind !== "retract") continue;
      words = words.filter((each) => each > value.attempt);
      if (value.after !== undefined) steps = steps.filter((step) => step.seq <= value.after!);
    }
    expect(steps.map(({ n }) => n)).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    expect(new Set(words)).toEqual(new Set([2]));
    expect(events.filter(({ kind }) => kind === "retract").length).toBeGreaterThan(0);
  },
);

test("a reader that does not read makes the run wait, however far away its worker is", async () => {
  await using cluster = await Cluster.open("sqlite");
  const { address } = await cluster.startWorker({ graphs });
  const coordinator = cluster.coordinator([address]);
  await cluster.ready(coordinator, 1);
  const input = { n: 0, to: 1_000, bytes: 100_000, stopAt: -1, gate: "" };
  const graph = bind(counter, coordinator, cluster.saver);
  const config = { threadId: "t", runId: "r", durability: "exit", streamMode: "custom" } as const;
  const events = graph.stream(input, config);
  await events.next();
  const rssBefore = process.memoryUsage.rss();
  const { metrics } = cluster.workers[0]!;
  const busy = async () => (await fetch(`http://${metrics}/metrics`)).ok;
  // A hundred megabytes of words, of which only some may be under way.
  let lease = -1;
  for (let renewals = 0; renewals < 2; ) {
    const record = await cluster.saver.getRun("r");
    expect(record?.state.status).toBe("running");
    if (record!.state.lease !== lease) renewals++;
    lease = record!.state.lease;
    expect(await busy()).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(process.memoryUsage.rss() - rssBefore).toBeLessThan(80_000_000);
  let rest = 1;
  for await (const part of events) rest += (part as string).length === 100_000 ? 1 : 0;
  expect(rest).toBe(1_000);
  expect((await cluster.saver.getRun("r"))?.state.status).toBe("succeeded");
});
