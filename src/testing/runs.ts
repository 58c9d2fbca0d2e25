/** Run records after admission: compare-and-set, terminal states, queries (P11). */
import type { RunState } from "../run/record.ts";
import type { RunQuery } from "../run/store.ts";
import { adopt, handOff } from "../run/transitions.ts";
import { check, done, equal, outcomes, refused, rejects } from "./assert.ts";
import type { ConformanceCase } from "./case.ts";
import {
  admitted,
  claimRequest,
  committed,
  dump,
  endState,
  finished,
  finishOf,
  freshId,
  handedOff,
  held,
  holdingOf,
  newSpec,
  nextCommit,
  stored,
  taskWrites,
} from "./fixture.ts";

const compareAndSet: ConformanceCase = {
  name: "a change decided on an old read is a Conflict, and changes nothing",
  rules: ["P11"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    const record = await admitted(a);
    const { runId } = record.spec;
    const adopted = await a.updateRun(runId, adopt(record, "coordinator-a"));
    equal([adopted.state.coordinator, adopted.state.revision], ["coordinator-a", 2], "state after the first change");
    equal(await stored(b, runId), adopted, "record as another client reads it");
    await rejects(b.updateRun(runId, adopt(record, "coordinator-b")), "Conflict");
    await rejects(b.updateRun(runId, { ...adopted.state, coordinator: "b" }), "Conflict");
    await rejects(b.updateRun(runId, { ...adopted.state, coordinator: "b", revision: 9 }), "Conflict");
    equal(await stored(a, runId), adopted, "record after refused changes");
    await rejects(a.updateRun("unknown-run", adopted.state), "NotFound");
    check((await a.getRun("unknown-run")) === undefined, "no record to appear from a refused change");
  },
};

const claimedMeanwhile: ConformanceCase = {
  name: "a hand-off decided before a claim is a Conflict after it",
  rules: ["P11"],
  async run({ open }) {
    const saver = await open();
    const record = await admitted(saver);
    const late = handOff(record, "coordinator-2", "lost", 0);
    const claim = await saver.claim(claimRequest(record));
    await rejects(saver.updateRun(record.spec.runId, late), "Conflict");
    equal(await stored(saver, record.spec.runId), claim.record, "record");
  },
};

const changesAtOnce: ConformanceCase = {
  name: "changes by several clients at once: one goes through for each revision",
  rules: ["P11"],
  async run({ open }) {
    const savers = [await open(), await open(), await open(), await open()];
    let record = await admitted(savers[0]!);
    for (let round = 0; round < 25; round++) {
      const names = savers.map((_, index) => `coordinator-${round}-${index}`);
      const results = await Promise.allSettled(
        savers.map((saver, index) => saver.updateRun(record.spec.runId, adopt(record, names[index]!))),
      );
      const winners = results.flatMap((result, index) => (result.status === "fulfilled" ? [index] : []));
      equal(winners.length, 1, "changes that went through");
      for (const result of results) {
        if (result.status === "rejected") await rejects(Promise.reject(result.reason), "Conflict");
      }
      record = await stored(savers[0]!, record.spec.runId);
      equal([record.state.coordinator, record.state.revision], [names[winners[0]!], round + 2], "state");
    }
  },
};

const wholeState: ConformanceCase = {
  name: "a state comes back as it was written, its history and its error included",
  rules: ["P11", "port"],
  async run({ open }) {
    const saver = await open();
    const record = await admitted(saver);
    const { runId } = record.spec;
    await saver.claim(claimRequest(record, { owner: "worker-ü" }));
    const handed = handOff(await stored(saver, runId), "coordinator-2", "lost", 123.5);
    check(handed.poison === 1 && handed.history.length === 1, "a lost worker without progress to count");
    await saver.updateRun(runId, handed);
    const error = {
      code: "DeadLettered",
      message: "3 workers\n\u2028 lost",
      details: { count: 3, final: true },
    } as const;
    const dead: RunState = {
      ...handed,
      status: "dead",
      revision: handed.revision + 1,
      outcome: { checkpointId: null, error },
    };
    const answer = await saver.updateRun(runId, dead);
    const read = await stored(await open(), runId);
    equal(read, answer, "record as answered and as read");
    equal({ ...read.state, lease: 0 }, { ...dead, lease: 0 }, "state");
  },
};

const terminalAbsorbs: ConformanceCase = {
  name: "a terminal state absorbs: no change by a coordinator, no claim, no write",
  rules: ["P11"],
  async run({ open }) {
    const saver = await open();
    for (const status of ["cancelled", "failed", "dead"] as const) {
      const record = await admitted(saver);
      const { runId } = record.spec;
      const ended = await saver.updateRun(runId, endState(record, status));
      equal([ended.state.status, ended.active], [status, false], "ended run");
      const revived: RunState = { ...ended.state, status: "queued", revision: ended.state.revision + 1 };
      await rejects(saver.updateRun(runId, revived), "Conflict");
      await rejects(saver.updateRun(runId, { ...revived, status: "succeeded" }), "Conflict");
      await rejects(saver.claim(claimRequest(record)), "StaleAttempt");
      equal(await stored(saver, runId), ended, "record");
    }
  },
};

const endedByCoordinator: ConformanceCase = {
  name: "a run ended by its coordinator: the epoch rises, the live fence is out, the next queued run is active",
  rules: ["P2", "P9", "P11"],
  async run({ open }) {
    const [worker, coordinator] = [await open(), await open()];
    const holding = await held(worker);
    await committed(worker, holding);
    const { threadId, runId, fence } = holding;
    const next = await admitted(worker, { threadId });
    const after = await admitted(worker, { threadId });
    await coordinator.updateRun(runId, endState(await stored(coordinator, runId), "cancelled"));
    const before = await dump(worker, threadId, [runId, next.spec.runId, after.spec.runId]);
    refused(await worker.commit([nextCommit(holding)]), "FencedOut");
    refused(await worker.commit([nextCommit(holding, { finish: finishOf(holding) })]), "FencedOut");
    refused(await worker.putWrites([{ fence, writes: [taskWrites(holding, "t")] }]), "FencedOut");
    outcomes(await worker.renew([{ fence, runId }]), "FencedOut");
    outcomes(await worker.renew([{ fence, runId: next.spec.runId }]), "FencedOut");
    const raised = { ...fence, epoch: fence.epoch + 1 };
    refused(await worker.commit([nextCommit({ ...holding, fence: raised })]), "FencedOut");
    equal(await dump(worker, threadId, [runId, next.spec.runId, after.spec.runId]), before, "thread after late writes");
    equal(
      before.runs.map((run) => run?.active),
      [false, true, false],
      "active runs",
    );
    const claim = await coordinator.claim(claimRequest(next));
    check(claim.fence.epoch > fence.epoch + 1, "the ending and the claim to raise the epoch each");
    equal(claim.head, holding.head, "head that the next run starts from");
  },
};

const repeatedCommitAfterEnd: ConformanceCase = {
  name: "a commit issued again after its run was ended from outside is FencedOut, and the end stands",
  rules: ["P7", "P11"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const commit = nextCommit(holding);
    done(await saver.commit([commit]));
    await saver.updateRun(holding.runId, endState(await stored(saver, holding.runId), "failed"));
    refused(await (await open()).commit([commit]), "FencedOut");
    equal((await stored(saver, holding.runId)).state.status, "failed", "status");
  },
};

const endedInTheQueue: ConformanceCase = {
  name: "a queued run behind the active one can be ended: the active one goes on, and the ended one is passed over",
  rules: ["P9", "P11"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const { threadId } = holding;
    const ended = await admitted(saver, { threadId });
    const kept = await admitted(saver, { threadId });
    await (await open()).updateRun(ended.spec.runId, endState(ended, "cancelled"));
    await committed(saver, holding);
    outcomes(await saver.renew([{ fence: holding.fence, runId: holding.runId }]), "ok");
    await finished(saver, holding);
    equal((await stored(saver, kept.spec.runId)).active, true, "the run behind the ended one");
    await saver.claim(claimRequest(kept));
  },
};

const adoptedUnderClaim: ConformanceCase = {
  name: "changes that do not end a run leave its claim in force",
  rules: ["P11"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    await saver.updateRun(holding.runId, adopt(await stored(saver, holding.runId), "coordinator-2"));
    await committed(saver, holding);
    await handedOff(saver, holding.runId);
    await committed(saver, holding);
    equal((await stored(saver, holding.runId)).headSeq, 2, "commits");
  },
};

const queries: ConformanceCase = {
  name: "runs are listed by status, thread and coordinator, in code-point order of their ids, page by page",
  rules: ["P11", "P12"],
  async run({ open }) {
    const saver = await open();
    const ids = ["B", "a", "a-1", "b", "é", "\ufffd", "\u{1f600}"];
    for (const [index, runId] of [...ids.entries()].reverse()) {
      const coordinator = index === 0 ? null : `coordinator-${index % 2}`;
      const spec = newSpec({ runId, threadId: index < 3 ? "shared" : freshId("thread") });
      await saver.admit({ spec, coordinator, whenBusy: "enqueue" });
    }
    await saver.claim(claimRequest(await stored(saver, "b")));
    await finished(saver, holdingOf(await saver.claim(claimRequest(await stored(saver, "é")))));
    const other = await open();
    const list = async (query: Omit<RunQuery, "limit">, limit = 100) =>
      (await other.listRuns({ ...query, limit })).map((record) => record.spec.runId);
    equal(await list({}), ids, "all runs");
    equal(await list({ statuses: ["queued"] }), ["B", "a", "a-1", "\ufffd", "\u{1f600}"], "queued");
    equal(await list({ statuses: ["running", "succeeded"] }), ["b", "é"], "running or succeeded");
    equal(await list({ statuses: ["dead"] }), [], "dead");
    equal(await list({ statuses: [] }), [], "of no status");
    equal(await list({ threadId: "shared" }), ["B", "a", "a-1"], "on a thread");
    equal(await list({ threadId: "unknown" }), [], "on an unknown thread");
    equal(await list({ coordinator: "coordinator-1" }), ["a", "b", "\ufffd"], "of a coordinator");
    equal(await list({ notCoordinator: "coordinator-1" }), ["B", "a-1", "é", "\u{1f600}"], "of others or none");
    equal(await list({ notCoordinator: "coordinator-1", statuses: ["queued"] }), ["B", "a-1", "\u{1f600}"], "both");
    equal(await list({ after: "a-1" }), ["b", "é", "\ufffd", "\u{1f600}"], "after an id");
    equal(await list({ after: "aa" }), ["b", "é", "\ufffd", "\u{1f600}"], "after an id that is not there");
    const paged: string[] = [];
    for (;;) {
      const after = paged.at(-1);
      const page = await list(after === undefined ? {} : { after }, 3);
      paged.push(...page);
      if (page.length < 3) break;
    }
    equal(paged, ids, "pages of three");
  },
};

const limits: ConformanceCase = {
  name: "a limit of runs or checkpoints is a whole number from 1 to 1,000, and the error names it",
  rules: ["port"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    await committed(saver, holding);
    for (const limit of [0, -1, 1001, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      const forRuns = await rejects(saver.listRuns({ limit }), "InvalidArgument");
      const forCheckpoints = await rejects(saver.list({ threadId: holding.threadId, limit }), "InvalidArgument");
      for (const error of [forRuns, forCheckpoints]) {
        check(error.message.includes("limit") && error.details.field === "limit", "the error to name the field");
      }
    }
    for (const limit of [1, 1000]) {
      equal((await saver.listRuns({ limit })).length, 1, "runs");
      equal((await saver.list({ threadId: holding.threadId, limit })).length, 1, "checkpoints");
    }
  },
};

export const runCases: readonly ConformanceCase[] = [
  compareAndSet,
  claimedMeanwhile,
  changesAtOnce,
  wholeState,
  terminalAbsorbs,
  endedByCoordinator,
  repeatedCommitAfterEnd,
  endedInTheQueue,
  adoptedUnderClaim,
  queries,
  limits,
];
