/** How a run ends: in one atomic step, once (P9). */
import { fromErrorValue } from "../errors.ts";
import { isTerminal } from "../run/record.ts";
import { adopt, requestCancel } from "../run/transitions.ts";
import { check, done, equal, outcomes, refused, rejects } from "./assert.ts";
import type { ConformanceCase } from "./case.ts";
import {
  admitted,
  claimRequest,
  committed,
  dump,
  endState,
  finishOf,
  handedOff,
  held,
  holdingOf,
  nextCommit,
  stored,
  taskWrites,
} from "./fixture.ts";

const oneStep: ConformanceCase = {
  name: "the last commit carries status, outcome and release in one step, and the next queued run becomes active",
  rules: ["P9"],
  async run({ open }) {
    const [saver, other] = [await open(), await open()];
    const holding = await held(saver);
    const { threadId, runId } = holding;
    const second = await admitted(saver, { threadId });
    const third = await admitted(saver, { threadId });
    equal([second.active, third.active], [false, false], "queued runs behind the active one");
    const before = await stored(saver, runId);
    const commit = await committed(saver, holding, { finish: finishOf(holding) });
    const after = await stored(other, runId);
    equal(after.state.status, "succeeded", "status");
    equal(after.state.outcome, { checkpointId: commit.checkpoint!.checkpointId }, "outcome");
    equal(after.state.revision, before.state.revision + 1, "revision");
    equal(after.active, false, "active, once ended");
    equal(
      [(await stored(other, second.spec.runId)).active, (await stored(other, third.spec.runId)).active],
      [true, false],
      "active runs",
    );
    await rejects(other.claim(claimRequest(third)), "StaleAttempt");
    await rejects(other.claim(claimRequest(before)), "StaleAttempt");
    const claim = await other.claim(claimRequest(second));
    equal(claim.head, holding.head, "head that the next run starts from");
    equal(claim.record.state.base, commit.checkpoint!.checkpointId, "its base");
  },
};

const afterFinish: ConformanceCase = {
  name: "after a finish the fence is out: nothing more is written under it",
  rules: ["P9"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    await committed(saver, holding, { finish: finishOf(holding) });
    const { threadId, runId, fence } = holding;
    const before = await dump(saver, threadId, [runId]);
    refused(await saver.commit([nextCommit(holding)]), "FencedOut");
    refused(await saver.commit([nextCommit(holding, { finish: finishOf(holding, "failed") })]), "FencedOut");
    refused(await saver.putWrites([{ fence, writes: [taskWrites(holding, "t")] }]), "FencedOut");
    outcomes(await saver.renew([{ fence, runId }]), "FencedOut");
    refused(await saver.commit([nextCommit({ ...holding, fence: { ...fence, nonce: "" } })]), "FencedOut");
    equal(await dump(saver, threadId, [runId]), before, "thread after late writes");
  },
};

const finishLost: ConformanceCase = {
  name: "a finishing commit whose answer was lost, issued again, is a success and ends nothing twice",
  rules: ["P7", "P9"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const { threadId, runId } = holding;
    const second = await admitted(saver, { threadId });
    const third = await admitted(saver, { threadId });
    const commit = nextCommit(holding, { finish: finishOf(holding) });
    await saver.commit([commit]).then(() => undefined);
    const runs = [runId, second.spec.runId, third.spec.runId];
    const before = await dump(saver, threadId, runs);
    done(await (await open()).commit([commit]));
    equal(await dump(saver, threadId, runs), before, "thread after the repetition");
    equal(
      before.runs.map((run) => run?.active),
      [false, true, false],
      "active runs",
    );
  },
};

const withoutCheckpoint: ConformanceCase = {
  name: "a commit may end the run without a checkpoint: the head moves, the checkpoints stay",
  rules: ["P9"],
  async run({ open }) {
    const saver = await open();
    for (const steps of [0, 1]) {
      const holding = await held(saver);
      const { threadId, runId } = holding;
      if (steps > 0) await committed(saver, holding);
      const error = {
        code: "StepLimit",
        message: "25 supersteps",
        details: { limit: 25, hard: true, node: "a" },
      } as const;
      const outcome = { checkpointId: holding.head.checkpointId, error };
      const { checkpoint: _, ...bare } = nextCommit(holding, { finish: { runId, status: "failed", outcome } });
      done(await saver.commit([bare]));
      done(await saver.commit([bare]));
      const record = await stored(await open(), runId);
      equal([record.state.status, record.state.outcome], ["failed", outcome], "status and outcome");
      check(fromErrorValue(record.state.outcome!.error!).code === "StepLimit", "the error's code to come back");
      const head = { ...holding.head, commitId: bare.commitId, seq: steps + 1 };
      equal(await saver.head(threadId), head, "head");
      equal((await saver.list({ threadId, limit: 10 })).length, steps, "checkpoints");
      const next = holdingOf(await saver.claim(claimRequest(await admitted(saver, { threadId }))), holding.versions);
      equal(next.head, head, "head that the next run starts from");
      await committed(saver, next, { values: {} });
    }
  },
};

const everyStatus: ConformanceCase = {
  name: "a run ends as succeeded, interrupted, failed or cancelled, and stays so",
  rules: ["P9", "P11"],
  async run({ open }) {
    const saver = await open();
    for (const status of ["succeeded", "interrupted", "failed", "cancelled"] as const) {
      const holding = await held(saver);
      const writes = [taskWrites(holding, "ask", { kind: "interrupt", checkpointId: `${holding.runId}//1` })];
      await committed(saver, holding, { writes, finish: finishOf(holding, status) });
      const { state } = await stored(saver, holding.runId);
      equal(state.status, status, "status");
      check(isTerminal(state.status), `${status} to be terminal`);
      await rejects(
        saver.updateRun(holding.runId, { ...state, status: "queued", revision: state.revision + 1 }),
        "Conflict",
      );
      equal((await stored(saver, holding.runId)).state, state, "state after a refused update");
      equal(
        (await saver.get(holding.threadId, ""))?.writes,
        writes,
        "the last superstep's writes, kept for the answer",
      );
    }
  },
};

const cancelOrder: ConformanceCase = {
  name: "a cancel finds the run done, or comes before its finish: never both",
  rules: ["P9"],
  async run({ open }) {
    const saver = await open();
    const first = await held(saver);
    const read = await stored(saver, first.runId);
    await committed(saver, first, { finish: finishOf(first) });
    await rejects(saver.updateRun(first.runId, endState(read, "cancelled")), "Conflict");
    await rejects(saver.updateRun(first.runId, requestCancel(read)), "Conflict");
    const second = await held(saver);
    await saver.updateRun(second.runId, endState(await stored(saver, second.runId), "cancelled"));
    const before = await dump(saver, second.threadId, [second.runId]);
    refused(await saver.commit([nextCommit(second, { finish: finishOf(second) })]), "FencedOut");
    equal(await dump(saver, second.threadId, [second.runId]), before, "cancelled thread after a late finish");
  },
};

const finishOfRequested: ConformanceCase = {
  name: "updates of the record under a live claim (cancel asked for, adopted) do not stop its worker from finishing",
  rules: ["P9", "P11"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    await saver.updateRun(holding.runId, requestCancel(await stored(saver, holding.runId)));
    await saver.updateRun(holding.runId, adopt(await stored(saver, holding.runId), "coordinator-9"));
    await committed(saver, holding, { finish: finishOf(holding, "cancelled") });
    const { state } = await stored(saver, holding.runId);
    equal(
      [state.status, state.cancelRequested, state.coordinator, state.revision],
      ["cancelled", true, "coordinator-9", 5],
      "state",
    );
  },
};

const finishBeforeTakeover: ConformanceCase = {
  name: "after a hand-off the old claim holds until the new one is made: it may still finish, and the new is then stale",
  rules: ["P1", "P9"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const queued = await handedOff(saver, holding.runId);
    equal([queued.state.status, queued.state.attempt], ["queued", 2], "state after the hand-off");
    await committed(saver, holding, { finish: finishOf(holding) });
    await rejects((await open()).claim(claimRequest(queued)), "StaleAttempt");
    equal((await stored(saver, holding.runId)).state.status, "succeeded", "status");
  },
};

const otherRuns: ConformanceCase = {
  name: "a commit ends no run but the one that holds its thread",
  rules: ["P9", "P11"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const victim = await held(saver);
    const behind = await admitted(saver, { threadId: holding.threadId });
    const before = await dump(saver, victim.threadId, [victim.runId, behind.spec.runId]);
    for (const runId of [victim.runId, behind.spec.runId, "unknown-run"]) {
      const [result] = await saver.commit([nextCommit(holding, { finish: { ...finishOf(holding), runId } })]);
      check(result !== undefined && !result.ok, `a finish that names ${runId} to be refused`);
    }
    equal(await dump(saver, victim.threadId, [victim.runId, behind.spec.runId]), before, "the other runs");
    check((await saver.head(holding.threadId)) === undefined, "nothing of a refused commit to be there");
    await committed(saver, victim);
  },
};

export const finishCases: readonly ConformanceCase[] = [
  oneStep,
  afterFinish,
  finishLost,
  withoutCheckpoint,
  everyStatus,
  cancelOrder,
  finishOfRequested,
  finishBeforeTakeover,
  otherRuns,
];
