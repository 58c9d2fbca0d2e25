/** Small programs as LangGraph.js's users write them: the same text with either library, for docs/langgraph.md. */
import { z } from "zod";

// biome-ignore lint/suspicious/noExplicitAny: two libraries by the names that both have
type Library = any;
// biome-ignore lint/suspicious/noExplicitAny: what either library hands to nodes
type Any = any;

/** What it answers is compared. */
export type Program = (library: Library) => Promise<unknown>;

const thread = (id: string): { configurable: { thread_id: string } } => ({ configurable: { thread_id: id } });
const add = (before: number[], more: number[]): number[] => before.concat(more);

async function collect(stream: Promise<AsyncIterable<unknown>> | AsyncIterable<unknown>): Promise<unknown[]> {
  const items: unknown[] = [];
  for await (const item of await stream) items.push(item);
  return items;
}

export const programs: Readonly<Record<string, Program>> = {
  "Annotation.Root, reducers, defaults, conditional edges with a map": async (library) => {
    const { Annotation, StateGraph, START, END } = library;
    const State = Annotation.Root({ count: Annotation, log: Annotation({ reducer: add, default: () => [] }) });
    const graph = new StateGraph(State)
      .addNode("step", (state: Any) => ({ count: state.count + 1, log: [state.count] }))
      .addNode("done", () => ({ log: [-1] }))
      .addEdge(START, "step")
      .addConditionalEdges("step", (state: Any) => (state.count < 3 ? "again" : "enough"), {
        again: "step",
        enough: "done",
      })
      .addEdge("done", END)
      .compile();
    return await graph.invoke({ count: 0 });
  },

  "addSequence, setNodeDefaults, setEntryPoint, setFinishPoint, Overwrite, defer": async (library) => {
    const { Annotation, StateGraph, Overwrite } = library;
    const graph = new StateGraph(Annotation.Root({ log: Annotation({ reducer: add, default: () => [] }) }))
      .setNodeDefaults({ retryPolicy: { maxAttempts: 2, initialInterval: 1, logWarning: false } })
      .addSequence([
        ["a", () => ({ log: [1] })],
        ["b", () => ({ log: [2] })],
      ])
      .addNode("late", () => ({ log: [4] }), { defer: true })
      .addNode("reset", () => ({ log: new Overwrite([3]) }))
      .addEdge("b", "late")
      .addEdge("b", "reset");
    graph.setEntryPoint("a");
    graph.setFinishPoint("late");
    return await graph.compile().invoke({});
  },

  "Command, Send, joins": async (library) => {
    const { Annotation, StateGraph, Command, Send, START, END } = library;
    const State = Annotation.Root({ items: Annotation, sum: Annotation({ reducer: (a: number, b: number) => a + b }) });
    const graph = new StateGraph(State)
      .addNode("plan", () => new Command({ update: { items: [1, 2, 3], sum: 0 }, goto: "split" }), { ends: ["split"] })
      .addNode("split", () => ({}))
      .addNode("work", (input: Any) => ({ sum: input.item }))
      .addNode("left", () => ({ sum: 100 }))
      .addNode("join", () => ({ sum: 1_000 }))
      .addEdge(START, "plan")
      .addConditionalEdges("split", (state: Any) => state.items.map((item: number) => new Send("work", { item })))
      .addEdge("split", "left")
      .addEdge(["work", "left"], "join")
      .addEdge("join", END)
      .compile();
    return await graph.invoke({});
  },

  "interrupt, isInterrupted, INTERRUPT, Command({ resume }), getState": async (library) => {
    const { Annotation, StateGraph, Command, MemorySaver, START, INTERRUPT, interrupt, isInterrupted } = library;
    const graph = new StateGraph(Annotation.Root({ answer: Annotation }))
      .addNode("ask", () => ({ answer: interrupt({ question: "sure?" }) }))
      .addEdge(START, "ask")
      .compile({ checkpointer: new MemorySaver() });
    const first = await graph.invoke({}, thread("1"));
    const waiting = await graph.getState(thread("1"));
    const last = await graph.invoke(new Command({ resume: "yes" }), thread("1"));
    return {
      waits: isInterrupted(first),
      value: first[INTERRUPT][0].value,
      next: waiting.next,
      tasks: waiting.tasks.map(({ name, interrupts }: Any) => [name, interrupts.map((one: Any) => one.value)]),
      last,
      over: isInterrupted(last),
    };
  },

  "several interrupts by id, interruptBefore, interruptAfter": async (library) => {
    const { Annotation, StateGraph, Command, MemorySaver, START, INTERRUPT } = library;
    const graph = new StateGraph(Annotation.Root({ log: Annotation({ reducer: add, default: () => [] }) }))
      .addNode("a", (_state: Any, config: Any) => ({ log: [config.interrupt("a")] }))
      .addNode("b", (_state: Any, config: Any) => ({ log: [config.interrupt("b")] }))
      .addNode("c", () => ({ log: [9] }))
      .addEdge(START, "a")
      .addEdge(START, "b")
      .addEdge(["a", "b"], "c")
      .compile({ checkpointer: new MemorySaver(), interruptBefore: ["c"] });
    const first = await graph.invoke({}, thread("1"));
    const resume = Object.fromEntries(first[INTERRUPT].map(({ id, value }: Any) => [id, value === "a" ? 1 : 2]));
    await graph.invoke(new Command({ resume }), thread("1"));
    const before = await graph.getState(thread("1"));
    return { before: [before.values, before.next], last: await graph.invoke(null, thread("1")) };
  },

  "stream: values, updates, custom; config.writer, getWriter": async (library) => {
    const { Annotation, StateGraph, START, getWriter } = library;
    const graph = new StateGraph(Annotation.Root({ log: Annotation({ reducer: add, default: () => [] }) }))
      .addNode("a", (_state: Any, config: Any) => {
        config.writer("one");
        getWriter()("two");
        return { log: [1] };
      })
      .addNode("b", () => ({ log: [2] }))
      .addEdge(START, "a")
      .addEdge("a", "b")
      .compile();
    return {
      one: await collect(graph.stream({ log: [0] }, { streamMode: "updates" })),
      many: await collect(graph.stream({ log: [0] }, { streamMode: ["values", "updates", "custom"] })),
      usual: await collect(graph.stream({ log: [0] })),
    };
  },

  "updateState, getStateHistory, forks": async (library) => {
    const { Annotation, StateGraph, MemorySaver, START } = library;
    const graph = new StateGraph(Annotation.Root({ log: Annotation({ reducer: add, default: () => [] }) }))
      .addNode("a", () => ({ log: [1] }))
      .addNode("b", () => ({ log: [2] }))
      .addEdge(START, "a")
      .addEdge("a", "b")
      .compile({ checkpointer: new MemorySaver() });
    await graph.invoke({ log: [0] }, thread("1"));
    const history = (await collect(graph.getStateHistory(thread("1")))) as Any[];
    const beforeB = history.find(({ next }) => next[0] === "b");
    const fork = await graph.updateState(beforeB.config, { log: [7] }, "a");
    return {
      // Here the input is no step of its own.
      steps: history
        .map(({ values, next, metadata }) => [values, next, metadata.step])
        .filter(([, , step]) => step >= 0),
      forked: await graph.invoke(null, fork),
    };
  },

  "subgraphs, Command.PARENT, getState with subgraphs": async (library) => {
    const { Annotation, StateGraph, Command, MemorySaver, START } = library;
    const State = Annotation.Root({ log: Annotation({ reducer: add, default: () => [] }) });
    const inner = new StateGraph(State)
      .addNode("x", () => ({ log: [2] }))
      .addNode("y", () => new Command({ goto: "other", update: { log: [3] }, graph: Command.PARENT }))
      .addEdge(START, "x")
      .addEdge("x", "y")
      .compile();
    const graph = new StateGraph(State)
      .addNode("sub", inner, { ends: ["other"] })
      .addNode("other", () => ({ log: [4] }))
      .addEdge(START, "sub")
      .compile({ checkpointer: new MemorySaver() });
    return await graph.invoke({ log: [1] }, thread("1"));
  },

  "configurable, context, getConfig, getCurrentTaskInput": async (library) => {
    const { Annotation, StateGraph, START, getConfig, getCurrentTaskInput } = library;
    const deep = (): unknown => [getConfig().configurable.user, getCurrentTaskInput()];
    const graph = new StateGraph(Annotation.Root({ x: Annotation, seen: Annotation }))
      .addNode("a", async (_state: Any, config: Any) => {
        await Promise.resolve();
        return {
          seen: [config.configurable.user, config.context.tenant, deep(), config.signal instanceof AbortSignal],
        };
      })
      .addEdge(START, "a")
      .compile();
    const config = { configurable: { user: "u" }, context: { tenant: "t" } };
    return await graph.invoke({ x: 1 }, config);
  },

  "input and output of a graph": async (library) => {
    const { Annotation, StateGraph, START } = library;
    const graph = new StateGraph({
      state: Annotation.Root({ a: Annotation, b: Annotation, hidden: Annotation }),
      input: Annotation.Root({ a: Annotation }),
      output: Annotation.Root({ b: Annotation }),
    })
      .addNode("n", (state: Any) => ({ b: state.a * 2, hidden: 1 }))
      .addEdge(START, "n")
      .compile();
    return await graph.invoke({ a: 2 });
  },

  "StateSchema, ReducedValue, zod": async (library) => {
    const { ReducedValue, StateGraph, StateSchema, START } = library;
    const State = new StateSchema({
      count: z.number().default(1),
      log: new ReducedValue(
        z.array(z.number()).default(() => []),
        { inputSchema: z.number(), reducer: (before: number[], more: number) => [...before, more] },
      ),
    });
    const graph = new StateGraph(State)
      .addNode("a", (state: Any) => ({ count: state.count + 1, log: 1 }))
      .addNode("b", (state: Any) => ({ log: state.count }))
      .addEdge(START, "a")
      .addEdge("a", "b")
      .compile();
    return [await graph.invoke({}), await graph.invoke({ count: 5, log: 7 })];
  },

  "a zod object as the state": async (library) => {
    const { StateGraph, START } = library;
    const graph = new StateGraph(z.object({ n: z.number(), text: z.string().optional() }))
      .addNode("a", (state: Any) => ({ n: state.n + 1, text: `${state.n}` }))
      .addEdge(START, "a")
      .compile();
    return [await graph.invoke({ n: 1 }), await graph.invoke({ n: "one" }).catch(() => "refused")];
  },

  "entrypoint, task, getPreviousState, entrypoint.final": async (library) => {
    const { MemorySaver, entrypoint, task, getPreviousState } = library;
    const double = task("double", async (n: number) => n * 2);
    const sum = entrypoint({ name: "sum", checkpointer: new MemorySaver() }, async (n: number) => {
      const before = getPreviousState() ?? 0;
      const value = await double(n);
      return entrypoint.final({ value, save: before + value });
    });
    return [
      await sum.invoke(1, thread("1")),
      await sum.invoke(5, thread("1")),
      await collect(sum.stream(1, thread("1"))),
    ];
  },

  "RunControl: drained at a boundary, and gone on with": async (library) => {
    const { Annotation, StateGraph, MemorySaver, RunControl, START } = library;
    const control = new RunControl();
    const graph = new StateGraph(Annotation.Root({ log: Annotation({ reducer: add, default: () => [] }) }))
      .addNode("a", () => {
        control.requestDrain("sigterm");
        return { log: [1] };
      })
      .addNode("b", () => ({ log: [2] }))
      .addEdge(START, "a")
      .addEdge("a", "b")
      .compile({ checkpointer: new MemorySaver() });
    const failed = await graph.invoke({}, { ...thread("1"), control }).catch(() => "drained");
    return [failed, control.drainRequested, control.drainReason, await graph.invoke(null, thread("1"))];
  },

  "recursionLimit, errorHandler": async (library) => {
    const { Annotation, StateGraph, Command, START } = library;
    const loop = new StateGraph(Annotation.Root({ x: Annotation }))
      .addNode("a", () => ({ x: 1 }))
      .addEdge(START, "a")
      .addConditionalEdges("a", () => "a", ["a"])
      .compile();
    const handled = new StateGraph(Annotation.Root({ x: Annotation }))
      .addNode(
        "a",
        () => {
          throw new Error("no");
        },
        {
          retryPolicy: { maxAttempts: 2, initialInterval: 1, logWarning: false },
          errorHandler: (_state: Any, { node }: Any) => new Command({ update: { x: node }, goto: "b" }),
          ends: ["b"],
        },
      )
      .addNode("b", () => ({}))
      .addEdge(START, "a")
      .compile();
    return [await loop.invoke({}, { recursionLimit: 3 }).catch(() => "too many"), await handled.invoke({})];
  },

  "what is refused": async (library) => {
    const { Annotation, StateGraph, START } = library;
    const make = (): Any => new StateGraph(Annotation.Root({ x: Annotation })).addNode("a", () => ({ x: 1 }));
    const attempt = async (work: () => unknown): Promise<string> => {
      try {
        return String(JSON.stringify(await work()));
      } catch {
        return "refused";
      }
    };
    return [
      await attempt(() => make().addNode("a", () => ({}))),
      await attempt(() => make().addEdge(START, "nowhere").compile()),
      await attempt(() => make().compile()),
      await attempt(() => make().addEdge(START, "a").addEdge("a", START).compile()),
      await attempt(() => make().addEdge(START, "a").compile().getState(thread("1"))),
    ];
  },
};
