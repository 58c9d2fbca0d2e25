/** What a commit compares, and how a lost answer is settled (P6-P8). */
import type { Commit, Saver } from "../checkpoint/saver.ts";
import { check, done, equal, outcomes, refused } from "./assert.ts";
import type { ConformanceCase } from "./case.ts";
import {
  advance,
  bytes,
  claimRequest,
  committed,
  dump,
  finishOf,
  type Holding,
  handedOff,
  held,
  holdingOf,
  nextCommit,
  stored,
  takenOver,
  taskWrites,
  text,
} from "./fixture.ts";

const lateWrites: ConformanceCase = {
  name: "every late write under an old fence is FencedOut and leaves no trace in the store",
  rules: ["P2", "P6", "P10"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    const zombie = await held(a);
    await committed(a, zombie);
    const owner = await takenOver(b, zombie);
    const { threadId, runId } = zombie;
    const beforeAny = await dump(b, threadId, [runId], ["", "sub"]);
    await allRefused(a, zombie);
    equal(await dump(b, threadId, [runId], ["", "sub"]), beforeAny, "thread after late writes");
    await committed(b, owner);
    const beforeMore = await dump(b, threadId, [runId], ["", "sub"]);
    await allRefused(a, zombie);
    // A zombie that read the new head still has the old fence.
    await allRefused(a, { ...zombie, head: owner.head });
    equal(await dump(b, threadId, [runId], ["", "sub"]), beforeMore, "thread after more late writes");
    await committed(b, owner);
  },
};

async function allRefused(saver: Saver, zombie: Holding): Promise<void> {
  const writes = [taskWrites(zombie, "late"), taskWrites(zombie, "later", { kind: "interrupt" })];
  refused(await saver.commit([nextCommit(zombie, { writes })]), "FencedOut");
  refused(await saver.commit([nextCommit(zombie, { ns: "sub" })]), "FencedOut");
  refused(await saver.commit([nextCommit(zombie, { finish: finishOf(zombie) })]), "FencedOut");
  const { checkpoint: _, ...bare } = nextCommit(zombie, { finish: finishOf(zombie, "failed") });
  refused(await saver.commit([bare]), "FencedOut");
  refused(await saver.putWrites([{ fence: zombie.fence, writes }]), "FencedOut");
  outcomes(await saver.renew([{ fence: zombie.fence, runId: zombie.runId }]), "FencedOut");
}

const otherHead: ConformanceCase = {
  name: "a commit under the right fence on another head is a Conflict and leaves no trace",
  rules: ["P6"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    await committed(saver, holding);
    const stale = { ...holding };
    await committed(saver, holding);
    const { threadId, runId } = holding;
    const before = await dump(saver, threadId, [runId], ["", "sub"]);
    const right = nextCommit(holding);
    const wrong: Commit[] = [
      nextCommit(stale),
      nextCommit(stale, { writes: [taskWrites(holding, "t")], finish: finishOf(holding) }),
      { ...right, expectedHead: null },
      { ...right, expectedHead: "never-a-commit" },
      { ...right, expectedHead: stale.head.commitId },
      { ...right, seq: right.seq + 1 },
      { ...right, seq: right.seq - 1 },
      { ...nextCommit(holding, { ns: "sub" }), expectedHead: null, seq: 1 },
    ];
    for (const commit of wrong) refused(await saver.commit([commit]), "Conflict");
    equal(await dump(saver, threadId, [runId], ["", "sub"]), before, "thread after refused commits");
    done(await saver.commit([right]));
  },
};

const firstHead: ConformanceCase = {
  name: "the first commit of a thread expects no head, and no later one may",
  rules: ["P6", "P8"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const first = nextCommit(holding);
    refused(await saver.commit([{ ...first, expectedHead: "some-head" }]), "Conflict");
    refused(await saver.commit([{ ...first, seq: 2 }]), "Conflict");
    check((await saver.head(holding.threadId)) === undefined, "no head before the first commit");
    done(await saver.commit([first]));
    refused(await saver.commit([nextCommit(holding)]), "Conflict");
    equal((await saver.head(holding.threadId))?.commitId, first.commitId, "head");
  },
};

const lostAnswer: ConformanceCase = {
  name: "a commit whose answer was lost, issued again, is a success and is there once",
  rules: ["P7"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    const holding = await held(a);
    await committed(a, holding);
    const commit = nextCommit(holding, { writes: [taskWrites(holding, "t")] });
    await a.commit([commit]).then(() => undefined);
    const before = await dump(b, holding.threadId, [holding.runId]);
    done(await b.commit([commit]));
    done(await a.commit([commit]));
    equal(await dump(b, holding.threadId, [holding.runId]), before, "thread after the repetitions");
    equal(before.checkpoints.length, 2, "checkpoints");
    equal(before.head?.commitId, commit.commitId, "head");
    advance(holding, commit);
    await committed(b, holding);
    // No longer the head: what it builds on is not there any more.
    refused(await a.commit([commit]), "Conflict");
  },
};

const lostAtOnce: ConformanceCase = {
  name: "the same commit issued by several clients at once is applied once",
  rules: ["P7"],
  async run({ open }) {
    const savers = [await open(), await open(), await open()];
    const holding = await held(savers[0]!);
    for (let round = 0; round < 10; round++) {
      const commit = nextCommit(holding);
      const results = await Promise.all([...savers, ...savers].map((saver) => saver.commit([commit])));
      for (const result of results) done(result);
      advance(holding, commit);
    }
    const all = await savers[0]!.list({ threadId: holding.threadId, limit: 100 });
    equal(
      all.map(({ checkpoint }) => checkpoint.seq),
      [10, 9, 8, 7, 6, 5, 4, 3, 2, 1],
      "commit numbers",
    );
  },
};

const lostThenClaimed: ConformanceCase = {
  name: "a repeated commit is FencedOut once a newer claim holds the thread, whether it had landed or not",
  rules: ["P6", "P7"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    for (const landed of [true, false]) {
      const old = await held(a);
      const commit = nextCommit(old);
      if (landed) done(await a.commit([commit]));
      const owner = holdingOf(await b.claim(claimRequest(await handedOff(b, old.runId))));
      equal(owner.head.commitId, landed ? commit.commitId : null, "head that the newer claim found");
      refused(await a.commit([commit]), "FencedOut");
      equal((await b.head(old.threadId))?.commitId, landed ? commit.commitId : undefined, "head");
      await committed(b, owner);
    }
  },
};

const lostBatch: ConformanceCase = {
  name: "a batch with two commits of one thread, issued again after a lost answer, adds nothing",
  rules: ["P7"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const first = nextCommit(holding);
    advance(holding, first);
    const second = nextCommit(holding);
    await saver.commit([first, second]).then(() => undefined);
    const before = await dump(saver, holding.threadId, [holding.runId]);
    const results = await saver.commit([first, second]);
    check(results[1]?.ok === true, "the last commit, which is the head, to be a success");
    equal(await dump(saver, holding.threadId, [holding.runId]), before, "thread after the repetition");
    equal(before.head?.commitId, second.commitId, "head");
  },
};

const explicitHead: ConformanceCase = {
  name: "the head is explicit: seq counts commits of all namespaces, checkpointId is the root's, no step decides",
  rules: ["P8"],
  async run({ open }) {
    const [saver, other] = [await open(), await open()];
    const holding = await held(saver);
    const root = await committed(saver, holding, { checkpointId: "zzz" });
    const sub = await committed(saver, holding, { ns: "sub:task-1", checkpointId: "aaa" });
    equal(await other.head(holding.threadId), holding.head, "head after a subgraph's commit");
    equal(holding.head, { commitId: sub.commitId, seq: 2, checkpointId: "zzz", runId: holding.runId }, "head");
    // A lower step and an id that sorts lower: still the newest.
    const commit = nextCommit(holding, { checkpointId: "000" });
    const low: Commit = { ...commit, checkpoint: { ...commit.checkpoint!, step: -1 } };
    done(await saver.commit([low]));
    advance(holding, low);
    equal((await other.get(holding.threadId, ""))?.checkpoint.checkpointId, "000", "current root checkpoint");
    equal(
      (await other.get(holding.threadId, "sub:task-1"))?.checkpoint.checkpointId,
      "aaa",
      "current one of the subgraph",
    );
    equal((await other.get(holding.threadId, "", "zzz"))?.checkpoint.seq, root.seq, "named checkpoint");
    const listed = await other.list({ threadId: holding.threadId, ns: "", limit: 10 });
    equal(
      listed.map(({ checkpoint }) => checkpoint.checkpointId),
      ["000", "zzz"],
      "root checkpoints, newest first",
    );
  },
};

const wholeCheckpoint: ConformanceCase = {
  name: "a checkpoint comes back whole, with thread, commit number and epoch",
  rules: ["P8", "port"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    await committed(saver, holding, { checkpointId: "parent" });
    const commit = await committed(saver, holding, { checkpointId: "child", values: { b: bytes("B") } });
    const { threadId, fence } = holding;
    const read = await (await open()).get(threadId, "", "child");
    const values = { count: bytes("value 1"), b: bytes("B") };
    const whole = { ...commit.checkpoint, values, pieces: {}, threadId, seq: 2, epoch: fence.epoch };
    equal(read?.checkpoint, whole, "checkpoint");
    equal(read?.checkpoint.versions, { count: 1, b: 2 }, "versions");
    equal(read?.checkpoint.parentId, "parent", "parent");
    equal(read?.writes, [], "writes");
  },
};

const base: ConformanceCase = {
  name: "the run record names its base checkpoint, set once: the head of the first claim, or the fork it asks for",
  rules: ["P8"],
  async run({ open }) {
    const saver = await open();
    const first = await held(saver);
    const { threadId } = first;
    equal((await stored(saver, first.runId)).state.base, null, "base on a thread without checkpoints");
    await committed(saver, first, { checkpointId: "one" });
    const again = await takenOver(await open(), first);
    equal((await stored(saver, first.runId)).state.base, null, "base after a second claim");
    await committed(saver, again, { checkpointId: "two", finish: finishOf(again) });
    const next = await held(saver, { threadId });
    equal((await stored(saver, next.runId)).state.base, "two", "base of the next run");
    await committed(saver, next, { finish: finishOf(next) });
    let fork = await held(saver, { threadId, fromCheckpointId: "one" });
    equal(fork.head.checkpointId, next.head.checkpointId, "head of the thread under the fork's claim");
    // Its worker dies before its first commit: the next one must still start from the fork.
    fork = await takenOver(await open(), fork);
    equal((await stored(saver, fork.runId)).state.base, "one", "base of the fork after a hand-off");
    await committed(saver, fork, { parentId: "one", checkpointId: "fork" });
    equal((await saver.get(threadId, ""))?.checkpoint.parentId, "one", "parent of the fork's first checkpoint");
    equal((await saver.head(threadId))?.runId, fork.runId, "run that wrote the head");
  },
};

const batch: ConformanceCase = {
  name: "a batch over several threads, several commits of one, is answered entry by entry",
  rules: ["P6", "port"],
  async run({ open }) {
    const saver = await open();
    const [a, b, c, lost] = [await held(saver), await held(saver), await held(saver), await held(saver)];
    await takenOver(await open(), lost);
    const a1 = nextCommit(a);
    advance(a, a1);
    const a2 = nextCommit(a);
    advance(a, a2);
    const a3 = nextCommit(a, { finish: finishOf(a) });
    const conflict = { ...nextCommit(c), seq: 9 };
    const afterConflict = { ...nextCommit(c), expectedHead: conflict.commitId, seq: 10 };
    const entries = [a1, nextCommit(lost), nextCommit(b), a2, conflict, a3, afterConflict];
    const results = await saver.commit(entries);
    outcomes(results, "ok", "FencedOut", "ok", "ok", "Conflict", "ok", "Conflict");
    equal((await saver.head(a.threadId))?.commitId, a3.commitId, "head of the thread with three commits");
    const read = await saver.get(a.threadId, "");
    equal(text(read?.checkpoint.values.count), "value 3", "its value");
    equal((await stored(saver, a.runId)).state.status, "succeeded", "its run");
    equal((await saver.head(b.threadId))?.seq, 1, "commits of the other thread");
    check((await saver.head(c.threadId)) === undefined, "no commit on the thread with the conflict");
    check((await saver.head(lost.threadId)) === undefined, "no commit on the thread that was taken over");
    outcomes(await saver.commit([]));
  },
};

const wideBatch: ConformanceCase = {
  name: "batches of many threads, in any order and from several clients at once, all go through",
  rules: ["P6", "P18"],
  async run({ open }) {
    const savers = [await open(), await open()];
    const all = await Promise.all(Array.from({ length: 60 }, () => held(savers[0]!)));
    const halves = [all.slice(0, 40), all.slice(20).reverse()];
    for (let round = 0; round < 5; round++) {
      const batches = halves.map((half) => half.map((holding) => nextCommit(holding)));
      const results = await Promise.all(batches.map((entries, index) => savers[index]!.commit(entries)));
      const winners = new Map<string, Commit>();
      for (const [index, result] of results.entries()) {
        for (const [at, one] of result.entries()) {
          const commit = batches[index]![at]!;
          if (!one.ok) equal(one.error.code, "Conflict", "refusal in a race");
          else check(!winners.has(commit.fence.threadId), "one winner a thread");
          if (one.ok) winners.set(commit.fence.threadId, commit);
        }
      }
      equal(winners.size, all.length, "threads that moved on");
      for (const holding of all) advance(holding, winners.get(holding.threadId)!);
    }
  },
};

export const commitCases: readonly ConformanceCase[] = [
  lateWrites,
  otherHead,
  firstHead,
  lostAnswer,
  lostAtOnce,
  lostThenClaimed,
  lostBatch,
  explicitHead,
  wholeCheckpoint,
  base,
  batch,
  wideBatch,
];
