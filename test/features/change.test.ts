/** Threads that older versions of a graph wrote, read and gone on with by newer ones: see test/fixtures/threads. */
import { cpSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SqliteSaver } from "../../adapters/sqlite/mod.ts";
import { decodeBody } from "../../src/checkpoint/body.ts";
import {
  type AgentmaticError,
  Annotation,
  Command,
  type CompiledGraph,
  MemorySaver,
  type Migrate,
  START,
  StateGraph,
  systemPorts,
} from "../../src/mod.ts";
import { first, hashed, migrate, third } from "../fixtures/threads/graphs.ts";
import { run } from "../support/process.ts";
import { runtimes } from "../support/runtimes.ts";
import { Wired } from "./streaming-wired.ts";

const fixtures = join(import.meta.dirname, "..", "fixtures", "threads");
let folder = "";
let saver: SqliteSaver;

/** A lease that stands still is soon over. */
const speed = 20;
const ports = {
  ...systemPorts,
  clock: { ...systemPorts.clock, monotonicMs: () => systemPorts.clock.monotonicMs() * speed },
  timers: { after: (ms: number, go: () => void) => systemPorts.timers.after(ms / speed, go) },
};

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "agentmatic-change-"));
  cpSync(join(fixtures, "threads.db"), join(folder, "threads.db"));
  saver = new SqliteSaver({ path: join(folder, "threads.db") });
  await saver.setup();
});
afterEach(async () => {
  await saver.close();
  await rm(folder, { recursive: true, force: true });
});

type Values = Record<string, unknown> & { log: string[]; count: number };
const valuesOf = async (graph: CompiledGraph, threadId: string) =>
  (await graph.getState({ threadId }))?.values as Values | undefined;
const drafted = ["drafted", "research of x", "research of y", "laid out", "pictures"];

/** Everything that is stored of a thread. */
async function dump(threadId: string): Promise<unknown> {
  const all = await saver.list({ threadId, limit: 1_000 });
  return [await saver.head(threadId), all];
}

describe("threads of version 1 under version 3, by way of version 2", () => {
  test("a thread that has ended: renamed, retyped, removed and added channels, in its history too", async () => {
    const graph = third({ checkpointer: saver });
    const values = (await valuesOf(graph, "finished"))!;
    expect(Object.keys(values).sort()).toEqual(["count", "log", "tags", "title"]);
    expect(values).toMatchObject({ title: "finished", count: 1, tags: ["new"] });
    expect(values.log.at(-1)).toBe("published");
    for await (const { values: past } of graph.getStateHistory({ threadId: "finished" })) {
      expect(past).toMatchObject({ tags: ["new"] });
      expect(past).not.toHaveProperty("notes");
    }
    const next = (await graph.invoke({ title: "again", log: [] }, { threadId: "finished" })) as unknown as Values;
    expect(next).toMatchObject({ title: "again", count: 4, __interrupt__: [{ value: "fine?" }] });
    const stored = (await saver.get("finished", ""))!.checkpoint;
    expect(decodeBody(stored).version).toBe("3");
    expect(Object.keys(stored.versions).sort()).toEqual(["count", "log", "tags", "title"]);
  });

  test("a renamed node that is due", async () => {
    const graph = third({ checkpointer: saver });
    expect((await graph.getState({ threadId: "before-publish" }))?.next).toEqual(["release"]);
    const end = (await graph.invoke(null, { threadId: "before-publish" })) as unknown as Values;
    expect([end.log.at(-1), end.count]).toEqual(["released", 2]);
  });

  test("an open question is answered across the change", async () => {
    const graph = third({ checkpointer: saver });
    const state = (await graph.getState({ threadId: "asked" }))!;
    expect([state.next, state.interrupts]).toMatchObject([["review"], [{ value: "fine?" }]]);
    const answer = new Command({ resume: { [state.interrupts[0]!.id]: "yes" } });
    const asked = (await graph.invoke(answer, { threadId: "asked" })) as unknown as Values;
    expect(asked).toMatchObject({ log: [...drafted, "review: yes"], count: 1 });
    const end = (await graph.invoke(new Command({ resume: "no" }), { threadId: "asked" })) as unknown as Values;
    expect(end.log.slice(-2)).toEqual(["checked: no", "released"]);
  });

  test("so is one inside a graph that has changed as well", async () => {
    const graph = third({ checkpointer: saver });
    const deep = await graph.getState({ threadId: "asked-inside" }, { subgraphs: true });
    expect(deep?.tasks[0]?.state).toMatchObject({ values: { log: [...drafted, "review: yes"] }, next: ["ask"] });
    const end = await graph.invoke(new Command({ resume: "sure" }), { threadId: "asked-inside" });
    expect((end as unknown as Values).log.slice(-2)).toEqual(["checked: sure", "released"]);
  });

  test("single calls and a join that are due or half done", async () => {
    const graph = third({ checkpointer: saver });
    const called = (await graph.invoke(null, { threadId: "calls-due" })) as unknown as Values;
    expect(called.log).toEqual(drafted);
    const joined = (await graph.invoke(null, { threadId: "pictures-due" })) as unknown as Values;
    expect(joined).toMatchObject({ log: drafted, __interrupt__: [{ value: "fine?" }] });
    expect(decodeBody((await saver.get("half-joined", ""))!.checkpoint).joins).toEqual({
      "layout+pictures>review": ["layout"],
    });
    const half = (await graph.invoke(null, { threadId: "half-joined" })) as unknown as Values;
    expect(half.__interrupt__).toMatchObject([{ value: "fine?" }]);
  });

  test("a long list that is stored in pieces", async () => {
    const before = (await saver.get("long", ""))!.checkpoint;
    expect(before.deltas).toHaveProperty("notes");
    const graph = third({ checkpointer: saver });
    const log = (await valuesOf(graph, "long"))!.log;
    expect([log.length, log[0]!.slice(0, 6), log.at(-1)]).toEqual([105, "note 0", "more 4"]);
    await graph.invoke(null, { threadId: "long" });
    expect((await valuesOf(graph, "long"))!.log).toEqual([...log, "released"]);
  });

  test("edits, forks and branches of old checkpoints", async () => {
    const graph = third({ checkpointer: saver });
    await graph.updateState({ threadId: "before-publish" }, { tags: ["edited"] }, "check");
    expect(await graph.getState({ threadId: "before-publish" })).toMatchObject({
      values: { tags: ["edited"], count: 1 },
      next: ["release"],
    });
    const history = [];
    for await (const snapshot of graph.getStateHistory({ threadId: "finished" })) history.push(snapshot);
    const old = history.find(({ next }) => next[0] === "release")!;
    expect(((await graph.invoke(null, old.config)) as unknown as Values).log.at(-1)).toBe("released");
    await graph.branch(old.config, "branch");
    expect(((await graph.invoke(null, { threadId: "branch" })) as unknown as Values).log.at(-1)).toBe("released");
  });

  test("a thread of version 2 takes the second step alone", async () => {
    const from: string[] = [];
    const watched: Migrate = (stored, versions) => {
      from.push(`${versions.from} to ${versions.to}`);
      return migrate(stored, versions);
    };
    const graph = third({ checkpointer: saver, migrate: watched });
    expect(await valuesOf(graph, "second")).toMatchObject({ count: 2, log: ["drafted"] });
    expect(new Set(from)).toEqual(new Set(["2 to 3"]));
    expect(((await graph.invoke(null, { threadId: "second" })) as unknown as Values).log).toEqual([
      "drafted",
      "released",
    ]);
  });
});

describe("a run in flight of the old version, whose process is gone", () => {
  test("is gone on with where there is a migration; what was done beside it is done again, with the same key", async () => {
    const keys: string[] = [];
    const graph = third({ checkpointer: saver, ports, onNode: ({ idempotencyKey }) => keys.push(idempotencyKey) });
    const end = (await graph.invoke({ title: "next", log: [] }, { threadId: "in-flight" })) as unknown as Values;
    expect((await saver.getRun("in-flight-0"))?.state).toMatchObject({ status: "interrupted", attempt: 2 });
    expect(keys.slice(0, 2).sort()).toEqual(["in-flight/in-flight-0.2|layout", "in-flight/in-flight-0.2|pictures"]);
    expect(end).toMatchObject({ title: "next", log: [...drafted, ...drafted] });
  });

  test("is an error that names both versions where there is none; the thread stays as it is", async () => {
    const before = await dump("in-flight");
    const { plan } = third({ checkpointer: saver });
    const graph = third({ checkpointer: saver, ports, migrate: undefined as never });
    const error = (await graph.invoke({ title: "next" }, { threadId: "in-flight" }).catch((thrown) => thrown)) as Error;
    expect(error).toMatchObject({ code: "FailedPrecondition" });
    expect(error.message).toMatch(
      /held by run in-flight-0 of graph paper version 1, .* this process has paper version 3/,
    );
    expect(await dump("in-flight")).toEqual(before);
    expect(plan.version).toBe("3");
    const old = first({ checkpointer: saver, ports });
    // Its own version may end it.
    const waiting = old.invoke({ title: "next", hang: false }, { threadId: "in-flight", timeout: 2_000 });
    await expect(waiting).rejects.toMatchObject({ code: "DeadlineExceeded" });
    expect((await saver.getRun("in-flight-0"))?.state.attempt).toBe(2);
  });

  test("on a cluster it waits for a worker of its version, and versions that differ are told of at connect", async () => {
    const plans = { old: first({ checkpointer: saver }).plan, new: third({ checkpointer: saver }).plan };
    await using wired = await Wired.start([plans.new], { workers: 1, saver: () => saver });
    const there = wired.bind(third({ checkpointer: saver }));
    // Threads that rest are migrated by the worker.
    const end = (await there.invoke(null, { threadId: "before-publish" })) as unknown as Values;
    expect(end.log.at(-1)).toBe("released");
    const stale = wired.bind(first({ checkpointer: saver }));
    const error = (await stale
      .invoke({ title: "x" }, { threadId: "new" })
      .catch((thrown) => thrown)) as AgentmaticError;
    expect([error.code, /version 1: workers serve version 3/.test(error.message)]).toEqual([
      "FailedPrecondition",
      true,
    ]);
    const handle = await wired.coordinator.join("in-flight-0");
    handle.end.catch(() => undefined);
    expect((await saver.getRun("in-flight-0"))?.state.status).toBe("running");
  });
});

describe("migrations that fail", () => {
  const broken: [what: string, migrate: unknown, message: RegExp][] = [
    [
      "throws",
      () => {
        throw new Error("no way back");
      },
      /migrate from version 1 to 3: it threw: no way back/,
    ],
    ["returns nothing", () => undefined, /must return \{ values, next \}/],
    ["returns values that are none", () => ({ values: null, next: [] }), /must return \{ values, next \}/],
    ["returns no list of nodes", (stored: object) => ({ ...stored, values: {}, next: "release" }), /must return/],
    ["returns a promise", async (stored: object) => stored, /no promise/],
    ["returns a promise that rejects", async () => Promise.reject(new Error("late")), /no promise/],
    ["leaves a channel that is gone", (stored: object) => stored, /values\.notes is no channel/],
    [
      "leaves a node that is gone",
      ({ next }: { next: string[] }) => ({ values: {}, next }),
      /"publish" is due, and is no node/,
    ],
    [
      "returns calls that are none",
      ({ next: _n }: { next: string[] }) => ({ values: {}, next: [], sends: [1] }),
      /sends must be a list/,
    ],
    [
      "leaves a join that is gone",
      () => ({ values: {}, next: [], joins: { "a+b>c": ["a"] } }),
      /joins\["a\+b>c"\] is half done/,
    ],
  ];

  test.each(broken)("one that %s is an error, and the thread is unharmed", async (_what, given, message) => {
    const before = await dump("before-publish");
    const graph = third({ checkpointer: saver, migrate: given as Migrate });
    const config = { threadId: "before-publish" };
    for (const call of [
      () => graph.getState(config),
      () => graph.invoke(null, config),
      () => graph.invoke({ title: "x" }, config),
      () => graph.updateState(config, { title: "x" }, "check"),
      () => graph.branch(config, "other"),
    ]) {
      const error = (await call().catch((thrown: unknown) => thrown)) as AgentmaticError;
      expect(error.code, String(error)).toBe("FailedPrecondition");
      expect(error.message).toMatch(message);
      expect(error.message).toMatch(/^graph "paper": /);
    }
    const [head, all] = (await dump("before-publish")) as [{ checkpointId: string }, unknown[]];
    expect([head.checkpointId, all]).toEqual([
      (before as [{ checkpointId: string }])[0].checkpointId,
      (before as unknown[])[1],
    ]);
    const fine = third({ checkpointer: saver });
    expect(((await fine.invoke(null, config)) as unknown as Values).log.at(-1)).toBe("released");
  });

  test("one that returns what cannot be stored is an error with the path, and the thread is unharmed", async () => {
    const graph = third({
      checkpointer: saver,
      migrate: (stored, versions) => {
        const { values, ...rest } = migrate(stored, versions);
        return { ...rest, values: { ...values, tags: [() => "a function"] } };
      },
    });
    const before = await dump("before-publish");
    await expect(graph.invoke(null, { threadId: "before-publish" })).rejects.toThrow(/tags\[0\]/);
    expect(((await dump("before-publish")) as unknown[])[1]).toEqual((before as unknown[])[1]);
  });
});

describe("without a migration", () => {
  const saverOf = () => new MemorySaver();
  const build = (checkpointer: MemorySaver, ...more: string[]) => {
    const extra = Object.fromEntries(
      more.map((name) => [name, Annotation<string>({ reducer: (_a, b) => b, default: () => `default of ${name}` })]),
    );
    return new StateGraph({ kept: Annotation<string>, ...extra })
      .addNode("node", () => ({ kept: "kept" }))
      .addEdge(START, "node")
      .compile({ name: "g", checkpointer }) as unknown as CompiledGraph;
  };

  test("added channels have their defaults, removed ones are left out, and nothing else changes", async () => {
    const checkpointer = saverOf();
    await build(checkpointer, "old").invoke({}, { threadId: "t" });
    const now = build(checkpointer, "added");
    expect((await now.getState({ threadId: "t" }))?.values).toEqual({ kept: "kept", added: "default of added" });
    expect(await now.invoke({}, { threadId: "t" })).toEqual({ kept: "kept", added: "default of added" });
  });

  test("a node that is due and gone is an error that names it; the state can still be read", async () => {
    const graph = third({ checkpointer: saver, migrate: undefined as never });
    expect((await graph.getState({ threadId: "before-publish" }))?.next).toEqual(["publish"]);
    await expect(graph.invoke(null, { threadId: "before-publish" })).rejects.toThrow(
      /graph "paper" \(version 3\) has no node "publish", which is due/,
    );
  });
});

describe("the version that is a hash", () => {
  const version = async () => decodeBody((await saver.get("hashed", ""))!.checkpoint).version;

  test("is what it was when the thread was written", async () => {
    const { plan } = hashed({ checkpointer: saver });
    expect(plan.version).toMatch(/^h-[0-9a-f]{16}$/);
    expect(await version()).toBe(plan.version);
  });

  test.each(runtimes().map((runtime) => [runtime.name, runtime] as const))(
    "is the same in another process, of %s",
    async (_name, runtime) => {
      const { cmd, args } = runtime.command([join(fixtures, "version.ts")]);
      const { output } = await run(cmd, args, { timeoutMs: 25_000 });
      expect(/^version (\S+)$/m.exec(output)?.[1], output).toBe(await version());
    },
  );
});
