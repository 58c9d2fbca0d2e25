/** The channels and the messages reducer beside LangGraph.js's own: random supersteps, the same values after each. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { absent, type Channel } from "../../../src/graph/channels.ts";
import { anyValue, barrier, ephemeral, topic, untracked } from "../../../src/graph/kinds.ts";
import { messagesReducer, REMOVE_ALL_MESSAGES, RemoveMessage } from "../../../src/graph/messages.ts";
import { root } from "../../support/imports.ts";

interface Peer {
  update(values: readonly unknown[]): boolean;
  get(): unknown;
  isAvailable(): boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: of whatever values
type AnyChannel = Channel<any, any>;

// biome-ignore lint/suspicious/noExplicitAny: another library's modules, by the names that are used here
let theirs: any;
// biome-ignore lint/suspicious/noExplicitAny: another library's modules, by the names that are used here
let messages: any;

beforeAll(async () => {
  const folder = join(root, "tools", "langgraph", "node_modules", "@langchain");
  const load = (...path: string[]) => import(pathToFileURL(join(folder, ...path)).href);
  theirs = {
    ...(await load("langgraph", "dist", "channels", "index.js")),
    ...(await load("langgraph", "dist", "channels", "untracked_value.js")),
    ...(await load("langgraph", "dist", "index.js")),
  };
  messages = await load("core", "dist", "messages", "index.js");
});

/** Each superstep's writes; none at all is a superstep that leaves the channel alone. */
const supersteps = (value: fc.Arbitrary<unknown>) => fc.array(fc.array(value, { maxLength: 3 }), { maxLength: 8 });

function ours({ fold, rest, initial }: AnyChannel, writes: readonly (readonly unknown[])[]): unknown[] {
  let value: unknown = initial ? initial() : absent;
  return writes.map((updates) => {
    try {
      if (updates.length > 0) value = fold!(value, updates);
      else if (value !== absent && rest) value = rest(value);
      return value === absent ? "absent" : value;
    } catch {
      return "refused";
    }
  });
}

function peers(channel: Peer, writes: readonly (readonly unknown[])[]): unknown[] {
  return writes.map((updates) => {
    try {
      channel.update(updates);
      return channel.isAvailable() ? structuredClone(channel.get()) : "absent";
    } catch {
      return "refused";
    }
  });
}

describe("channels", () => {
  const number = fc.integer({ min: 0, max: 4 });
  const oneOrMore = fc.oneof(number, fc.array(number, { maxLength: 3 }));
  const cases: readonly [string, () => AnyChannel, () => Peer, fc.Arbitrary<unknown>][] = [
    ["ephemeral", () => ephemeral(), () => new theirs.EphemeralValue(), number],
    ["ephemeral, unguarded", () => ephemeral({ guard: false }), () => new theirs.EphemeralValue(false), number],
    ["anyValue", () => anyValue(), () => new theirs.AnyValue(), number],
    ["untracked", () => untracked(), () => new theirs.UntrackedValueChannel(), number],
    [
      "untracked, unguarded, with a default",
      () => untracked({ guard: false, default: () => 3 }),
      () => new theirs.UntrackedValueChannel({ guard: false, initialValueFactory: () => 3 }),
      number,
    ],
    ["topic", () => topic(), () => new theirs.Topic(), oneOrMore],
    ["topic, accumulating", () => topic({ accumulate: true }), () => new theirs.Topic({ accumulate: true }), oneOrMore],
    [
      "topic, accumulating and unique",
      () => topic({ accumulate: true, unique: true }),
      () => new theirs.Topic({ accumulate: true, unique: true }),
      oneOrMore,
    ],
  ];
  test.each(cases)("%s", (_name, mine, theirsOf, value) => {
    fc.assert(
      fc.property(supersteps(value), (writes) => {
        expect(ours(mine(), writes)).toEqual(peers(theirsOf(), writes));
      }),
      { numRuns: 300 },
    );
  });

  test("barrier is complete when theirs is available", () => {
    const name = fc.constantFrom("a", "b", "c");
    fc.assert(
      fc.property(supersteps(name), (writes) => {
        const channel = barrier(["a", "b", "c"]);
        const peer = new theirs.NamedBarrierValue(new Set(["a", "b", "c"]));
        const mine = ours(channel, writes);
        writes.forEach((updates, index) => {
          // What saw it complete has consumed it.
          if (peer.isAvailable()) peer.consume();
          peer.update(updates);
          const seen = mine[index];
          expect(Array.isArray(seen) && seen.length === 3).toBe(peer.isAvailable());
        });
      }),
      { numRuns: 300 },
    );
  });
});

describe("messages", () => {
  const id = fc.constantFrom("a", "b", "c", "d");
  type Entry = { readonly id: string; readonly text: string } | { readonly remove: string };
  const entry: fc.Arbitrary<Entry> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ id, text: fc.string({ maxLength: 2 }) }) },
    { weight: 2, arbitrary: id.map((remove) => ({ remove })) },
    { weight: 1, arbitrary: fc.constant({ remove: REMOVE_ALL_MESSAGES }) },
  );

  test("the same conversation after the same updates", () => {
    fc.assert(
      fc.property(fc.array(fc.array(entry, { maxLength: 4 }), { maxLength: 8 }), (updates) => {
        let mine: readonly { id: string; text: string }[] = [];
        // biome-ignore lint/suspicious/noExplicitAny: the other library's messages
        let other: readonly any[] = [];
        for (const update of updates) {
          // It takes what follows a removal of all as it stands: twice one id, and removals among it.
          if (!isPlainAfterAll(update)) continue;
          const one = attempt(() =>
            messagesReducer(
              mine,
              update.map((item) => ("remove" in item ? new RemoveMessage({ id: item.remove }) : item)),
            ),
          );
          const two = attempt(() =>
            theirs.messagesStateReducer(
              other,
              update.map((item) =>
                "remove" in item
                  ? new messages.RemoveMessage({ id: item.remove })
                  : new messages.HumanMessage({ id: item.id, content: item.text }),
              ),
            ),
          );
          expect(one === undefined).toBe(two === undefined);
          if (one === undefined || two === undefined) continue;
          mine = one;
          other = two;
          expect(mine).toEqual(other.map((message) => ({ id: message.id, text: message.content })));
        }
      }),
      { numRuns: 500 },
    );
  });

  function isPlainAfterAll(update: readonly Entry[]): boolean {
    const at = update.findLastIndex((item) => "remove" in item && item.remove === REMOVE_ALL_MESSAGES);
    if (at < 0) return true;
    const ids = update.slice(at + 1).map((item) => ("remove" in item ? undefined : item.id));
    return !ids.includes(undefined) && new Set(ids).size === ids.length;
  }

  function attempt<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch {
      return undefined;
    }
  }
});
