/** Results of nodes that are kept, so that the same input is not computed again. Names as in LangGraph.js. */
import { AgentmaticError, invalid } from "../errors.ts";
import type { Clock, Ports } from "../ports.ts";

export interface CachePolicy {
  /** What tells inputs apart; all of the input where it is not given. */
  readonly keyFunc?: (input: unknown) => string;
  /** Seconds for which a result counts; for ever where it is not given. */
  readonly ttl?: number;
}

/** Bytes by key, so that processes can share one. */
export interface Cache {
  get(key: string): Promise<Uint8Array | undefined>;
  set(key: string, value: Uint8Array, ttlMs?: number): Promise<void>;
  /** Drops what begins with `prefix`, or everything. */
  clear(prefix?: string): Promise<void>;
}

export interface InMemoryCacheOptions {
  clock?: Clock;
  /** Entries that are kept; the ones used least recently go first. Default 10,000. */
  maxEntries?: number;
  /** Bytes of all values. Default 64 MiB. */
  maxBytes?: number;
}

interface Entry {
  readonly value: Uint8Array;
  readonly untilMs: number;
}

export class InMemoryCache implements Cache {
  readonly #clock: Clock;
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  readonly #entries: Map<string, Entry> = new Map();
  #bytes = 0;

  constructor({ clock = steady, maxEntries = 10_000, maxBytes = 64 * 1024 * 1024 }: InMemoryCacheOptions = {}) {
    if (!Number.isInteger(maxEntries) || maxEntries < 1) throw invalid("maxEntries", "must be a whole number above 0");
    if (!Number.isInteger(maxBytes) || maxBytes < 1) throw invalid("maxBytes", "must be a whole number above 0");
    this.#clock = clock;
    this.#maxEntries = maxEntries;
    this.#maxBytes = maxBytes;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#drop(key);
    if (this.#clock.monotonicMs() >= entry.untilMs) return undefined;
    this.#keep(key, entry);
    return entry.value.slice();
  }

  async set(key: string, value: Uint8Array, ttlMs = Number.POSITIVE_INFINITY): Promise<void> {
    this.#drop(key);
    if (value.length > this.#maxBytes) return;
    this.#keep(key, { value: value.slice(), untilMs: this.#clock.monotonicMs() + ttlMs });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#maxEntries && this.#bytes <= this.#maxBytes) break;
      this.#drop(oldest);
    }
  }

  async clear(prefix = ""): Promise<void> {
    for (const key of [...this.#entries.keys()]) if (key.startsWith(prefix)) this.#drop(key);
  }

  #keep(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#bytes += entry.value.length;
  }

  #drop(key: string): void {
    this.#bytes -= this.#entries.get(key)?.value.length ?? 0;
    this.#entries.delete(key);
  }
}

const steady: Clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() };

/** Of all graphs of this process that were compiled without one. */
export const defaultCache: Cache = new InMemoryCache();

/** Throws `InvalidArgument`, naming the field. */
export function checkCache(field: string, policy: unknown): asserts policy is CachePolicy {
  if (typeof policy !== "object" || policy === null) throw invalid(field, "must be a cache policy");
  const { keyFunc, ttl } = policy as CachePolicy;
  if (keyFunc !== undefined && typeof keyFunc !== "function") throw invalid(`${field}.keyFunc`, "must be a function");
  if (ttl !== undefined && !(typeof ttl === "number" && ttl > 0))
    throw invalid(`${field}.ttl`, "must be seconds above 0");
}

export interface CachePlace {
  readonly graph: string;
  readonly version: string;
  readonly node: string;
  readonly ports: Pick<Ports, "logger">;
  readonly cache: Cache;
  /** Tells any two inputs apart. */
  readonly encode: (input: unknown) => Uint8Array;
}

/** Computations under way, so that equal inputs at the same time are computed once. */
const underWay: WeakMap<Cache, Map<string, Promise<Uint8Array>>> = new WeakMap();

/** The kept result, or what `compute` gives, kept. A cache that fails is as good as empty. */
export async function throughCache(
  policy: CachePolicy,
  input: unknown,
  place: CachePlace,
  compute: () => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const { cache, ports, graph, version, node } = place;
  const own = policy.keyFunc ? policy.keyFunc(input) : hexOf(place.encode(input));
  const key = JSON.stringify([graph, version, node, own]);
  const kept = await attempt(() => cache.get(key), ports);
  if (kept) return kept;
  const shared = underWay.get(cache) ?? new Map<string, Promise<Uint8Array>>();
  underWay.set(cache, shared);
  const other = shared.get(key);
  if (other) {
    const result = await other.catch(() => undefined);
    if (result) return result;
    // Whoever computed it failed, or was stopped: that is not this caller's end.
    return await compute();
  }
  const work = compute();
  shared.set(key, work);
  try {
    const value = await work;
    await attempt(() => cache.set(key, value, policy.ttl === undefined ? undefined : policy.ttl * 1_000), ports);
    return value;
  } finally {
    shared.delete(key);
  }
}

async function attempt<T>(work: () => Promise<T>, { logger }: Pick<Ports, "logger">): Promise<T | undefined> {
  try {
    return await work();
  } catch (thrown) {
    logger.log("warn", "a cache failed", { code: AgentmaticError.from(thrown).code });
    return undefined;
  }
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
