/** Values by version, bytes as they are (the port's obligations 4 and 5). */
import { encodeValue } from "../checkpoint/codec.ts";
import { check, done, equal } from "./assert.ts";
import type { ConformanceCase } from "./case.ts";
import { advance, bytes, committed, finishOf, held, nextCommit, stored, taskWrites, text } from "./fixture.ts";

const mebibyte = 1024 * 1024;

const byVersion: ConformanceCase = {
  name: "a checkpoint that writes one channel of three reads back all three, each at its version",
  rules: ["port"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const values = { a: bytes("a1"), b: bytes("b1"), c: bytes("c1") };
    await committed(saver, holding, { checkpointId: "one", values });
    await committed(saver, holding, { checkpointId: "two", values: { b: bytes("b2") } });
    await committed(saver, holding, { ns: "sub", checkpointId: "s", values: { a: bytes("sub a"), b: bytes("sub b") } });
    await committed(saver, holding, { checkpointId: "three", values: {} });
    await committed(saver, holding, { checkpointId: "four", values: { c: bytes("c5"), d: bytes("d5") } });
    const other = await open();
    const read = async (id?: string, ns = "") => {
      const found = await other.get(holding.threadId, ns, id);
      return Object.fromEntries(
        Object.entries(found?.checkpoint.values ?? {}).map(([key, value]) => [key, text(value)]),
      );
    };
    equal(await read("one"), { a: "a1", b: "b1", c: "c1" }, "first checkpoint");
    equal(await read("two"), { a: "a1", b: "b2", c: "c1" }, "second");
    equal(await read("three"), { a: "a1", b: "b2", c: "c1" }, "third, which wrote nothing");
    equal(await read(), { a: "a1", b: "b2", c: "c5", d: "d5" }, "current");
    equal(await read(undefined, "sub"), { a: "sub a", b: "sub b" }, "subgraph's");
    equal((await other.get(holding.threadId, ""))?.checkpoint.versions, { a: 1, b: 2, c: 5, d: 5 }, "versions");
    const listed = await other.list({ threadId: holding.threadId, limit: 10 });
    const names = listed.map(({ checkpoint }) => Object.keys(checkpoint.values).sort().join(""));
    equal(names, ["abcd", "abc", "abc", "abc"], "channels of listed checkpoints");
    equal(text(listed[1]?.checkpoint.values.b), "b2", "value in a listed checkpoint");
  },
};

const forked: ConformanceCase = {
  name: "a fork from an older checkpoint reads the values of its own line, and a dropped channel is gone",
  rules: ["P8"],
  async run({ open }) {
    const saver = await open();
    const first = await held(saver);
    const { threadId } = first;
    await committed(saver, first, { checkpointId: "one", values: { a: bytes("a1"), b: bytes("b1") } });
    const versionsAtOne = first.versions;
    await committed(saver, first, { checkpointId: "two", values: { a: bytes("a2"), b: bytes("b2") } });
    await committed(saver, first, { values: {}, finish: finishOf(first) });
    const fork = await held(saver, { threadId, fromCheckpointId: "one" });
    fork.versions = { a: versionsAtOne.a!, b: versionsAtOne.b! };
    await committed(saver, fork, { checkpointId: "fork", parentId: "one", values: { b: bytes("b4") } });
    const read = await (await open()).get(threadId, "");
    equal([text(read?.checkpoint.values.a), text(read?.checkpoint.values.b)], ["a1", "b4"], "values of the fork");
    fork.versions = { b: fork.versions.b! };
    await committed(saver, fork, { values: {} });
    const dropped = await saver.get(threadId, "");
    equal(Object.keys(dropped?.checkpoint.values ?? {}), ["b"], "channels after one was dropped");
    equal(text((await saver.get(threadId, "", "two"))?.checkpoint.values.a), "a2", "value of the other line");
  },
};

const anyBytes: ConformanceCase = {
  name: "bytes come back as they went in: none, zeros, no UTF-8, every byte, U+0000 in text",
  rules: ["port"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const every = Uint8Array.from({ length: 256 }, (_, index) => index);
    const samples: [string, Uint8Array][] = [
      ["empty", new Uint8Array()],
      ["zero", new Uint8Array([0])],
      ["zeros and text", new TextEncoder().encode("a\u0000b\u0000")],
      ["no UTF-8", new Uint8Array([0xff, 0xfe, 0xc0, 0x80])],
      ["every byte", every],
      ["a view", every.subarray(100, 110)],
      ["escapes", new TextEncoder().encode("\\x00 \\\\ ' \" $1 \n\r\t {} \u001a")],
      ["codec", encodeValue({ text: "a\u0000b", at: new Date(0) })],
    ];
    const commit = nextCommit(holding, { values: Object.fromEntries(samples) });
    const body = every.subarray(0, 200);
    const sent = { ...commit, checkpoint: { ...commit.checkpoint!, body } };
    done(await saver.commit([sent]));
    advance(holding, sent);
    const writes = samples.map(([name, data], index) => taskWrites(holding, `task ${index}`, { data, path: name }));
    done(await saver.putWrites([{ fence: holding.fence, writes }]));
    const read = await (await open()).get(holding.threadId, "");
    for (const [name, value] of samples) {
      equal(read?.checkpoint.values[name], value, `channel of ${name}`);
      equal(read?.writes.find((write) => write.path === name)?.data, value, `write of ${name}`);
    }
    equal(read?.checkpoint.body, body, "body");
  },
};

const anyNames: ConformanceCase = {
  name: "channels, tasks, namespaces and checkpoints of any name stay apart",
  rules: ["port"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const names = ["a", "A", "", " ", "a.b", "a/b", "a:b", "a|b", "a\nb", "'", "%", "_", "é", "e\u0301", "\u{1f600}"];
    names.push("constructor", "toString", "__proto__", "1", "0", "null");
    const values = Object.fromEntries(names.map((name, index) => [name, bytes(`value ${index}`)]));
    await committed(saver, holding, { values });
    const writes = names.map((name, index) => taskWrites(holding, name, { path: String(index).padStart(3, "0") }));
    done(await saver.putWrites([{ fence: holding.fence, writes }]));
    const other = await open();
    const read = await other.get(holding.threadId, "");
    const byName = new Map(Object.entries(read?.checkpoint.values ?? {}));
    for (const [index, name] of names.entries()) equal(text(byName.get(name)), `value ${index}`, `channel "${name}"`);
    equal(byName.size, names.length, "channels");
    equal(read?.writes, writes, "writes");
    for (const name of names) await committed(saver, holding, { ns: `sub ${name}`, checkpointId: `c ${name}` });
    for (const name of names) {
      const found = await other.list({ threadId: holding.threadId, ns: `sub ${name}`, limit: 10 });
      equal(
        found.map(({ checkpoint }) => checkpoint.checkpointId),
        [`c ${name}`],
        `namespace "sub ${name}"`,
      );
    }
  },
};

const big: ConformanceCase = {
  name: "values, bodies and writes of a mebibyte come back",
  rules: ["port"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver, { input: noise(1) });
    const commit = nextCommit(holding, { values: { a: noise(2), b: noise(3) } });
    const sent = { ...commit, checkpoint: { ...commit.checkpoint!, body: noise(4) } };
    done(await saver.commit([sent]));
    advance(holding, sent);
    const write = taskWrites(holding, "t", { data: noise(5) });
    done(await saver.putWrites([{ fence: holding.fence, writes: [write] }]));
    const other = await open();
    const read = await other.get(holding.threadId, "");
    equal([read?.checkpoint.values.a, read?.checkpoint.values.b], [noise(2), noise(3)], "values");
    equal([read?.checkpoint.body, read?.writes[0]?.data], [noise(4), noise(5)], "body and write");
    equal((await stored(other, holding.runId)).spec.input, noise(1), "input");
  },
};

/** A mebibyte that compresses badly, the same for the same seed (Lehmer's generator). */
function noise(seed: number): Uint8Array {
  const data = new Uint8Array(mebibyte);
  let state = seed;
  for (let index = 0; index < data.length; index++) {
    state = (state * 48271) % 2147483647;
    data[index] = state & 255;
  }
  return data;
}

const manyChannels: ConformanceCase = {
  name: "a checkpoint of several hundred channels over many commits",
  rules: ["port"],
  async run({ open }) {
    const saver = await open();
    const holding = await held(saver);
    const names = Array.from({ length: 300 }, (_, index) => `channel-${index}`);
    await committed(saver, holding, { values: Object.fromEntries(names.map((name) => [name, bytes(`${name} at 1`)])) });
    for (let step = 2; step < 12; step++) {
      const some = names.filter((_, index) => index % step === 0);
      await committed(saver, holding, {
        values: Object.fromEntries(some.map((name) => [name, bytes(`${name} at ${step}`)])),
      });
    }
    const read = await (await open()).get(holding.threadId, "");
    for (const name of names) {
      equal(text(read?.checkpoint.values[name]), `${name} at ${holding.versions[name]}`, "value");
    }
  },
};

const ownBytes: ConformanceCase = {
  name: "what a caller does to its bytes afterwards, or to those it read, changes nothing in the store",
  rules: ["port"],
  async run({ open }) {
    const saver = await open();
    const input = bytes("input");
    const holding = await held(saver, { input });
    const value = bytes("value");
    const commit = await committed(saver, holding, { values: { a: value } });
    const write = taskWrites(holding, "t");
    done(await saver.putWrites([{ fence: holding.fence, writes: [write] }]));
    for (const data of [input, value, commit.checkpoint!.body, write.data]) data.fill(0);
    for (let count = 0; count < 2; count++) {
      const read = await saver.get(holding.threadId, "");
      check(read !== undefined, "the checkpoint");
      const record = await stored(saver, holding.runId);
      const all = [record.spec.input, read.checkpoint.values.a!, read.checkpoint.body, read.writes[0]!.data];
      equal(all.map(text), ["input", "value", "body 1", "writes of t"], "stored bytes");
      for (const data of all) data.fill(0);
    }
  },
};

export const valueCases: readonly ConformanceCase[] = [
  byVersion,
  forked,
  anyBytes,
  anyNames,
  big,
  manyChannels,
  ownBytes,
];
