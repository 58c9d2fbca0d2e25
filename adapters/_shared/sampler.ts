/** Metrics that nobody reports by himself: how late the event loop is, and how many runs wait in the store. */
import type { Saver } from "../../src/checkpoint/saver.ts";
import type { Ports } from "../../src/ports.ts";
import type { Metrics } from "../../src/telemetry/metrics.ts";
import { metricNames } from "../../src/telemetry/names.ts";

const delayEveryMs = 500;
/** Listing runs costs the store more than a probe; autoscalers look every 15 seconds or less often. */
const depthEveryMs = 10_000;
/** The depth is counted up to here: scaling out is due long before. */
const depthMax = 1000;

export class Sampler {
  readonly #saver: Saver;
  readonly #ports: Ports;
  readonly #metrics: Metrics;
  #cancelDelay: (() => void) | undefined;
  #cancelDepth: (() => void) | undefined;
  #closed = false;

  constructor(saver: Saver, ports: Ports, metrics: Metrics) {
    this.#saver = saver;
    this.#ports = ports;
    this.#metrics = metrics;
  }

  start(): void {
    this.#delay();
    void this.#depth();
  }

  close(): void {
    this.#closed = true;
    this.#cancelDelay?.();
    this.#cancelDepth?.();
  }

  #delay(): void {
    if (this.#closed) return;
    const { clock, timers } = this.#ports;
    const plannedMs = clock.monotonicMs() + delayEveryMs;
    this.#cancelDelay = timers.after(delayEveryMs, () => {
      const lateMs = Math.max(0, clock.monotonicMs() - plannedMs);
      this.#metrics.gauge(metricNames.eventLoopDelaySeconds, lateMs / 1000);
      this.#delay();
    });
  }

  async #depth(): Promise<void> {
    try {
      const queued = await this.#saver.listRuns({ statuses: ["queued"], limit: depthMax });
      this.#metrics.gauge(metricNames.queueDepth, queued.length);
    } catch {
      // The last known depth stays: that the store is gone is told by readiness, and a false 0 would scale in.
    }
    if (!this.#closed) this.#cancelDepth = this.#ports.timers.after(depthEveryMs, () => void this.#depth());
  }
}
