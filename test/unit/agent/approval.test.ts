import { expect, test } from "vitest";
import { z } from "zod";
import { type ApprovalRequest, Command, createReactAgent, MemorySaver, type Tool, tool } from "../../../src/mod.ts";
import { callOf, resultsOf, scripted } from "./model.ts";

const go = { messages: { role: "user", content: "go" } } as const;
const at = { threadId: "t" };

/** An agent that makes `calls` and is then done, built anew for each run over one store. */
function agentOf(tools: readonly Tool[], ...calls: Parameters<typeof callOf>[]) {
  const saver = new MemorySaver();
  const llm = scripted([calls.map((call) => callOf(...call)), "done"]);
  const graph = () => createReactAgent({ name: "a", llm, tools, checkpointer: saver });
  const told = () => resultsOf(llm.calls.at(-1)!.prompt).map(({ output }) => output);
  return { graph, told, saver };
}

function payOf(approval: Parameters<typeof tool<{ sum: number }>>[0]["approval"], ran: unknown[]): Tool {
  return tool({
    name: "pay",
    description: "Pays",
    input: z.object({ sum: z.number().max(100) }),
    ...(approval === undefined ? {} : { approval }),
    execute: ({ sum }) => {
      ran.push(sum);
      return `paid ${sum}`;
    },
  });
}

test("asks before the call with what the model gave, and makes it once approved", async () => {
  const ran: unknown[] = [];
  const { graph, told } = agentOf([payOf(true, ran)], ["c1", "pay", { sum: 5 }]);
  const { __interrupt__: asked } = await graph().invoke(go, at);
  const request: ApprovalRequest = { type: "approval", tool: "pay", input: { sum: 5 }, toolCallId: "c1" };
  expect(asked).toMatchObject([{ value: request }]);
  expect(ran).toEqual([]);
  await graph().invoke(new Command({ resume: true }), at);
  expect(ran).toEqual([5]);
  expect(told()).toEqual([{ type: "text", value: "paid 5" }]);
});

test("a refusal and its reason are told to the model, and the call is not made", async () => {
  const ran: unknown[] = [];
  for (const [answer, reason] of [
    [false, "a person refused this call"],
    [{ approved: false }, "a person refused this call"],
    [{ approved: false, reason: "too much" }, "too much"],
  ] as const) {
    const { graph, told } = agentOf([payOf(true, ran)], ["c1", "pay", { sum: 5 }]);
    await graph().invoke(go, at);
    await graph().invoke(new Command({ resume: answer }), at);
    expect(told()).toEqual([{ type: "execution-denied", reason }]);
  }
  expect(ran).toEqual([]);
});

test("a person may change the input: the tool gets that, and the model is told of it", async () => {
  const ran: unknown[] = [];
  const { graph, told } = agentOf([payOf(true, ran)], ["c1", "pay", { sum: 50 }]);
  await graph().invoke(go, at);
  await graph().invoke(new Command({ resume: { approved: true, input: { sum: 7 } } }), at);
  expect(ran).toEqual([7]);
  expect(told()).toEqual([{ type: "json", value: { editedInput: { sum: 7 }, result: "paid 7" } }]);
});

test("an answer that is none, or an input that does not fit, is refused, and the question stays", async () => {
  const ran: unknown[] = [];
  const { graph } = agentOf([payOf(true, ran)], ["c1", "pay", { sum: 5 }]);
  await graph().invoke(go, at);
  const refused = async (resume: unknown, message: RegExp) =>
    await expect(graph().invoke(new Command({ resume }), at)).rejects.toMatchObject({
      code: "InvalidArgument",
      message: expect.stringMatching(message),
    });
  await refused("yes", /must be true, false or \{ approved/);
  await refused({ approved: "yes" }, /approved: must be true or false/);
  await refused({ approved: false, reason: 1 }, /reason: must be text/);
  await refused({ approved: true, input: { sum: 1_000 } }, /input\.sum: /);
  expect(ran).toEqual([]);
  await graph().invoke(new Command({ resume: true }), at);
  expect(ran).toHaveLength(1);
});

test("a function decides for which calls a person is asked, once for each", async () => {
  const ran: unknown[] = [];
  const decided: number[] = [];
  const pay = payOf(async ({ sum }) => {
    decided.push(sum);
    return sum > 10;
  }, ran);
  const calls: Parameters<typeof callOf>[] = [
    ["c1", "pay", { sum: 5 }],
    ["c2", "pay", { sum: 50 }],
    ["c3", "pay", { sum: 60 }],
  ];
  const { graph, told } = agentOf([pay], ...calls);
  const { __interrupt__: asked } = await graph().invoke(go, at);
  expect(asked!.map(({ value }) => (value as ApprovalRequest).toolCallId)).toEqual(["c2", "c3"]);
  expect(ran).toEqual([5]);
  // Each by its id, in whatever order.
  const ids = asked!.map(({ id }) => id);
  const resume = { [ids[1]!]: false, [ids[0]!]: true };
  await graph().invoke(new Command({ resume }), at);
  expect(ran).toEqual([5, 50]);
  expect(decided.sort()).toEqual([5, 50, 60]);
  expect(told()).toMatchObject([{ value: "paid 5" }, { value: "paid 50" }, { type: "execution-denied" }]);
});

test("an input that does not fit is told to the model, and nobody is asked", async () => {
  const { graph, told } = agentOf([payOf(true, [])], ["c1", "pay", { sum: 1_000 }]);
  expect(await graph().invoke(go, at)).not.toHaveProperty("__interrupt__");
  expect(told()).toMatchObject([{ type: "error-text", value: expect.stringMatching(/^input\.sum: /) }]);
});
