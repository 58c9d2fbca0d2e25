// What a graph has done outside of its state, and how often: seen by the nodes themselves, not by the engine.
import { MemorySaver, MemoryStore, type NodeContext, type Saver } from "../../src/mod.ts";

interface Seen {
  readonly ns: string;
  readonly checkpointId: string;
  readonly id: string;
  count: number;
}

export interface Effects {
  /** Each is made once, however often a service hears of it. */
  readonly keys: readonly string[];
  /** Tasks that had another key when they ran again. */
  readonly unsteady: readonly string[];
  /** What ran again though it cannot have been under way; empty if left alone. */
  readonly ranAgain: readonly string[];
}

export class World {
  readonly #keys: Set<string> = new Set();
  readonly #keyOf: Map<string, string> = new Map();
  readonly #unsteady: Set<string> = new Set();
  readonly #seen: Map<string, Seen> = new Map();
  /** The latest superstep of each graph: once it has begun, those before are stored. */
  readonly #steps: Map<string, number> = new Map();
  /** When tasks returned, by superstep. */
  readonly #ends: Map<string, Map<string, number>> = new Map();
  readonly #stored: Set<string> = new Set();
  /** Tasks whose results were stored one by one, and those that should have been. */
  readonly #done: Set<string> = new Set();
  readonly #notStored: Set<string> = new Set();
  readonly #ranAgain: Set<string> = new Set();
  #alone: ReadonlyMap<string, number> | undefined;

  touch(ctx: NodeContext, what: string): void {
    const { ns, checkpointId, idempotencyKey, retryAttempt, step } = ctx;
    const task = taskOf(ctx);
    this.#keys.add(`${idempotencyKey} ${what}`);
    if ((this.#keyOf.get(task) ?? idempotencyKey) !== idempotencyKey) this.#unsteady.add(task);
    this.#keyOf.set(task, idempotencyKey);
    const id = `${task} ${what}, try ${retryAttempt}`;
    const seen = this.#seen.get(id) ?? { ns, checkpointId, id, count: 0 };
    seen.count++;
    this.#seen.set(id, seen);
    const latest = this.#steps.get(ns) ?? step;
    if (step < latest) this.#ranAgain.add(`${id}: step ${step} after ${latest}`);
    if (this.#stored.has(`${task} ${what}`)) this.#ranAgain.add(`${id}: was stored`);
    this.#steps.set(ns, Math.max(step, latest));
    this.#ends.get(superstepOf(ctx))?.delete(task);
  }

  /** A node goes on after this: with `sync`, only once it is stored. */
  returned(ctx: NodeContext, what: string): void {
    this.#stored.add(`${taskOf(ctx)} ${what}`);
  }

  ends(ctx: NodeContext): void {
    const superstep = superstepOf(ctx);
    const ends = this.#ends.get(superstep) ?? new Map<string, number>();
    this.#ends.set(superstep, ends.set(taskOf(ctx), ctx.ports.clock.monotonicMs()));
  }

  /**
   * A task has been at work since then: what ended beside it by then must be stored meanwhile. Looked at in the run left
   * alone only, as the tasks of a process that is dead do not know that it is.
   */
  waited(ctx: NodeContext, sinceMs: number): void {
    if (this.#alone) return;
    for (const [task, endMs] of this.#ends.get(superstepOf(ctx)) ?? []) {
      if (endMs <= sinceMs && !this.#done.has(task)) this.#notStored.add(task);
    }
  }

  /** A store in memory: what it has taken is known here. */
  store(): () => Saver {
    const store = new MemoryStore();
    const seen = this.#done;
    return () => {
      const saver = new MemorySaver({ store });
      const putWrites = saver.putWrites.bind(saver);
      saver.putWrites = async (requests) => {
        const results = await putWrites(requests);
        for (const { writes } of requests) for (const { ns, taskId } of writes) seen.add(taskOf({ ns, taskId }));
        return results;
      };
      return saver;
    };
  }

  /** Tasks that were not stored when they had ended, while another one was at work. */
  get notStored(): readonly string[] {
    return [...this.#notStored];
  }

  clear(): void {
    for (const all of [this.#keys, this.#keyOf, this.#unsteady, this.#seen, this.#steps]) all.clear();
    for (const all of [this.#ends, this.#stored, this.#ranAgain, this.#done]) all.clear();
  }

  /** With `strict`, only what was under way in one superstep of each graph may have run again, and once. */
  effects(strict: boolean): Effects {
    this.#alone ??= new Map([...this.#seen].map(([id, { count }]) => [id, count]));
    return {
      keys: [...this.#keys].sort(),
      unsteady: [...this.#unsteady],
      ranAgain: strict ? [...this.#ranAgain, ...this.#more(this.#alone)] : [],
    };
  }

  #more(alone: ReadonlyMap<string, number>): readonly string[] {
    const cutOff = new Map<string, string>();
    const wrong: string[] = [];
    for (const { id, ns, checkpointId, count } of this.#seen.values()) {
      const more = count - (alone.get(id) ?? 0);
      if (more <= 0) continue;
      const superstep = cutOff.get(ns) ?? checkpointId;
      cutOff.set(ns, superstep);
      if (more > 1 || superstep !== checkpointId) wrong.push(`${id}: ${more} more`);
    }
    return wrong;
  }
}

function taskOf({ ns, taskId }: Pick<NodeContext, "ns" | "taskId">): string {
  return JSON.stringify([ns, taskId]);
}

function superstepOf({ ns, checkpointId }: NodeContext): string {
  return JSON.stringify([ns, checkpointId]);
}
