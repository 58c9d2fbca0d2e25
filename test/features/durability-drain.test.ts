/** A worker that drains hands its runs over as they stand, whatever their durability. */
import { expect, test } from "vitest";
import { Annotation, encodeValue, START, StateGraph } from "../../src/mod.ts";
import { Stage } from "../unit/cluster/stage.ts";

const log = () => ({ log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }) });

test.each(["sync", "async", "exit"] as const)(
  "%s: no finished step is taken again, nor one of a graph inside",
  async (durability) => {
    const starts: string[] = [];
    let release = () => {};
    const node =
      (name: string) =>
      async (_state: unknown, { attempt }: { attempt: number }) => {
        starts.push(`${name}@${attempt}`);
        if (name === "two") {
          await new Promise<void>((resolve) => {
            release = resolve;
          });
        }
        return { log: [name] };
      };
    const inner = new StateGraph(log())
      .addNode("one", node("one"))
      .addNode("two", node("two"))
      .addNode("three", node("three"))
      .addEdge(START, "one")
      .addEdge("one", "two")
      .addEdge("two", "three")
      .compile({ name: "inner" });
    const plan = new StateGraph(log())
      .addNode("before", node("before"))
      .addNode("call", async (_state, ctx) => (await ctx.invoke(inner, {})) as { log: string[] })
      .addNode("after", node("after"))
      .addEdge(START, "before")
      .addEdge("before", "call")
      .addEdge("call", "after")
      .plan({ name: "outer" });
    const stage = new Stage(plan);
    const { worker } = await stage.worker("w0");
    const { coordinator } = stage.lead();
    const request = stage.request({ settings: encodeValue({ durability }) });
    const handle = await stage.do(coordinator.start(request));
    await stage.until(() => starts.includes("two@1"));
    await stage.worker("w1");
    coordinator.addWorker("w1");
    await stage.until(() => false, 1_000);
    const drained = worker.drain(10_000);
    release();
    await stage.do(drained);
    await stage.do(handle.end);
    expect(starts).toEqual(["before@1", "one@1", "two@1", "three@2", "after@2"]);
    expect(stage.record()).toMatchObject({ status: "succeeded", attempt: 2, poison: 0 });
  },
);
