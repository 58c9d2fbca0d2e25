import { describe, expect, it } from "vitest";
import { planFaults, Saboteur } from "../faults.ts";
import type { WorkerProcess } from "../fleet.ts";
import { runJob } from "../job.ts";
import { seeded } from "../random.ts";
import type { Report } from "../report.ts";
import { resultLine, summary } from "../summary.ts";

describe("runJob", () => {
  it("keeps the bound, and tells accepted from refused and failed", async () => {
    let active = 0;
    let most = 0;
    const ended: number[] = [];
    const rooms: number[] = [];
    const result = await runJob({
      mails: Array.from({ length: 50 }, (_, i) => i),
      inFlight: 4,
      room: async (started) => {
        rooms.push(started);
      },
      start: async (index) => {
        if (index === 7) throw new Error("queue full");
        most = Math.max(most, ++active);
        const end = new Promise((resolve) => setImmediate(resolve)).then(() => {
          active--;
          if (index === 9) throw new Error("lost");
        });
        return { end };
      },
      onEnd: (count) => ended.push(count),
    });
    expect(most).toBe(4);
    expect(rooms).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(ended).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
    expect(result.accepted).toHaveLength(49);
    expect(result.accepted).not.toContain(7);
    expect([...result.failures].map(([index, error]) => [index, error.message])).toEqual([
      [7, "queue full"],
      [9, "lost"],
    ]);
  });
});

describe("planFaults", () => {
  it("kills after a third and freezes at the half", () => {
    expect(planFaults(900, 1, 1)).toEqual([
      { kind: "kill", at: 300 },
      { kind: "freeze", at: 450 },
    ]);
  });

  it("spreads many over the job, in order, none at its ends", () => {
    const plan = planFaults(6000, 100, 3);
    expect(plan).toHaveLength(103);
    expect(plan.every((fault, i) => fault.at > 0 && fault.at < 6000 && fault.at >= (plan[i - 1]?.at ?? 0))).toBe(true);
    expect(planFaults(10, 0, 0)).toEqual([]);
  });
});

describe("Saboteur", () => {
  function fleetOf(count: number) {
    const log: string[] = [];
    const idle = new Set<string>();
    const blocking = new Set<string>();
    const workers = new Map<string, "up" | "frozen">();
    const worker = (name: string): WorkerProcess => ({
      name,
      pid: Number(name.slice(1)),
      address: "",
      metrics: "",
      id: "",
    });
    let made = 0;
    const add = () => workers.set(`w${++made}`, "up");
    for (let i = 0; i < count; i++) add();
    const up = () => [...workers].filter(([, state]) => state === "up").map(([name]) => worker(name));
    const target = {
      up,
      busy: () => up().filter(({ name }) => !idle.has(name)),
      blocksStore: async ({ name }: WorkerProcess) => blocking.has(name),
      kill: async (name: string) => {
        log.push(`kill ${name}`);
        workers.delete(name);
      },
      freeze: (name: string) => {
        log.push(`freeze ${name}`);
        workers.set(name, "frozen");
      },
      thaw: (name: string) => {
        log.push(`thaw ${name}`);
        workers.set(name, "up");
      },
      replace: async () => {
        await new Promise((resolve) => setImmediate(resolve));
        add();
        log.push("replace");
      },
    };
    return { log, target, idle, blocking };
  }
  const plan = [
    { kind: "kill", at: 2 },
    { kind: "freeze", at: 3 },
    { kind: "kill", at: 9 },
  ] as const;

  it("does one thing after the other, and leaves what is not due", async () => {
    const { log, target } = fleetOf(3);
    const saboteur = new Saboteur({
      plan,
      target,
      random: seeded(3),
      note: () => {},
      leadRuns: 2,
      jitterMs: 0,
      warmRuns: 0,
      freezeMs: 1,
    });
    saboteur.advance(1);
    expect(log).toEqual([]);
    saboteur.advance(5);
    await expect.poll(() => log.length).toBe(4);
    await saboteur.finish();
    expect(log.map((entry) => entry.split(" ")[0])).toEqual(["kill", "replace", "freeze", "thaw"]);
    expect(saboteur.done).toEqual([
      { kind: "kill", pid: Number(log[0]!.slice(6)), t: expect.any(Number) },
      { kind: "freeze", pid: Number(log[2]!.slice(8)), t: expect.any(Number), until: expect.any(Number) },
    ]);
    expect(saboteur.done[1]!.until! - saboteur.done[1]!.t).toBeGreaterThanOrEqual(1);
  });

  it("lets a frozen worker go on when the job ends", async () => {
    const { log, target } = fleetOf(2);
    const saboteur = new Saboteur({
      plan: plan.slice(1),
      target,
      random: seeded(1),
      note: () => {},
      leadRuns: 2,
      jitterMs: 0,
      warmRuns: 0,
      freezeMs: 3_600_000,
    });
    saboteur.advance(3);
    await expect.poll(() => log.length).toBe(1);
    await saboteur.finish();
    expect(log.at(-1)).toMatch(/^thaw/);
  });

  it("strikes only a worker that has runs, and waits for one", async () => {
    const { log, target, idle } = fleetOf(3);
    for (const name of ["w1", "w2", "w3"]) idle.add(name);
    const saboteur = new Saboteur({
      plan: plan.slice(0, 1),
      target,
      random: seeded(1),
      note: () => {},
      leadRuns: 2,
      jitterMs: 0,
      warmRuns: 0,
    });
    saboteur.advance(2);
    await saboteur.room(100);
    expect(log).toEqual([]);
    idle.delete("w2");
    await expect.poll(() => log).toEqual(["kill w2", "replace"]);
  });

  it("strikes in the midst of work: once some more runs have ended", async () => {
    const { log, target } = fleetOf(2);
    const saboteur = new Saboteur({
      plan: plan.slice(0, 1),
      target,
      random: seeded(1),
      note: () => {},
      leadRuns: 2,
      jitterMs: 0,
      warmRuns: 3,
    });
    saboteur.advance(2);
    await new Promise((resolve) => setImmediate(resolve));
    saboteur.advance(4);
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(log).toEqual([]);
    saboteur.advance(5);
    await expect.poll(() => log).toHaveLength(2);
  });

  it("holds the job back while a replacement starts", async () => {
    const { log, target } = fleetOf(3);
    const replaced = Promise.withResolvers<void>();
    const slow = { ...target, replace: () => replaced.promise.then(target.replace) };
    const many = [2, 4, 6, 8].map((at) => ({ kind: "kill" as const, at }));
    const saboteur = new Saboteur({
      plan: many,
      target: slow,
      random: seeded(1),
      note: () => {},
      leadRuns: 2,
      jitterMs: 0,
      warmRuns: 0,
    });
    saboteur.advance(5);
    await expect.poll(() => log).toHaveLength(1);
    await saboteur.room(5);
    let open = false;
    const later = saboteur.room(6).then(() => {
      open = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(open).toBe(false);
    replaced.resolve();
    await later;
    await expect.poll(() => log).toHaveLength(4);
  });

  it("ends a frozen worker that holds the store's lock, and freezes another one", async () => {
    const { log, target, blocking } = fleetOf(3);
    for (const name of ["w1", "w2", "w3"]) blocking.add(name);
    const freezeOnly = [{ kind: "freeze" as const, at: 0 }];
    const saboteur = new Saboteur({
      plan: freezeOnly,
      target,
      random: seeded(1),
      note: () => {},
      leadRuns: 2,
      jitterMs: 0,
      warmRuns: 0,
      freezeMs: 1,
    });
    const freeze = target.freeze;
    target.freeze = (name) => {
      freeze(name);
      if (log.length > 1) blocking.delete(name);
    };
    saboteur.advance(0);
    await expect.poll(() => log.at(-1)).toMatch(/^thaw/);
    expect(log.map((entry) => entry.split(" ")[0])).toEqual(["freeze", "kill", "replace", "freeze", "thaw"]);
    expect(saboteur.done.map(({ kind }) => kind)).toEqual(["kill", "freeze"]);
  });

  it("spares the last worker, and throws what a replacement threw", async () => {
    const { log, target } = fleetOf(1);
    const notes: string[] = [];
    const lonely = new Saboteur({
      plan,
      target,
      random: seeded(1),
      note: (text) => notes.push(text),
      leadRuns: 2,
      jitterMs: 0,
      warmRuns: 0,
    });
    lonely.advance(2);
    await expect.poll(() => notes).toEqual(["no kill: fewer than two workers are up"]);
    await lonely.finish();
    expect(log).toEqual([]);
    const broken = { ...fleetOf(2).target, replace: () => Promise.reject(new Error("no port")) };
    const saboteur = new Saboteur({
      plan,
      target: broken,
      random: seeded(1),
      note: () => {},
      leadRuns: 2,
      jitterMs: 0,
      warmRuns: 0,
    });
    saboteur.advance(2);
    await expect.poll(() => saboteur.done).toHaveLength(1);
    await expect(saboteur.finish()).rejects.toThrow("no port");
  });
});

describe("summary", () => {
  const report: Report = {
    accepted: 10,
    finished: 9,
    lost: 1,
    committedTwice: 2,
    finishedTasksRerun: 3,
    staleStarts: 4,
    vanished: 5,
    repeatedInFlight: 6,
    handoffs: 7,
    handoffP50Ms: 80,
    handoffP99Ms: 900,
    killHandoffs: 5,
    killP99Ms: 300,
    freezeHandoffs: 2,
    freezeP99Ms: null,
    runsPerSecond: 11,
    stepsPerSecond: 77,
    accuracy: 0.978,
    measured: 5,
  };
  const facts = {
    report,
    tickets: { calls: 12, effects: 8, keys: 8 },
    store: "sqlite",
    seconds: 60.04,
    kills: 1,
    freezes: 1,
    unfenced: true,
  };

  it("says it in words", () => {
    const text = summary(facts);
    expect(text).toContain("10 runs accepted, 9 finished, 1 lost, in 60.0 s");
    expect(text).toContain("the fence switched OFF");
    expect(text).toContain("5 runs handed off after kills, 99 of 100 within 300 ms");
    expect(text).toContain("97.8 % of 5 mails kept from training");
  });

  it("ends in one line whose first fields are the promised ones, in order", () => {
    const line = resultLine(facts);
    expect(line).toMatch(/^RESULT \{[^\n]*\}$/);
    const result = JSON.parse(line.slice("RESULT ".length));
    const promised =
      "accepted, finished, lost, committedTwice, finishedTasksRerun, handoffs, handoffP50Ms, handoffP99Ms, runsPerSecond, stepsPerSecond, accuracy, store, seconds";
    expect(Object.keys(result).slice(0, 13).join(", ")).toBe(promised);
    expect(result).toMatchObject({
      ...report,
      store: "sqlite",
      seconds: 60,
      ticketCalls: 12,
      tickets: 8,
      ticketEffects: 8,
    });
  });
});
