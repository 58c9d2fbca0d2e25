/** Who may write: claims, fences, leases (P1-P5). */
import { requestCancel } from "../run/transitions.ts";
import { check, done, equal, outcomes, refused, rejects } from "./assert.ts";
import type { ConformanceCase } from "./case.ts";
import {
  admitted,
  claimRequest,
  committed,
  dump,
  endState,
  finished,
  handedOff,
  held,
  holdingOf,
  nextCommit,
  stored,
  takenOver,
  taskWrites,
} from "./fixture.ts";

const staleClaims: ConformanceCase = {
  name: "only the active run's own attempt may claim; all others are StaleAttempt and leave the epoch as it was",
  rules: ["P1", "P3"],
  async run({ open }) {
    const saver = await open();
    const active = await admitted(saver);
    const { threadId } = active.spec;
    const behind = await admitted(saver, { threadId });
    const elsewhere = await admitted(saver);
    const first = await saver.claim(claimRequest(active));
    const before = await dump(saver, threadId, [active.spec.runId, behind.spec.runId]);
    for (const request of [
      claimRequest(active, { attempt: 0 }),
      claimRequest(active, { attempt: 2 }),
      claimRequest(active, { attempt: 2, proposedEpoch: 1000 }),
      claimRequest(active, { runId: "unknown-run" }),
      claimRequest(active, { threadId: "unknown-thread" }),
      claimRequest(behind),
      claimRequest(elsewhere, { threadId }),
      claimRequest(active, { threadId: elsewhere.spec.threadId }),
    ]) {
      await rejects(saver.claim(request), "StaleAttempt");
    }
    equal(await dump(saver, threadId, [active.spec.runId, behind.spec.runId]), before, "thread after refused claims");
    outcomes(await saver.renew([{ fence: first.fence, runId: active.spec.runId }]), "ok");
    const second = await saver.claim(claimRequest(active));
    equal(second.fence.epoch, first.fence.epoch + 1, "epoch of the next claim");
    check((await saver.getRun("unknown-run")) === undefined, "no record to appear from a refused claim");
    check((await saver.head("unknown-thread")) === undefined, "no thread to appear from a refused claim");
  },
};

const delayedDispatch: ConformanceCase = {
  name: "a dispatch that arrives after a later attempt has finished cannot apply the input again",
  rules: ["P1"],
  async run({ open }) {
    const saver = await open();
    const record = await admitted(saver);
    const delayed = claimRequest(record);
    const second = holdingOf(await saver.claim(claimRequest(await handedOff(saver, record.spec.runId))));
    await finished(saver, second);
    const before = await dump(saver, record.spec.threadId, [record.spec.runId]);
    await rejects((await open()).claim(delayed), "StaleAttempt");
    await rejects(saver.claim({ ...delayed, attempt: 2 }), "StaleAttempt");
    equal(await dump(saver, record.spec.threadId, [record.spec.runId]), before, "thread after the late claim");
  },
};

const claimedRecord: ConformanceCase = {
  name: "a claim sets the run to running, with owner and the commit number it started from",
  rules: ["P1", "P14"],
  async run({ open }) {
    const saver = await open();
    const record = await admitted(saver);
    const claim = await saver.claim(claimRequest(record, { owner: "worker-a" }));
    equal(claim.head, { commitId: null, seq: 0, checkpointId: null, runId: null }, "head of a thread without commits");
    check(claim.fence.epoch >= 1, "an epoch of at least 1");
    const { state } = claim.record;
    equal([state.status, state.owner, state.attempt, state.claimSeq], ["running", "worker-a", 1, 0], "claimed state");
    equal(state.revision, record.state.revision + 1, "revision");
    check(state.lease > record.state.lease, "the claim to count the lease up");
    equal(await stored(await open(), record.spec.runId), claim.record, "record as another client reads it");
    const holding = holdingOf(claim);
    await committed(saver, holding);
    equal((await stored(saver, holding.runId)).headSeq, 1, "headSeq, which tells progress since claimSeq");
    const second = await saver.claim(claimRequest(await handedOff(saver, holding.runId), { owner: "worker-b" }));
    const again = second.record.state;
    equal([again.owner, again.attempt, again.claimSeq], ["worker-b", 2, 1], "state under the second claim");
    equal(second.head, holding.head, "head that the second claim starts from");
  },
};

const growingEpochs: ConformanceCase = {
  name: "every claim of a thread has a higher epoch, over attempts, over runs and over clients",
  rules: ["P2"],
  async run({ open }) {
    let last = 0;
    const threadId = "growing";
    for (let round = 0; round < 4; round++) {
      const saver = await open();
      let holding = await held(saver, { threadId });
      for (let attempt = 1; attempt < 4; attempt++) {
        check(holding.fence.epoch > last, `an epoch above ${last}, got ${holding.fence.epoch}`);
        last = holding.fence.epoch;
        holding = await takenOver(await open(), holding);
      }
      check(holding.fence.epoch > last, `an epoch above ${last}, got ${holding.fence.epoch}`);
      last = holding.fence.epoch;
      await finished(saver, holding);
    }
  },
};

const sameNonce: ConformanceCase = {
  name: "a claim issued again with its nonce after a lost answer is the same claim",
  rules: ["P2", "P7"],
  async run({ open }) {
    const saver = await open();
    const request = claimRequest(await admitted(saver));
    await saver.claim(request).then(() => undefined);
    const other = await open();
    const again = await other.claim(request);
    const third = await saver.claim(request);
    equal(third, again, "the same claim issued again");
    equal(third.record.state.revision, 2, "revision: claimed once");
    const holding = holdingOf(again);
    await committed(saver, holding);
    equal((await other.claim(request)).fence, again.fence, "fence after a commit");
    await handedOff(saver, request.runId);
    await rejects(saver.claim(request), "StaleAttempt");
  },
};

const newNonce: ConformanceCase = {
  name: "a second claim of the same attempt with another nonce is another owner, and fences the first out",
  rules: ["P2"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    const record = await admitted(a);
    const first = holdingOf(await a.claim(claimRequest(record)));
    const second = holdingOf(await b.claim(claimRequest(record)));
    equal(second.fence.epoch, first.fence.epoch + 1, "epoch of the second claim");
    refused(await a.commit([nextCommit(first)]), "FencedOut");
    done(await b.commit([nextCommit(second)]));
  },
};

const nonceCompared: ConformanceCase = {
  name: "an epoch without its nonce, or a nonce without its epoch, is no fence",
  rules: ["P2"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    await committed(saver, holding);
    const { fence, threadId, runId } = holding;
    const before = await dump(saver, threadId, [runId]);
    for (const wrong of [
      { ...fence, nonce: "another-nonce-of-22-chars" },
      { ...fence, nonce: "" },
      { ...fence, epoch: fence.epoch - 1 },
      { ...fence, epoch: fence.epoch + 1 },
      { ...fence, threadId: "unknown-thread" },
    ]) {
      refused(await saver.commit([nextCommit({ ...holding, fence: wrong })]), "FencedOut");
      refused(await saver.putWrites([{ fence: wrong, writes: [taskWrites(holding, "t")] }]), "FencedOut");
      outcomes(await saver.renew([{ fence: wrong, runId }]), "FencedOut");
    }
    equal(await dump(saver, threadId, [runId]), before, "thread after writes under wrong fences");
  },
};

const proposedEpoch: ConformanceCase = {
  name: "a proposed epoch is taken where it is above the next one, and never lowers it",
  rules: ["P2"],
  async run({ open }) {
    const saver = await open();
    const record = await admitted(saver);
    const epochs: number[] = [];
    for (const proposed of [100, 7, 102, 103, undefined, 5_000_000_000]) {
      const request = claimRequest(record, proposed === undefined ? {} : { proposedEpoch: proposed });
      epochs.push((await saver.claim(request)).fence.epoch);
    }
    equal(epochs, [100, 101, 102, 103, 104, 5_000_000_000], "epochs");
  },
};

const concurrentClaims: ConformanceCase = {
  name: "claims that race get an epoch each, and only the highest holds",
  rules: ["P1", "P2"],
  async run({ open }) {
    const savers = [await open(), await open(), await open(), await open()];
    const record = await admitted(savers[0]!);
    const claims = await Promise.all(
      savers.flatMap((saver) => [saver.claim(claimRequest(record)), saver.claim(claimRequest(record))]),
    );
    const epochs = claims.map((claim) => claim.fence.epoch).sort((a, b) => a - b);
    equal(epochs, [1, 2, 3, 4, 5, 6, 7, 8], "epochs of eight claims");
    const renewed = await savers[0]!.renew(claims.map(({ fence }) => ({ fence, runId: record.spec.runId })));
    const holders = claims.filter((_, index) => renewed[index]!.ok);
    equal(
      holders.map((claim) => claim.fence.epoch),
      [8],
      "epochs that hold",
    );
    equal((await stored(savers[1]!, record.spec.runId)).state.owner, holders[0]!.record.state.owner, "owner");
  },
};

const lease: ConformanceCase = {
  name: "the holder's renewals count the lease up; no other's do, and no coordinator's update sets it back",
  rules: ["P4"],
  async run({ open }) {
    const saver = await open();
    const first = await held(saver);
    const { runId } = first;
    const claimed = await stored(saver, runId);
    for (let count = 0; count < 3; count++) outcomes(await saver.renew([{ fence: first.fence, runId }]), "ok");
    const renewed = await stored(saver, runId);
    check(renewed.state.lease >= claimed.state.lease + 3, "the lease to grow with each renewal");
    equal(renewed.state.revision, claimed.state.revision, "revision: a renewal must not fail a compare-and-set");
    // Decided on a record that was read before the renewals.
    const adopted = await saver.updateRun(runId, {
      ...claimed.state,
      coordinator: "coordinator-2",
      revision: claimed.state.revision + 1,
    });
    check(adopted.state.lease >= renewed.state.lease, "an update to leave the lease as it is");
    const second = await takenOver(await open(), first);
    const taken = await stored(saver, runId);
    outcomes(await saver.renew([{ fence: first.fence, runId }]), "FencedOut");
    equal((await stored(saver, runId)).state.lease, taken.state.lease, "lease after an old owner's renewal");
    const behind = await admitted(saver, { threadId: first.threadId });
    const elsewhere = await held(saver);
    for (const other of ["unknown-run", behind.spec.runId, elsewhere.runId]) {
      const before = await saver.getRun(other);
      outcomes(await saver.renew([{ fence: second.fence, runId: other }]), "FencedOut");
      equal(await saver.getRun(other), before, "a run that the fence is not for");
    }
    outcomes(await saver.renew([]));
  },
};

const noWaiting: ConformanceCase = {
  name: "the store makes no claimer wait for a lease: leases decide only who may try",
  rules: ["P4"],
  async run({ open }) {
    const saver = await open();
    const first = await held(saver);
    outcomes(await saver.renew([{ fence: first.fence, runId: first.runId }]), "ok");
    const second = await takenOver(await open(), first);
    check(second.fence.epoch > first.fence.epoch, "a claim right after a renewal to go through");
  },
};

const renewBatch: ConformanceCase = {
  name: "a batch of renewals is answered entry by entry: fence check and request to cancel",
  rules: ["P4", "P5", "P9"],
  async run({ open }) {
    const saver = await open();
    const [kept, cancelled, lost, ended] = [await held(saver), await held(saver), await held(saver), await held(saver)];
    await saver.updateRun(cancelled.runId, requestCancel(await stored(saver, cancelled.runId)));
    await takenOver(saver, lost);
    await saver.updateRun(ended.runId, endState(await stored(saver, ended.runId), "cancelled"));
    const results = await saver.renew([ended, kept, lost, cancelled].map(({ fence, runId }) => ({ fence, runId })));
    outcomes(results, "FencedOut", "ok", "FencedOut", "ok");
    equal(results[1], { ok: true, cancelRequested: false }, "answer to a run that goes on");
    equal(results[3], { ok: true, cancelRequested: true }, "answer to a run that is to be cancelled");
  },
};

export const claimCases: readonly ConformanceCase[] = [
  staleClaims,
  delayedDispatch,
  claimedRecord,
  growingEpochs,
  sameNonce,
  newNonce,
  nonceCompared,
  proposedEpoch,
  concurrentClaims,
  lease,
  noWaiting,
  renewBatch,
];
