/**
 * What every protocol must do on every runtime, as plain functions over a client: vitest runs them in its own process,
 * and `matrix.ts` on Deno and Bun against servers of each runtime.
 */
import assert from "node:assert/strict";
import { errorCodes } from "../../src/errors.ts";
import { Channel } from "../../src/run/channel.ts";
import type {
  Dispatch,
  ExecuteFrame,
  NewRun,
  RunEnd,
  ToCoordinator,
  ToWorker,
  WorkerEndpoint,
} from "../../src/run/link.ts";
import { until } from "../support/wait.ts";
import { type EchoInput, echoWorker } from "./echo.ts";

export type Call = (client: WorkerEndpoint) => Promise<void>;

const never: AbortSignal = new AbortController().signal;
const megabyte = 1024 * 1024;

export function newRun(input: EchoInput, fields: Partial<NewRun> = {}): NewRun {
  return {
    type: "new",
    runId: "run-1",
    threadId: "thread-1",
    graph: "echo",
    input,
    context: { correlationId: "c" },
    maxSteps: 0,
    events: [],
    ...fields,
  };
}

export function dispatchOf(runId: string): Dispatch {
  return {
    type: "dispatch",
    runId,
    threadId: `thread of ${runId}`,
    attempt: 1,
    graph: { name: "echo", version: "1" },
    context: { correlationId: runId },
    events: ["values"],
  };
}

export async function framesOf<Frame>(stream: AsyncIterable<Frame>): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const frame of stream) frames.push(frame);
  return frames;
}

export function valuesOf(end: RunEnd | ExecuteFrame | undefined): unknown {
  assert.equal(end?.type, "end");
  assert.ok(end.values);
  return JSON.parse(new TextDecoder().decode(end.values));
}

async function ended(client: WorkerEndpoint, input: EchoInput, signal = never): Promise<unknown> {
  return valuesOf((await framesOf(client.execute(newRun(input), signal))).at(-1));
}

interface Stats {
  abandoned: number;
  links: number;
  seen: number;
}

async function stats(client: WorkerEndpoint): Promise<Stats> {
  const frames = await framesOf(client.execute(newRun({}, { graph: "stats" }), never));
  return valuesOf(frames.at(-1)) as Stats;
}

/** Waits until the server has seen one more caller go than before. */
async function abandonedAfter(client: WorkerEndpoint, body: () => Promise<void>): Promise<void> {
  const before = (await stats(client)).abandoned;
  await body();
  await until(async () => (await stats(client)).abandoned > before, { what: "the server to see its caller go" });
}

function link(client: WorkerEndpoint, signal = never) {
  const out = new Channel<ToWorker>(8);
  const frames = client.link(out, signal)[Symbol.asyncIterator]();
  const next = async (): Promise<ToCoordinator | undefined> => {
    const result = await frames.next();
    return result.done ? undefined : result.value;
  };
  return { out, next, frames };
}

const hello: ToWorker = {
  type: "hello",
  coordinatorId: "coordinator-1",
  store: echoWorker.store,
  graphs: [],
  packageVersion: "0.1.0",
};

export const cases: Readonly<Record<string, Call>> = {
  async "unary: describe"(client) {
    assert.deepEqual(await client.describe(), { worker: echoWorker, draining: false });
  },

  async "server stream: events in order, then the end"(client) {
    const frames = await framesOf(client.execute(newRun({ text: "hi", events: 200 }), never));
    const seqs = frames.flatMap((frame) => (frame.type === "events" ? frame.events.map(({ seq }) => seq) : []));
    assert.deepEqual(
      seqs,
      Array.from({ length: 200 }, (_, n) => n + 1),
    );
    assert.deepEqual(valuesOf(frames.at(-1)), { text: "hi", threadId: "thread-1" });
  },

  async "a message of 1 MiB, and one near the limit"(client) {
    for (const size of [megabyte, 15 * megabyte]) {
      const { text } = (await ended(client, { size })) as { text: string };
      assert.equal(text.length, size);
    }
    const { text } = (await ended(client, { text: "y".repeat(megabyte) })) as { text: string };
    assert.equal(text.length, megabyte);
  },

  async "a message above the limit is refused, and the connection goes on"(client) {
    await assert.rejects(ended(client, { text: "y".repeat(17 * megabyte) }), { code: "ResourceExhausted" });
    assert.deepEqual(await ended(client, { text: "still here" }), { text: "still here", threadId: "thread-1" });
  },

  async "every error code arrives with its message, details and hint"(client) {
    for (const code of Object.keys(errorCodes) as (keyof typeof errorCodes)[]) {
      await assert.rejects(ended(client, { fail: code }), (error: Error & Record<string, unknown>) => {
        assert.equal(error.name, "AgentmaticError");
        assert.equal(error.code, code);
        assert.equal(error.message, "told to fail: ünïcode – %");
        assert.equal(error.retryAfterMs, 1500);
        assert.deepEqual(error.details, { field: "input.fail", n: 1, on: true });
        assert.ok(!JSON.stringify(error).includes("secret"));
        return true;
      });
    }
  },

  async "an error that nobody meant says nothing but that it happened"(client) {
    await assert.rejects(ended(client, { crash: "state: 4711" }), (error: Error & Record<string, unknown>) => {
      assert.equal(error.code, "Internal");
      assert.equal(error.message, "internal error");
      return true;
    });
  },

  async "bad input is refused by its field"(client) {
    const run = { ...dispatchOf("r"), graph: undefined } as unknown as Dispatch;
    const bad = newRun({}, { threadId: "bad\nid" });
    await assert.rejects(framesOf(client.execute(bad, never)), {
      code: "InvalidArgument",
      message: /new_run\.thread_id/,
    });
    await assert.rejects(async () => framesOf(client.execute(run, never)));
  },

  async "cancel: the caller stops, and the server sees it"(client) {
    await abandonedAfter(client, async () => {
      const leaving = new AbortController();
      const frames: ExecuteFrame[] = [];
      for await (const frame of client.execute(newRun({ events: 1, waitMs: 60_000 }), leaving.signal)) {
        frames.push(frame);
        leaving.abort();
      }
      assert.equal(frames.length, 1);
    });
  },

  async "cancel: a reader that leaves its loop ends the call"(client) {
    await abandonedAfter(client, async () => {
      for await (const _ of client.execute(newRun({ events: 1, waitMs: 60_000 }), never)) break;
    });
  },

  async "deadline: a unary call and a stream end in time"(client) {
    await abandonedAfter(client, async () => {
      const frames = await framesOf(client.execute(newRun({ waitMs: 60_000 }), AbortSignal.timeout(150)));
      assert.deepEqual(frames, []);
    });
    const late = AbortSignal.timeout(1);
    await until(() => late.aborted, { what: "the deadline" });
    await assert.rejects(client.describe(late), { code: "DeadlineExceeded" });
    const gone = AbortSignal.abort();
    await assert.rejects(client.describe(gone), { code: "Cancelled" });
  },

  async "link: a conversation both ways"(client) {
    const { out, next, frames } = link(client);
    out.push(hello);
    assert.deepEqual(await next(), { type: "welcome", worker: echoWorker });
    assert.deepEqual(await next(), { type: "permits", seen: 0, free: echoWorker.slots });
    const beat = { type: "heartbeat", count: 1, active: 0, loopDelayMs: 5 } as const;
    for (let count = 1; count <= 50; count++) {
      await out.send({ ...beat, count });
      assert.deepEqual(await next(), { ...beat, count });
    }
    out.push(dispatchOf("run-9"));
    assert.deepEqual(await next(), { type: "accepted", runId: "run-9", attempt: 1 });
    assert.deepEqual(valuesOf((await next()) as RunEnd), { text: "", threadId: "thread of run-9" });
    out.push({ type: "attach", runId: "other", attempt: 3, events: [] });
    assert.deepEqual(await next(), {
      type: "refusal",
      runId: "other",
      attempt: 3,
      error: { code: "NotFound", message: "run other is not here" },
    });
    out.close();
    assert.equal(await next(), undefined);
    await frames.return?.();
  },

  async "link: 2,000 frames each way at once"(client) {
    const { out, next } = link(client);
    const total = 2_000;
    const sending = (async () => {
      for (let count = 0; count < total; count++)
        await out.send({ type: "heartbeat", count, active: 0, loopDelayMs: 0 });
      out.close();
    })();
    let count = 0;
    for (let frame = await next(); frame; frame = await next()) {
      assert.equal(frame.type === "heartbeat" && frame.count, count++);
    }
    assert.equal(count, total);
    await sending;
  },

  async "link: ends when its signal aborts, on both sides"(client) {
    const before = (await stats(client)).links;
    const leaving = new AbortController();
    const { out, next } = link(client, leaving.signal);
    out.push(hello);
    await next();
    await next();
    assert.equal((await stats(client)).links, before + 1);
    const idle = next();
    leaving.abort();
    assert.equal(await idle, undefined);
    await until(async () => (await stats(client)).links === before, { what: "the server to let the link go" });
    assert.ok(out.closed);
  },

  async "link: an error of the worker reaches the coordinator"(client) {
    const { out, next } = link(client);
    out.push({ type: "cancel", runId: "bad\u0000id" });
    await assert.rejects(next(), { code: "InvalidArgument", message: /cancel\.run_id/ });
    assert.ok(out.closed);
  },

  async "many calls at once"(client) {
    const texts = Array.from({ length: 100 }, (_, n) => `call ${n}`);
    const answers = await Promise.all(texts.map((text) => ended(client, { text })));
    assert.deepEqual(
      answers,
      texts.map((text) => ({ text, threadId: "thread-1" })),
    );
  },
};
