import { describe, expect, it } from "vitest";
import { isTraining, openCorpus, pick } from "../corpus.ts";
import { seeded } from "../random.ts";

const corpus = openCorpus();

describe("corpus", () => {
  it("lists 6,046 mails in five groups, in a stable order", () => {
    const groups = new Map<string, number>();
    for (let i = 0; i < corpus.size; i++)
      groups.set(corpus.entry(i).group, (groups.get(corpus.entry(i).group) ?? 0) + 1);
    expect(corpus.size).toBe(6046);
    expect(Object.fromEntries(groups)).toEqual({
      "easy-ham-1": 2500,
      "easy-ham-2": 1400,
      "hard-ham-1": 250,
      "spam-1": 500,
      "spam-2": 1396,
    });
    expect(corpus.entry(0)).toMatchObject({ label: "ham", file: expect.stringMatching(/^easy-ham-1\/00001\./) });
    expect(corpus.entry(6045)).toMatchObject({ label: "spam", group: "spam-2" });
  });

  it("reads a mail's own bytes, one char each", () => {
    expect(corpus.read(0)).toMatch(/^From exmh-workers-admin@redhat\.com/);
    for (let i = 0; i < corpus.size; i += 97) expect(corpus.read(i)).toMatch(/^[\0-\xff]+$/);
  });

  it("names an index outside", () => {
    expect(() => corpus.entry(6046)).toThrow("mail 6046 is outside 0..6045");
    expect(() => corpus.read(-1)).toThrow(RangeError);
  });

  it("holds out every other mail of every group", () => {
    expect([0, 1, 2, 3].map(isTraining)).toEqual([true, false, true, false]);
  });

  it("draws the same mails for the same seed, none twice, of all groups", () => {
    const drawn = pick(corpus.size, 1000, seeded(7));
    expect(pick(corpus.size, 1000, seeded(7))).toEqual(drawn);
    expect(pick(corpus.size, 1000, seeded(8))).not.toEqual(drawn);
    expect(new Set(drawn).size).toBe(1000);
    expect(new Set(drawn.map((index) => corpus.entry(index).group)).size).toBe(5);
    expect(pick(corpus.size, 9999, seeded(1)).toSorted((a, b) => a - b)).toEqual([...Array(corpus.size).keys()]);
  });
});
