/**
 * One process of the SQLite tests that need several. It speaks through synchronous writes to stdout, so that what it
 * has printed is what it knew when it was killed.
 *
 *   write PATH NAME [pause-at N]   commits in a loop on a thread of its own: `ack ID`; inside commit N: `inside ID`
 *   race PATH NAME ROUNDS OF [unfenced]   claims and commits against OF - 1 others: `round N won|CODE`
 *   check PATH NAME                a claim, task writes, commits and reads on a thread of its own: `read JSON`
 *   idle PATH NAME                 opens the store, claims a thread, prints `idle`, and tries one commit on SIGUSR2
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { SqliteSaver, type SqliteSaverOptions } from "../../adapters/sqlite/mod.ts";
import type { Claim, Commit, Fence } from "../../src/checkpoint/saver.ts";
import { AgentmaticError } from "../../src/errors.ts";
import type { RunSpec } from "../../src/run/record.ts";

const [, , mode = "", path = "", name = "", ...rest] = process.argv;

if (mode === "write") await write(rest[0] === "pause-at" ? Number(rest[1]) : undefined);
else if (mode === "race") await race(Number(rest[0]), Number(rest[1]), rest[2] === "unfenced");
else if (mode === "check") await check();
else if (mode === "idle") await idle();
else throw new Error(`unknown mode ${mode}`);

async function write(pauseAt: number | undefined): Promise<void> {
  let inside = "";
  const store = await open({ inTransaction: () => inside !== "" && pause(inside) });
  const { fence } = await own(store, name);
  let head: string | null = null;
  for (let seq = 1; ; seq++) {
    const commitId: string = `${name}-${seq}`;
    inside = seq === pauseAt ? commitId : "";
    const [result] = await store.commit([commitOf(fence, head, commitId, seq)]);
    if (!result?.ok) throw result?.error;
    say(`ack ${commitId}`);
    head = commitId;
  }
}

/** Between the statements and their COMMIT, for as long as it takes: whoever stops this process stops it in here. */
function pause(commitId: string): void {
  say(`inside ${commitId}`);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
}

async function race(rounds: number, of: number, unfenced: boolean): Promise<void> {
  const store = await open({ unsafeWithoutFence: unfenced });
  const spec = specOf("race");
  await store.admit({ spec, coordinator: null, whenBusy: "reject" });
  for (let round = 1; round <= rounds; round++) {
    await meet(store, of);
    const { commitId: expectedHead = null } = (await store.head("race")) ?? {};
    await meet(store, of);
    const claim = {
      threadId: "race",
      runId: spec.runId,
      attempt: 1,
      owner: name,
      nonce: `${name}-${round}`.padEnd(22, "-"),
    };
    const { fence } = await store.claim(claim);
    const [result] = await store.commit([commitOf(fence, expectedHead, `${round}-${name}`, round)]);
    say(`round ${round} ${result?.ok ? "won" : result?.error.code} ${fence.epoch}`);
  }
  await store.close();
}

/** Waits until all of them have come as far: each counts a beat of its own, and looks at the others'. */
async function meet(store: SqliteSaver, of: number): Promise<void> {
  const mine = await store.beat(name);
  for (;;) {
    const members = await store.members();
    if (members.length === of && members.every(({ beat }) => beat >= mine)) return;
    await delay(1);
  }
}

async function check(): Promise<void> {
  const store = await open({});
  const { fence, record } = await own(store, name);
  const first = commitOf(fence, null, `${name}-1`, 1);
  const write = { ns: "", checkpointId: `${name}-1`, kind: "done" } as const;
  const written = await store.putWrites([
    { fence, writes: [{ ...write, taskId: "\u{1F600}", path: "b", data: new Uint8Array() }] },
    { fence, writes: [{ ...write, taskId: "\uFFFD", path: "b", data: new Uint8Array([0, 255]) }] },
    {
      fence: { ...fence, nonce: "another" },
      writes: [{ ...write, taskId: "late", path: "a", data: new Uint8Array(1) }],
    },
  ]);
  const committed = await store.commit([first, first, commitOf(fence, `${name}-1`, `${name}-2`, 2)]);
  const results = [...written, ...committed].map((result) => (result.ok ? "ok" : result.error.code));
  const read = await store.get(name, "", `${name}-1`);
  const again = await store.get(name, "");
  say(`read ${JSON.stringify({ results, base: record.state.base, epoch: fence.epoch, read, again })}`);
  await store.close();
}

async function idle(): Promise<void> {
  const store = await open({});
  const { fence } = await own(store, name);
  process.on("SIGUSR2", async () => {
    const [result] = await store.commit([commitOf(fence, null, `${name}-1`, 1)]);
    say(`late ${result?.ok ? "ok" : result?.error.code}`);
  });
  setInterval(() => {}, 60_000);
  say("idle");
}

async function open(options: Partial<SqliteSaverOptions>): Promise<SqliteSaver> {
  const store = new SqliteSaver({ path, ...options });
  await store.setup();
  return store;
}

async function own(store: SqliteSaver, threadId: string): Promise<Claim> {
  const spec = specOf(threadId);
  await store.admit({ spec, coordinator: null, whenBusy: "reject" });
  return store.claim({ threadId, runId: spec.runId, attempt: 1, owner: name, nonce: `${name}`.padEnd(22, "-") });
}

function specOf(threadId: string): RunSpec {
  return {
    runId: `run-${threadId}`,
    threadId,
    kind: "input",
    graph: { name: "test", version: "1" },
    input: new Uint8Array([1]),
    inputHash: "same",
    correlationId: "test",
    maxSteps: 1_000_000,
    maxAttempts: 3,
    createdAtMs: 0,
  };
}

function commitOf(fence: Fence, expectedHead: string | null, commitId: string, seq: number): Commit {
  return {
    fence,
    expectedHead,
    commitId,
    seq,
    checkpoint: {
      ns: "",
      checkpointId: commitId,
      parentId: expectedHead,
      runId: `run-${fence.threadId}`,
      step: seq,
      versions: { value: seq },
      values: { value: new TextEncoder().encode(commitId) },
      body: new Uint8Array(),
    },
  };
}

function say(line: string): void {
  writeSync(1, `${line}\n`);
}

// A refusal that nobody expected ends the process with its code on stderr.
process.on("unhandledRejection", (error) => {
  writeSync(2, `failed ${error instanceof AgentmaticError ? error.code : ""} ${String(error)}\n`);
  process.exit(1);
});
