/** The store itself: setup, identity, members, zones (P4, P11, P26). */
import { AgentmaticError } from "../errors.ts";
import { membersMax } from "../run/store.ts";
import { check, equal, rejects } from "./assert.ts";
import type { ConformanceCase } from "./case.ts";
import {
  admitted,
  bytes,
  claimRequest,
  committed,
  dump,
  endState,
  finished,
  freshId,
  held,
  newSpec,
  nextCommit,
  stored,
  taskWrites,
} from "./fixture.ts";

const setupAtOnce: ConformanceCase = {
  name: "setup may be called by many clients at once, any number of times, and keeps what is there",
  rules: ["port"],
  async run({ open }) {
    const savers = await Promise.all(Array.from({ length: 5 }, () => open({ setup: false })));
    await Promise.all([...savers, ...savers].map((saver) => saver.setup()));
    const ids = await Promise.all(savers.map(async (saver) => (await saver.identity()).id));
    equal(new Set(ids).size, 1, "identities of one store");
    const holding = await held(savers[0]!);
    await committed(savers[1]!, holding);
    const before = await dump(savers[2]!, holding.threadId, [holding.runId]);
    const late = await open({ setup: false });
    await Promise.all([...savers, late].map((saver) => saver.setup()));
    equal(await dump(late, holding.threadId, [holding.runId]), before, "thread after another setup");
    equal((await late.identity()).id, ids[0], "identity after another setup");
    await committed(late, holding);
  },
};

const identity: ConformanceCase = {
  name: "a store has one identity for all its clients, and another store another",
  rules: ["port"],
  async run({ open }) {
    const options = { store: "eu", zone: "eu", region: "eu-west-1" };
    const [a, b, other] = [await open(options), await open(options), await open({ store: "other" })];
    const identityOfA = await a.identity();
    equal(await b.identity(), identityOfA, "identity as two clients see it");
    check(identityOfA.id.length >= 22, "a random id of 22 characters or more");
    check(Number.isInteger(identityOfA.format) && identityOfA.format >= 1, "a format number");
    equal([identityOfA.zone, identityOfA.region], ["eu", "eu-west-1"], "zone and region");
    const identityOfOther = await other.identity();
    check(identityOfOther.id !== identityOfA.id, "two stores to differ");
    equal([identityOfOther.zone, identityOfOther.region], ["", ""], "zone and region where none is set");
    check(/^[a-z][a-z0-9]*$/.test(a.kind) && a.kind === b.kind, "a kind in lower case");
    check(a.shared === b.shared, "shared to be the same for all clients");
  },
};

const reopened: ConformanceCase = {
  name: "everything is there after all clients were closed, and a second close does no harm",
  rules: ["P12", "port"],
  async run({ open }) {
    const first = await open();
    const holding = await held(first);
    await committed(first, holding);
    await first.putWrites([{ fence: holding.fence, writes: [taskWrites(holding, "t")] }]);
    await first.beat("member-1");
    const before = await dump(first, holding.threadId, [holding.runId]);
    const identityBefore = await first.identity();
    await first.close();
    await first.close();
    const second = await open();
    equal(await second.identity(), identityBefore, "identity");
    equal(await dump(second, holding.threadId, [holding.runId]), before, "thread");
    equal(await second.beat("member-1"), 2, "beat");
    await committed(second, holding);
    const other = await open();
    await other.close();
    await finished(second, holding);
  },
};

const storesApart: ConformanceCase = {
  name: "two stores share nothing",
  rules: ["port"],
  async run({ open }) {
    const [a, b] = [await open({ store: "a" }), await open({ store: "b" })];
    const holding = await held(a, { threadId: "same", runId: "same" });
    await committed(a, holding);
    check((await b.head("same")) === undefined && (await b.getRun("same")) === undefined, "nothing in the other store");
    const [result] = await b.commit([nextCommit(holding)]);
    check(
      result !== undefined && !result.ok && result.error.code === "FencedOut",
      "a fence of another store to be refused",
    );
    equal((await held(b, { threadId: "same", runId: "same" })).head.seq, 0, "commits in the other store");
  },
};

const members: ConformanceCase = {
  name: "a member's beat counts up from one, for all clients to see, until the member is removed",
  rules: ["P4", "P11"],
  async run({ open }) {
    const [a, b] = [await open(), await open()];
    equal(await b.members(), [], "members of an empty store");
    equal([await a.beat("m-1"), await a.beat("m-1"), await b.beat("m-1"), await b.beat("m-2")], [1, 2, 3, 1], "beats");
    const seen = [...(await a.members())].sort((x, y) => (x.id < y.id ? -1 : 1));
    equal(
      seen,
      [
        { id: "m-1", beat: 3 },
        { id: "m-2", beat: 1 },
      ],
      "members",
    );
    const beats = await Promise.all(Array.from({ length: 10 }, (_, index) => (index % 2 === 0 ? a : b).beat("m-3")));
    equal(
      beats.sort((x, y) => x - y),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
      "beats at once",
    );
    await b.removeMember("m-1");
    await b.removeMember("m-1");
    await b.removeMember("never-there");
    equal((await a.members()).map((member) => member.id).sort(), ["m-2", "m-3"], "members after a removal");
    equal(await a.beat("m-1"), 1, "beat of a member that comes back");
  },
};

const membersBound: ConformanceCase = {
  name: "a store keeps a bounded number of members: a new one beyond it takes the place of the one silent for longest",
  rules: ["P4", "port"],
  async run({ open }) {
    const saver = await open();
    for (const id of ["kept", "silent"]) await saver.beat(id);
    await Promise.all(Array.from({ length: membersMax - 2 }, (_, index) => saver.beat(`m-${index}`)));
    equal(await saver.beat("kept"), 2, "beat of the eldest");
    equal((await saver.members()).length, membersMax, "members");
    await saver.beat("new");
    const ids = new Set((await (await open()).members()).map(({ id }) => id));
    equal([ids.size, ids.has("new"), ids.has("kept"), ids.has("silent")], [membersMax, true, true, false], "members");
  },
};

const zones: ConformanceCase = {
  name: "ids of another zone, or of none, are refused by every method, and make nothing",
  rules: ["P26"],
  async run({ open }) {
    const eu = await open({ store: "eu", zone: "eu", region: "eu-west-1" });
    const right = await held(eu, { threadId: "eu::thread", runId: "eu::run" });
    await committed(eu, right);
    for (const prefix of ["us::", ""]) {
      const [threadId, runId] = [`${prefix}thread`, `${prefix}run`];
      const admit = (spec: { threadId: string; runId: string }) =>
        eu.admit({ spec: newSpec(spec), coordinator: null, whenBusy: "enqueue" });
      await rejects(admit({ threadId, runId }), "ResidencyViolation");
      await rejects(admit({ threadId: "eu::thread", runId }), "ResidencyViolation");
      await rejects(admit({ threadId, runId: "eu::other" }), "ResidencyViolation");
      const record = await stored(eu, right.runId);
      await rejects(eu.getRun(runId), "ResidencyViolation");
      await rejects(eu.updateRun(runId, endState(record, "cancelled")), "ResidencyViolation");
      await rejects(eu.claim(claimRequest(record, { threadId })), "ResidencyViolation");
      await rejects(eu.claim(claimRequest(record, { runId })), "ResidencyViolation");
      await rejects(eu.head(threadId), "ResidencyViolation");
      await rejects(eu.get(threadId, ""), "ResidencyViolation");
      await rejects(eu.get(threadId, "", "c"), "ResidencyViolation");
      await rejects(eu.list({ threadId, limit: 1 }), "ResidencyViolation");
      await rejects(eu.deleteThread(threadId), "ResidencyViolation");
      const fence = { ...right.fence, threadId };
      refusedIn(
        await eu.renew([
          { fence, runId: right.runId },
          { fence: right.fence, runId },
        ]),
        2,
      );
      refusedIn(await eu.putWrites([{ fence, writes: [taskWrites(right, "t")] }]), 1);
      refusedIn(await eu.commit([nextCommit({ ...right, fence })]), 1);
    }
    equal(
      (await eu.listRuns({ limit: 10 })).map((run) => run.spec.runId),
      ["eu::run"],
      "runs in the store",
    );
    const plain = await open({ store: "plain" });
    await rejects(plain.head("eu::thread"), "ResidencyViolation");
    await rejects(admitted(plain, { threadId: "eu::thread", runId: "eu::run" }), "ResidencyViolation");
  },
};

/** No fence of another zone is in the store, so that one who does not look at the zone finds it over. */
function refusedIn(
  results: readonly { readonly ok: boolean; readonly error?: AgentmaticError }[],
  count: number,
): void {
  equal(results.length, count, "results");
  for (const result of results) {
    check(!result.ok && AgentmaticError.is(result.error, "ResidencyViolation", "FencedOut"), "the entry to be refused");
  }
}

const badIds: ConformanceCase = {
  name: "ids that no store could keep apart are InvalidArgument",
  rules: ["P26", "port"],
  async run({ open }) {
    const saver = await open();
    for (const id of ["", "a\u0000b", "a\nb", "\ud800", "x".repeat(257), "::a", "EU::a", "e u::a"]) {
      await rejects(admitted(saver, { threadId: id }), "InvalidArgument");
      await rejects(
        saver.admit({ spec: { ...newSpec(), runId: id }, coordinator: null, whenBusy: "reject" }),
        "InvalidArgument",
      );
      await rejects(saver.head(id), "InvalidArgument");
      await rejects(saver.getRun(id), "InvalidArgument");
    }
    equal(await saver.listRuns({ limit: 10 }), [], "runs in the store");
    const long = `${"é".repeat(64)}${"\u{1f600}".repeat(32)}`;
    await committed(saver, await held(saver, { threadId: long, runId: long }));
    equal((await saver.head(long))?.seq, 1, "commits of the thread with the longest id");
    check((await saver.getRun(freshId("run"))) === undefined, "no other run");
    equal((await stored(saver, long)).spec.input, bytes("hello"), "input");
  },
};

export const storeCases: readonly ConformanceCase[] = [
  setupAtOnce,
  identity,
  reopened,
  storesApart,
  members,
  membersBound,
  zones,
  badIds,
];
