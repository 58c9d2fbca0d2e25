/** The worker's face to its callers: one session for each coordinator's link, and single executions. */
import { AgentmaticError, fromErrorValue } from "../errors.ts";
import { Backlog, both, eventBytes } from "../run/backlog.ts";
import { Channel } from "../run/channel.ts";
import { unreadBytesMax } from "../run/events.ts";
import type {
  Dispatch,
  ExecuteFrame,
  NewRun,
  RunEnd,
  ToCoordinator,
  ToWorker,
  WorkerEndpoint,
  WorkerInfo,
} from "../run/link.ts";
import { acceptNew } from "./admission.ts";
import type { Follower } from "./feed.ts";
import { Session } from "./session.ts";
import type { Slots } from "./slots.ts";

/** Frames of one execution that wait for their reader. */
const executeBufferMax = 256;

export class Endpoint implements WorkerEndpoint {
  readonly #worker: Slots;
  readonly #sessions: Session[] = [];
  #turn = 0;

  constructor(worker: Slots) {
    this.#worker = worker;
    worker.onChange(() => this.#share());
  }

  async describe(): Promise<{ worker: WorkerInfo; draining: boolean }> {
    return { worker: this.#worker.info, draining: this.#worker.draining };
  }

  async *link(inbound: AsyncIterable<ToWorker>, signal: AbortSignal): AsyncIterable<ToCoordinator> {
    const session = new Session(this.#worker, () => {
      this.#turn++;
      this.#share();
    });
    this.#sessions.push(session);
    try {
      void session.read(inbound);
      signal.addEventListener("abort", () => session.close(), { once: true });
      if (signal.aborted) session.close();
      yield* session.frames();
    } finally {
      session.close();
      this.#sessions.splice(this.#sessions.indexOf(session), 1);
      this.#share();
    }
  }

  async *execute(run: NewRun | Dispatch, signal: AbortSignal): AsyncIterable<ExecuteFrame> {
    const frames = new Channel<ExecuteFrame>(executeBufferMax);
    let flow: Promise<void> | undefined;
    const backlog = new Backlog();
    const send = (frame: ExecuteFrame) => {
      backlog.add(bytesOf(frame));
      if (backlog.bytes > unreadBytesMax) {
        frames.close(new AgentmaticError("ResourceExhausted", `over ${unreadBytesMax} bytes of events were not read`));
      } else flow = frames.send(frame).catch(() => undefined);
    };
    const follower: Follower = {
      event: (event) => send({ type: "events", events: [event] }),
      end: (end) => {
        send(end);
        void flow?.then(() => frames.close());
      },
      flow: () => both(frames.size < executeBufferMax ? undefined : flow, backlog.flow()),
    };
    const taken =
      run.type === "dispatch" ? this.#worker.take(run, follower) : await acceptNew(this.#worker, run, follower, signal);
    if ("status" in taken) {
      yield taken;
      return;
    }
    const { active, created } = "active" in taken ? taken : { active: taken, created: false };
    // A new run belongs to the caller who made it: without that one there is nobody to answer to.
    const onAbort = () => {
      if (created) active.cancel.abort();
      active.feed.leave(follower);
      backlog.clear();
      frames.close();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      for await (const frame of frames) {
        backlog.take(bytesOf(frame));
        if (frame.type === "end") throwStopped(frame);
        yield frame;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      active.feed.leave(follower);
      backlog.clear();
    }
  }

  /** Divides the free slots among the links; what does not divide goes round. */
  #share(): void {
    const sessions = this.#sessions.filter(({ greeted }) => greeted);
    const count = sessions.length;
    const { free } = this.#worker;
    sessions.forEach((session, index) => {
      const extra = (index + this.#turn) % count < free % count ? 1 : 0;
      session.permit(Math.floor(free / count) + extra);
    });
  }
}

function bytesOf(frame: ExecuteFrame): number {
  if (frame.type === "end") return 0;
  return frame.events.reduce((sum, event) => sum + eventBytes(event), 0);
}

/** A caller without a coordinator gets the reason instead of an end that is none. */
function throwStopped(end: RunEnd): void {
  if (end.status !== "queued") return;
  throw end.error ? fromErrorValue(end.error) : new AgentmaticError("Unavailable", "the attempt broke off");
}
