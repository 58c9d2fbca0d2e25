/**
 * Keeps the leases of all claims of a process alive and says how far each can be trusted.
 *
 * PROTOCOL.md P4, P5: the holder counts a lease up under its fence. After the last confirmed renewal was *sent* there is
 * credit for two thirds of the lease: within it a task may start without asking; beyond it, or after this process was
 * paused, the fence is checked first.
 */
import type { Claim, Fence, Saver } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import type { Ports } from "../ports.ts";

export interface LeaseOptions {
  /** Milliseconds without a renewal after which others may take a run over. */
  leaseMs: number;
}

export interface HeldLease {
  /** Undefined where a task may start at once; otherwise a check that rejects with `FencedOut` if the claim is over. */
  check(): Promise<void> | undefined;
  /** Aborts when the claim is over; its reason is the `FencedOut` error. */
  readonly lost: AbortSignal;
  release(): void;
}

interface Held {
  readonly fence: Fence;
  readonly runId: string;
  readonly lost: AbortController;
  readonly onCancel: () => void;
  sentMs: number;
  confirming?: Promise<void> | undefined;
}

/** Renewals are sent three times within a lease. */
const renewalsPerLease = 3;
/** A timer that fires this much later than planned means that the process stood still. */
const pauseFactor = 2;

export class LeaseKeeper {
  readonly #saver: Saver;
  readonly #ports: Ports;
  readonly #leaseMs: number;
  readonly #held: Set<Held> = new Set();
  #cancelTimer: (() => void) | undefined;
  #tickMs = 0;
  #renewing = false;
  #pausedMs = Number.NEGATIVE_INFINITY;

  constructor(saver: Saver, ports: Ports, options: LeaseOptions) {
    this.#saver = saver;
    this.#ports = ports;
    this.#leaseMs = options.leaseMs;
  }

  /** `claimedMs`: monotonic time at which the claim was sent. `onCancel`: called when the record asks for a cancel. */
  hold(claim: Claim, claimedMs: number, onCancel: () => void): HeldLease {
    const { fence, record } = claim;
    const held: Held = { fence, runId: record.spec.runId, lost: new AbortController(), onCancel, sentMs: claimedMs };
    this.#held.add(held);
    this.#schedule();
    return {
      check: () => (this.#fresh(held) ? undefined : this.#confirm(held)),
      lost: held.lost.signal,
      release: () => this.#release(held),
    };
  }

  /** A timer for nothing would keep the process up. */
  #release(held: Held): void {
    this.#held.delete(held);
    if (this.#held.size > 0) return;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#held.clear();
  }

  #fresh(held: Held): boolean {
    const nowMs = this.#ports.clock.monotonicMs();
    this.#notePause(nowMs);
    return held.sentMs > this.#pausedMs && nowMs - held.sentMs < (this.#leaseMs * 2) / 3;
  }

  /** However many tasks ask at once, the store is asked once. */
  #confirm(held: Held): Promise<void> {
    held.confirming ??= this.#ask(held).finally(() => {
      held.confirming = undefined;
    });
    return held.confirming;
  }

  async #ask(held: Held): Promise<void> {
    await this.#renew([held]);
    if (held.lost.signal.aborted) throw held.lost.signal.reason;
    if (!this.#fresh(held)) throw new AgentmaticError("Unavailable", "the store did not confirm the lease in time");
  }

  #schedule(): void {
    if (this.#cancelTimer || this.#held.size === 0) return;
    this.#tickMs = this.#ports.clock.monotonicMs();
    this.#cancelTimer = this.#ports.timers.after(this.#periodMs, () => {
      this.#notePause(this.#ports.clock.monotonicMs());
      this.#cancelTimer = undefined;
      this.#schedule();
      // A slow store gets no second batch on top of the first.
      if (this.#renewing) return;
      this.#renewing = true;
      void this.#renew([...this.#held]).finally(() => {
        this.#renewing = false;
      });
    });
  }

  get #periodMs(): number {
    return this.#leaseMs / renewalsPerLease;
  }

  #notePause(nowMs: number): void {
    if (this.#cancelTimer && nowMs - this.#tickMs > this.#periodMs * pauseFactor) {
      this.#pausedMs = nowMs;
      this.#tickMs = nowMs;
    }
  }

  /** Never rejects: a store out of reach only uses up the credit. */
  async #renew(batch: readonly Held[]): Promise<void> {
    const sentMs = this.#ports.clock.monotonicMs();
    try {
      const results = await this.#saver.renew(batch.map(({ fence, runId }) => ({ fence, runId })));
      batch.forEach((held, index) => {
        const result = results[index];
        if (!result || !this.#held.has(held)) return;
        if (result.ok) {
          held.sentMs = Math.max(held.sentMs, sentMs);
          if (result.cancelRequested) held.onCancel();
        } else if (AgentmaticError.is(result.error, "FencedOut")) {
          this.#held.delete(held);
          held.lost.abort(result.error);
        }
      });
    } catch (thrown) {
      this.#ports.logger.log("warn", "leases were not renewed", { error: AgentmaticError.from(thrown).message });
    }
  }
}
