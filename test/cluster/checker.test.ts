/** The checker can fail: each count rises by evidence made for it, and stays at zero without. */
import { expect, test } from "vitest";
import type { RunRecord } from "../../src/run/record.ts";
import { check, clean, type Evidence, type StoredTrail } from "./checker.ts";
import type { Start, WitnessLine } from "./witness.ts";

let clock = 0;

function start(exec: string, step: number, epoch: number, seen: readonly string[] = []): Start {
  const place = { pid: 1, runId: "r", threadId: "t", taskId: `r.${step}|n`, node: "n", step, attempt: epoch, epoch };
  return { at: "start", t: ++clock, exec, seen, ...place };
}

function ran(...args: Parameters<typeof start>): WitnessLine[] {
  const line = start(...args);
  return [line, { at: "end", t: ++clock, exec: line.exec }];
}

/** A chain of checkpoints whose trails are made of `execs`, the n-th under the n-th epoch. */
function chain(execs: readonly string[], epochs: readonly number[] = execs.map(() => 1)): StoredTrail[] {
  const input = { checkpointId: "r.0", parentId: null, step: 0, seq: 1, epoch: 1, trail: [] };
  const steps = execs.map((_, n) => ({
    checkpointId: `r.${n + 1}`,
    parentId: `r.${n}`,
    step: n + 1,
    seq: n + 2,
    epoch: epochs[n]!,
    trail: execs.slice(0, n + 1).map((exec, at) => ({ taskId: `r.${at}|n`, exec })),
  }));
  return [input, ...steps];
}

function evidence(
  witness: readonly WitnessLine[],
  checkpoints: readonly StoredTrail[],
  status = "succeeded",
): Evidence {
  const record = { state: { status } } as RunRecord;
  return { accepted: ["r"], witness, stored: [{ runId: "r", record, checkpoints }] };
}

const good = [...ran("a", 0, 1), ...ran("b", 1, 1, ["a"])];

test("a run without faults is clean, and so is one whose task was in flight at a fault", () => {
  expect(check(evidence(good, chain(["a", "b"])))).toMatchObject({ ...clean(1), repeatedInFlight: 0, staleStarts: 0 });
  const again = [...ran("a", 0, 1), start("x", 1, 1, ["a"]), ...ran("b", 1, 2, ["a"])];
  expect(check(evidence(again, chain(["a", "b"], [1, 2])))).toMatchObject({ ...clean(1), repeatedInFlight: 1 });
});

test.each([
  ["lost", { lost: 1, finished: 0 }, evidence(good, chain(["a", "b"]), "running")],
  ["lost", { lost: 1, finished: 0 }, { ...evidence(good, []), stored: [] }],
  ["a finished task begun again", { finishedTasksRerun: 1 }, evidence([...good, start("x", 0, 2)], chain(["a", "b"]))],
  ["the same in one attempt", { finishedTasksRerun: 1 }, evidence([...good, start("x", 0, 1)], chain(["a", "b"]))],
  [
    "a superstep that two owners went on from",
    { committedTwice: 1, vanished: 1 },
    evidence([...good, ...ran("x", 0, 2), start("y", 1, 2, ["x"])], chain(["a", "b"])),
  ],
  [
    "a checkpoint that a zombie replaced",
    { committedTwice: 1, vanished: 2 },
    evidence(
      [...good, ...ran("x", 1, 2, ["a"]), ...ran("c", 2, 2, ["a", "x"])],
      chain(["a", "x", "c"], [1, 2, 2]).map((each) =>
        each.step === 2 ? { ...each, trail: chain(["a", "b"]).at(-1)!.trail } : each,
      ),
    ),
  ],
  ["a task twice in the state", { committedTwice: 1 }, evidence(good, [twice()])],
  [
    "a stored task begun again beside others",
    { finishedTasksRerun: 1 },
    {
      ...evidence([...ran("x", 0, 1), ...ran("a", 0, 2), ...ran("b", 1, 2, ["a"])], chain(["a", "b"], [2, 2])),
      found: [{ taskId: "r.0|n", exec: "x" }],
    },
  ],
  [
    "an attempt with two owners",
    { complaints: ["run r, attempt 1: process 1 under epoch 1 and process 2 under epoch 1"] },
    evidence([...ran("a", 0, 1), ...ran("b", 1, 1, ["a"]).map((line) => ({ ...line, pid: 2 }))], chain(["a", "b"])),
  ],
  ["a missing step", { committedTwice: 1 }, evidence(good, chain(["a", "b"]).toSpliced(1, 1))],
  ["an execution nobody saw", { unwitnessed: 1 }, evidence(ran("a", 0, 1), chain(["a", "b"]))],
  ["an old owner's late start", { staleStarts: 1 }, evidence([...ran("b", 1, 2), start("x", 1, 1)], chain(["a", "b"]))],
  ["an execution without a record", { complaints: ["run q was executed and not stored"] }, stray()],
])("%s is found", (_what, found, from) => {
  expect(check(from)).toMatchObject(found);
});

function twice(): StoredTrail {
  const last = chain(["a", "b"]).at(-1)!;
  return { ...last, trail: [...last.trail, last.trail[0]!] };
}

function stray(): Evidence {
  return evidence([...good, { ...start("x", 0, 1), runId: "q" }], chain(["a", "b"]));
}
