import { describe, expect, it } from "vitest";
import { applySplice, spliceBetween } from "../../../src/checkpoint/splice.ts";
import { replayable } from "../../support/seed.ts";

type Item = { readonly at: number };

describe("a splice between two lists", () => {
  it("makes one of the other, and counts what was handed in again as new", () =>
    replayable((random) => {
      const below = (bound: number) => Math.floor(random() * bound);
      let made = 0;
      for (let round = 0; round < 2_000; round++) {
        const before: Item[] = Array.from({ length: below(60) }, (_, at) => ({ at }));
        const after = before.slice();
        after.splice(below(after.length + 1), below(4), ...Array.from({ length: below(4) }, (_, at) => ({ at: -at })));
        const written = new Set<Item>(after.filter(({ at }) => at <= 0 && random() < 0.5));
        for (let count = random() < 0.3 ? 12 : below(3); count > 0 && after.length > 0; count--)
          written.add(after[below(after.length)]!);
        const splice = spliceBetween(before, after, written);
        if (!splice) continue;
        made++;
        const list: unknown[] = before.slice();
        applySplice(list, splice);
        expect(list.length).toBe(after.length);
        expect(list.every((item, at) => item === after[at])).toBe(true);
        const [start, , added] = splice;
        const kept = after.filter((_, at) => at < start || at >= start + added.length);
        expect(kept.some((item) => written.has(item))).toBe(false);
        // No longer than it must be: what it begins and ends with is new, was written, or makes up for what went.
        if (added.length > 0 && start < before.length && before[start] === added[0]) {
          expect(written.has(added[0] as Item)).toBe(true);
        }
      }
      expect(made).toBeGreaterThan(500);
    }));

  it("is none where more than half is new", () => {
    expect(spliceBetween([1, 2, 3], [4, 5, 6], new Set())).toBeUndefined();
    expect(spliceBetween([], [{}, {}], new Set())).toBeUndefined();
  });
});
