/** The retrieval agent as a graph: find the documents for a question, rank them, answer from them and cite them. */
import { invalid } from "../errors.ts";
import { Annotation, type Channel } from "../graph/channels.ts";
import { END, START } from "../graph/plan.ts";
import type { CompiledGraph } from "../local/compiled-graph.ts";
import { StateGraph, type StateGraphCompileOptions } from "../local/state-graph.ts";
import type { BreakerPolicy } from "../policy/breaker.ts";
import type { RetryPolicy } from "../policy/retry.ts";
import type { TimeoutPolicy } from "../policy/timeout.ts";
import { checkCount } from "../run/check.ts";
import { type AgentMessage, addMessages, type MessagesUpdate, textOf } from "./messages.ts";
import { type Citation, cite } from "./retrieval-citation.ts";
import { type Reranker, type RetrievedDocument, type Retriever, readDocuments, readRanking } from "./retrieval-port.ts";
import { answering, condensing, fitting, queryCharsMax, start, transcript } from "./retrieval-prompt.ts";
import { type ModelSettings, nodePolicies, readSettings } from "./settings.ts";
import { takeTurn } from "./turn.ts";
import { type Usage, usageChannel } from "./usage.ts";

export interface RetrievalAgentOptions extends StateGraphCompileOptions, Omit<ModelSettings, "system"> {
  name: string;
  retriever: Retriever;
  /** Ranks what was retrieved: of four times as many documents the best stay. */
  reranker?: Reranker;
  /** Of the nodes `retrieve` and `rerank`; the other policies are those of a model call. */
  retrieval?: RetrievalPolicies;
  /** Documents that the model is shown, at most. Default 5. */
  topK?: number;
  /** Characters of documents that the model is shown, at most; the last one is cut. Default 24,000. */
  documentCharsMax?: number;
  /** Stands before the rules of answering and citing. Not part of the thread. */
  system?: string;
  /**
   * Asks the model for the question in words that need no conversation, where there was one before. Default true; with
   * false the question is the query as it is.
   */
  condense?: boolean;
}

export interface RetrievalPolicies {
  readonly retryPolicy?: RetryPolicy | readonly RetryPolicy[];
  readonly timeout?: number | TimeoutPolicy;
  readonly circuitBreaker?: BreakerPolicy;
}

/** The conversation, and of the last question what it was answered from. */
export type RetrievalChannels = {
  readonly messages: Channel<readonly AgentMessage[], MessagesUpdate>;
  readonly usage: Channel<Usage, Usage>;
  readonly query: Channel<string>;
  /** As the model was shown them: `[1]` is the first. */
  readonly documents: Channel<readonly RetrievedDocument[]>;
  /** The documents that the answer names. */
  readonly citations: Channel<readonly Citation[]>;
  /** Numbers in the answer that no document has: they were taken out of it. */
  readonly unknownMarks: Channel<readonly number[]>;
};

const topKMax = 100;
const documentCharsMost = 1_000_000;
/** Documents retrieved for each one that stays behind the reranker. */
const candidates = 4;

/**
 * A graph of the nodes `query`, `retrieve`, `rerank` (where there is a reranker) and `answer`. The last message must be
 * the user's. Throws `InvalidArgument`, naming the option; a run throws it for documents that are none.
 */
export function createRetrievalAgent(options: RetrievalAgentOptions): CompiledGraph<RetrievalChannels> {
  check(options);
  const { retriever, reranker, topK = 5, documentCharsMax = 24_000, condense = true, system, ...others } = options;
  const { retrieval = {}, llm, price, budget, rateLimit, circuitBreaker, retryPolicy, timeout, ...compile } = others;
  const { turn: asking, policies } = readSettings(options);
  const { retryPolicy: retries, timeout: time, circuitBreaker: breaker } = retrieval;
  const ofRetrieval = nodePolicies({ retryPolicy: retries, timeout: time, circuitBreaker: breaker }, "retrieval.");
  const turn = { ...asking, tools: [] };
  const graph = new StateGraph<RetrievalChannels>({
    messages: Annotation<readonly AgentMessage[], MessagesUpdate>({ reducer: addMessages, default: () => [] }),
    usage: usageChannel,
    query: Annotation<string>(),
    documents: Annotation<readonly RetrievedDocument[]>(),
    citations: Annotation<readonly Citation[]>(),
    unknownMarks: Annotation<readonly number[]>(),
  })
    .addNode(
      "query",
      async ({ messages, usage }, context) => {
        const question = questionOf(messages);
        if (!condense || !messages.some(({ role }) => role === "assistant"))
          return { query: start(question, queryCharsMax) };
        const conversation = { messages: [transcript(messages)], usage };
        const answer = await takeTurn({ ...turn, system: condensing, quiet: true }, conversation, context);
        return { query: start(textOf(answer.message).trim() || question, queryCharsMax), usage: answer.usage };
      },
      policies,
    )
    .addNode(
      "retrieve",
      async ({ query }, { signal }) => {
        const limit = reranker ? topK * candidates : topK;
        const found = readDocuments(await retriever.retrieve(query, { signal, limit }), limit);
        return { documents: reranker ? found : fitting(found, documentCharsMax) };
      },
      ofRetrieval,
    )
    .addNode(
      "answer",
      async ({ messages, documents, usage }, context) => {
        const answer = await takeTurn({ ...turn, system: answering(system, documents) }, { messages, usage }, context);
        const { message, citations, unknownMarks } = cite(answer.message, documents);
        return { messages: message, usage: answer.usage, citations, unknownMarks };
      },
      policies,
    )
    .addEdge(START, "query")
    .addEdge("query", "retrieve")
    .addEdge("answer", END);
  if (!reranker) return graph.addEdge("retrieve", "answer").compile(compile);
  return graph
    .addNode(
      "rerank",
      async ({ query, documents }, { signal }) => {
        const ranked = documents.length === 0 ? [] : await reranker(query, documents, { signal, limit: topK });
        return { documents: fitting(readRanking(ranked, documents).slice(0, topK), documentCharsMax) };
      },
      ofRetrieval,
    )
    .addEdge("retrieve", "rerank")
    .addEdge("rerank", "answer")
    .compile(compile);
}

function check(options: RetrievalAgentOptions): void {
  const { name, retriever, reranker, topK, documentCharsMax, system, condense } = options;
  if (typeof name !== "string" || name === "") throw invalid("name", "must be text");
  if (typeof retriever?.retrieve !== "function") {
    throw invalid("retriever", "must have a function retrieve(query, { signal, limit })");
  }
  if (reranker !== undefined && typeof reranker !== "function") throw invalid("reranker", "must be a function");
  if (topK !== undefined) checkCount("topK", topK, 1, topKMax);
  if (documentCharsMax !== undefined) checkCount("documentCharsMax", documentCharsMax, 1, documentCharsMost);
  if (system !== undefined && typeof system !== "string") throw invalid("system", "must be text");
  if (condense !== undefined && typeof condense !== "boolean") throw invalid("condense", "must be true or false");
}

function questionOf(messages: readonly AgentMessage[]): string {
  const last = messages.at(-1);
  const text = last?.role === "user" ? textOf(last).trim() : "";
  if (text !== "") return text;
  throw invalid("messages", "the last one must be a question of the user's, with text");
}
