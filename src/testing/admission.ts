/** Accepted runs are in the store, once, in order (P11, P12, P15's share). */
import type { RunRecord, RunSpec } from "../run/record.ts";
import { check, equal, rejects } from "./assert.ts";
import type { ConformanceCase } from "./case.ts";
import { admitted, bytes, claimRequest, finished, freshId, held, holdingOf, newSpec, stored } from "./fixture.ts";

const durable: ConformanceCase = {
  name: "an admitted run is durable whole before it is acknowledged: any client finds it, by id and in the queue",
  rules: ["P12"],
  async run({ open }) {
    const spec: RunSpec = newSpec({
      kind: "resume",
      graph: { name: "mail triage / ü", version: "sha256:0" },
      input: new Uint8Array([0, 1, 255, 0]),
      fromCheckpointId: "some-checkpoint",
      residency: { regions: ["eu-west-1", "eu-north-1"] },
      caller: "tenant-1",
      trace: {
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        tracestate: "a=b",
        baggage: "c=d",
      },
      deadlineMs: 60_000,
    });
    const saver = await open();
    const { record, created } = await saver.admit({ spec, coordinator: "coordinator-1", whenBusy: "reject" });
    equal(created, true, "created");
    equal(record.spec, spec, "spec as admitted");
    const fresh = {
      status: "queued",
      revision: 1,
      attempt: 1,
      poison: 0,
      owner: null,
      coordinator: "coordinator-1",
      lease: 0,
    };
    const rest = { claimSeq: null, cancelRequested: false, outcome: null, history: [] };
    equal(record.state, { ...fresh, ...rest }, "state as admitted");
    equal([record.ticket, record.active, record.headSeq], [1, true, 0], "ticket, active, headSeq");
    await saver.close();
    const other = await open();
    equal(await other.getRun(spec.runId), record, "record by id, after the admitting client is gone");
    equal(await other.listRuns({ statuses: ["queued"], limit: 10 }), [record], "queued runs");
    check((await other.getRun("unknown-run")) === undefined, "undefined for an unknown run");
  },
};

const repeated: ConformanceCase = {
  name: "the same runId with the same input is the run that is there, whatever became of it; other input is AlreadyExists",
  rules: ["P12"],
  async run({ open }) {
    const saver = await open();
    const spec = newSpec({ inputHash: "a" });
    const first = await saver.admit({ spec, coordinator: "coordinator-1", whenBusy: "reject" });
    const again = { ...spec, correlationId: "correlation-2", createdAtMs: 5 };
    const second = await (await open()).admit({ spec: again, coordinator: "coordinator-2", whenBusy: "reject" });
    equal(second, { record: first.record, created: false }, "second admission");
    const other = { ...spec, inputHash: "b", input: bytes("other") };
    await rejects(saver.admit({ spec: other, coordinator: null, whenBusy: "enqueue" }), "AlreadyExists");
    const holding = holdingOf(await saver.claim(claimRequest(first.record)));
    await finished(saver, holding);
    const ended = await saver.admit({ spec, coordinator: null, whenBusy: "reject" });
    equal([ended.created, ended.record.state.status], [false, "succeeded"], "admission of a run that has ended");
    await rejects(saver.admit({ spec: other, coordinator: null, whenBusy: "enqueue" }), "AlreadyExists");
    equal((await saver.listRuns({ threadId: spec.threadId, limit: 10 })).length, 1, "runs on the thread");
  },
};

const repeatedAtOnce: ConformanceCase = {
  name: "the same runId admitted by several clients at once is one run with one ticket",
  rules: ["P12"],
  async run({ open }) {
    const savers = [await open(), await open(), await open()];
    for (let round = 0; round < 10; round++) {
      const spec = newSpec({ threadId: "busy-door" });
      const admissions = [...savers, ...savers].map((saver) =>
        saver.admit({ spec, coordinator: null, whenBusy: "enqueue" }),
      );
      const results = await Promise.all(admissions);
      equal(results.filter((result) => result.created).length, 1, "admissions that created the run");
      equal(new Set(results.map((result) => result.record.ticket)).size, 1, "tickets");
    }
    equal((await savers[0]!.listRuns({ threadId: "busy-door", limit: 100 })).length, 10, "runs on the thread");
  },
};

const reject: ConformanceCase = {
  name: "reject: a thread with a run that is not finished is ThreadBusy, and nothing is stored",
  rules: ["P3", "P12"],
  async run({ open }) {
    const saver = await open();
    const first = await admitted(saver, {}, "reject");
    const { threadId } = first.spec;
    const second = newSpec({ threadId });
    const refusedOnce = { spec: second, coordinator: null, whenBusy: "reject" } as const;
    await rejects(saver.admit(refusedOnce), "ThreadBusy");
    const holding = holdingOf(await saver.claim(claimRequest(first)));
    await rejects(saver.admit(refusedOnce), "ThreadBusy");
    check((await saver.getRun(second.runId)) === undefined, "no record of the refused run");
    await finished(saver, holding);
    const admission = await saver.admit(refusedOnce);
    equal([admission.created, admission.record.active], [true, true], "admission once the thread is free");
  },
};

const rejectAtOnce: ConformanceCase = {
  name: "reject by several clients at once: exactly one gets the thread",
  rules: ["P3", "P12"],
  async run({ open }) {
    const savers = [await open(), await open(), await open()];
    for (let round = 0; round < 10; round++) {
      const threadId = freshId("thread");
      const results = await Promise.allSettled(
        [...savers, ...savers].map((saver) => admitted(saver, { threadId }, "reject")),
      );
      equal(results.filter((result) => result.status === "fulfilled").length, 1, "accepted runs");
      for (const result of results) {
        if (result.status === "rejected") await rejects(Promise.reject(result.reason), "ThreadBusy");
      }
    }
  },
};

const enqueue: ConformanceCase = {
  name: "enqueue: runs of a thread become active one by one, in the order of their tickets",
  rules: ["P12", "P13"],
  async run({ open }) {
    const saver = await open();
    const threadId = freshId("thread");
    const records: RunRecord[] = [];
    // Ids that sort against the order of admission.
    for (const runId of ["z", "b", "y", "a", "x"]) records.push(await admitted(saver, { threadId, runId }));
    equal(
      records.map((record) => record.ticket),
      [1, 2, 3, 4, 5],
      "tickets",
    );
    for (const [index, record] of records.entries()) {
      const all = await Promise.all(records.map((one) => stored(saver, one.spec.runId)));
      equal(
        all.findIndex((one) => one.active),
        index,
        "place of the active run",
      );
      equal(all.filter((one) => one.active).length, 1, "active runs");
      const holding = holdingOf(await saver.claim(claimRequest(record)), versionsAfter(index));
      await finished(saver, holding);
    }
    equal((await stored(saver, "x")).active, false, "the last run, once ended");
    equal((await admitted(saver, { threadId })).ticket, 6, "next ticket");
  },
};

function versionsAfter(commits: number): Record<string, number> {
  return commits === 0 ? {} : { count: commits };
}

const enqueueAtOnce: ConformanceCase = {
  name: "runs enqueued on one thread by several clients at once: each gets a ticket of its own, one is active",
  rules: ["P12"],
  async run({ open }) {
    const savers = [await open(), await open(), await open()];
    const threadId = freshId("thread");
    const records = await Promise.all(
      Array.from({ length: 24 }, (_, index) => admitted(savers[index % savers.length]!, { threadId })),
    );
    const tickets = records.map((record) => record.ticket).sort((a, b) => a - b);
    equal(
      tickets,
      Array.from({ length: 24 }, (_, index) => index + 1),
      "tickets",
    );
    const all = await savers[0]!.listRuns({ threadId, limit: 100 });
    equal(
      all.filter((record) => record.active).map((record) => record.ticket),
      [1],
      "tickets of active runs",
    );
  },
};

const behindAFinish: ConformanceCase = {
  name: "a run admitted while another finishes is never left behind: it is active, or it becomes so",
  rules: ["P9", "P12"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    for (let round = 0; round < 40; round++) {
      const holding = await held(a);
      const { threadId } = holding;
      const both = [() => finished(a, holding), () => admitted(b, { threadId })] as const;
      const order = round % 2 === 0 ? both : ([both[1], both[0]] as const);
      await Promise.all(order.map((work) => work()));
      const all = await a.listRuns({ threadId, limit: 10 });
      equal(all.map((record) => record.active).sort(), [false, true], "the ended and the active run");
      equal(all.find((record) => record.active)?.state.status, "queued", "status of the active run");
    }
  },
};

export const admissionCases: readonly ConformanceCase[] = [
  durable,
  repeated,
  repeatedAtOnce,
  reject,
  rejectAtOnce,
  enqueue,
  enqueueAtOnce,
  behindAFinish,
];
