/** Threads as a whole: reading, listing, deleting (P2, P3, P8). */
import { check, done, equal, outcomes, refused, rejects } from "./assert.ts";
import type { ConformanceCase } from "./case.ts";
import {
  admitted,
  bytes,
  claimRequest,
  committed,
  dump,
  endState,
  finished,
  held,
  holdingOf,
  nextCommit,
  stored,
  taskWrites,
  text,
} from "./fixture.ts";

const unknown: ConformanceCase = {
  name: "reads of what is not there are undefined or empty, and make nothing",
  rules: ["port", "P24"],
  async run({ open }) {
    const saver = await open();
    const record = await admitted(saver);
    for (const threadId of ["unknown-thread", record.spec.threadId]) {
      check((await saver.head(threadId)) === undefined, "no head of a thread without commits");
      check((await saver.get(threadId, "")) === undefined, "no current checkpoint");
      check((await saver.get(threadId, "", "c")) === undefined, "no named checkpoint");
      equal(await saver.list({ threadId, limit: 10 }), [], "checkpoints");
      equal(await saver.list({ threadId, before: "c", limit: 10 }), [], "checkpoints before an unknown one");
    }
    const holding = holdingOf(await saver.claim(claimRequest(record)));
    await committed(saver, holding, { checkpointId: "c" });
    check((await saver.get(holding.threadId, "", "d")) === undefined, "no checkpoint of another id");
    check((await saver.get(holding.threadId, "sub")) === undefined, "no checkpoint of another namespace");
    check((await saver.get(holding.threadId, "sub", "c")) === undefined, "no named checkpoint of another namespace");
    equal(await saver.list({ threadId: holding.threadId, before: "d", limit: 10 }), [], "before an unknown checkpoint");
    await saver.deleteThread("unknown-thread");
  },
};

const readsNeverClaim: ConformanceCase = {
  name: "reads beside a writer never disturb its claim",
  rules: ["P24"],
  async run({ open }) {
    const [writer, reader] = [await open(), await open()];
    const holding = await held(writer);
    for (let step = 0; step < 10; step++) {
      const reads = [dump(reader, holding.threadId, [holding.runId]), reader.get(holding.threadId, "")];
      await Promise.all([...reads, committed(writer, holding)]);
      outcomes(await writer.renew([{ fence: holding.fence, runId: holding.runId }]), "ok");
    }
    equal((await reader.head(holding.threadId))?.seq, 10, "commits");
  },
};

const listing: ConformanceCase = {
  name: "checkpoints are listed by namespace, newest commit first, page by page before a named one",
  rules: ["P8"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const { threadId } = holding;
    const other = await held(saver);
    await committed(saver, other, { checkpointId: "r1" });
    // Ids in no order at all.
    for (const checkpointId of ["r5", "r1", "r9", "r3", "r7"]) {
      await committed(saver, holding, { checkpointId });
      await committed(saver, holding, { ns: "sub", checkpointId: `s-${checkpointId}` });
    }
    const list = async (ns: string | undefined, limit: number, before?: string) => {
      const query = { threadId, limit, ...(ns !== undefined && { ns }), ...(before !== undefined && { before }) };
      return (await saver.list(query)).map(({ checkpoint }) => checkpoint.checkpointId);
    };
    equal(await list("", 100), ["r7", "r3", "r9", "r1", "r5"], "root checkpoints");
    equal(await list(undefined, 100), ["r7", "r3", "r9", "r1", "r5"], "checkpoints where no namespace is named");
    equal(await list("sub", 100), ["s-r7", "s-r3", "s-r9", "s-r1", "s-r5"], "subgraph's checkpoints");
    equal(await list("", 2), ["r7", "r3"], "first page");
    equal(await list("", 2, "r3"), ["r9", "r1"], "second page");
    equal(await list("", 2, "r1"), ["r5"], "third page");
    equal(await list("", 2, "r5"), [], "page after the last");
    equal(await list("sub", 10, "r3"), [], "before a checkpoint of another namespace");
    await committed(saver, holding, { ns: "a|b", checkpointId: "n" });
    const spaces = (afterSeq: number, limit = 100) => saver.namespaces({ threadId, afterSeq, limit });
    equal(await spaces(0), ["", "a|b", "sub"], "namespaces");
    equal(await spaces(9), ["a|b", "sub"], "namespaces of commits after the ninth");
    equal(await spaces(0, 2), ["", "a|b"], "first namespaces");
    equal(await spaces(11), [], "namespaces after the last commit");
    equal(await saver.namespaces({ threadId: "unknown-thread", afterSeq: 0, limit: 9 }), [], "no thread");
  },
};

const deleted: ConformanceCase = {
  name: "deleting a thread removes its data and its ended runs, and those of no other thread",
  rules: ["P2"],
  async run({ open }) {
    const saver = await open();
    const [gone, kept] = [await held(saver), await held(saver)];
    for (const holding of [gone, kept]) {
      await committed(saver, holding, { checkpointId: "c" });
      await committed(saver, holding, { ns: "sub" });
      done(await saver.putWrites([{ fence: holding.fence, writes: [taskWrites(holding, "t")] }]));
    }
    await finished(saver, gone);
    const before = await dump(saver, kept.threadId, [kept.runId], ["", "sub"]);
    const other = await open();
    await other.deleteThread(gone.threadId);
    await other.deleteThread(gone.threadId);
    equal(
      await dump(saver, gone.threadId, [gone.runId], ["", "sub"]),
      { head: undefined, checkpoints: [], runs: [undefined] },
      "deleted thread",
    );
    check((await saver.get(gone.threadId, "", "c")) === undefined, "no checkpoint of the deleted thread");
    equal(await dump(saver, kept.threadId, [kept.runId], ["", "sub"]), before, "the other thread");
    equal(
      (await saver.listRuns({ limit: 10 })).map((record) => record.spec.runId),
      [kept.runId],
      "runs",
    );
  },
};

const deleteBusy: ConformanceCase = {
  name: "a thread with a run that is not finished cannot be deleted",
  rules: ["P2", "P3"],
  async run({ open }) {
    const saver = await open();
    const record = await admitted(saver);
    const { threadId } = record.spec;
    await rejects(saver.deleteThread(threadId), "ThreadBusy");
    const holding = holdingOf(await saver.claim(claimRequest(record)));
    await committed(saver, holding);
    const queued = await admitted(saver, { threadId });
    const before = await dump(saver, threadId, [holding.runId, queued.spec.runId]);
    await rejects((await open()).deleteThread(threadId), "ThreadBusy");
    equal(await dump(saver, threadId, [holding.runId, queued.spec.runId]), before, "thread after a refused deletion");
    await finished(saver, holding);
    await rejects(saver.deleteThread(threadId), "ThreadBusy");
    await saver.updateRun(queued.spec.runId, endState(await stored(saver, queued.spec.runId), "cancelled"));
    await saver.deleteThread(threadId);
    check((await saver.head(threadId)) === undefined, "the thread to be gone");
  },
};

const tombstone: ConformanceCase = {
  name: "a deleted thread leaves its epoch behind: made anew, it fences out what is older, and starts from nothing",
  rules: ["P2"],
  async run({ open }) {
    const saver = await open();
    const first = await held(saver, { threadId: "reborn" });
    await committed(saver, first, { checkpointId: "same-id", values: { old: bytes("old") } });
    done(await saver.putWrites([{ fence: first.fence, writes: [taskWrites(first, "t")] }]));
    const late = nextCommit(first);
    await finished(saver, first);
    await saver.deleteThread("reborn");
    refused(await saver.commit([late]), "FencedOut");
    const other = await open();
    const second = await held(other, { threadId: "reborn" });
    check(second.fence.epoch > first.fence.epoch, "an epoch above those of the deleted thread");
    equal(second.head, { commitId: null, seq: 0, checkpointId: null, runId: null }, "head");
    equal((await stored(other, second.runId)).state.base, null, "base");
    refused(await saver.commit([late]), "FencedOut");
    refused(await saver.commit([{ ...late, expectedHead: null, seq: 1 }]), "FencedOut");
    await committed(other, second, { checkpointId: "same-id", values: { fresh: bytes("fresh") } });
    const read = await saver.get("reborn", "");
    equal(Object.keys(read?.checkpoint.values ?? {}), ["fresh"], "channels");
    equal(text(read?.checkpoint.values.fresh), "fresh", "value");
    equal(read?.writes, [], "writes of the deleted thread");
    await finished(other, second);
    await other.deleteThread("reborn");
    const third = await held(saver, { threadId: "reborn" });
    check(third.fence.epoch > second.fence.epoch, "an epoch that grows with every life of the thread");
  },
};

const sameRunAgain: ConformanceCase = {
  name: "after a deletion the run ids of the thread may be used again",
  rules: ["P12"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver, { threadId: "again", runId: "run-again", inputHash: "a" });
    await finished(saver, holding);
    await saver.deleteThread("again");
    const record = await admitted(saver, { threadId: "again", runId: "run-again", inputHash: "b" });
    equal([record.state.status, record.active, record.headSeq], ["queued", true, 0], "record");
  },
};

export const threadCases: readonly ConformanceCase[] = [
  unknown,
  readsNeverClaim,
  listing,
  deleted,
  deleteBusy,
  tombstone,
  sameRunAgain,
];
