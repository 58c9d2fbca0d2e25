/** What tasks leave behind before their superstep is committed (P10). */
import type { TaskWrites } from "../checkpoint/saver.ts";
import { check, done, equal, outcomes } from "./assert.ts";
import type { ConformanceCase } from "./case.ts";
import { bytes, committed, dump, held, nextCommit, takenOver, taskWrites } from "./fixture.ts";

const order: ConformanceCase = {
  name: "writes come back ordered by path, task id and kind, by code point, however they were stored",
  rules: ["P10"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    await committed(saver, holding);
    // By UTF-16 unit the emoji would stand before U+E000 and U+FFFD; a locale would put "é" and "B" elsewhere.
    const paths = [
      "",
      " ",
      "A",
      "B",
      "a",
      "a b",
      "a/10",
      "a/9",
      "ab",
      "z",
      "é",
      "\ue000",
      "\ufffd",
      "\u{10000}",
      "\u{1f600}",
    ];
    const tasks = ["T", "t-1", "t-10", "t-9", "\uffff", "\u{10ffff}"];
    const kinds = ["done", "error", "interrupt", "resume"] as const;
    const sorted: TaskWrites[] = [
      ...paths.map((path, index) => taskWrites(holding, `p${index}`, { path })),
      ...tasks.map((taskId) => taskWrites(holding, taskId, { path: "\u{1f601}" })),
      ...kinds.map((kind) => taskWrites(holding, "same", { path: "\u{1f602}", kind })),
    ];
    const shuffled = sorted.map((write, index) => ({ write, at: (index * 11) % sorted.length }));
    shuffled.sort((a, b) => a.at - b.at);
    const writes = shuffled.map(({ write }) => write);
    done(await saver.putWrites([{ fence: holding.fence, writes: writes.slice(0, 10) }]));
    const inCommit = writes.slice(20);
    done(await saver.putWrites([{ fence: holding.fence, writes: writes.slice(10, 20) }]));
    const planned = holding.head.checkpointId!;
    await committed(saver, holding, { writes: inCommit });
    const other = await open();
    equal((await other.get(holding.threadId, "", planned))?.writes, sorted, "writes as read by get");
    const listed = await other.list({ threadId: holding.threadId, limit: 10 });
    equal(
      listed.map((one) => one.writes),
      [[], sorted],
      "writes as read by list",
    );
  },
};

const crash: ConformanceCase = {
  name: "a crash between task writes and checkpoint: the writes are there for the next claim, the checkpoint is not",
  rules: ["P8", "P10"],
  async run({ open }) {
    const dying = await open();
    const first = await held(dying);
    await committed(dying, first);
    const writes = ["a", "b"].map((taskId) => taskWrites(first, taskId));
    for (const write of writes) done(await dying.putWrites([{ fence: first.fence, writes: [write] }]));
    const neverSent = nextCommit(first);
    await dying.close();
    const saver = await open();
    const second = await takenOver(saver, first);
    equal(second.head, first.head, "head that the next owner finds");
    const read = await saver.get(first.threadId, "");
    equal(read?.checkpoint.checkpointId, first.head.checkpointId, "current checkpoint");
    equal(read?.writes, writes, "pending writes");
    check(
      (await saver.get(first.threadId, "", neverSent.checkpoint!.checkpointId)) === undefined,
      "no later checkpoint",
    );
    await committed(saver, second, { writes: [taskWrites(second, "c")] });
    equal((await saver.get(first.threadId, ""))?.writes, [], "pending writes of the new checkpoint");
  },
};

const replaced: ConformanceCase = {
  name: "a task has one write of each kind for a checkpoint: a later one replaces it, issued again it changes nothing",
  rules: ["P7", "P10"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    await committed(saver, holding);
    const { fence, threadId } = holding;
    const one = taskWrites(holding, "t", { kind: "interrupt", data: bytes("question") });
    const answer = taskWrites(holding, "t", { kind: "resume", data: bytes("answer") });
    const request = { fence, writes: [one, answer] };
    for (let count = 0; count < 3; count++) done(await saver.putWrites([request]));
    equal((await saver.get(threadId, ""))?.writes, [one, answer], "writes issued three times");
    const later = { ...one, path: "other/path", data: bytes("another question") };
    done(await (await open()).putWrites([{ fence, writes: [later] }]));
    equal((await saver.get(threadId, ""))?.writes, [later, answer], "writes after a replacement");
    const last = { ...later, data: bytes("last") };
    done(await saver.putWrites([{ fence, writes: [later, last] }]));
    equal((await saver.get(threadId, ""))?.writes, [last, answer], "writes after two of one task in one entry");
  },
};

const apart: ConformanceCase = {
  name: "writes belong to one checkpoint, one namespace and one thread",
  rules: ["P10"],
  async run({ open }) {
    const saver = await open();
    const [a, b] = [await held(saver), await held(saver)];
    for (const holding of [a, b]) {
      await committed(saver, holding, { checkpointId: "one" });
      await committed(saver, holding, { ns: "sub", checkpointId: "one" });
      await committed(saver, holding, { checkpointId: "two" });
    }
    const place = (ns: string, checkpointId: string, data: string) =>
      taskWrites(a, "t", { ns, checkpointId, data: bytes(data) });
    const writes = [place("", "one", "root one"), place("sub", "one", "sub one"), place("", "two", "root two")];
    done(await saver.putWrites([{ fence: a.fence, writes }]));
    equal((await saver.get(a.threadId, "", "one"))?.writes, [writes[0]], "root checkpoint one");
    equal((await saver.get(a.threadId, "sub", "one"))?.writes, [writes[1]], "subgraph's checkpoint one");
    equal((await saver.get(a.threadId, ""))?.writes, [writes[2]], "current root checkpoint");
    for (const ns of ["", "sub"]) equal((await saver.get(b.threadId, ns, "one"))?.writes, [], "the other thread");
  },
};

const batch: ConformanceCase = {
  name: "a batch of task writes is answered entry by entry: all of an entry's writes or none",
  rules: ["P10", "port"],
  async run({ open }) {
    const saver = await open();
    const [a, lost, b] = [await held(saver), await held(saver), await held(saver)];
    for (const holding of [a, lost, b]) await committed(saver, holding);
    await takenOver(await open(), lost);
    const before = await dump(saver, lost.threadId, [lost.runId]);
    const entry = (holding: typeof a, ...tasks: string[]) => ({
      fence: holding.fence,
      writes: tasks.map((taskId) => taskWrites(holding, taskId)),
    });
    const results = await saver.putWrites([
      entry(a, "1"),
      entry(lost, "1", "2"),
      entry(b, "1", "2"),
      entry(a, "2", "1"),
    ]);
    outcomes(results, "ok", "FencedOut", "ok", "ok");
    equal(await dump(saver, lost.threadId, [lost.runId]), before, "thread of the refused entry");
    for (const holding of [a, b]) {
      const read = await saver.get(holding.threadId, "");
      equal(
        read?.writes.map((write) => write.taskId),
        ["1", "2"],
        "tasks with writes",
      );
    }
    outcomes(await saver.putWrites([]));
    outcomes(
      await saver.putWrites([
        { fence: a.fence, writes: [] },
        { fence: lost.fence, writes: [] },
      ]),
      "ok",
      "FencedOut",
    );
  },
};

const subgraphIds: ConformanceCase = {
  name: "a second owner finds a subgraph's checkpoint and writes under the ids that it computes itself",
  rules: ["P10"],
  async run({ open }) {
    const saver = await open();
    const first = await held(saver);
    await committed(saver, first, { checkpointId: "c1" });
    const ns = "research:c1/research/0";
    await committed(saver, first, { ns, checkpointId: "s1", values: { notes: bytes("found") } });
    const write = taskWrites(first, "s1/search/0", { ns, checkpointId: "s1" });
    done(await saver.putWrites([{ fence: first.fence, writes: [write] }]));
    const other = await open();
    await takenOver(other, first);
    const read = await other.get(first.threadId, ns);
    equal([read?.checkpoint.checkpointId, read?.checkpoint.ns, read?.writes], ["s1", ns, [write]], "subgraph's state");
    check((await other.get(first.threadId, "research")) === undefined, "nothing under another namespace");
  },
};

export const writeCases: readonly ConformanceCase[] = [order, crash, replaced, apart, batch, subgraphIds];
