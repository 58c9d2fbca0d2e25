import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Cache,
  type CachePlace,
  type CachePolicy,
  cachePrefix,
  checkCache,
  InMemoryCache,
  throughCache,
} from "../../../src/policy/cache.ts";
import { deferred, settle, VirtualClock, virtualPorts, watched } from "./clock.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined) => value && new TextDecoder().decode(value);

describe("InMemoryCache", () => {
  type Step =
    | { readonly kind: "set"; readonly key: string; readonly size: number; readonly ttlMs: number | undefined }
    | { readonly kind: "get"; readonly key: string }
    | { readonly kind: "wait"; readonly ms: number }
    | { readonly kind: "clear"; readonly prefix: string };
  const key = fc.constantFrom("a1", "a2", "a3", "b1", "b2", "c1");
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({
      kind: fc.constant("set" as const),
      key,
      size: fc.integer({ min: 0, max: 40 }),
      ttlMs: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
    }),
    fc.record({ kind: fc.constant("get" as const), key }),
    fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 60 }) }),
    fc.record({ kind: fc.constant("clear" as const), prefix: fc.constantFrom("a", "b", "") }),
  );

  test("is a Map whose entries run out, and whose least recently used go first", async () => {
    const bounds = fc.record({
      maxEntries: fc.integer({ min: 1, max: 6 }),
      maxBytes: fc.integer({ min: 3, max: 120 }),
    });
    await fc.assert(
      fc.asyncProperty(bounds, fc.array(step, { maxLength: 60, size: "max" }), async (options, steps) => {
        const clock = new VirtualClock();
        const cache = new InMemoryCache({ ...options, clock });
        // The model: a list, the least recently used first.
        let model: { key: string; value: string; untilMs: number }[] = [];
        let written = 0;
        for (const one of steps) {
          const nowMs = clock.monotonicMs();
          if (one.kind === "wait") await clock.advance(one.ms);
          if (one.kind === "clear") {
            await cache.clear(one.prefix);
            model = model.filter((entry) => !entry.key.startsWith(one.prefix));
          }
          if (one.kind === "set") {
            const value = String(written++ % 10).repeat(one.size);
            await cache.set(one.key, bytes(value), one.ttlMs);
            model = model.filter((entry) => entry.key !== one.key);
            const untilMs = nowMs + (one.ttlMs ?? Number.POSITIVE_INFINITY);
            if (one.key.length + one.size <= options.maxBytes) model.push({ key: one.key, value, untilMs });
            const sum = () => model.reduce((total, entry) => total + entry.key.length + entry.value.length, 0);
            while (model.length > options.maxEntries || sum() > options.maxBytes) model.shift();
          }
          if (one.kind === "get") {
            const found = model.find((entry) => entry.key === one.key);
            const live = found && nowMs < found.untilMs ? found : undefined;
            expect(text(await cache.get(one.key))).toBe(live?.value);
            model = model.filter((entry) => entry !== found);
            if (live) model.push(live);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test("keeps bytes of its own: what a caller changes afterwards is nobody else's", async () => {
    const cache = new InMemoryCache();
    const given = bytes("abc");
    await cache.set("k", given);
    given[0] = 0;
    const got = await cache.get("k");
    expect(text(got)).toBe("abc");
    got?.fill(0);
    expect(text(await cache.get("k"))).toBe("abc");
  });

  test.each([{ maxEntries: 0 }, { maxEntries: 1.5 }, { maxBytes: 0 }, { maxBytes: Number.NaN }])(
    "refuses %j and names the field",
    (options) => {
      const field = Object.keys(options)[0]!;
      expect(() => new InMemoryCache(options)).toThrowError(
        expect.objectContaining({ code: "InvalidArgument", details: { field } }),
      );
    },
  );
});

function setUp(cache?: Cache) {
  const { clock, ports, lines } = virtualPorts();
  const own = cache ?? new InMemoryCache({ clock });
  const place: CachePlace = {
    graph: "orders",
    version: "v1",
    node: "price",
    ports,
    cache: own,
    encode: (input) => bytes(JSON.stringify(input)),
  };
  let computed = 0;
  const ask = async (input: unknown, policy: CachePolicy = {}, where: Partial<CachePlace> = {}) =>
    text(
      await throughCache(policy, input, { ...place, ...where }, async () => {
        computed++;
        return bytes(`result ${computed}`);
      }),
    );
  return { clock, lines, place, ask, computed: () => computed };
}

describe("throughCache", () => {
  test("computes once for equal inputs, until the time to live is over", async () => {
    const { clock, ask } = setUp();
    const policy = { ttl: 60 };
    expect(await ask({ id: 1 }, policy)).toBe("result 1");
    await clock.advance(59_999);
    expect(await ask({ id: 1 }, policy)).toBe("result 1");
    await clock.advance(1);
    expect(await ask({ id: 1 }, policy)).toBe("result 2");
  });

  test("without one it counts for ever", async () => {
    for (const policy of [{}, { ttl: Number.POSITIVE_INFINITY }]) {
      const { clock, ask } = setUp();
      await ask(1, policy);
      await clock.advance(1e12);
      expect(await ask(1, policy)).toBe("result 1");
    }
  });

  test("tells apart inputs, nodes, versions and graphs, and no two of them run together", async () => {
    const { ask } = setUp();
    const names = ["a", "b", 'a","b', "[", ""];
    const seen = new Set<string | undefined>();
    let asked = 0;
    for (const graph of names)
      for (const version of names)
        for (const node of names)
          for (const input of [1, "1", "a", [["a"]], '"a"']) {
            asked++;
            seen.add(await ask(input, {}, { graph, version, node }));
          }
    expect(seen.size).toBe(asked);
  });

  test("keyFunc is given [input], as in LangGraph.js, and decides alone", async () => {
    const { ask } = setUp();
    const seen: unknown[] = [];
    const keyFunc = (args: readonly unknown[]) => {
      seen.push(args);
      return (args[0] as { id: string }).id;
    };
    expect(await ask({ id: "x", at: 1 }, { keyFunc })).toBe("result 1");
    expect(await ask({ id: "x", at: 2 }, { keyFunc })).toBe("result 1");
    expect(await ask({ id: "y", at: 2 }, { keyFunc })).toBe("result 2");
    expect(seen[0]).toEqual([{ id: "x", at: 1 }]);
  });

  test("a keyFunc that gives no string is an error that names it; one that throws throws", async () => {
    const { ask, computed } = setUp();
    const none = { keyFunc: () => undefined as unknown as string };
    await expect(ask(1, none)).rejects.toMatchObject({
      code: "InvalidArgument",
      details: { field: "cachePolicy.keyFunc" },
    });
    const late = { keyFunc: (async () => Promise.reject(new Error("too late"))) as unknown as () => string };
    await expect(ask("x", late)).rejects.toMatchObject({ code: "InvalidArgument" });
    const own = new Error("a mistake in keyFunc");
    const throws = {
      keyFunc: () => {
        throw own;
      },
    };
    await expect(ask(1, throws)).rejects.toBe(own);
    expect(computed()).toBe(0);
  });

  test("keeps nothing of what failed", async () => {
    const { ask, place } = setUp();
    const own = new Error("failed");
    await expect(throughCache({}, 1, place, () => Promise.reject(own))).rejects.toBe(own);
    expect(await ask(1)).toBe("result 1");
  });

  test("its prefix clears a node, a version, a graph, and nothing else", async () => {
    const cache = new InMemoryCache();
    const { ask } = setUp(cache);
    const places = [
      { graph: "a", version: "1", node: "x" },
      { graph: "a", version: "1", node: "xy" },
      { graph: "a", version: "12", node: "x" },
      { graph: "ab", version: "1", node: "x" },
    ];
    const kept = async () => {
      const before = await Promise.all(places.map((where) => ask(1, {}, where)));
      return before.map((result) => Number(result?.slice(7)));
    };
    expect(await kept()).toEqual([1, 2, 3, 4]);
    await cache.clear(cachePrefix("a", "1", "x"));
    expect(await kept()).toEqual([5, 2, 3, 4]);
    await cache.clear(cachePrefix("a", "1"));
    expect(await kept()).toEqual([6, 7, 3, 4]);
    await cache.clear(cachePrefix("a"));
    expect(await kept()).toEqual([8, 9, 10, 4]);
    await cache.clear();
    expect(await kept()).toEqual([11, 12, 13, 14]);
  });
});

describe("a cache that fails", () => {
  const down = new Error("redis is away: secret");
  const broken: [string, Cache][] = [
    [
      "rejects",
      { get: () => Promise.reject(down), set: () => Promise.reject(down), clear: () => Promise.reject(down) },
    ],
    ["throws", { get: throwing, set: throwing, clear: throwing }],
  ];
  function throwing(): never {
    throw down;
  }

  test.each(broken)("and %s is as good as empty, and is logged without content", async (_how, cache) => {
    const { ask, lines, clock } = setUp(cache);
    expect(await ask(1)).toBe("result 1");
    expect(await ask(1)).toBe("result 2");
    expect(lines.map(({ level }) => level)).toEqual(["warn", "warn", "warn", "warn"]);
    expect(JSON.stringify(lines)).not.toContain("secret");
    expect(clock.pending).toBe(0);
  });

  test("or never answers is waited for a short while only", async () => {
    const hanging = () => new Promise<never>(() => {});
    const { ask, clock, computed } = setUp({ get: hanging, set: hanging, clear: hanging });
    const seen = watched(ask(1));
    await clock.advance(2_000);
    expect(computed()).toBe(1);
    await clock.advance(2_000);
    expect(seen.value).toBe("result 1");
    expect(clock.pending).toBe(0);
  });
});

describe("equal inputs at the same time", () => {
  function race() {
    const { place, clock } = setUp();
    const works: ReturnType<typeof deferred<Uint8Array>>[] = [];
    const compute = () => {
      const work = deferred<Uint8Array>();
      works.push(work);
      return work.promise;
    };
    const ask = (signal?: AbortSignal) => watched(throughCache({}, 1, signal ? { ...place, signal } : place, compute));
    return { works, ask, clock };
  }

  test("are computed once", async () => {
    const { works, ask } = race();
    const callers = Array.from({ length: 50 }, () => ask());
    await settle();
    expect(works.length).toBe(1);
    works[0]?.resolve(bytes("shared"));
    await settle();
    expect(new Set(callers.map(({ state, value }) => `${state} ${text(value)}`))).toEqual(new Set(["resolved shared"]));
    expect(works.length).toBe(1);
  });

  test("whoever computes may be cancelled: one of those who wait takes over", async () => {
    const { works, ask } = race();
    const stops = Array.from({ length: 4 }, () => new AbortController());
    const callers = stops.map(({ signal }) => ask(signal));
    await settle();
    for (let leader = 0; leader < 3; leader++) {
      // Its node may well never settle.
      stops[leader]?.abort(new Error(`stop ${leader}`));
      await settle();
      expect(callers[leader]).toMatchObject({ state: "rejected", reason: { message: `stop ${leader}` } });
      expect(works.length).toBe(leader + 2);
    }
    works[3]?.resolve(bytes("of the last"));
    await settle();
    expect(text(callers[3]?.value)).toBe("of the last");
  });

  test("whoever waits may be cancelled: nobody else notices", async () => {
    const { works, ask } = race();
    const stop = new AbortController();
    const [first, second, third] = [ask(), ask(stop.signal), ask()];
    await settle();
    stop.abort(new Error("stop"));
    await settle();
    expect([first?.state, second?.state, third?.state]).toEqual(["pending", "rejected", "pending"]);
    works[0]?.resolve(bytes("shared"));
    await settle();
    expect([text(first?.value), text(third?.value), works.length]).toEqual(["shared", "shared", 1]);
  });

  test("errors are not shared, as they may speak of another run: each computes for itself then", async () => {
    const { works, ask } = race();
    const callers = [ask(), ask(), ask()];
    await settle();
    works[0]?.reject(new Error("of the first run"));
    await settle();
    expect(callers.map(({ state }) => state)).toEqual(["rejected", "pending", "pending"]);
    expect(works.length).toBe(3);
    works[1]?.resolve(bytes("second"));
    works[2]?.resolve(bytes("third"));
    await settle();
    expect(callers.slice(1).map(({ value }) => text(value))).toEqual(["second", "third"]);
  });

  test("a caller that was cancelled before starts nothing", async () => {
    const { works, ask } = race();
    const stop = new AbortController();
    stop.abort(new Error("stop"));
    const seen = ask(stop.signal);
    await settle();
    expect([seen.state, works.length]).toEqual(["rejected", 0]);
  });

  test("any order of callers, ends and cancels leaves nobody waiting for work that nobody does", async () => {
    type Move = { readonly kind: "ask" | "stop" | "resolve" | "reject"; readonly which: number };
    const move: fc.Arbitrary<Move> = fc.record({
      kind: fc.constantFrom("ask", "ask", "stop", "resolve", "reject"),
      which: fc.nat(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(move, { maxLength: 25, size: "max" }), async (moves) => {
        const { works, ask, clock } = race();
        const stops: AbortController[] = [];
        const callers: ReturnType<typeof ask>[] = [];
        for (const { kind, which } of moves) {
          if (kind === "ask") {
            const stop = new AbortController();
            stops.push(stop);
            callers.push(ask(stop.signal));
          } else if (kind === "stop") stops[which % stops.length]?.abort(new Error("stop"));
          else if (works.length > 0) {
            const work = works[which % works.length]!;
            if (kind === "resolve") work.resolve(bytes("done"));
            else work.reject(new Error("failed"));
          }
          await settle();
        }
        for (let end = 0; end < works.length; end++) {
          works[end]?.resolve(bytes("done"));
          await settle();
        }
        expect(callers.filter(({ state }) => state === "pending")).toEqual([]);
        expect(clock.pending).toBe(0);
        stops.forEach(({ signal }, index) => {
          const { state, value, reason } = callers[index]!;
          if (state === "resolved") expect(text(value)).toBe("done");
          else expect(signal.aborted || (reason as Error).message === "failed").toBe(true);
        });
      }),
      { numRuns: 200 },
    );
  });
});

test.each([
  [null, "c"],
  ["yes", "c"],
  [{ keyFunc: "id" }, "c.keyFunc"],
  [{ ttl: 0 }, "c.ttl"],
  [{ ttl: Number.NaN }, "c.ttl"],
  [{ ttl: "60" }, "c.ttl"],
])("checkCache refuses %j and names %s", (policy, field) => {
  expect(() => checkCache("c", policy)).toThrowError(
    expect.objectContaining({ code: "InvalidArgument", details: { field } }),
  );
});
