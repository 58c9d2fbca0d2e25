/** Bytes of events on their way to a reader: a writer may ask to wait while they are many. */
import { eventOverheadBytes, type RunEvent } from "./events.ts";

/** From so many unread bytes a writer waits; from so few it goes on. */
export const backlogHighBytes: number = 4 * 1024 * 1024;
export const backlogLowBytes: number = 1024 * 1024;

export class Backlog {
  #bytes = 0;
  #room: PromiseWithResolvers<void> | undefined;

  get bytes(): number {
    return this.#bytes;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
  }

  take(bytes: number): void {
    this.#bytes -= bytes;
    if (this.#bytes <= backlogLowBytes) this.clear();
  }

  /** Lets those who wait go on: there is room, or nobody reads any more. */
  clear(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** Resolves once there is room; undefined where there is. */
  flow(): Promise<void> | undefined {
    if (this.#bytes < backlogHighBytes) return undefined;
    this.#room ??= Promise.withResolvers();
    return this.#room.promise;
  }
}

export function eventBytes({ data }: RunEvent): number {
  return data.length + eventOverheadBytes;
}

/** Resolves once all of them have. */
export function both(a: Promise<void> | undefined, b: Promise<void> | undefined): Promise<void> | undefined {
  return a && b ? Promise.all([a, b]).then(() => undefined) : (a ?? b);
}
