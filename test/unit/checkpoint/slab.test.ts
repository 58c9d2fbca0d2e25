import { describe, expect, it } from "vitest";
import { Slab } from "../../../src/checkpoint/slab.ts";
import { replayable } from "../../support/seed.ts";

const decoder = new TextDecoder();

describe("bytes side by side", () => {
  it("stay what they were, whatever comes after them", () =>
    replayable((random) => {
      const slab = new Slab();
      const kept: [string, Uint8Array][] = [];
      for (let count = 0; count < 500; count++) {
        const text = ["a", "ü", "日", "😀"][Math.floor(random() * 4)]!.repeat(Math.floor(random() ** 3 * 900));
        const encoded = random() < 0.5 ? slab.encode(7, text).subarray(1) : slab.copy(new TextEncoder().encode(text));
        kept.push([text, encoded]);
      }
      for (const [text, bytes] of kept) expect(decoder.decode(bytes)).toBe(text);
    }));

  it("are nobody else's: changing some leaves the others alone", () => {
    const slab = new Slab();
    const [first, second] = [slab.encode(1, "first"), slab.copy(new Uint8Array([1, 2, 3]))];
    first.fill(0);
    expect([...second]).toEqual([1, 2, 3]);
  });

  it("share a buffer only while they are small", () => {
    const slab = new Slab();
    expect(slab.encode(1, "x").buffer).toBe(slab.encode(1, "y").buffer);
    const large = slab.copy(new Uint8Array(100_000));
    expect(large.buffer.byteLength).toBe(100_000);
  });
});
