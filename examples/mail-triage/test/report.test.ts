import { describe, expect, it } from "vitest";
import { type Evidence, type Fault, parseWitness, percentile, report } from "../report.ts";
import type { StartLine, WitnessLine } from "../witness.ts";

/** A process's log in a word or two a line: `start(t, exec, task, seen, epoch)`. */
function log(pid: number, ...lines: WitnessLine[]): WitnessLine[] {
  return [{ kind: "process", proc: `p${pid}`, pid, t: 0 }, ...lines];
}

function start(t: number, exec: string, task: string, seen: string[] = [], epoch = 1, runId = "r1"): StartLine {
  const place = { runId, threadId: `thread of ${runId}`, taskId: `${runId}|${task}`, checkpointId: "c", step: 1 };
  return { kind: "start", t, exec, ...place, node: task, attempt: epoch, epoch, seen };
}

function evidence(
  witness: WitnessLine[][],
  trail: [task: string, exec: string][],
  more: Partial<Evidence> = {},
): Evidence {
  const entries = trail.map(([task, exec]) => ({ taskId: `r1|${task}`, exec }));
  return {
    accepted: [{ runId: "r1", truth: "ham" }],
    outcomes: new Map([["r1", { status: "succeeded", trail: entries, label: "ham" }]]),
    witness,
    faults: [],
    seconds: 2,
    ...more,
  };
}

const whole: [string, string][] = [
  ["parse", "a1"],
  ["route", "a2"],
  ["draft", "a3"],
];
const clean = [start(1, "a1", "parse"), start(2, "a2", "route", ["a1"]), start(3, "a3", "draft", ["a1", "a2"])];
const none = { lost: 0, committedTwice: 0, finishedTasksRerun: 0, staleStarts: 0, vanished: 0, repeatedInFlight: 0 };

describe("report", () => {
  it("counts nothing bad of a run that nothing happened to", () => {
    expect(report(evidence([log(1, ...clean)], whole))).toEqual({
      accepted: 1,
      finished: 1,
      ...none,
      handoffs: 0,
      handoffP50Ms: null,
      handoffP99Ms: null,
      killHandoffs: 0,
      killP99Ms: null,
      freezeHandoffs: 0,
      freezeP99Ms: null,
      runsPerSecond: 0.5,
      stepsPerSecond: 1.5,
      accuracy: 1,
      measured: 1,
    });
  });

  it("takes a task that was in flight at a kill as repeated, no more", () => {
    const first = log(1, start(1, "a1", "parse"), start(2, "a2", "route", ["a1"]));
    const second = log(2, start(50, "b2", "route", ["a1"], 2), start(51, "b3", "draft", ["a1", "b2"], 2));
    const trail: [string, string][] = [
      ["parse", "a1"],
      ["route", "b2"],
      ["draft", "b3"],
    ];
    expect(report(evidence([first, second], trail))).toMatchObject({ ...none, repeatedInFlight: 1 });
  });

  it("counts runs that were accepted and did not succeed as lost", () => {
    const outcomes = new Map([
      ["r1", { status: "succeeded", trail: [], label: null }],
      ["r2", { status: "failed", trail: [], label: null }],
      ["r3", { status: null, trail: [], label: null }],
    ]);
    const accepted = ["r1", "r2", "r3", "r4"].map((runId) => ({ runId, truth: null }));
    expect(report(evidence([], [], { accepted, outcomes }))).toMatchObject({
      accepted: 4,
      finished: 1,
      lost: 3,
      accuracy: null,
    });
  });

  it("sees a superstep committed twice in the final state", () => {
    const zombie = log(1, ...clean.slice(0, 2));
    const owner = log(2, start(50, "b2", "route", ["a1"], 2));
    const trail: [string, string][] = [
      ["parse", "a1"],
      ["route", "a2"],
      ["route", "b2"],
    ];
    expect(report(evidence([zombie, owner], trail))).toMatchObject({ committedTwice: 1 });
  });

  it("sees it in a later node's input even where the final state shows one of the two", () => {
    const zombie = log(1, ...clean.slice(0, 2), start(90, "a3", "draft", ["a1", "a2"]));
    const owner = log(2, start(50, "b2", "route", ["a1"], 2), start(51, "b3", "draft", ["a1", "b2"], 2));
    const trail: [string, string][] = [
      ["parse", "a1"],
      ["route", "a2"],
      ["draft", "a3"],
    ];
    // The fence off: the thawed process's late writes replaced the new owner's.
    expect(report(evidence([zombie, owner], trail))).toMatchObject({
      committedTwice: 1,
      finishedTasksRerun: 0,
      vanished: 1,
      repeatedInFlight: 2,
    });
  });

  it("sees one execution applied twice", () => {
    expect(report(evidence([log(1, ...clean)], [...whole, ["route", "a2"]]))).toMatchObject({ committedTwice: 1 });
    const twice = log(1, ...clean.slice(0, 2), start(3, "a3", "draft", ["a1", "a1", "a2"]));
    expect(report(evidence([twice], whole))).toMatchObject({ committedTwice: 1 });
  });

  it("sees a finished task run again by a new owner", () => {
    const owner = log(2, start(50, "b2", "route", ["a1"], 2), start(51, "b3", "draft", ["a1", "b2"], 2));
    const again = report(
      evidence(
        [log(1, ...clean), owner],
        [
          ["parse", "a1"],
          ["route", "b2"],
          ["draft", "b3"],
        ],
      ),
    );
    expect(again).toMatchObject({ finishedTasksRerun: 1, committedTwice: 1 });
  });

  it("counts a thawed process's start apart while its writes are never seen", () => {
    const zombie = log(1, ...clean.slice(0, 2), start(99, "a9", "route", ["a1"]));
    const owner = log(2, start(50, "b2", "route", ["a1"], 2), start(51, "b3", "draft", ["a1", "b2"], 2));
    const trail: [string, string][] = [
      ["parse", "a1"],
      ["route", "b2"],
      ["draft", "b3"],
    ];
    expect(report(evidence([zombie, owner], trail))).toMatchObject({ ...none, repeatedInFlight: 1, staleStarts: 1 });
    // With the fence off its writes arrive.
    const seen = report(
      evidence(
        [zombie, owner],
        [
          ["parse", "a1"],
          ["route", "a9"],
          ["draft", "b3"],
        ],
      ),
    );
    expect(seen).toMatchObject({ finishedTasksRerun: 1, staleStarts: 0, committedTwice: 1, vanished: 1 });
  });

  it("measures a rerun against the epochs of its own time, not against a later one", () => {
    const rerun = log(2, start(50, "b1", "parse", [], 2), start(51, "b2", "route", ["a1"], 2));
    const later = log(3, start(70, "c3", "draft", ["a1", "a2"], 3));
    const trail: [string, string][] = [
      ["parse", "a1"],
      ["route", "a2"],
      ["draft", "c3"],
    ];
    expect(report(evidence([log(1, ...clean.slice(0, 2)), rerun, later], trail))).toMatchObject({
      finishedTasksRerun: 1,
      staleStarts: 0,
      repeatedInFlight: 1,
    });
  });

  it("keeps runs apart that name their tasks alike", () => {
    const other = [start(5, "x1", "parse", [], 1, "r2")];
    expect(report(evidence([log(1, ...clean), log(2, ...other)], whole))).toMatchObject(none);
  });

  it("measures held-out mails only", () => {
    const accepted = [
      { runId: "r1", truth: "ham" },
      { runId: "r2", truth: "spam" },
      { runId: "r3", truth: null },
    ];
    const outcomes = new Map(["r1", "r2", "r3"].map((id) => [id, { status: "succeeded", trail: [], label: "ham" }]));
    expect(report(evidence([], [], { accepted, outcomes }))).toMatchObject({ accuracy: 0.5, measured: 2 });
  });
});

describe("hand-offs", () => {
  const kill: Fault = { kind: "kill", pid: 1, t: 10 };

  it("lie between the fault and the first start elsewhere", () => {
    const other = log(2, start(260, "b2", "route", ["a1"], 2), start(270, "b3", "draft", ["a1", "b2"], 2));
    const result = report(evidence([log(1, ...clean.slice(0, 2)), other], whole, { faults: [kill] }));
    expect(result).toMatchObject({
      handoffs: 1,
      handoffP50Ms: 250,
      handoffP99Ms: 250,
      killHandoffs: 1,
      killP99Ms: 250,
    });
  });

  it("are not what ended before, nor what the process did not hold", () => {
    const finishedBefore = log(1, ...clean);
    const elsewhere = log(2, start(5, "x1", "parse", [], 1, "r2"), start(15, "x2", "route", ["x1"], 1, "r2"));
    const result = report(evidence([finishedBefore, elsewhere], whole, { faults: [kill] }));
    expect(result.handoffs).toBe(0);
  });

  it("are not a freeze's where the process went on by itself afterwards", () => {
    const freeze: Fault = { kind: "freeze", pid: 1, t: 2.5, until: 500 };
    const lost: Fault = { kind: "kill", pid: 1, t: 900 };
    const first = log(1, ...clean.slice(0, 2), start(510, "a3", "draft", ["a1", "a2"]));
    const second = log(2, start(1000, "b3", "draft", ["a1", "a2"], 2));
    const result = report(evidence([first, second], whole, { faults: [freeze, lost] }));
    expect(result).toMatchObject({ handoffs: 1, freezeHandoffs: 0, killHandoffs: 1, killP99Ms: 100 });
  });

  it("count a freeze's with its stale start", () => {
    const freeze: Fault = { kind: "freeze", pid: 1, t: 2.5, until: 5000 };
    const first = log(1, ...clean.slice(0, 2), start(5001, "a3", "draft", ["a1", "a2"]));
    const second = log(2, start(3502.5, "b2", "route", ["a1"], 2));
    const result = report(evidence([first, second], whole, { faults: [freeze] }));
    expect(result).toMatchObject({ freezeHandoffs: 1, freezeP99Ms: 3500 });
  });
});

describe("parseWitness", () => {
  it("drops a torn last line and nothing else", () => {
    const lines = clean.map((line) => JSON.stringify(line)).join("\n");
    expect(parseWitness(`${lines}\n{"kind":"sta`)).toHaveLength(3);
    expect(parseWitness("")).toEqual([]);
    expect(() => parseWitness(`{"kind":\n${lines}\n`)).toThrow();
  });
});

describe("percentile", () => {
  it("is the nearest rank", () => {
    const values = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect([percentile(values, 0.5), percentile(values, 0.99), percentile([7], 0.99), percentile([], 0.5)]).toEqual([
      50,
      99,
      7,
      null,
    ]);
  });
});
