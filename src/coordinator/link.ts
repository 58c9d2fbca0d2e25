/**
 * One coordinator's link to one worker address: connects, says hello, listens for heartbeats, connects again.
 *
 * A broken stream is tried again at once before the worker counts as lost (PROTOCOL.md P14); a worker that says nothing
 * for `silentMs` counts as silent. Neither is more than a guess: the fence makes a wrong one harmless.
 */
import { AgentmaticError } from "../errors.ts";
import type { WorkerView } from "../placement/view.ts";
import { type Ports, sleep } from "../ports.ts";
import { orAborted } from "../run/abort.ts";
import { Channel } from "../run/channel.ts";
import type {
  Dialer,
  Dispatch,
  GraphRef,
  StoreRef,
  ToCoordinator,
  ToWorker,
  WorkerEndpoint,
  WorkerInfo,
} from "../run/link.ts";

export interface LinkOptions {
  readonly address: string;
  readonly dialer: Dialer;
  readonly ports: Ports;
  readonly coordinatorId: string;
  readonly store: StoreRef;
  readonly graphs: () => readonly GraphRef[];
  readonly silentMs: number;
  readonly packageVersion: string;
  readonly listener: LinkListener;
}

export interface LinkListener {
  /** The worker is there (again): `same` where it is the process that was there before. */
  up(link: WorkerLink, same: boolean): void;
  frame(link: WorkerLink, frame: ToCoordinator): void;
  /** The worker is gone or silent. Told before a successor at the same address is welcomed. */
  down(link: WorkerLink, reason: "lost" | "silent"): void;
  /** Permits, health or draining changed. */
  changed(link: WorkerLink): void;
}

/** Frames that wait to be sent. */
const outboundMax = 4_096;
const retryFirstMs = 100;
const retryMaxMs = 2_000;
/** How often silence is looked for, as a part of the limit. */
const checksPerLimit = 20;
/** However long the worker may be silent, it is to hear of us more often. */
const checkMsMax = 500;

export class WorkerLink {
  readonly address: string;
  readonly #options: LinkOptions;
  readonly #endpoint: WorkerEndpoint & { close(): Promise<void> };
  readonly #closed: AbortController = new AbortController();
  #out: Channel<ToWorker> | undefined;
  #connection: AbortController | undefined;
  #info: WorkerInfo | undefined;
  #lastError: AgentmaticError | undefined;
  #heardMs = 0;
  #up = false;
  #draining = false;
  #sent = 0;
  #seen = 0;
  #free = 0;
  readonly #onTried: () => void;
  #silent = false;
  #reported = false;
  readonly active: Set<string> = new Set();

  constructor(options: LinkOptions) {
    this.#options = options;
    this.address = options.address;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.tried = promise;
    this.#onTried = resolve;
    this.#endpoint = options.dialer.dial(options.address);
    void this.#connectLoop();
  }

  /** What is known of the worker, also while it is away; undefined before it was first reached. */
  get view(): WorkerView | undefined {
    if (!this.#info) return undefined;
    const permits = this.#up ? Math.max(0, this.#free - (this.#sent - this.#seen)) : 0;
    const { address, active } = this;
    return { info: this.#info, address, permits, active: active.size, draining: this.#draining, healthy: this.#up };
  }

  /** Resolves once the first try to connect has succeeded or failed. */
  readonly tried: Promise<void>;

  /** Why the worker cannot be used now. */
  get problem(): AgentmaticError | undefined {
    return this.#up ? undefined : this.#lastError;
  }

  dispatch(dispatch: Dispatch): boolean {
    if (!this.#send(dispatch)) return false;
    this.#sent++;
    this.active.add(dispatch.runId);
    return true;
  }

  attach(runId: string, attempt: number, events: Dispatch["events"]): boolean {
    if (!this.#send({ type: "attach", runId, attempt, events })) return false;
    this.active.add(runId);
    return true;
  }

  /** Asks the worker to hold a run at its next superstep, or to let it go on. */
  flow(runId: string, open: boolean): void {
    this.#send({ type: "flow", runId, open });
  }

  cancel(runId: string): void {
    this.#send({ type: "cancel", runId });
  }

  /** Counts the worker as lost, unless that was said before. */
  lost(): void {
    this.#report("lost");
  }

  async close(): Promise<void> {
    this.#closed.abort(new AgentmaticError("Cancelled", "the coordinator is closed"));
    this.#connection?.abort(this.#closed.signal.reason);
    this.#out?.close();
    await this.#endpoint.close();
  }

  #send(frame: ToWorker): boolean {
    return this.#up && this.#out?.push(frame) === true;
  }

  async #connectLoop(): Promise<void> {
    const { ports } = this.#options;
    let hurried = 0;
    for (let delayMs = 0; !this.#closed.signal.aborted; ) {
      if (delayMs > 0)
        await sleep(ports.timers, delayMs * (0.5 + ports.random.next() / 2), this.#closed.signal).catch(() => {});
      if (this.#closed.signal.aborted) return;
      const before = this.#info?.workerId;
      const startMs = ports.clock.monotonicMs();
      const reached = await this.#connectOnce();
      this.#onTried();
      if (this.#closed.signal.aborted) return;
      if (reached) {
        // Its stream has ended. Once more at once: only a worker that does not answer now is lost. A stream that ends as
        // soon as it begins is no reason to hurry.
        const brief = ports.clock.monotonicMs() - startMs < retryMaxMs;
        hurried = brief ? hurried + 1 : 0;
        delayMs = hurried > 1 ? Math.min(retryMaxMs, retryFirstMs * 2 ** Math.min(hurried, 8)) : 0;
        if (this.#silent) this.#report("silent");
        continue;
      }
      hurried = 0;
      if (before !== undefined) this.#report("lost");
      this.#options.listener.changed(this);
      delayMs = Math.min(retryMaxMs, Math.max(retryFirstMs, delayMs * 2));
    }
  }

  #report(reason: "lost" | "silent"): void {
    if (!this.#info || this.#reported) return;
    this.#reported = true;
    this.#options.listener.down(this, reason);
  }

  /** Resolves when the connection is over: true if the worker had welcomed us. */
  async #connectOnce(): Promise<boolean> {
    const connection = new AbortController();
    this.#connection = connection;
    const out = new Channel<ToWorker>(outboundMax);
    this.#out = out;
    this.#silent = false;
    this.#heardMs = this.#options.ports.clock.monotonicMs();
    const stopWatch = this.#watchSilence(connection);
    let welcomed = false;
    try {
      out.push(this.#hello());
      const frames = this.#endpoint.link(out, connection.signal)[Symbol.asyncIterator]();
      // A frozen worker's stream may not end by itself: silence ends the wait.
      const read = () => orAborted(connection.signal, frames.next());
      for (let next = await read(); !next.done; next = await read()) {
        this.#heardMs = this.#options.ports.clock.monotonicMs();
        if (next.value.type === "welcome") {
          welcomed = true;
          this.#welcome(next.value.worker);
        } else if (welcomed) {
          this.#receive(next.value);
        }
      }
      this.#lastError = new AgentmaticError("Unavailable", `worker ${this.address} ended the link`);
    } catch (thrown) {
      this.#lastError = AgentmaticError.from(thrown, "Unavailable");
    }
    stopWatch();
    this.#up = false;
    connection.abort(new AgentmaticError("Cancelled", "the link is over"));
    out.close();
    if (welcomed) this.#options.listener.changed(this);
    return welcomed;
  }

  #hello(): ToWorker {
    const { coordinatorId, store, graphs, packageVersion } = this.#options;
    return { type: "hello", coordinatorId, store, graphs: graphs(), packageVersion };
  }

  #welcome(info: WorkerInfo): void {
    const before = this.#info?.workerId;
    const same = before === info.workerId;
    if (before !== undefined && !same) this.#report("lost");
    this.#info = info;
    this.#up = true;
    this.#reported = false;
    this.#onTried();
    this.#draining = false;
    this.#sent = 0;
    this.#seen = 0;
    this.#free = 0;
    this.#options.listener.up(this, same);
  }

  #receive(frame: ToCoordinator): void {
    const { listener } = this.#options;
    if (frame.type === "permits") {
      this.#seen = frame.seen;
      this.#free = frame.free;
      listener.changed(this);
    } else if (frame.type === "draining") {
      this.#draining = true;
      listener.changed(this);
    } else if (frame.type !== "heartbeat" && frame.type !== "accepted" && frame.type !== "welcome") {
      if (frame.type === "end" || frame.type === "refusal") this.active.delete(frame.runId);
      listener.frame(this, frame);
    }
  }

  #watchSilence(connection: AbortController): () => void {
    const { ports, silentMs } = this.#options;
    const periodMs = Math.min(silentMs / checksPerLimit, checkMsMax);
    let tickMs = ports.clock.monotonicMs();
    let cancel: () => void = () => {};
    let beats = 0;
    let beatMs = tickMs;
    const check = () => {
      const nowMs = ports.clock.monotonicMs();
      // After a pause of our own nothing was heard because nobody listened: start afresh.
      if (nowMs - tickMs > silentMs / 2) this.#heardMs = nowMs;
      tickMs = nowMs;
      if (nowMs - this.#heardMs >= silentMs) {
        this.#silent = true;
        connection.abort(new AgentmaticError("Unavailable", `worker ${this.address} was silent for ${silentMs} ms`));
        return;
      }
      // The worker frees the permits of a coordinator that it hears nothing of.
      if (nowMs - beatMs >= (this.#info?.heartbeatMs ?? silentMs)) {
        beatMs = nowMs;
        this.#send({ type: "heartbeat", count: ++beats, active: this.active.size, loopDelayMs: 0 });
      }
      cancel = ports.timers.after(periodMs, check);
    };
    cancel = ports.timers.after(periodMs, check);
    return () => cancel();
  }
}
