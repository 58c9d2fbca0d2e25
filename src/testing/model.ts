/** A model that answers from a script, in one piece or in chunks, and keeps what it was asked. */
import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4Content,
  LanguageModelV4FinishReason,
  LanguageModelV4GenerateResult,
  LanguageModelV4Usage,
} from "@ai-sdk/provider";
import { AgentmaticError } from "../errors.ts";
import { sleep, systemPorts, type Timers } from "../ports.ts";
import { checkCount } from "../run/check.ts";
import { streamOf } from "./model-stream.ts";

/** Text, parts of an answer, an error to throw, or more of what an answer has. */
export type ScriptedAnswer =
  | string
  | Error
  | LanguageModelV4Content
  | readonly LanguageModelV4Content[]
  | ScriptedReply;

export interface ScriptedReply {
  readonly content: string | readonly LanguageModelV4Content[];
  /** Thrown, one after the other, before the answer is given. */
  readonly errors?: readonly Error[];
  readonly usage?: TokenCount;
  readonly finishReason?: LanguageModelV4FinishReason["unified"];
  /** Milliseconds before the answer, or before each chunk of it. Instead of the model's. */
  readonly delayMs?: number;
  /** Breaks off a stream with this error after so many chunks. */
  readonly breaksAfter?: { readonly chunks: number; readonly error: Error };
}

export interface TokenCount {
  readonly inputTokens?: number;
  readonly outputTokens?: number;
}

export interface ScriptedCall extends LanguageModelV4CallOptions {
  readonly streamed: boolean;
  /** Assistant messages that the prompt has already. */
  readonly turn: number;
}

export interface ScriptedModel extends LanguageModelV4 {
  /** What it was asked, in order. */
  readonly calls: ScriptedCall[];
}

/** Answers by turn or by call, or a function of the call. */
export type Script =
  | readonly ScriptedAnswer[]
  | ((call: ScriptedCall, index: number) => ScriptedAnswer | Promise<ScriptedAnswer>);

export interface ScriptedModelOptions {
  /**
   * `turn`: the prompt with n assistant messages gets answer n, so that a call which is made again gets the same one.
   * `call`: the n-th call gets answer n. Default `turn`.
   */
  readonly by?: "turn" | "call";
  readonly provider?: string;
  readonly modelId?: string;
  /** Of each answer that says nothing else. Default one token each. */
  readonly usage?: TokenCount;
  /** Characters of a chunk. Default 8. */
  readonly chunkChars?: number;
  /** Milliseconds before an answer, or before each chunk of a stream. Default 0. */
  readonly delayMs?: number;
  /** Of a virtual clock, for delays that take no time. */
  readonly timers?: Timers;
  /** Called with each call before it is answered. */
  readonly onCall?: (call: ScriptedCall) => void | Promise<void>;
}

/** Calls beyond the end of the script are rejected with `NotFound`, naming the call. */
export function scriptedModel(script: Script, options: ScriptedModelOptions = {}): ScriptedModel {
  const { provider = "test", modelId = "scripted", chunkChars = 8, timers = systemPorts.timers, onCall } = options;
  checkCount("chunkChars", chunkChars, 1, Number.MAX_SAFE_INTEGER);
  const calls: ScriptedCall[] = [];
  const thrown = new Map<number, number>();
  const pause = async (delayMs: number, signal: AbortSignal | undefined) => {
    signal?.throwIfAborted();
    if (delayMs > 0) await sleep(timers, delayMs, signal);
  };
  const next = async (given: LanguageModelV4CallOptions, streamed: boolean): Promise<Reply> => {
    const turn = given.prompt.filter(({ role }) => role === "assistant").length;
    const index = calls.length;
    const call: ScriptedCall = { ...given, streamed, turn };
    // What callers change afterwards is not what was asked.
    calls.push(structuredClone({ ...call, abortSignal: undefined }));
    given.abortSignal?.throwIfAborted();
    await onCall?.(call);
    const at = options.by === "call" ? index : turn;
    const answer = typeof script === "function" ? await script(call, index) : script[at];
    if (answer === undefined) throw scriptOver(modelId, call, index, script);
    if (answer instanceof Error) throw answer;
    const reply = replyOf(answer, at);
    const tries = thrown.get(at) ?? 0;
    const error = reply.errors?.[tries];
    if (!error) return reply;
    thrown.set(at, tries + 1);
    throw error;
  };
  return {
    specificationVersion: "v4",
    provider,
    modelId,
    supportedUrls: {},
    calls,
    doGenerate: async (given) => {
      const reply = await next(given, false);
      await pause(reply.delayMs ?? options.delayMs ?? 0, given.abortSignal);
      return resultOf(reply, options.usage);
    },
    doStream: async (given) => {
      const reply = await next(given, true);
      const delayMs = reply.delayMs ?? options.delayMs ?? 0;
      const wait = () => pause(delayMs, given.abortSignal);
      const { breaksAfter } = reply;
      const result = resultOf(reply, options.usage);
      return { stream: streamOf(result, { chunkChars, wait, ...(breaksAfter ? { breaksAfter } : {}) }) };
    },
  };
}

/**
 * A call of a tool, for an answer's content. `input` that is text is taken as it is, be it JSON or not. Without an id it
 * gets one of the answer's place in the script, so that it is the same each time.
 */
export function toolCall(toolName: string, input: unknown = {}, toolCallId = ""): LanguageModelV4Content {
  return { type: "tool-call", toolCallId, toolName, input: typeof input === "string" ? input : JSON.stringify(input) };
}

/** The error of a service that says "later": HTTP 429 as the AI SDK tells of it. */
export function rateLimited(retryAfterSeconds?: number): Error {
  const headers = retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) };
  return Object.assign(new Error("too many requests"), {
    name: "AI_APICallError",
    statusCode: 429,
    isRetryable: true,
    responseHeaders: headers,
  });
}

type Reply = Omit<ScriptedReply, "content"> & { readonly content: LanguageModelV4Content[] };

function replyOf(answer: Exclude<ScriptedAnswer, Error>, at: number): Reply {
  if (typeof answer === "string" || Array.isArray(answer)) return { content: contentOf(answer, at) };
  if ("type" in answer) return { content: contentOf([answer], at) };
  const reply = answer as ScriptedReply;
  return { ...reply, content: contentOf(reply.content, at) };
}

function contentOf(content: ScriptedReply["content"], at: number): LanguageModelV4Content[] {
  if (typeof content === "string") return [{ type: "text", text: content }];
  return content.map((part, index) =>
    part.type === "tool-call" && part.toolCallId === "" ? { ...part, toolCallId: `call-${at + 1}.${index + 1}` } : part,
  );
}

function resultOf(reply: Reply, usage: TokenCount = {}): LanguageModelV4GenerateResult {
  const { content } = reply;
  const called = content.some(({ type }) => type === "tool-call");
  return {
    content,
    finishReason: { unified: reply.finishReason ?? (called ? "tool-calls" : "stop"), raw: undefined },
    usage: usageOf({ ...usage, ...reply.usage }),
    warnings: [],
  };
}

function usageOf({ inputTokens = 1, outputTokens = 1 }: TokenCount): LanguageModelV4Usage {
  return {
    inputTokens: { total: inputTokens, noCache: inputTokens, cacheRead: undefined, cacheWrite: undefined },
    outputTokens: { total: outputTokens, text: outputTokens, reasoning: undefined },
  };
}

const shownCharsMax = 200;

function scriptOver(modelId: string, call: ScriptedCall, index: number, script: Script): AgentmaticError {
  const last = JSON.stringify(call.prompt.at(-1)?.content ?? "").slice(0, shownCharsMax);
  const has = typeof script === "function" ? "gave no answer" : `has ${script.length} answers, and none`;
  const text = `model "${modelId}": the script ${has} for call ${index + 1} (turn ${call.turn}), which ends with ${last}`;
  return new AgentmaticError("NotFound", text);
}
