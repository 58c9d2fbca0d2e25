/**
 * A service that speaks the chat completions protocol of OpenAI over real HTTP, streamed and not, and says what a test
 * scripts (https://platform.openai.com/docs/api-reference/chat). It refuses what the real one refuses.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content?: unknown;
  readonly tool_calls?: readonly { readonly id: string; readonly function: { name: string; arguments: string } }[];
  readonly tool_call_id?: string;
}

export interface ChatRequest {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly { readonly function: { readonly name: string; readonly parameters: object } }[];
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
  readonly response_format?: { readonly type: string; readonly json_schema?: { readonly schema: object } };
}

export interface Reply {
  readonly text?: string;
  /** Tool calls; arguments that are no text are made JSON. */
  readonly calls?: readonly { readonly id: string; readonly name: string; readonly arguments: unknown }[];
  readonly tokens?: { readonly input: number; readonly output: number; readonly cached?: number };
  /** Answers so, with an error for a body, in place of all that. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Cuts the connection after so many pieces of the answer. */
  readonly breakAfter?: number;
  /** Waited for before the answer; never settled, it hangs. */
  readonly before?: Promise<unknown>;
  /** Waited for after each piece of a streamed answer. */
  readonly between?: (piece: number) => Promise<unknown> | undefined;
}

/** What was asked, and whether the client went away before it had its answer. */
export interface Asked {
  readonly body: ChatRequest;
  readonly headers: IncomingMessage["headers"];
  aborted: boolean;
}

export type Script = readonly Reply[] | ((request: ChatRequest, index: number) => Reply | Promise<Reply>);

const bodyCharsMax = 16 * 1024 * 1024;

/** Answers by how many answers a conversation has already, as a model would: for runs that begin anew elsewhere. */
export function byTurn(replies: readonly Reply[]): Script {
  return ({ messages }) => {
    const turn = messages.filter(({ role }) => role === "assistant").length;
    return replies[turn] ?? { status: 500 };
  };
}

export class ModelServer {
  readonly asked: Asked[] = [];
  readonly #script: Script;
  readonly #server: Server;

  private constructor(script: Script) {
    this.#script = script;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  /** On a free port of the loopback interface. */
  static async listen(script: Script): Promise<ModelServer> {
    const made = new ModelServer(script);
    await new Promise<void>((resolve, reject) => {
      made.#server.once("error", reject);
      made.#server.listen(0, "127.0.0.1", resolve);
    });
    return made;
  }

  /** The base URL that providers want. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
      return refuse(response, 404, `there is no ${request.method} ${request.url}`);
    }
    const body = JSON.parse(await read(request)) as ChatRequest;
    const asked: Asked = { body, headers: request.headers, aborted: false };
    const index = this.asked.push(asked) - 1;
    response.once("close", () => {
      asked.aborted = !response.writableFinished;
    });
    const problem = problemOf(body);
    if (problem) return refuse(response, 400, problem);
    const script = this.#script;
    const reply = typeof script === "function" ? await script(body, index) : script[index];
    if (!reply) return refuse(response, 500, `the script has no reply ${index}`);
    await reply.before;
    if (reply.status !== undefined) return refuse(response, reply.status, `status ${reply.status}`, reply.headers);
    if (body.stream) await stream(reply, body, response);
    else whole(reply, body, response);
  }
}

/** As the real service puts it. */
function refuse(response: ServerResponse, status: number, message: string, headers: Reply["headers"] = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify({ error: { message, type: "error", param: null, code: null } }));
}

function problemOf({ model, messages, response_format }: ChatRequest): string | undefined {
  if (typeof model !== "string" || !Array.isArray(messages) || messages.length === 0) return "no model or messages";
  let open = new Set<string | undefined>();
  for (const message of messages as ChatMessage[]) {
    if (message.role === "tool") {
      if (!open.delete(message.tool_call_id)) return "a tool message must follow its tool_calls";
      continue;
    }
    if (open.size > 0) return `tool_calls without an answer: ${[...open].join(", ")}`;
    open = new Set(message.tool_calls?.map(({ id }) => id));
  }
  if (open.size > 0) return `tool_calls without an answer: ${[...open].join(", ")}`;
  const schema = response_format?.json_schema?.schema as { additionalProperties?: unknown } | undefined;
  if (response_format?.type === "json_schema" && schema?.additionalProperties !== false) {
    return "response_format: 'additionalProperties' is required to be supplied and to be false";
  }
  return undefined;
}

async function read(request: IncomingMessage): Promise<string> {
  let text = "";
  request.setEncoding("utf8");
  for await (const chunk of request) {
    text += chunk;
    if (text.length > bodyCharsMax) throw new Error("the request is too long");
  }
  return text;
}

function usageOf({ tokens = { input: 1, output: 1 } }: Reply): object {
  const { input, output, cached = 0 } = tokens;
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cached },
  };
}

function callsOf({ calls = [] }: Reply): { id: string; name: string; arguments: string }[] {
  return calls.map(({ id, name, ...call }) => ({
    id,
    name,
    arguments: typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments),
  }));
}

function whole(reply: Reply, { model }: ChatRequest, response: ServerResponse): void {
  const calls = callsOf(reply).map(({ id, ...call }) => ({ id, type: "function", function: call }));
  const message = {
    role: "assistant",
    content: reply.text ?? null,
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  };
  const finish = calls.length > 0 ? "tool_calls" : "stop";
  const choices = [{ index: 0, message, finish_reason: finish }];
  const text = JSON.stringify({
    id: "c",
    object: "chat.completion",
    created: 0,
    model,
    choices,
    usage: usageOf(reply),
  });
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  if (reply.breakAfter === undefined) response.end(text);
  else response.write(text.slice(0, text.length / 2), () => response.destroy());
}

async function stream(reply: Reply, { model, stream_options }: ChatRequest, response: ServerResponse): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (rest: object) => {
    const chunk = { id: "c", object: "chat.completion.chunk", created: 0, model, ...rest };
    return new Promise((sent) => response.write(`data: ${JSON.stringify(chunk)}\n\n`, sent));
  };
  let piece = 0;
  for (const delta of deltasOf(reply)) {
    if (piece === reply.breakAfter) return void response.destroy();
    await send({ choices: [{ index: 0, delta, finish_reason: null }] });
    await reply.between?.(piece);
    if (response.destroyed) return;
    piece++;
  }
  const finish = reply.calls ? "tool_calls" : "stop";
  await send({ choices: [{ index: 0, delta: {}, finish_reason: finish }] });
  if (stream_options?.include_usage) await send({ choices: [], usage: usageOf(reply) });
  response.end("data: [DONE]\n\n");
}

/** Text word by word, and the arguments of a call in pieces that are no JSON by themselves. */
function* deltasOf(reply: Reply): Generator<object> {
  yield { role: "assistant" };
  for (const word of reply.text?.match(/\S+\s*/g) ?? []) yield { content: word };
  for (const [index, { id, name, arguments: text }] of callsOf(reply).entries()) {
    yield { tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }] };
    for (let at = 0; at < text.length; at += 5) {
      yield { tool_calls: [{ index, function: { arguments: text.slice(at, at + 5) } }] };
    }
  }
}
