/** One call of a model inside a node: streamed where somebody follows, within its rate limits, counted. */
import type { LanguageModelV4CallOptions, LanguageModelV4GenerateResult } from "@ai-sdk/provider";
import type { NodeContext } from "../graph/context.ts";
import { type AssistantMessage, messageOf } from "./answer.ts";
import { type RateLimitPolicy, withinLimits } from "./limit.ts";
import { generate, type LanguageModel, openStream } from "./model.ts";
import { assemble, chunkOf, chunksOf } from "./stream.ts";
import { type Price, type Usage, usageOfCall } from "./usage.ts";

export interface AskOptions {
  readonly model: LanguageModel;
  readonly price?: Price;
  readonly rateLimit?: RateLimitPolicy | false;
  /** Streams although nobody follows, so that each piece of the answer is a sign of life. */
  readonly alwaysStream?: boolean;
  /** Nothing is told to followers: it is no answer of the agent's. */
  readonly quiet?: boolean;
  /** Of the message that the answer becomes. Default: the task's. */
  readonly id?: string;
}

export interface Answer {
  readonly message: AssistantMessage;
  readonly usage: Usage;
  readonly result: LanguageModelV4GenerateResult;
}

const always: RateLimitPolicy = {};

/** Rejects with the model's error; `ResourceExhausted` where its service says "later" for too long. */
export async function ask(
  { model, price, rateLimit = always, alwaysStream = false, ...named }: AskOptions,
  prompt: LanguageModelV4CallOptions,
  context: NodeContext,
): Promise<Answer> {
  const options = { ...prompt, abortSignal: context.signal };
  const { id = context.taskId, quiet = false } = named;
  const followed = context.streamsMessages && !quiet;
  const call = (attempt: number): Promise<LanguageModelV4GenerateResult> =>
    followed || (alwaysStream && !quiet) ? streamed(model, options, context, id, attempt) : generate(model, options);
  const result = await withinLimits(context, rateLimit, call);
  return { message: messageOf(result, id), usage: usageOfCall(context.runId, result.usage, price), result };
}

async function streamed(
  model: LanguageModel,
  options: LanguageModelV4CallOptions,
  context: NodeContext,
  id: string,
  attempt: number,
): Promise<LanguageModelV4GenerateResult> {
  const { signal, streamMessage, heartbeat } = context;
  // A try that follows another one begins its answer anew: a follower drops what the other one said.
  const metadata = { model: model.modelId, provider: model.provider, retryAttempt: context.retryAttempt, try: attempt };
  const stream = await openStream(model, options);
  if (!stream) {
    const result = await generate(model, options);
    for (const chunk of chunksOf(result.content, id)) streamMessage(chunk, metadata);
    return result;
  }
  return await assemble(stream, {
    signal,
    onPart: (part) => {
      heartbeat();
      const chunk = chunkOf(part, id);
      if (chunk) streamMessage(chunk, metadata);
    },
  });
}
