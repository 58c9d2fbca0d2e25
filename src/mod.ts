/** Agent graphs on one machine or on a cluster: what users import as `agentmatic`. */
export { Agent, AgentBuilder, type AgentInput, type AgentResult } from "./agent/agent.ts";
export type { ApprovalAnswer, ApprovalRequest } from "./agent/approval.ts";
export type { RateLimitPolicy } from "./agent/limit.ts";
export { type McpClient, type McpTool, type McpToolsOptions, mcpTools } from "./agent/mcp.ts";
export type { AgentMessage, MessageInput, MessagesUpdate } from "./agent/messages.ts";
export type { LanguageModel } from "./agent/model.ts";
export { type AgentChannels, type AgentState, createReactAgent, type ReactAgentOptions } from "./agent/react.ts";
export {
  createRetrievalAgent,
  type RetrievalAgentOptions,
  type RetrievalChannels,
  type RetrievalPolicies,
} from "./agent/retrieval.ts";
export type { Citation } from "./agent/retrieval-citation.ts";
export { type KeywordOptions, keywordRetriever } from "./agent/retrieval-keyword.ts";
export type { Reranker, RetrievedDocument, RetrieveOptions, Retriever } from "./agent/retrieval-port.ts";
export type { MessageChunk } from "./agent/stream.ts";
export { createSupervisor, type SupervisorChannels, type SupervisorOptions } from "./agent/supervisor.ts";
export type { OutputMode } from "./agent/supervisor-report.ts";
export type { SupervisedAgent, SupervisedGraph } from "./agent/supervisor-team.ts";
export {
  type Approval,
  type Tool,
  type ToolContext,
  type ToolOptions,
  type ToolPolicies,
  tool,
} from "./agent/tool.ts";
export type { Conversation, SystemPrompt } from "./agent/turn.ts";
export type { Price, Usage } from "./agent/usage.ts";
export { decodeValue, encodeValue } from "./checkpoint/codec.ts";
export type { OpenInterrupt } from "./checkpoint/interrupts.ts";
export { MemorySaver, type MemorySaverOptions, MemoryStore } from "./checkpoint/memory.ts";
export type * from "./checkpoint/saver.ts";
export { AgentmaticError, type ErrorCode, errorCodes } from "./errors.ts";
export {
  type Entrypoint,
  type EntrypointGraph,
  type EntrypointOptions,
  type EntrypointSnapshot,
  entrypoint,
} from "./functional/entrypoint.ts";
export { getConfig, getPreviousState, task } from "./functional/task.ts";
export type { TaskOptions } from "./graph/call.ts";
export { Annotation, type Channel, type ChannelSpec, type StateOf, type UpdateFor } from "./graph/channels.ts";
export { Command, type CommandFields, isCommand, Overwrite, type OverwriteValue, Send } from "./graph/command.ts";
export {
  type Budget,
  GraphInterrupt,
  getCurrentTaskInput,
  getWriter,
  type Interrupt,
  type InterruptOptions,
  installAsyncContext,
  interrupt,
  isGraphInterrupt,
  type Nestable,
  type NodeContext,
} from "./graph/context.ts";
export type { CompileOptions } from "./graph/draft.ts";
export type { EntrypointFinal } from "./graph/final.ts";
export type { GraphOptions, PartInit, SpecOf, StateInit } from "./graph/init.ts";
export { anyValue, barrier, ephemeral, type TopicOptions, topic, untracked } from "./graph/kinds.ts";
export {
  addMessages,
  type Message,
  MessagesAnnotation,
  type MessagesOf,
  messagesChannel,
  messagesReducer,
  messagesStateReducer,
  REMOVE_ALL_MESSAGES,
  RemoveMessage,
  removeMessage,
  type WithId,
} from "./graph/messages.ts";
export type { Node, NodeOptions, NodeReturn, Path } from "./graph/node.ts";
export { END, INTERRUPT, type Migrate, type Plan, START, type StoredState } from "./graph/plan.ts";
export type { JsonSchema, StandardIssue, StandardResult, StandardSchema } from "./graph/schema.ts";
export { MessagesValue, ReducedValue, StateSchema, UntrackedValue } from "./graph/state-schema.ts";
export {
  type ClusterBinding,
  CompiledGraph,
  type GraphInput,
  type HistoryOptions,
} from "./local/compiled-graph.ts";
export type { Configurable, InvokeConfig, ThreadConfig } from "./local/config.ts";
export { isInterrupted, type Result } from "./local/result.ts";
export type { CheckpointConfig, StateSnapshot, TaskSnapshot } from "./local/snapshot.ts";
export { StateGraph, type StateGraphCompileOptions } from "./local/state-graph.ts";
export type { StreamConfig, StreamMode } from "./local/stream.ts";
export {
  type BreakerPolicy,
  type BreakerState,
  type BreakerStatus,
  Breakers,
  defaultBreakers,
} from "./policy/breaker.ts";
export { type Cache, type CachePolicy, InMemoryCache, type InMemoryCacheOptions } from "./policy/cache.ts";
export type { NodeErrorInfo } from "./policy/error-handler.ts";
export type { RetryPolicy } from "./policy/retry.ts";
export type { TimeoutPolicy } from "./policy/timeout.ts";
export * from "./ports.ts";
export { RunControl } from "./run/control.ts";
export type * from "./run/record.ts";
export type { Durability } from "./run/settings.ts";
