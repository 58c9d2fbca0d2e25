/** Bad input is an `InvalidArgument` that names its field, at every public function, and before anything is stored. */
import { describe, expect, test } from "vitest";
import { Coordinator } from "../../../src/coordinator/coordinator.ts";
import { AgentmaticError } from "../../../src/errors.ts";
import { Annotation, Command, MemorySaver, START, StateGraph, systemPorts } from "../../../src/mod.ts";
import { Worker } from "../../../src/worker/worker.ts";

const builder = () => new StateGraph({ n: Annotation<number>() }).addNode("a", () => ({ n: 1 })).addEdge(START, "a");

/** Each in the shape in which JavaScript without types would hand it in. */
const configs: readonly [field: string, config: object][] = [
  ["whenBusy", { whenBusy: "bogus" }],
  ["runId", { runId: null }],
  ["checkpointId", { checkpointId: 5 }],
  ["signal", { signal: {} }],
  ["context", { context: "eu" }],
  ["caller", { caller: {} }],
  ["correlationId", { correlationId: 5 }],
  ["trace", { trace: "x" }],
  ["maxSteps", { maxSteps: 0 }],
  ["maxSteps", { maxSteps: "5" }],
  ["maxAttempts", { maxAttempts: 0 }],
  ["residency.regions", { residency: {} }],
];

async function caught(body: () => unknown): Promise<unknown> {
  try {
    return await body();
  } catch (thrown) {
    return thrown;
  }
}

function expectInvalid(thrown: unknown, field: string): void {
  expect(thrown).toBeInstanceOf(AgentmaticError);
  expect(["InvalidArgument", "InvalidGraph"]).toContain((thrown as AgentmaticError).code);
  expect((thrown as AgentmaticError).message).toContain(field);
}

describe("invoke", () => {
  test.each(configs)("%s: %o", async (field, config) => {
    const saver = new MemorySaver();
    const graph = builder().compile({ checkpointer: saver });
    expectInvalid(await caught(() => graph.invoke({ n: 0 }, { threadId: "t", ...config } as never)), field);
    expect(await saver.listRuns({ limit: 1 })).toEqual([]);
  });
});

describe("stream", () => {
  test.each([["bogus"], [null], [["values", "bogus"]]])("streamMode: %o", async (streamMode) => {
    const graph = builder().compile({ checkpointer: new MemorySaver() });
    const all = async () => {
      for await (const _part of graph.stream({ n: 0 }, { threadId: "t", streamMode } as never));
    };
    expectInvalid(await caught(all), "streamMode");
  });
});

describe("a config or options that are no object", () => {
  const kept = () => builder().compile({ checkpointer: new MemorySaver() });
  const all = async (items: AsyncIterable<unknown>) => {
    for await (const _item of items);
  };
  const t = { threadId: "t" };
  test.each([[null], [5], ["t"], [true]])("%o", async (given) => {
    const none = given as never;
    const inputs = [
      ["config", () => kept().invoke({ n: 0 }, none)],
      ["config", () => builder().compile().invoke({ n: 0 }, none)],
      ["config", () => all(kept().stream({ n: 0 }, none))],
      ["config", () => kept().getState(none)],
      ["options", () => kept().getState(t, none)],
      ["config", () => all(kept().getStateHistory(none))],
      ["options", () => all(kept().getStateHistory(t, none))],
      ["filter", () => all(kept().getStateHistory(t, { filter: none }))],
      ["config", () => kept().updateState(none, { n: 1 })],
      ["config", () => kept().branch(none, "u")],
    ] as const;
    for (const [field, body] of inputs) expectInvalid(await caught(body), field);
  });

  test("and a checkpoint's or a node's name that is none", async () => {
    expectInvalid(await caught(() => kept().getState({ threadId: "t", checkpointId: {} as never })), "checkpointId");
    const nameless = new Command({ goto: Symbol("s") as never });
    expectInvalid(await caught(() => kept().invoke(nameless, t)), "input.goto");
    const history = kept().getStateHistory(t, { before: null as never });
    expectInvalid(await caught(() => all(history)), "before");
  });
});

test("an edit of a graph without a checkpointer is refused: it would be kept nowhere", async () => {
  const edit = () => builder().compile().updateState({ threadId: "t" }, { n: 1 });
  expectInvalid(await caught(edit), "checkpointer");
});

test("an input that came as JSON passes for no Command, whatever it says of its constructor", async () => {
  const graph = builder().compile({ checkpointer: new MemorySaver() });
  const input = JSON.parse('{"constructor":{"name":"Command"},"goto":["a"],"answers":false}') as never;
  expectInvalid(await caught(() => graph.invoke(input, { threadId: "t" })), "input.constructor");
});

describe("history", () => {
  test.each([[-1], ["x"], [Number.NaN], [1.5]])("limit: %o", async (limit) => {
    const graph = builder().compile({ checkpointer: new MemorySaver() });
    const all = async () => {
      for await (const _state of graph.getStateHistory({ threadId: "t" }, { limit } as never));
    };
    expectInvalid(await caught(all), "limit");
  });
});

describe("building", () => {
  const cases: readonly [string, string, () => unknown][] = [
    ["state", "StateGraph(undefined)", () => new StateGraph(undefined as never)],
    ["state", "StateGraph(5)", () => new StateGraph(5 as never)],
    [
      "from",
      "addEdge(undefined)",
      () =>
        builder()
          .addEdge(undefined as never, "a")
          .compile(),
    ],
    [
      "from",
      "addEdge(5)",
      () =>
        builder()
          .addEdge(5 as never, "a")
          .compile(),
    ],
    [
      "targets",
      "targets: 5",
      () =>
        builder()
          .addConditionalEdges("a", () => "a", 5 as never)
          .compile(),
    ],
    [
      "ends",
      "ends: 'x'",
      () =>
        builder()
          .addNode("b", () => ({}), { ends: "x" } as never)
          .addEdge("a", "b")
          .compile(),
    ],
    ["name", "name: ''", () => builder().compile({ name: "" })],
    ["name", "name: 5", () => builder().compile({ name: 5 } as never)],
    ["version", "version: ''", () => builder().compile({ version: "" })],
    ["checkpointer", "checkpointer: {}", () => builder().compile({ checkpointer: {} } as never)],
    ["interruptBefore", "interruptBefore: 'a'", () => builder().compile({ interruptBefore: "a" } as never)],
    ["region", "region: 5", () => builder().compile({ region: 5 } as never)],
    ["ports", "ports: {}", () => builder().compile({ ports: {} } as never)],
    ["ports", "ports: null", () => builder().compile({ ports: null } as never)],
    ["cluster", "cluster: {}", () => builder().compile({ cluster: {} } as never)],
    ["Command", "new Command()", () => new (Command as unknown as new () => unknown)()],
  ];
  test.each(cases)("%s: %s", async (field, _what, build) => {
    expectInvalid(await caught(build), field);
  });
});

describe("a node's return", () => {
  test.each([[new Date(0)], [new Map([["n", 5]])], [new Set([1])]])("%o", async (value) => {
    const graph = new StateGraph({ n: Annotation<number>() })
      .addNode("a", (() => value) as never)
      .addEdge(START, "a")
      .compile();
    expect(await caught(() => graph.invoke({ n: 0 }))).toMatchObject({ code: "NodeFailed" });
  });
});

describe("Worker", () => {
  const plan = builder().plan({ name: "g" });
  const base = { graphs: [plan], saver: new MemorySaver(), ports: systemPorts };
  const cases: readonly [string, unknown][] = [
    ["slots", 0],
    ["slots", -1],
    ["slots", Number.NaN],
    ["slots", 1.5],
    ["heartbeatMs", 0],
    ["heartbeatMs", Number.NaN],
    ["leaseMs", 0],
    ["leaseMs", -5],
    ["graphs", [plan, builder().plan({ name: "g", version: "v2" })]],
  ];
  test.each(cases)("%s: %o", async (field, value) => {
    expectInvalid(await caught(() => new Worker({ ...base, [field]: value } as never)), field);
  });
});

describe("Coordinator", () => {
  const dialer = {
    dial: () => {
      throw new Error("not here");
    },
  };
  const base = { saver: new MemorySaver(), dialer, workers: ["w:1"], ports: systemPorts };
  const cases: readonly [string, unknown][] = [
    ["silentMs", 0],
    ["silentMs", Number.NaN],
    ["takeoverMs", 0],
    ["takeoverMs", Number.NaN],
    ["queueMax", 0],
    ["queueMax", Number.NaN],
  ];
  test.each(cases)("%s: %o", async (field, value) => {
    expectInvalid(await caught(() => new Coordinator({ ...base, [field]: value } as never)), field);
  });
});
