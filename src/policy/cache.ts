/** Results of nodes that are kept, so that the same input is not computed again. Names as in LangGraph.js. */
import { AgentmaticError, invalid } from "../errors.ts";
import { type Clock, type Ports, systemPorts } from "../ports.ts";
import { type Flights, once } from "./once.ts";
import { isPromised } from "./thrown.ts";

export interface CachePolicy {
  /** What tells inputs apart, given `[input]`; all of the input where it is not there. */
  readonly keyFunc?: (args: readonly unknown[]) => string;
  /** Seconds for which a result counts; for ever where it is not given. */
  readonly ttl?: number;
}

/**
 * Bytes by key, so that processes can share one. What `get` gives and `set` is given is not changed by anybody. One that
 * fails, or does not answer, is as good as empty.
 */
export interface Cache {
  get(key: string): Promise<Uint8Array | undefined>;
  set(key: string, value: Uint8Array, ttlMs?: number): Promise<void>;
  /** Drops what begins with `prefix` (`cachePrefix` makes one), or everything. */
  clear(prefix?: string): Promise<void>;
}

export interface InMemoryCacheOptions {
  clock?: Pick<Clock, "monotonicMs">;
  /** Entries that are kept; the ones used least recently go first. Default 10,000. */
  maxEntries?: number;
  /** Bytes of all keys and values. Default 64 MiB. */
  maxBytes?: number;
}

interface Entry {
  readonly value: Uint8Array;
  readonly untilMs: number;
}

export class InMemoryCache implements Cache {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  readonly #entries: Map<string, Entry> = new Map();
  #bytes = 0;

  constructor({
    clock = systemPorts.clock,
    maxEntries = 10_000,
    maxBytes = 64 * 1024 * 1024,
  }: InMemoryCacheOptions = {}) {
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

  async set(key: string, value: Uint8Array, ttlMs: number = Number.POSITIVE_INFINITY): Promise<void> {
    this.#drop(key);
    if (bytesOf(key, value) > this.#maxBytes) return;
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
    this.#bytes += bytesOf(key, entry.value);
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#bytes -= bytesOf(key, entry.value);
    this.#entries.delete(key);
  }
}

/** Keys are of one byte a character but where a `keyFunc` writes otherwise. */
function bytesOf(key: string, value: Uint8Array): number {
  return key.length + value.length;
}

/** Of all graphs of this process that were compiled without one. */
export const defaultCache: Cache = new InMemoryCache();

/** Throws `InvalidArgument`, naming the field. */
export function checkCache(field: string, policy: unknown): asserts policy is CachePolicy {
  if (typeof policy !== "object" || policy === null) throw invalid(field, "must be a cache policy");
  const { keyFunc, ttl } = policy as CachePolicy;
  if (keyFunc !== undefined && typeof keyFunc !== "function") throw invalid(`${field}.keyFunc`, "must be a function");
  if (ttl !== undefined && !(typeof ttl === "number" && ttl > 0)) {
    throw invalid(`${field}.ttl`, "must be seconds above 0");
  }
}

/** Begins the keys of a graph, of one version of it, or of one node: for `Cache.clear`. */
export function cachePrefix(graph: string, version?: string, node?: string): string {
  const parts = [graph, version, node];
  const given = parts.slice(0, parts.includes(undefined) ? parts.indexOf(undefined) : parts.length);
  return `${JSON.stringify(given).slice(0, -1)},`;
}

export interface CachePlace {
  readonly graph: string;
  readonly version: string;
  readonly node: string;
  readonly ports: Pick<Ports, "logger" | "timers">;
  readonly cache: Cache;
  /** Tells any two inputs apart. A hash will do, and keeps keys short. */
  readonly encode: (input: unknown) => Uint8Array;
  /** The caller's: others that wait for the same result go on without it. */
  readonly signal?: AbortSignal;
}

/** Milliseconds that a cache may take to answer: beyond them it is a miss. */
const answerMs = 2_000;

/** Computations under way, so that equal inputs at the same time are computed once. */
const underWay: WeakMap<Cache, Flights<Uint8Array>> = new WeakMap();

/**
 * The kept result, or what `compute` gives, kept. A cache that fails is as good as empty. Throws `InvalidArgument` where
 * the policy's `keyFunc` gives no string.
 */
export async function throughCache(
  policy: CachePolicy,
  input: unknown,
  place: CachePlace,
  compute: () => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const { cache, signal } = place;
  const key = keyOf(policy, input, place);
  const flights = underWay.get(cache) ?? new Map();
  underWay.set(cache, flights);
  const work = async () => {
    const kept = await answerOf(() => cache.get(key), place);
    if (kept) return kept;
    const value = await compute();
    const ttlMs = policy.ttl === undefined || policy.ttl === Number.POSITIVE_INFINITY ? undefined : policy.ttl * 1_000;
    await answerOf(() => cache.set(key, value, ttlMs), place);
    return value;
  };
  return await once(flights, key, work, signal);
}

function keyOf({ keyFunc }: CachePolicy, input: unknown, { graph, version, node, encode }: CachePlace): string {
  const prefix = cachePrefix(graph, version, node);
  if (!keyFunc) return `${prefix}${hexOf(encode(input))}`;
  const own: unknown = keyFunc([input]);
  isPromised(own);
  if (typeof own !== "string") throw invalid("cachePolicy.keyFunc", `must give a string, and gave ${typeof own}`);
  return `${prefix}${own}`;
}

/** What the cache answers; undefined where it throws, or takes too long. */
function answerOf<T>(ask: () => Promise<T>, { ports, node }: CachePlace): Promise<T | undefined> {
  return new Promise((resolve) => {
    const cancel = ports.timers.after(answerMs, () => {
      ports.logger.log("warn", "a cache does not answer", { node, answerMs });
      resolve(undefined);
    });
    const failed = (thrown: unknown) => {
      cancel();
      ports.logger.log("warn", "a cache failed", { node, code: AgentmaticError.from(thrown).code });
      resolve(undefined);
    };
    try {
      ask().then((answer) => {
        cancel();
        resolve(answer);
      }, failed);
    } catch (thrown) {
      failed(thrown);
    }
  });
}

function hexOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += hex[byte];
  return text;
}

const hex: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
