/** Channels kept in pieces: a full value, and what later commits changed of it (the port's `deltas` and `changes`). */
import type { Commit, Saver } from "../checkpoint/saver.ts";
import { piecesMax } from "../checkpoint/saver.ts";
import { check, done, equal, refused } from "./assert.ts";
import type { ConformanceCase } from "./case.ts";
import {
  advance,
  bytes,
  committed,
  dump,
  finishOf,
  type Holding,
  held,
  nextCommit,
  type StepOptions,
  text,
} from "./fixture.ts";

interface Pieces {
  readonly deltas: Readonly<Record<string, readonly number[]>>;
  readonly changes?: Readonly<Record<string, Uint8Array>>;
}

function pieceCommit(holding: Holding, pieces: Pieces, options: StepOptions = {}): Commit {
  const commit = nextCommit(holding, { values: {}, ...options });
  return { ...commit, checkpoint: { ...commit.checkpoint!, ...pieces } };
}

async function pieced(saver: Saver, holding: Holding, pieces: Pieces, options: StepOptions = {}): Promise<void> {
  const commit = pieceCommit(holding, pieces, options);
  done(await saver.commit([commit]));
  advance(holding, commit);
}

async function read(saver: Saver, threadId: string, id?: string): Promise<Record<string, unknown[]>> {
  const { checkpoint } = (await saver.get(threadId, "", id))!;
  const all = Object.entries(checkpoint.values).map(([name, value]): [string, unknown[]] => {
    const pieces = Object.hasOwn(checkpoint.pieces, name) ? checkpoint.pieces[name]! : [];
    return [name, [text(value), ...pieces.map(text)]];
  });
  return Object.fromEntries(all);
}

const inOrder: ConformanceCase = {
  name: "pieces come back in the order of their list, for each checkpoint those that it names",
  rules: ["port"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const { threadId } = holding;
    await committed(saver, holding, { checkpointId: "one", values: { list: bytes("full"), __proto__: bytes("p") } });
    await pieced(saver, holding, { deltas: { list: [2] }, changes: { list: bytes("2") } }, { checkpointId: "two" });
    await pieced(
      saver,
      holding,
      { deltas: { list: [2, 3], ["__proto__"]: [3] }, changes: { list: bytes("3"), ["__proto__"]: bytes("p3") } },
      { checkpointId: "three" },
    );
    await pieced(saver, holding, { deltas: { list: [2, 3] } }, { checkpointId: "four" });
    // What a merged piece has replaced is left out of the list.
    await pieced(
      saver,
      holding,
      { deltas: { list: [5] }, changes: { list: bytes("2 3 5") } },
      { checkpointId: "five" },
    );
    await committed(saver, holding, { checkpointId: "six", values: { list: bytes("whole again") } });
    const other = await open();
    equal((await read(other, threadId, "one")).list, ["full"], "one");
    equal((await read(other, threadId, "two")).list, ["full", "2"], "two");
    equal((await read(other, threadId, "three")).list, ["full", "2", "3"], "three");
    equal((await read(other, threadId, "four")).list, ["full", "2", "3"], "four, which wrote nothing");
    equal((await read(other, threadId, "five")).list, ["full", "2 3 5"], "five, with a merged piece");
    equal((await read(other, threadId)).list, ["whole again"], "current");
    equal((await other.get(threadId, "", "three"))?.checkpoint.deltas?.list, [2, 3], "list of commits");
    const listed = await other.list({ threadId, limit: 10 });
    equal(
      listed.map(({ checkpoint }) => (checkpoint.pieces.list ?? []).map(text)),
      [[], ["2 3 5"], ["2", "3"], ["2", "3"], ["2"], []],
      "pieces of listed checkpoints",
    );
  },
};

const ofItsLine: ConformanceCase = {
  name: "a fork reads the pieces of its own line",
  rules: ["P8", "port"],
  async run({ open }) {
    const saver = await open();
    const first = await held(saver);
    const { threadId } = first;
    await committed(saver, first, { checkpointId: "one", values: { list: bytes("full") } });
    const { versions } = first;
    await pieced(saver, first, { deltas: { list: [2] }, changes: { list: bytes("a2") } }, { checkpointId: "two" });
    await pieced(
      saver,
      first,
      { deltas: { list: [2, 3] }, changes: { list: bytes("a3") } },
      { checkpointId: "three", finish: finishOf(first) },
    );
    const fork = await held(saver, { threadId, fromCheckpointId: "two" });
    fork.versions = versions;
    const own = { deltas: { list: [2, 4] }, changes: { list: bytes("b4") } };
    await pieced(saver, fork, own, { checkpointId: "fork", parentId: "two" });
    const other = await open();
    equal((await read(other, threadId)).list, ["full", "a2", "b4"], "the fork");
    equal((await read(other, threadId, "three")).list, ["full", "a2", "a3"], "the other line");
  },
};

const refusedLists: ConformanceCase = {
  name: "a list of pieces that could not be read back is refused, naming the channel, and nothing of it is stored",
  rules: ["port"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    await committed(saver, holding, { values: { list: bytes("full") } });
    await pieced(saver, holding, { deltas: { list: [2] }, changes: { list: bytes("2") } });
    const before = await dump(saver, holding.threadId, [holding.runId]);
    const long = Array.from({ length: piecesMax + 1 }, (_, index) => index + 2);
    const wrong: [string, Pieces, StepOptions?][] = [
      ["out of order", { deltas: { list: [3, 2] }, changes: { list: bytes("x") } }],
      ["not above the full value", { deltas: { list: [1, 3] }, changes: { list: bytes("x") } }],
      ["of a later commit", { deltas: { list: [4] } }],
      ["no commit's number", { deltas: { list: [2.5, 3] }, changes: { list: bytes("x") } }],
      ["empty", { deltas: { list: [] } }],
      ["too long", { deltas: { list: long } }],
      ["own piece missing", { deltas: { list: [2, 3] } }],
      ["piece that is not named", { deltas: { list: [2] }, changes: { list: bytes("x") } }],
      [
        "beside a full value",
        { deltas: { list: [3] }, changes: { list: bytes("x") } },
        { values: { list: bytes("y") } },
      ],
    ];
    for (const [what, pieces, options] of wrong) {
      const answers = await saver.commit([pieceCommit(holding, pieces, options)]);
      refused(answers, "InvalidArgument");
      const [answer] = answers;
      const named = answer?.ok === false && answer.error.message.includes("list");
      check(named, `${what}: an error that names the channel`);
    }
    equal(await dump(saver, holding.threadId, [holding.runId]), before, "store after refused commits");
    await pieced(saver, holding, { deltas: { list: [2, 3] }, changes: { list: bytes("3") } });
    equal((await read(saver, holding.threadId)).list, ["full", "2", "3"], "the next one, which is right");
  },
};

const atMost: ConformanceCase = {
  name: "a channel of as many pieces as there may be comes back whole",
  rules: ["port"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    await committed(saver, holding, { values: { list: bytes("full") } });
    const seqs: number[] = [];
    for (let seq = 2; seq < piecesMax + 2; seq++) {
      seqs.push(seq);
      await pieced(saver, holding, { deltas: { list: [...seqs] }, changes: { list: bytes(String(seq)) } });
    }
    equal((await read(await open(), holding.threadId)).list, ["full", ...seqs.map(String)], "pieces");
  },
};

export const pieceCases: readonly ConformanceCase[] = [inOrder, ofItsLine, refusedLists, atMost];
