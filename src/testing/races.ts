/** Two writers at once: what the fences are for (P2, P6, P10, P17). */
import type { Commit, Saver } from "../checkpoint/saver.ts";
import type { ErrorCode } from "../errors.ts";
import { handOff } from "../run/transitions.ts";
import { check, done, equal, refused, rejects } from "./assert.ts";
import type { ConformanceCase } from "./case.ts";
import {
  admitted,
  advance,
  claimRequest,
  committed,
  finished,
  held,
  holdingOf,
  nextCommit,
  pageMax,
  stored,
  taskWrites,
} from "./fixture.ts";

const raceRounds = 1000;
const claimRounds = 150;

const twoWriters: ConformanceCase = {
  name: "two writers on one thread: each round has exactly one winner, and only winners are in the store",
  rules: ["P6"],
  async run({ open, raceRounds: rounds = raceRounds }) {
    const [a, b] = [await open(), await open()];
    const holding = await held(a);
    const winners: string[] = [];
    for (let round = 0; round < rounds; round++) {
      const ids = [`${round}-a`, `${round}-b`] as const;
      const [left, right] = ids.map((checkpointId) => nextCommit(holding, { checkpointId })) as [Commit, Commit];
      const leftFirst = round % 2 === 0;
      const first = leftFirst ? a.commit([left]) : b.commit([right]);
      const second = leftFirst ? b.commit([right]) : a.commit([left]);
      const [x, y] = await Promise.all([first, second]);
      const [won, lost] = x[0]?.ok ? [x, y] : [y, x];
      done(won);
      refused(lost, "Conflict");
      const winner = (won === x) === leftFirst ? left : right;
      advance(holding, winner);
      winners.push(winner.checkpoint!.checkpointId);
    }
    equal(await allCheckpointIds(a, holding.threadId), winners.reverse(), "checkpoints, newest first");
    equal(await b.head(holding.threadId), holding.head, "head");
  },
};

const oldAndNewOwner: ConformanceCase = {
  name: "a zombie and the owner on one thread: each round the owner wins, and only its commits are in the store",
  rules: ["P2", "P6"],
  async run({ open, raceRounds: rounds = raceRounds }) {
    const [a, b] = [await open(), await open()];
    const record = await admitted(a);
    const zombie = holdingOf(await a.claim(claimRequest(record)));
    const owner = holdingOf(await b.claim(claimRequest(record)));
    const kept: string[] = [];
    for (let round = 0; round < Math.ceil(rounds / 4); round++) {
      zombie.head = owner.head;
      const late = nextCommit(zombie, { checkpointId: `${round}-late` });
      const right = nextCommit(owner, { checkpointId: `${round}-right` });
      const [x, y] = await Promise.all([a.commit([late]), b.commit([right])]);
      refused(x, "FencedOut");
      done(y);
      advance(owner, right);
      kept.push(right.checkpoint!.checkpointId);
    }
    equal(await allCheckpointIds(a, owner.threadId), kept.reverse(), "checkpoints, newest first");
  },
};

const commitAgainstClaim: ConformanceCase = {
  name: "a commit that races with a newer claim is either in the head that the claim saw, or FencedOut",
  rules: ["P6", "P8", "P17"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    const record = await admitted(a);
    let owner = holdingOf(await a.claim(claimRequest(record)));
    for (let round = 0; round < claimRounds; round++) {
      const commit = nextCommit(owner);
      const claiming = () => b.claim(claimRequest(record));
      const [first, second] = round % 2 === 0 ? [a.commit([commit]), claiming()] : [claiming(), a.commit([commit])];
      const [x, y] = await Promise.all([first, second]);
      const [results, claim] = "fence" in x ? [y, x] : [x, y];
      check(!("fence" in results) && "fence" in claim, "one claim and one commit");
      const seen = claim.head.commitId === commit.commitId;
      if (seen) done(results);
      else refused(results, "FencedOut");
      equal((await b.head(owner.threadId))?.commitId ?? null, claim.head.commitId, "head after the race");
      if (seen) advance(owner, commit);
      owner = holdingOf(claim, owner.versions);
    }
  },
};

const writesAgainstClaim: ConformanceCase = {
  name: "task writes that race with a newer claim are there when the claimer reads, or FencedOut and never there",
  rules: ["P10", "P17"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    const record = await admitted(a);
    let owner = holdingOf(await a.claim(claimRequest(record)));
    await committed(a, owner);
    const kept: string[] = [];
    for (let round = 0; round < claimRounds; round++) {
      const taskId = `task-${String(round).padStart(4, "0")}`;
      const put = () => a.putWrites([{ fence: owner.fence, writes: [taskWrites(owner, taskId)] }]);
      const takeOver = async () => {
        const claim = await b.claim(claimRequest(record));
        return { claim, read: await b.get(claim.fence.threadId, "") };
      };
      const [first, second] = round % 2 === 0 ? [put(), takeOver()] : [takeOver(), put()];
      const [x, y] = await Promise.all([first, second]);
      const [results, taken] = "claim" in x ? [y, x] : [x, y];
      check(!("claim" in results) && "claim" in taken, "one claim and one write");
      const seen = taken.read?.writes.some((write) => write.taskId === taskId) ?? false;
      if (seen) done(results);
      else refused(results, "FencedOut");
      if (seen) kept.push(taskId);
      owner = holdingOf(taken.claim, owner.versions);
    }
    const writes = (await b.get(owner.threadId, ""))?.writes ?? [];
    equal(
      writes.map((write) => write.taskId),
      kept,
      "tasks whose writes are stored",
    );
  },
};

const finishAgainstCancel: ConformanceCase = {
  name: "a finish that races with a cancel by a coordinator: exactly one ends the run",
  rules: ["P9", "P11"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    for (let round = 0; round < claimRounds; round++) {
      const holding = await held(a);
      const record = await stored(b, holding.runId);
      const outcome = { checkpointId: null };
      const commit = nextCommit(holding, { finish: { runId: holding.runId, status: "succeeded", outcome } });
      const next = { ...record.state, status: "cancelled" as const, outcome, revision: record.state.revision + 1 };
      const cancel = () => settled(b.updateRun(holding.runId, next), "Conflict");
      const finish = async () => (await a.commit([commit]))[0]!.ok;
      const [x, y] = await Promise.all(round % 2 === 0 ? [finish(), cancel()] : [cancel(), finish()]);
      check(x !== y, `one of finish and cancel to succeed, got ${x} and ${y}`);
      const finished = round % 2 === 0 ? x : y;
      equal((await stored(a, holding.runId)).state.status, finished ? "succeeded" : "cancelled", "status");
      equal((await a.head(holding.threadId))?.commitId, finished ? commit.commitId : undefined, "head");
    }
  },
};

const claimAgainstHandOff: ConformanceCase = {
  name: "a claim that races with the hand-off of its attempt: exactly one goes through",
  rules: ["P1", "P11"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    for (let round = 0; round < claimRounds; round++) {
      const record = await admitted(a);
      const { runId } = record.spec;
      const claim = () => settled(a.claim(claimRequest(record)), "StaleAttempt");
      const handOver = () => settled(b.updateRun(runId, handOff(record, "coordinator-2", "refused", 0)), "Conflict");
      const inOrder = round % 2 === 0;
      const [x, y] = await Promise.all(inOrder ? [claim(), handOver()] : [handOver(), claim()]);
      check(x !== y, `one of claim and hand-off to succeed, got ${x} and ${y}`);
      const { state } = await stored(a, runId);
      const expected = (inOrder ? x : y) ? ["running", 1, 2] : ["queued", 2, 2];
      equal([state.status, state.attempt, state.revision], expected, "status, attempt and revision");
    }
  },
};

const admissionAgainstDeletion: ConformanceCase = {
  name: "a run admitted while its thread is deleted is there whole, or was never accepted",
  rules: ["P2", "P12", "P13"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    for (let round = 0; round < claimRounds / 3; round++) {
      const old = await held(a);
      const { threadId } = old;
      await finished(a, old);
      const admit = () => admitted(a, { threadId });
      const remove = () => settled(b.deleteThread(threadId), "ThreadBusy");
      const [x, y] = await Promise.all(round % 2 === 0 ? [admit(), remove()] : [remove(), admit()]);
      const [record, removed] = typeof x === "boolean" ? [y, x] : [x, y];
      check(typeof record === "object", "the admission's record");
      equal((await stored(b, record.spec.runId)).active, true, "the admitted run to be active");
      const claim = await b.claim(claimRequest(record));
      check(claim.fence.epoch > old.fence.epoch, "an epoch above those before the deletion");
      equal(claim.head.seq, removed ? 0 : 1, "commits that the new run starts from");
    }
  },
};

/** True where the work went through, false where it was refused with the code. */
async function settled(work: Promise<unknown>, code: ErrorCode): Promise<boolean> {
  const result = work.then(() => true);
  return result.catch(() => rejects(result, code).then(() => false));
}

async function allCheckpointIds(saver: Saver, threadId: string): Promise<string[]> {
  const ids: string[] = [];
  for (;;) {
    const before = ids.at(-1);
    const page = await saver.list({ threadId, ns: "", limit: pageMax, ...(before !== undefined && { before }) });
    ids.push(...page.map(({ checkpoint }) => checkpoint.checkpointId));
    if (page.length < pageMax) return ids;
  }
}

export const raceCases: readonly ConformanceCase[] = [
  twoWriters,
  oldAndNewOwner,
  commitAgainstClaim,
  writesAgainstClaim,
  finishAgainstCancel,
  claimAgainstHandOff,
  admissionAgainstDeletion,
];
