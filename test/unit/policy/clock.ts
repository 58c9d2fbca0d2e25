import type { Ports } from "../../../src/ports.ts";
import { type LogLine, virtualPorts as seeded, VirtualClock } from "../../../src/testing/mod.ts";

export { VirtualClock };

/** Lets every promise that can settle do so. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export interface VirtualPorts {
  readonly clock: VirtualClock;
  readonly ports: Omit<Ports, "ids">;
  readonly lines: readonly LogLine[];
}

export function virtualPorts(random: () => number = () => 0.5): VirtualPorts {
  const ports = seeded({ random });
  return { clock: ports.clock, ports, lines: ports.lines };
}

/** What a promise has come to so far. */
export interface Watched<T> {
  state: "pending" | "resolved" | "rejected";
  value?: T;
  reason?: unknown;
}

export function watched<T>(promise: Promise<T>): Watched<T> {
  const seen: Watched<T> = { state: "pending" };
  promise.then(
    (value) => Object.assign(seen, { state: "resolved", value }),
    (reason: unknown) => Object.assign(seen, { state: "rejected", reason }),
  );
  return seen;
}

export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

export function deferred<T>(): Deferred<T> {
  return Promise.withResolvers<T>();
}
