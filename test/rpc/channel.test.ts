import { describe, expect, it } from "vitest";
import { AgentmaticError } from "../../src/errors.ts";
import { Channel } from "../../src/run/channel.ts";

async function all<T>(channel: Channel<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of channel) values.push(value);
  return values;
}

/** What a promise is after everything that is due has run. */
async function settled(promise: Promise<unknown>): Promise<"pending" | "resolved" | "rejected"> {
  let state: "pending" | "resolved" | "rejected" = "pending";
  promise.then(
    () => (state = "resolved"),
    () => (state = "rejected"),
  );
  await new Promise((resolve) => setTimeout(resolve));
  return state;
}

describe("Channel", () => {
  it("gives values in the order of writing, and what was written before the close", async () => {
    const channel = new Channel<number>(3);
    expect([1, 2, 3].map((n) => channel.push(n))).toEqual([true, true, true]);
    channel.close();
    expect(await all(channel)).toEqual([1, 2, 3]);
  });

  it("refuses a push when full, and takes it again after a read", async () => {
    const channel = new Channel<number>(1);
    const reader = channel[Symbol.asyncIterator]();
    expect(channel.push(1)).toBe(true);
    expect(channel.push(2)).toBe(false);
    expect(channel.size).toBe(1);
    expect(await reader.next()).toEqual({ done: false, value: 1 });
    expect(channel.push(2)).toBe(true);
  });

  it("hands a value to a reader that waits already, beside the buffer", async () => {
    const channel = new Channel<number>(1);
    const reader = channel[Symbol.asyncIterator]();
    const first = reader.next();
    expect(channel.push(1)).toBe(true);
    expect(channel.push(2)).toBe(true);
    expect(await first).toEqual({ done: false, value: 1 });
  });

  it("lets senders wait for room in their order, and never past the capacity", async () => {
    const channel = new Channel<number>(2);
    let largest = 0;
    const sending = (async () => {
      for (let n = 0; n < 1_000; n++) {
        await channel.send(n);
        largest = Math.max(largest, channel.size);
      }
      channel.close();
    })();
    expect(await all(channel)).toEqual(Array.from({ length: 1_000 }, (_, n) => n));
    await sending;
    expect(largest).toBeLessThanOrEqual(2);
  });

  it("does not let a push overtake a waiting send", async () => {
    const channel = new Channel<number>(1);
    channel.push(1);
    const waiting = channel.send(2);
    const reader = channel[Symbol.asyncIterator]();
    expect((await reader.next()).value).toBe(1);
    await waiting;
    expect(channel.push(3)).toBe(false);
    expect((await reader.next()).value).toBe(2);
  });

  it("is ready when there is room, and not before", async () => {
    const channel = new Channel<number>(1);
    expect(await channel.ready()).toBe(true);
    channel.push(1);
    const ready = channel.ready();
    expect(await settled(ready)).toBe("pending");
    await channel[Symbol.asyncIterator]().next();
    expect(await ready).toBe(true);
  });

  it("tells everybody who waits that it closed", async () => {
    const channel = new Channel<number>(1);
    channel.push(1);
    const ready = channel.ready();
    const sending = channel.send(2);
    channel.close();
    expect(await ready).toBe(false);
    await expect(sending).rejects.toMatchObject({ code: "Cancelled" });
    expect(channel.push(3)).toBe(false);
    await expect(channel.send(3)).rejects.toMatchObject({ code: "Cancelled" });
    expect(await channel.ready()).toBe(false);
    expect(await all(channel)).toEqual([1]);
  });

  it("gives the error after what was written before it, to a waiting reader at once", async () => {
    const broken = new AgentmaticError("Unavailable", "the stream broke");
    const channel = new Channel<number>(2);
    channel.push(1);
    channel.close(broken);
    channel.close();
    const reader = channel[Symbol.asyncIterator]();
    expect((await reader.next()).value).toBe(1);
    await expect(reader.next()).rejects.toBe(broken);
    await expect(channel.send(2)).rejects.toBe(broken);

    const other = new Channel<number>(1);
    const waiting = other[Symbol.asyncIterator]().next();
    other.close(broken);
    await expect(waiting).rejects.toBe(broken);
  });

  it("closes and drops the rest when its reader leaves", async () => {
    const channel = new Channel<number>(2);
    channel.push(1);
    channel.push(2);
    const sending = channel.send(3);
    const left = expect(sending).rejects.toMatchObject({ code: "Cancelled" });
    for await (const value of channel) {
      expect(value).toBe(1);
      break;
    }
    await left.catch(() => {});
    expect(channel.closed).toBe(true);
    expect(channel.size).toBe(0);
  });

  it("refuses a second reader and a capacity below one", () => {
    const channel = new Channel<number>(1);
    channel[Symbol.asyncIterator]();
    expect(() => channel[Symbol.asyncIterator]()).toThrow(/one reader/);
    for (const capacity of [0, -1, 1.5, Number.NaN]) expect(() => new Channel(capacity)).toThrow(/capacity/);
  });
});
