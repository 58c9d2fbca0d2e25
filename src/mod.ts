/** Agent graphs on one machine or on a cluster: what users import as `agentmatic`. */
export { Agent, AgentBuilder, type AgentInput, type AgentResult } from "./agent/agent.ts";
export type { AgentMessage, MessageInput, MessagesUpdate } from "./agent/messages.ts";
export type { LanguageModel } from "./agent/model.ts";
export { type AgentChannels, createReactAgent, type ReactAgentOptions } from "./agent/react.ts";
export type { JsonSchema, StandardIssue, StandardResult, StandardSchema } from "./agent/schema.ts";
export { type Tool, type ToolContext, type ToolOptions, tool } from "./agent/tool.ts";
export { decodeValue, encodeValue } from "./checkpoint/codec.ts";
export type { OpenInterrupt } from "./checkpoint/interrupts.ts";
export { MemorySaver, type MemorySaverOptions, MemoryStore } from "./checkpoint/memory.ts";
export type * from "./checkpoint/saver.ts";
export { AgentmaticError, type ErrorCode, errorCodes } from "./errors.ts";
export type { Node, NodeReturn, Path } from "./graph/builder.ts";
export { Annotation, type Channel, type ChannelSpec, type StateOf, type UpdateFor } from "./graph/channels.ts";
export { Command, Send } from "./graph/command.ts";
export { installAsyncContext, interrupt, type NodeContext } from "./graph/context.ts";
export { END, type Plan, START } from "./graph/plan.ts";
export {
  type ClusterBinding,
  CompiledGraph,
  type GraphInput,
  type InvokeConfig,
  type Result,
  type StateSnapshot,
  type StreamConfig,
  type StreamMode,
} from "./local/compiled-graph.ts";
export { StateGraph, type StateGraphCompileOptions } from "./local/state-graph.ts";
export * from "./ports.ts";
export type * from "./run/record.ts";
