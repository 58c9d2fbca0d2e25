/**
 * A worker endpoint without an engine: it follows the same rules of conversation, and what a "run" does stands in its
 * input. Runs by dispatch take theirs from the graph's name.
 */
import { AgentmaticError, type ErrorCode, errorValue } from "../../src/errors.ts";
import { Channel } from "../../src/run/channel.ts";
import type { RunEvent } from "../../src/run/events.ts";
import type {
  Dispatch,
  ExecuteFrame,
  NewRun,
  RunEnd,
  ToCoordinator,
  ToWorker,
  WorkerEndpoint,
  WorkerInfo,
} from "../../src/run/link.ts";

/** What a run is told to do. */
export interface EchoInput {
  text?: string;
  /** Emits this many events, one a batch. */
  events?: number;
  /** Waits for this long, or until the call is given up. */
  waitMs?: number;
  /** Throws an error of this code. */
  fail?: ErrorCode;
  /** Throws something that is no error of ours. */
  crash?: string;
  /** Answers with a text of this many characters. */
  size?: number;
}

export const echoWorker: WorkerInfo = {
  workerId: "echo-worker-000000000000",
  name: "echo",
  region: "eu-west-1",
  labels: { tier: "test" },
  slots: 4,
  graphs: [{ name: "echo", version: "1" }],
  store: { id: "store-1", kind: "memory", zone: "", region: "", shared: false },
  packageVersion: "0.1.0",
  heartbeatMs: 1000,
};

export function toJson(bytes: Uint8Array): null {
  return JSON.parse(new TextDecoder().decode(bytes));
}

/** The endpoint, and what it has seen: for tests of cancellation and of what arrived. */
export class EchoEndpoint implements WorkerEndpoint {
  readonly seen: (NewRun | Dispatch)[] = [];
  /** Calls that ended because their caller gave up. */
  abandoned = 0;
  /** Links that are open now. */
  links = 0;
  readonly #draining = new AbortController();

  /** Says `draining` on every link, and ends it. */
  drain(): void {
    this.#draining.abort();
  }

  async describe(): ReturnType<WorkerEndpoint["describe"]> {
    return { worker: echoWorker, draining: this.#draining.signal.aborted };
  }

  async *link(inbound: AsyncIterable<ToWorker>, signal: AbortSignal): AsyncIterable<ToCoordinator> {
    const out = new Channel<ToCoordinator>(16);
    const onAbort = () => out.close();
    const onDrain = () => void out.send({ type: "draining" }).then(() => out.close(), onAbort);
    signal.addEventListener("abort", onAbort);
    this.#draining.signal.addEventListener("abort", onDrain);
    this.links++;
    this.#answer(inbound, out, signal).then(
      () => out.close(),
      (error) => out.close(error),
    );
    try {
      yield* { [Symbol.asyncIterator]: () => out[Symbol.asyncIterator]() };
    } finally {
      this.links--;
      signal.removeEventListener("abort", onAbort);
      this.#draining.signal.removeEventListener("abort", onDrain);
      if (signal.aborted) this.abandoned++;
    }
  }

  async *execute(run: NewRun | Dispatch, signal: AbortSignal): AsyncIterable<ExecuteFrame> {
    this.seen.push(run);
    const input = (run.type === "new" ? (run.input ?? run.resume ?? {}) : {}) as EchoInput;
    if (input.fail) {
      const details = { field: "input.fail", n: 1, on: true };
      throw new AgentmaticError(input.fail, `told to fail: ünïcode – %`, {
        details,
        retryAfterMs: 1500,
        cause: "secret",
      });
    }
    if (run.type === "new" && run.graph === "stats") {
      yield endOf(run, JSON.stringify({ abandoned: this.abandoned, links: this.links, seen: this.seen.length }));
      return;
    }
    if (input.crash) throw new TypeError(input.crash);
    for (let n = 0; n < (input.events ?? 0) && !signal.aborted; n++) {
      yield { type: "events", events: [event(run.runId, n, JSON.stringify({ n }))] };
    }
    if (input.waitMs) await wait(input.waitMs, signal);
    if (signal.aborted) {
      this.abandoned++;
      return;
    }
    const text = input.size ? "x".repeat(input.size) : (input.text ?? "");
    yield endOf(run, JSON.stringify({ text, threadId: run.threadId }));
  }

  async #answer(inbound: AsyncIterable<ToWorker>, out: Channel<ToCoordinator>, signal: AbortSignal): Promise<void> {
    for await (const frame of inbound) {
      if (signal.aborted) return;
      switch (frame.type) {
        case "hello":
          await out.send({ type: "welcome", worker: echoWorker });
          await out.send({ type: "permits", seen: 0, free: echoWorker.slots });
          break;
        case "heartbeat":
          await out.send(frame);
          break;
        case "dispatch":
          await this.#run(frame, out, signal);
          break;
        case "attach": {
          const error = errorValue(new AgentmaticError("NotFound", `run ${frame.runId} is not here`));
          await out.send({ type: "refusal", runId: frame.runId, attempt: frame.attempt, error });
          break;
        }
        case "cancel":
          await out.send(endOf({ runId: frame.runId }, "null", "cancelled"));
      }
    }
  }

  async #run(dispatch: Dispatch, out: Channel<ToCoordinator>, signal: AbortSignal): Promise<void> {
    await out.send({ type: "accepted", runId: dispatch.runId, attempt: dispatch.attempt });
    for await (const frame of this.execute(dispatch, signal)) await out.send(frame);
  }
}

function event(runId: string, n: number, data: string): RunEvent {
  return {
    runId,
    kind: "values",
    epoch: 1,
    attempt: 1,
    seq: n + 1,
    ns: "",
    node: "echo",
    taskId: `t${n}`,
    data: bytes(data),
  };
}

function endOf(run: { runId: string }, values: string, status: RunEnd["status"] = "succeeded"): RunEnd {
  return {
    type: "end",
    runId: run.runId || "minted",
    attempt: 1,
    epoch: 1,
    status,
    checkpointId: "cp-1",
    values: bytes(values),
  };
}

function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

const encoder = new TextEncoder();

function bytes(text: string): Uint8Array {
  return encoder.encode(text);
}
