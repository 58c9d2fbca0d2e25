/**
 * The tools of a server that speaks the Model Context Protocol, for an agent to use as its own
 * (https://modelcontextprotocol.io/specification/2025-11-25/server/tools).
 */
import { AgentmaticError, invalid } from "../errors.ts";
import { isThenable, type JsonSchema } from "../graph/schema.ts";
import { isObject } from "../run/check.ts";
import { resultOf } from "./mcp-result.ts";
import { readPolicies, type Tool, type ToolContext, type ToolPolicies } from "./tool.ts";

/** A tool as its server lists it. */
export interface McpTool {
  readonly name: string;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly inputSchema: object;
  /** What the server says of its tool: no more to be trusted than the server is. */
  readonly annotations?:
    | {
        readonly title?: string | undefined;
        readonly readOnlyHint?: boolean | undefined;
        readonly destructiveHint?: boolean | undefined;
        readonly idempotentHint?: boolean | undefined;
        readonly openWorldHint?: boolean | undefined;
      }
    | undefined;
  readonly execution?: { readonly taskSupport?: string | undefined } | undefined;
}

export interface McpRequestOptions {
  readonly signal?: AbortSignal;
  readonly timeout?: number;
  readonly onprogress?: () => void;
}

export interface McpCall {
  name: string;
  arguments?: Record<string, unknown>;
  _meta?: Record<string, unknown>;
}

/**
 * What is used of a client: the `Client` of `@modelcontextprotocol/client`, and that of `@modelcontextprotocol/sdk`, which
 * takes the options in the third place.
 */
export interface McpClient {
  listTools(
    params?: { cursor?: string },
    options?: McpRequestOptions,
  ): Promise<{ readonly tools: readonly McpTool[]; readonly nextCursor?: string | undefined }>;
  callTool(params: McpCall, optionsOrSchema?: unknown, options?: unknown): Promise<unknown>;
}

export interface McpToolsOptions extends ToolPolicies {
  /** Milliseconds that one try may take; 60,000 unless given. The server is told when they are over. */
  readonly timeoutMs?: number;
  /** Stands before each name, as in `github_`: models tell tools apart by name. */
  readonly prefix?: string;
  /** Which tools: the server's names for them, or a function of what it says of them. All unless given. */
  readonly filter?: readonly string[] | ((tool: McpTool) => boolean);
  /** As of `tool`; the third argument is what the server says of the tool, its `annotations` with it. */
  readonly approval?: boolean | ((input: unknown, context: ToolContext, tool: McpTool) => boolean | Promise<boolean>);
  /** Ends the listing. */
  readonly signal?: AbortSignal;
}

/** In `_meta` of each call: the same for every execution of one call. */
export const idempotencyKeyName = "agentmatic/idempotencyKey";

const pagesMax = 100;
const toolsMax = 1_000;
const nameCharsMax = 64;
const timeoutMsDefault = 60_000;
/** The client's own limit on a request stands back behind the tool's; no timer is longer. */
const requestMsMax = 2 ** 31 - 1;

/**
 * Asks a connected client for its server's tools. What the server says of their input goes to the model as it is, and the
 * server checks it. An answer with `isError`, and a server that is gone, are told to the model. The list is as of now:
 * ask again, and build the agent anew, when the server's tools change.
 *
 * Rejects with `InvalidArgument` that names the option, or two tools whose names models cannot tell apart; with
 * `Unsupported` for a tool that runs only as a task; `ResourceExhausted` for a list without end; and the client's error.
 */
export async function mcpTools(client: McpClient, options: McpToolsOptions = {}): Promise<readonly Tool[]> {
  const { prefix = "", filter, approval, signal } = options;
  if (typeof client?.listTools !== "function" || typeof client.callTool !== "function") {
    throw invalid("client", "must be a connected client, of @modelcontextprotocol/client or @modelcontextprotocol/sdk");
  }
  if (typeof prefix !== "string" || !/^[A-Za-z0-9_-]{0,32}$/.test(prefix)) {
    throw invalid("prefix", "must be at most 32 letters, digits, _ or -, which is what models accept");
  }
  if (filter !== undefined && typeof filter !== "function" && !Array.isArray(filter)) {
    throw invalid("filter", "must be a list of names or a function");
  }
  const policies = readPolicies({ timeoutMs: timeoutMsDefault, ...options }, (of) => of);
  const named = new Map<string, McpTool>();
  for (const one of chosen(await list(client, signal), filter)) {
    const name = nameOf(prefix, one.name);
    const other = named.get(name);
    if (other) {
      const hint = "leave one of them out with filter, or give it a prefix of its own by another call of mcpTools";
      throw invalid("tools", `"${other.name}" and "${one.name}" would both be "${name}"; ${hint}`);
    }
    named.set(name, one);
  }
  const ask = typeof approval === "function" ? approval : undefined;
  return [...named].map(([name, one]) => ({
    ...policies,
    ...(ask ? { approval: (input: unknown, context: ToolContext) => ask(input, context, one) } : {}),
    name,
    description: one.description || one.title || one.annotations?.title || one.name,
    jsonSchema: one.inputSchema as JsonSchema,
    read: readInput,
    execute: async (input: Record<string, unknown>, context: ToolContext) =>
      resultOf(one.name, await call(client, one.name, input, context)),
  }));
}

async function list(client: McpClient, signal: AbortSignal | undefined): Promise<readonly McpTool[]> {
  const tools: McpTool[] = [];
  const seen = new Set<string>();
  let cursor: string | undefined;
  for (let page = 0; page < pagesMax; page++) {
    const answer = await client.listTools(cursor === undefined ? {} : { cursor }, signal ? { signal } : {});
    if (!Array.isArray(answer?.tools)) throw new AgentmaticError("Unavailable", "the server's list of tools is none");
    for (const one of answer.tools as readonly McpTool[]) tools.push(checked(one));
    if (tools.length > toolsMax) break;
    cursor = answer.nextCursor ?? undefined;
    if (cursor === undefined) return tools;
    if (seen.has(cursor)) throw endless(`it gave the cursor of page ${page + 1} before`);
    seen.add(cursor);
  }
  throw endless(`over ${toolsMax} tools or ${pagesMax} pages`);
}

function endless(why: string): AgentmaticError {
  return new AgentmaticError("ResourceExhausted", `the server's list of tools does not come to an end: ${why}`);
}

function checked(one: McpTool): McpTool {
  if (typeof one?.name === "string" && one.name !== "" && isObject(one.inputSchema)) return one;
  throw new AgentmaticError("Unavailable", "the server lists a tool without a name or an inputSchema");
}

function chosen(tools: readonly McpTool[], filter: McpToolsOptions["filter"]): readonly McpTool[] {
  const names = new Set(tools.map(({ name }) => name));
  const list = typeof filter === "function" ? [] : (filter ?? []);
  list.forEach((name, index) => {
    if (names.has(name)) return;
    throw invalid(`filter[${index}]`, `the server has no tool named "${name}"; there are ${[...names].join(", ")}`);
  });
  const wanted = new Set(list);
  const all = tools.filter((one) => {
    if (typeof filter !== "function") return filter === undefined || wanted.has(one.name);
    const answer: unknown = filter(one);
    if (!isThenable(answer)) return Boolean(answer);
    answer.then(undefined, () => undefined);
    throw invalid("filter", "gave a promise, and must answer at once");
  });
  const task = all.find(({ execution }) => execution?.taskSupport === "required");
  if (!task) return all;
  const text = `tool "${task.name}" runs only as a task of the protocol, which is not supported; leave it out with filter`;
  throw new AgentmaticError("Unsupported", text);
}

/** Servers may use any characters, and more of them than models accept. */
function nameOf(prefix: string, name: string): string {
  return (prefix + name.replaceAll(/[^A-Za-z0-9_-]/g, "_")).slice(0, nameCharsMax);
}

function readInput(input: unknown): unknown {
  if (isObject(input)) return input;
  throw invalid("input", "must be an object");
}

function call(
  client: McpClient,
  name: string,
  input: Record<string, unknown>,
  { signal, idempotencyKey, heartbeat }: ToolContext,
): Promise<unknown> {
  const params: McpCall = { name, arguments: input, _meta: { [idempotencyKeyName]: idempotencyKey } };
  const options: McpRequestOptions = { signal, timeout: requestMsMax, onprogress: () => heartbeat() };
  return optionsComeSecond(client) ? client.callTool(params, options) : client.callTool(params, undefined, options);
}

/** Version 2 of the client has no place for a schema between the two. */
function optionsComeSecond(client: McpClient): boolean {
  return "getProtocolEra" in client || client.callTool.length === 2;
}
