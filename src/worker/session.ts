/** One coordinator's link, from the worker's side. */
import { AgentmaticError, errorValue } from "../errors.ts";
import { Backlog, both, eventBytes } from "../run/backlog.ts";
import { Channel } from "../run/channel.ts";
import { type RunEvent, unreadBytesMax } from "../run/events.ts";
import type { RunEnd, StoreRef, ToCoordinator, ToWorker } from "../run/link.ts";
import type { Follower } from "./feed.ts";
import type { Active, Slots } from "./slots.ts";

/** Frames that wait for the coordinator to read them; beyond it followed runs wait at their next superstep. */
const framesMax = 1_024;
/** A coordinator unheard for this many heartbeats is gone: its permits lapse, its runs go on (P29). */
const silentBeats = 10;
/** Events in one frame. */
const batchMax = 256;

export class Session {
  readonly out: Channel<ToCoordinator> = new Channel(framesMax);
  readonly #worker: Slots;
  readonly #onBeat: () => void;
  readonly #followed: Map<Active, Follower> = new Map();
  /** Runs whose readers have no room. */
  readonly #held: Map<string, PromiseWithResolvers<void>> = new Map();
  #batch: RunEvent[] = [];
  #flow: Promise<void> | undefined;
  #cancelBeat: (() => void) | undefined;
  #cancelWatch: (() => void) | undefined;
  #seen = 0;
  readonly #backlog: Backlog = new Backlog();
  #free = -1;
  #sentSeen = -1;
  #beats = 0;
  #heardMs = 0;
  #saidDraining = false;

  /** `onBeat`: the time to let unused permits go round. */
  constructor(worker: Slots, onBeat: () => void) {
    this.#worker = worker;
    this.#onBeat = onBeat;
  }

  /** True once the coordinator has said who it is: before that it gets no permits. */
  get greeted(): boolean {
    return this.#cancelWatch !== undefined;
  }

  #greet(store: StoreRef): void {
    this.#compareStores(store);
    this.#send({ type: "welcome", worker: this.#worker.info });
    this.#cancelWatch ??= this.#worker.onChange(() => this.#watchDrain());
    this.#watchDrain();
    this.#cancelBeat?.();
    this.#beat(this.#worker.ports.clock.monotonicMs());
  }

  close(error?: AgentmaticError): void {
    this.#cancelBeat?.();
    this.#cancelWatch?.();
    for (const [active, follower] of this.#followed) active.feed.leave(follower);
    this.#followed.clear();
    // A run outlives its readers: nobody is left to let it go on.
    for (const runId of [...this.#held.keys()]) this.#letGo(runId);
    this.#backlog.clear();
    this.out.close(error);
  }

  /** Frames for the coordinator, counted as they are taken. */
  async *frames(): AsyncGenerator<ToCoordinator, void> {
    for await (const frame of this.out) {
      if (frame.type === "events") this.#backlog.take(bytesOf(frame.events));
      yield frame;
    }
  }

  async read(inbound: AsyncIterable<ToWorker>): Promise<void> {
    try {
      for await (const frame of inbound) {
        this.#heardMs = this.#worker.ports.clock.monotonicMs();
        this.#receive(frame);
      }
      this.close();
    } catch (thrown) {
      const error = AgentmaticError.from(thrown);
      this.#worker.ports.logger.log("debug", "a link broke", { code: error.code });
      this.close(error);
    }
  }

  permit(free: number): void {
    if (free === this.#free && this.#seen === this.#sentSeen) return;
    this.#free = free;
    this.#sentSeen = this.#seen;
    this.#send({ type: "permits", seen: this.#seen, free });
  }

  #receive(frame: ToWorker): void {
    if (frame.type === "hello") {
      this.#greet(frame.store);
    } else if (!this.greeted) {
      throw new AgentmaticError("InvalidArgument", `frame: the first must be hello, not ${frame.type}`);
    } else if (frame.type === "dispatch") {
      this.#seen++;
      const follower = this.#follower(frame.runId);
      try {
        this.#track(this.#worker.take(frame, follower), follower);
        this.#send({ type: "accepted", runId: frame.runId, attempt: frame.attempt });
      } catch (thrown) {
        this.#refuse(frame.runId, frame.attempt, thrown);
      }
    } else if (frame.type === "attach") {
      const active = this.#worker.find(frame.runId);
      if (!active || active.dispatch.attempt !== frame.attempt) {
        this.#refuse(frame.runId, frame.attempt, new AgentmaticError("NotFound", "the run is not in a slot here"));
        return;
      }
      // Asked again, as for more kinds of events, it stays one follower.
      const follower = this.#followed.get(active) ?? this.#follower(frame.runId);
      active.feed.follow(follower, frame.events);
      this.#track(active, follower);
      this.#send({ type: "accepted", runId: frame.runId, attempt: frame.attempt });
    } else if (frame.type === "cancel") {
      this.#worker.find(frame.runId)?.cancel.abort();
    } else if (frame.type === "flow") {
      if (frame.open || this.#worker.draining || !this.#worker.find(frame.runId)) this.#letGo(frame.runId);
      else if (!this.#held.has(frame.runId)) this.#held.set(frame.runId, Promise.withResolvers());
    }
  }

  #letGo(runId: string): void {
    this.#held.get(runId)?.resolve();
    this.#held.delete(runId);
  }

  /** Application and worker must mean the same data. Stores in each process's own memory are known to differ. */
  #compareStores(theirs: StoreRef): void {
    const ours = this.#worker.info.store;
    if (theirs.id === ours.id || !(theirs.shared || ours.shared)) return;
    const text = `the coordinator's store is ${describe(theirs)}, the worker's is ${describe(ours)}: give both the same one`;
    throw new AgentmaticError("FailedPrecondition", text);
  }

  #follower(runId: string): Follower {
    const flow = () => both(this.#held.get(runId)?.promise, both(this.#flow, this.#backlog.flow()));
    return { event: (event) => this.#event(event), end: (end) => this.#ended(end), flow };
  }

  #track(active: Active, follower: Follower): void {
    this.#followed.set(active, follower);
    void active.end.then(() => {
      this.#followed.delete(active);
      this.#letGo(active.dispatch.runId);
    });
  }

  #refuse(runId: string, attempt: number, thrown: unknown): void {
    this.#send({ type: "refusal", runId, attempt, error: errorValue(AgentmaticError.from(thrown)) });
    // The coordinator has used a permit that this frame gives back.
    this.permit(this.#free);
  }

  /** Events of one turn of the event loop travel in one frame. */
  #event(event: RunEvent): void {
    this.#batch.push(event);
    if (this.#batch.length === 1) queueMicrotask(() => this.#flush());
    else if (this.#batch.length >= batchMax) this.#flush();
  }

  #flush(): void {
    if (this.#batch.length === 0) return;
    const events = this.#batch;
    this.#batch = [];
    this.#backlog.add(bytesOf(events));
    if (this.#backlog.bytes > unreadBytesMax) {
      // The coordinator does not read: cut off it comes back, and reads what was committed from the store.
      this.close(new AgentmaticError("ResourceExhausted", `over ${unreadBytesMax} bytes of events were not read`));
      return;
    }
    this.#send({ type: "events", events });
  }

  #ended(end: RunEnd): void {
    this.#flush();
    this.#send(end);
  }

  #send(frame: ToCoordinator): void {
    if (this.out.push(frame)) return;
    // Only the newest wait is kept: sends are answered in order, so it is the last to be answered.
    const sent = this.out.send(frame).catch(() => undefined);
    this.#flow = sent;
    void sent.then(() => {
      if (this.#flow === sent) this.#flow = undefined;
    });
  }

  #beat(plannedMs: number): void {
    const { ports, heartbeatMs, active } = this.#worker;
    const nowMs = ports.clock.monotonicMs();
    if (this.#beats === 0) this.#heardMs = nowMs;
    // A pause of this process is not the coordinator's silence.
    if (nowMs - plannedMs > heartbeatMs) this.#heardMs = nowMs;
    if (nowMs - this.#heardMs > heartbeatMs * silentBeats) {
      this.close(new AgentmaticError("Unavailable", "the coordinator was silent"));
      return;
    }
    const loopDelayMs = Math.max(0, Math.round(nowMs - plannedMs));
    // Not worth waiting for room: the next one says the same.
    this.out.push({ type: "heartbeat", count: ++this.#beats, active, loopDelayMs });
    this.#onBeat();
    this.#cancelBeat = ports.timers.after(heartbeatMs, () => this.#beat(nowMs + heartbeatMs));
  }

  #watchDrain(): void {
    if (!this.#worker.draining || this.#saidDraining) return;
    this.#saidDraining = true;
    // What waits for its readers goes on to the superstep boundary at which it is handed over.
    for (const runId of [...this.#held.keys()]) this.#letGo(runId);
    this.#send({ type: "draining" });
  }
}

function bytesOf(events: readonly RunEvent[]): number {
  return events.reduce((sum, event) => sum + eventBytes(event), 0);
}

function describe({ kind, id, region }: StoreRef): string {
  return `${kind} ${id}${region === "" ? "" : ` in ${region}`}`;
}
