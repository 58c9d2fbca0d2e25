/** Passes the events of one run to those who follow it. */
import type { EventKind, RunEvent } from "../run/events.ts";
import type { RunEnd } from "../run/link.ts";

export interface Follower {
  event(event: RunEvent): void;
  end(end: RunEnd): void;
  /** Resolves when the follower has room for more; undefined where it has. */
  flow(): Promise<void> | undefined;
}

export class Feed {
  readonly #followers: Map<Follower, ReadonlySet<EventKind>> = new Map();

  follow(follower: Follower, kinds: readonly EventKind[]): void {
    this.#followers.set(follower, new Set(kinds));
  }

  leave(follower: Follower): void {
    this.#followers.delete(follower);
  }

  wants(kind: EventKind): boolean {
    for (const kinds of this.#followers.values()) if (kinds.has(kind)) return true;
    return false;
  }

  emit(event: RunEvent): void {
    for (const [follower, kinds] of this.#followers) if (kinds.has(event.kind)) follower.event(event);
  }

  /** The slowest follower sets the pace; one that leaves no longer does. */
  flow(): Promise<void> | undefined {
    const waits: Promise<void>[] = [];
    for (const follower of this.#followers.keys()) {
      const wait = follower.flow();
      if (wait) waits.push(wait);
    }
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined);
  }

  end(end: RunEnd): void {
    for (const follower of this.#followers.keys()) follower.end(end);
    this.#followers.clear();
  }
}
