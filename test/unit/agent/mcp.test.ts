/** Tools of real servers of the Model Context Protocol: in memory, on a child process's stdio, and over HTTP. */
import { fileURLToPath } from "node:url";
import * as v2 from "@modelcontextprotocol/client";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import type { CallToolResult, Tool as ServerTool } from "@modelcontextprotocol/sdk/types.js";
import { afterEach, expect, test } from "vitest";
import { type McpClient, type McpToolsOptions, mcpTools } from "../../../src/agent/mcp.ts";
import type { Tool, ToolContext } from "../../../src/agent/tool.ts";
import { Command, createReactAgent, type LanguageModel, MemorySaver } from "../../../src/mod.ts";
import { until } from "../../support/wait.ts";
import { anyObject, mcpServer, type Served, serveHttp, text } from "./mcp-server.ts";
import { callOf, resultsOf, scripted } from "./model.ts";

const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const about = { name: "test", version: "1" };

async function inMemory(served: Served): Promise<Client> {
  const [here, there] = InMemoryTransport.createLinkedPair();
  const server = mcpServer(served);
  const client = new Client(about);
  await Promise.all([server.connect(there), client.connect(here)]);
  closers.push(
    () => client.close(),
    () => server.close(),
  );
  return client;
}

/** One tool `work` that gives what it is told to. */
function working(result: CallToolResult, more: Partial<ServerTool> = {}): Served {
  return { tools: [{ name: "work", description: "Works", inputSchema: anyObject, ...more }], onCall: () => result };
}

/** What the model is told of one call of `work`. */
async function toldOf(client: McpClient, options?: McpToolsOptions): Promise<unknown> {
  const llm = scripted([[callOf("1", "work", {})], "done"]);
  await createReactAgent({ name: "a", llm, tools: await mcpTools(client, options) }).invoke(question);
  return resultsOf(llm.calls[1]!.prompt)[0]?.output;
}

const question = { messages: { role: "user", content: "go" } } as const;

test("a model is shown the server's schema as it is, and its call reaches the server with the call's key", async () => {
  const inputSchema = {
    type: "object" as const,
    properties: { a: { type: "number" }, b: { type: "number", description: "the other one" } },
    required: ["a", "b"],
    $defs: { unused: { const: 1 } },
  };
  const asked: unknown[] = [];
  const client = await inMemory({
    tools: [{ name: "add", description: "Adds", inputSchema }],
    onCall: ({ name, arguments: input = {}, _meta }) => {
      asked.push({ name, input, key: _meta?.["agentmatic/idempotencyKey"] });
      return text(String(Number(input.a) + Number(input.b)));
    },
  });
  const llm = scripted([[callOf("c1", "add", { a: 2, b: 3 })], "5"]);
  const graph = createReactAgent({ name: "a", llm, tools: await mcpTools(client), checkpointer: new MemorySaver() });
  await graph.invoke(question, { threadId: "t", runId: "r" });
  expect(llm.calls[0]!.tools).toEqual([{ type: "function", name: "add", description: "Adds", inputSchema }]);
  expect(asked).toEqual([{ name: "add", input: { a: 2, b: 3 }, key: expect.stringMatching(/^t\/r\..*\/c1$/) }]);
  expect(resultsOf(llm.calls[1]!.prompt)[0]?.output).toEqual({ type: "text", value: "5" });
});

test.each<[string, CallToolResult, unknown]>([
  [
    "several texts",
    {
      content: [
        { type: "text", text: "a" },
        { type: "text", text: "b" },
      ],
    },
    { type: "text", value: "a\nb" },
  ],
  ["nothing", { content: [] }, { type: "text", value: "" }],
  [
    "structured content alone",
    { content: [], structuredContent: { n: 1, list: [null] } },
    { type: "json", value: { n: 1, list: [null] } },
  ],
  [
    "structured content beside its text",
    { content: [{ type: "text", text: '{"n":1}' }], structuredContent: { n: 1 } },
    { type: "text", value: '{"n":1}' },
  ],
  [
    "an image",
    {
      content: [
        { type: "text", text: "look" },
        { type: "image", data: "AAEC", mimeType: "image/png" },
      ],
    },
    {
      type: "content",
      value: [
        { type: "text", text: "look" },
        { type: "file", data: { type: "data", data: "AAEC" }, mediaType: "image/png" },
      ],
    },
  ],
  [
    "resources",
    {
      content: [
        { type: "resource", resource: { uri: "file:///a.txt", text: "words" } },
        { type: "resource_link", uri: "file:///b.txt", name: "b", description: "more words" },
        { type: "resource", resource: { uri: "file:///c.pdf", blob: "AAEC", mimeType: "application/pdf" } },
      ],
    },
    {
      type: "content",
      value: [
        { type: "text", text: "file:///a.txt\nwords" },
        { type: "text", text: "b: file:///b.txt (more words)" },
        { type: "file", data: { type: "data", data: "AAEC" }, mediaType: "application/pdf" },
      ],
    },
  ],
  [
    "an error",
    { content: [{ type: "text", text: "no such city" }], isError: true },
    { type: "error-text", value: "no such city" },
  ],
  [
    "an error without a word",
    { content: [], isError: true },
    { type: "error-text", value: 'tool "work" failed without a word' },
  ],
  [
    "too much",
    { content: [{ type: "text", text: "x".repeat(400_001) }] },
    { type: "error-text", value: '"work" answered with 400001 characters of text; 400000 is the most' },
  ],
])("a result is told as what it is: %s", async (_name, result, output) => {
  expect(await toldOf(await inMemory(working(result)))).toEqual(output);
});

test("a model of the provider interface's version 3 is shown the image in its own way", async () => {
  const client = await inMemory(working({ content: [{ type: "image", data: "AAEC", mimeType: "image/png" }] }));
  const llm = scripted([[callOf("1", "work", {})], "done"]);
  const v3 = { ...llm, specificationVersion: "v3" } as unknown as LanguageModel;
  await createReactAgent({ name: "a", llm: v3, tools: await mcpTools(client) }).invoke(question);
  expect(resultsOf(llm.calls[1]!.prompt)[0]?.output).toEqual({
    type: "content",
    value: [{ type: "image-data", data: "AAEC", mediaType: "image/png" }],
  });
});

test("what a person changed is told beside an image, too", async () => {
  const client = await inMemory(working({ content: [{ type: "image", data: "AAEC", mimeType: "image/png" }] }));
  const llm = scripted([[callOf("1", "work", { a: 1 })], "done"]);
  const tools = await mcpTools(client, { approval: true });
  const graph = createReactAgent({ name: "a", llm, tools, checkpointer: new MemorySaver() });
  await graph.invoke(question, { threadId: "t" });
  await graph.invoke(new Command({ resume: { approved: true, input: { a: 2 } } }), { threadId: "t" });
  expect(resultsOf(llm.calls[1]!.prompt)[0]?.output).toEqual({
    type: "content",
    value: [
      { type: "text", text: '{"editedInput":{"a":2}}' },
      { type: "file", data: { type: "data", data: "AAEC" }, mediaType: "image/png" },
    ],
  });
});

test("an unknown tool, input that is no object and a refusal by the server are told to the model", async () => {
  const client = await inMemory({
    ...working(text("")),
    onCall: () => {
      throw new Error("the disk is full");
    },
  });
  const llm = scripted([[callOf("1", "work", "[]"), callOf("2", "play", {}), callOf("3", "work", {})], "done"]);
  await createReactAgent({ name: "a", llm, tools: await mcpTools(client) }).invoke(question);
  expect(resultsOf(llm.calls[1]!.prompt).map(({ output }) => output)).toEqual([
    { type: "error-text", value: "input: must be an object" },
    { type: "error-text", value: 'there is no tool named "play"; there are work' },
    { type: "error-text", value: "MCP error -32603: the disk is full" },
  ]);
});

test("all pages of the list are read; one without end is refused", async () => {
  const tools = Array.from({ length: 7 }, (_, index) => ({ name: `t${index}`, inputSchema: anyObject }));
  const client = await inMemory({ tools, onCall: () => text(""), pageSize: 3 });
  const names = (await mcpTools(client)).map(({ name }) => name);
  expect(names).toEqual(tools.map(({ name }) => name));
  const listing = (listTools: McpClient["listTools"]): McpClient => ({ listTools, callTool: async () => ({}) });
  const circle = listing(async () => ({ tools: [], nextCursor: "x" }));
  await expect(mcpTools(circle)).rejects.toMatchObject({
    code: "ResourceExhausted",
    message: expect.stringMatching(/does not come to an end: it gave the cursor of page 2 before/),
  });
  const last = listing(async () => ({ tools: tools.slice(0, 1), nextCursor: null as never }));
  expect(await mcpTools(last)).toHaveLength(1);
  let pages = 0;
  const endless = listing(async () => ({ tools: [], nextCursor: String(++pages) }));
  await expect(mcpTools(endless)).rejects.toMatchObject({ code: "ResourceExhausted" });
  expect(pages).toBe(100);
  const many = Array.from({ length: 1_001 }, (_, index) => ({ name: `t${index}`, inputSchema: {} }));
  await expect(mcpTools(listing(async () => ({ tools: many })))).rejects.toMatchObject({ code: "ResourceExhausted" });
  expect(await mcpTools(listing(async () => ({ tools: many.slice(1) })))).toHaveLength(1_000);
});

test("names that models do not accept are changed, and called by the server's own", async () => {
  const called: string[] = [];
  const client = await inMemory({
    tools: ["files.read", "files/write"].map((name) => ({ name, inputSchema: anyObject })),
    onCall: ({ name }) => {
      called.push(name);
      return text("ok");
    },
  });
  const tools = await mcpTools(client, { prefix: "disk_" });
  expect(tools.map(({ name, description }) => [name, description])).toEqual([
    ["disk_files_read", "files.read"],
    ["disk_files_write", "files/write"],
  ]);
  const llm = scripted([[callOf("1", "disk_files_read", {}), callOf("2", "disk_files_write", {})], "done"]);
  await createReactAgent({ name: "a", llm, tools }).invoke(question);
  expect(called.sort()).toEqual(["files.read", "files/write"]);
});

test("two names that become one are refused, and told apart by a prefix", async () => {
  const client = await inMemory({
    tools: ["a.b", "a/b", "c"].map((name) => ({ name, inputSchema: anyObject })),
    onCall: () => text(""),
  });
  await expect(mcpTools(client)).rejects.toMatchObject({
    code: "InvalidArgument",
    message: expect.stringMatching(/^tools: "a\.b" and "a\/b" would both be "a_b"/),
  });
  const first = await mcpTools(client, { filter: ["a.b"] });
  const rest = await mcpTools(client, { filter: ({ name }) => name !== "a.b", prefix: "x_" });
  expect([...first, ...rest].map(({ name }) => name)).toEqual(["a_b", "x_a_b", "x_c"]);
});

test("bad options name the option, and a tool that runs only as a task is refused unless left out", async () => {
  const client = await inMemory({
    tools: [
      { name: "job", inputSchema: anyObject, execution: { taskSupport: "required" } },
      { name: "work", inputSchema: anyObject },
    ],
    onCall: () => text(""),
  });
  const refused = async (options: unknown, message: RegExp, code = "InvalidArgument") => {
    const problem = { code, message: expect.stringMatching(message) };
    await expect(mcpTools(client, options as McpToolsOptions)).rejects.toMatchObject(problem);
  };
  await refused({}, /^tool "job" runs only as a task/, "Unsupported");
  expect(await mcpTools(client, { filter: ["work"] })).toHaveLength(1);
  await refused({ filter: ["work", "play"] }, /^filter\[1\]: the server has no tool named "play"; there are job, work/);
  await refused({ filter: 1 }, /^filter: /);
  await refused({ filter: async () => Promise.reject(false) }, /^filter: gave a promise, and must answer at once/);
  await refused({ prefix: "a b" }, /^prefix: /);
  await refused({ timeoutMs: 0 }, /^timeoutMs: /);
  await refused({ approval: "yes" }, /^approval: /);
  await refused({ retryPolicy: { maxAttempts: 0 } }, /^retryPolicy\.maxAttempts: /);
  await expect(mcpTools({} as never)).rejects.toMatchObject({ message: expect.stringMatching(/^client: /) });
});

test("a person is asked by what the server says of its tool", async () => {
  const done: string[] = [];
  const client = await inMemory({
    tools: [
      { name: "look", inputSchema: anyObject, annotations: { readOnlyHint: true } },
      { name: "drop", inputSchema: anyObject, annotations: { destructiveHint: true } },
    ],
    onCall: ({ name }) => {
      done.push(name);
      return text("ok");
    },
  });
  const tools = await mcpTools(client, {
    approval: (_input, _context, { annotations }) => annotations?.readOnlyHint !== true,
  });
  const llm = scripted([[callOf("1", "look", {}), callOf("2", "drop", { table: "x" })], "done"]);
  const graph = createReactAgent({ name: "a", llm, tools, checkpointer: new MemorySaver() });
  const stopped = await graph.invoke(question, { threadId: "t" });
  expect(stopped.__interrupt__).toMatchObject([{ value: { type: "approval", tool: "drop", input: { table: "x" } } }]);
  expect(done).toEqual(["look"]);
  await graph.invoke(new Command({ resume: true }), { threadId: "t" });
  expect(done).toEqual(["look", "drop"]);
});

test("progress is a sign of life, and a retry policy calls again", async () => {
  let tries = 0;
  const client = await inMemory({
    ...working(text("")),
    onCall: async (_params, { progress }) => {
      for (let step = 0; step < 3; step++) await progress();
      return ++tries < 3 ? { ...text("busy"), isError: true } : text("done");
    },
  });
  let beats = 0;
  const { signal } = new AbortController();
  const context: Partial<ToolContext> = { signal, idempotencyKey: "k", heartbeat: () => void beats++ };
  const [work] = (await mcpTools(client)) as [Tool];
  await expect(work.execute({} as never, context as ToolContext)).rejects.toThrow("busy");
  expect(beats).toBe(3);
  const output = await toldOf(client, { retryPolicy: { initialInterval: 1, logWarning: false } });
  expect([output, tries]).toEqual([{ type: "text", value: "done" }, 3]);
});

test("when its time is over the server is told, and so is the model", async () => {
  let stopped = false;
  const client = await inMemory({
    ...working(text("")),
    onCall: (_params, { signal }) =>
      new Promise(() => {
        signal.addEventListener("abort", () => {
          stopped = true;
        });
      }),
  });
  const output = await toldOf(client, { timeoutMs: 20 });
  expect(output).toMatchObject({
    type: "error-text",
    value: expect.stringMatching(/^"work" did not end within 20 ms/),
  });
  await until(() => stopped, { what: "the server's signal" });
});

async function stdio(): Promise<Client> {
  const server = fileURLToPath(new URL("./mcp-stdio.ts", import.meta.url));
  const client = new Client(about);
  await client.connect(new StdioClientTransport({ command: process.execPath, args: [server] }));
  closers.push(() => client.close());
  return client;
}

test("a server on stdio that dies in the middle of a call is told to the model, which goes on", async () => {
  const client = await stdio();
  const llm = scripted([[callOf("1", "pid", {})], [callOf("2", "die", {})], [callOf("3", "pid", {})], "alone"]);
  const { messages } = await createReactAgent({ name: "a", llm, tools: await mcpTools(client) }).invoke(question);
  expect(resultsOf(llm.calls[1]!.prompt)[0]?.output).toEqual({
    type: "text",
    value: expect.stringMatching(/^[0-9]+$/),
  });
  expect(resultsOf(llm.calls[2]!.prompt)[0]?.output).toEqual({
    type: "error-text",
    value: "MCP error -32000: Connection closed",
  });
  expect(resultsOf(llm.calls[3]!.prompt)[0]?.output).toEqual({ type: "error-text", value: "Not connected" });
  expect(messages.at(-1)).toMatchObject({ content: [{ text: "alone" }] });
});

const clients: [string, (url: URL) => Promise<McpClient>][] = [
  [
    "version 1 of the client",
    async (url) => {
      const client = new Client(about);
      await client.connect(new StreamableHTTPClientTransport(url) as Parameters<Client["connect"]>[0]);
      closers.push(() => client.close());
      return client;
    },
  ],
  [
    "version 2 of the client",
    async (url) => {
      const client = new v2.Client(about);
      await client.connect(new v2.StreamableHTTPClientTransport(url));
      closers.push(() => client.close());
      return client;
    },
  ],
];

test.each(clients)(
  "over HTTP calls are answered, and a cancelled run is cancelled on the server: %s",
  async (_name, connect) => {
    let started = 0;
    let stopped = 0;
    const { url, close } = await serveHttp({
      tools: ["quick", "slow"].map((name) => ({ name, inputSchema: anyObject })),
      pageSize: 1,
      onCall: ({ name, _meta }, { signal }) => {
        if (name === "quick") return text(String(_meta?.["agentmatic/idempotencyKey"]));
        started++;
        return new Promise(() => {
          signal.addEventListener("abort", () => stopped++);
        });
      },
    });
    closers.push(close);
    const tools = await mcpTools(await connect(url));
    expect(tools.map(({ name }) => name)).toEqual(["quick", "slow"]);
    const llm = scripted([[callOf("1", "quick", {})], [callOf("2", "slow", {})], "done"]);
    const controller = new AbortController();
    const run = createReactAgent({ name: "a", llm, tools }).invoke(question, { signal: controller.signal, runId: "r" });
    run.catch(() => undefined);
    await until(() => started === 1, { what: "the slow call" });
    expect(resultsOf(llm.calls[1]!.prompt)[0]?.output).toMatchObject({ value: expect.stringMatching(/^r\/.*\/1$/) });
    controller.abort();
    await expect(run).rejects.toMatchObject({ code: "Cancelled" });
    await until(() => stopped === 1, { what: "the server's signal" });
  },
);
