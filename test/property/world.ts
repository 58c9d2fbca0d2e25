// What a graph has done outside of its state, and how often: seen by the nodes themselves, not by the engine.
import type { NodeContext } from "../../src/mod.ts";

interface Seen {
  readonly ns: string;
  readonly checkpointId: string;
  readonly what: string;
  count: number;
}

export interface Effects {
  /** Each is made once, however often a service hears of it. */
  readonly keys: readonly string[];
  /** Tasks that had another key when they ran again. */
  readonly unsteady: readonly string[];
  /** What ran more often than when the graph was left alone, though it cannot have been under way. */
  readonly ranAgain: readonly string[];
}

export class World {
  readonly #keys: Set<string> = new Set();
  readonly #keyOf: Map<string, string> = new Map();
  readonly #unsteady: Set<string> = new Set();
  readonly #seen: Map<string, Seen> = new Map();
  #alone: ReadonlyMap<string, number> | undefined;

  touch(ctx: NodeContext, what: string): void {
    const { ns, checkpointId, taskId, idempotencyKey, retryAttempt } = ctx;
    const task = JSON.stringify([ns, taskId]);
    this.#keys.add(`${idempotencyKey} ${what}`);
    if ((this.#keyOf.get(task) ?? idempotencyKey) !== idempotencyKey) this.#unsteady.add(task);
    this.#keyOf.set(task, idempotencyKey);
    const id = `${task} ${what}, try ${retryAttempt}`;
    const seen = this.#seen.get(id) ?? { ns, checkpointId, what: id, count: 0 };
    seen.count++;
    this.#seen.set(id, seen);
  }

  clear(): void {
    for (const all of [this.#keys, this.#keyOf, this.#unsteady, this.#seen]) all.clear();
  }

  /** With `strict`, only what was under way in one superstep of each graph may have run again, and once. */
  effects(strict: boolean): Effects {
    this.#alone ??= new Map([...this.#seen].map(([id, { count }]) => [id, count]));
    return {
      keys: [...this.#keys].sort(),
      unsteady: [...this.#unsteady],
      ranAgain: strict ? this.#ranAgain(this.#alone) : [],
    };
  }

  #ranAgain(alone: ReadonlyMap<string, number>): readonly string[] {
    const cutOff = new Map<string, string>();
    const wrong: string[] = [];
    for (const [id, { ns, checkpointId, count }] of this.#seen) {
      const more = count - (alone.get(id) ?? 0);
      if (more <= 0) continue;
      const superstep = cutOff.get(ns) ?? checkpointId;
      cutOff.set(ns, superstep);
      if (more > 1 || superstep !== checkpointId) wrong.push(`${id}: ${more} more`);
    }
    return wrong;
  }
}
