import { describe, expect, test } from "vitest";
import { Annotation, START, StateGraph, sleep } from "../../../src/mod.ts";
import { VirtualClock, virtualPorts } from "../../../src/testing/mod.ts";

describe("a virtual clock", () => {
  test("stands still, and fires timers in order, each at its moment", async () => {
    const clock = new VirtualClock();
    const startMs = clock.monotonicMs();
    const seen: string[] = [];
    const note = (name: string) => () => seen.push(`${name} ${clock.monotonicMs() - startMs}`);
    clock.after(30, note("c"));
    clock.after(10, () => {
      note("a")();
      clock.after(5, note("b"));
    });
    clock.after(30, note("d"));
    const cancel = clock.after(20, note("never"));
    cancel();
    cancel();
    await clock.advance(9);
    expect(seen).toEqual([]);
    await clock.advance(21);
    expect(seen).toEqual(["a 10", "b 15", "c 30", "d 30"]);
    expect(clock.monotonicMs() - startMs).toBe(30);
    expect(clock).toMatchObject({ pending: 0, made: 5 });
  });

  test("lets promises come to their ends between two timers", async () => {
    const clock = new VirtualClock();
    const laps = (async () => {
      const at: number[] = [];
      for (let lap = 0; lap < 3; lap++) {
        await sleep(clock, 1_000);
        at.push(clock.wallMs());
      }
      return at.map((ms) => ms - at[0]!);
    })();
    expect(await clock.settle(laps)).toEqual([0, 1_000, 2_000]);
  });

  test("settle gives rejections on, and says why it gave up", async () => {
    const { settle, clock } = virtualPorts();
    await expect(settle(Promise.reject(new Error("no")))).rejects.toThrow("no");
    await expect(settle(sleep(clock, 2_000), { limitMs: 1_000 })).rejects.toMatchObject({ code: "DeadlineExceeded" });
    await clock.runUntilIdle();
    await expect(settle(new Promise(() => {}))).rejects.toThrow("it waits, and no timer is set that would bring it on");
  });

  test("runs until idle, within a limit", async () => {
    const clock = new VirtualClock();
    let ticks = 0;
    const tick = () => {
      ticks++;
      clock.after(100, tick);
    };
    tick();
    expect(await clock.runUntilIdle({ limitMs: 1_000 })).toBe(false);
    expect(ticks).toBe(11);
    expect(await new VirtualClock().runUntilIdle()).toBe(true);
  });

  test("refuses what no timer can wait", () => {
    expect(() => new VirtualClock().after(Number.NaN, () => {})).toThrow("NaN");
    expect(() => new VirtualClock().after(-1, () => {})).toThrow("-1");
  });
});

describe("virtual ports", () => {
  test("give the same for the same seed, and another for another", () => {
    const drawn = (seed: number) => {
      const { random, ids } = virtualPorts({ seed });
      return [random.next(), random.next(), ids.next(), ids.next()];
    };
    expect(drawn(7)).toEqual(drawn(7));
    expect(drawn(7)).not.toEqual(drawn(8));
    const [, , id, other] = drawn(7);
    expect(id).toMatch(/^[\w-]{22}$/);
    expect(id).not.toBe(other);
  });

  test("let a graph wait for an hour between two tries, in no time", async () => {
    const ports = virtualPorts();
    let tries = 0;
    const graph = new StateGraph({ at: Annotation<number>() })
      .addNode(
        "try",
        (_s, ctx) => {
          if (++tries < 3) throw new Error("later");
          return { at: ctx.ports.clock.monotonicMs() };
        },
        { retryPolicy: { initialInterval: 3_600_000, maxInterval: 7_200_000, jitter: false, maxAttempts: 3 } },
      )
      .addEdge(START, "try")
      .compile({ ports });
    const { at } = await ports.settle(graph.invoke({}));
    expect(at).toBe(1_000 + 3 * 3_600_000);
    expect(ports.lines.map(({ level }) => level)).toEqual(["warn", "warn"]);
  });
});
