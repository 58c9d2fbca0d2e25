/** One tool call, from what the model asked for to what it is told. */
import type { LanguageModelV4ToolCallPart, LanguageModelV4ToolResultOutput } from "@ai-sdk/provider";
import { AgentmaticError } from "../errors.ts";
import { isGraphInterrupt, type NodeContext } from "../graph/context.ts";
import { toJson } from "./json.ts";
import type { AgentMessage } from "./messages.ts";
import { type Tool, type ToolContext, unknownTool } from "./tool.ts";

export type ToolCall = Pick<LanguageModelV4ToolCallPart, "toolCallId" | "toolName" | "input">;

/** Characters of an error that a model is told. */
const errorCharsMax = 2_000;

/**
 * Runs the call and resolves with the message that carries its result, the tool's error included. Rejects where the tool
 * interrupted, where the attempt is over, and with `StateNotSerializable` for a result that cannot be told as JSON.
 */
export async function runCall(tools: readonly Tool[], call: ToolCall, context: NodeContext): Promise<AgentMessage> {
  const { toolCallId, toolName } = call;
  const output = await outputOf(tools, call, context);
  return {
    role: "tool",
    content: [{ type: "tool-result", toolCallId, toolName, output }],
    id: `${context.taskId}/${toolCallId}`,
  };
}

async function outputOf(
  tools: readonly Tool[],
  call: ToolCall,
  context: NodeContext,
): Promise<LanguageModelV4ToolResultOutput> {
  let result: unknown;
  const span = context.toolSpan(call.toolName, call.toolCallId);
  try {
    const tool = tools.find(({ name }) => name === call.toolName);
    if (!tool) throw unknownTool(call.toolName, tools);
    result = await tool.run(readInput(call.input), toolContext(call, context));
  } catch (thrown) {
    if (isGraphInterrupt(thrown)) throw thrown;
    span.fail(AgentmaticError.from(thrown));
    if (context.signal.aborted) throw thrown;
    return { type: "error-text", value: shortened(AgentmaticError.from(thrown).message) };
  } finally {
    span.end();
  }
  if (typeof result === "string") return { type: "text", value: result };
  // The tool has had its effect: a result that cannot be told is its author's mistake, not for the model to try again.
  return { type: "json", value: toJson(result, `tool "${call.toolName}": result`) };
}

function toolContext({ toolCallId }: ToolCall, context: NodeContext): ToolContext {
  const { runId, threadId, signal, interrupt, stream, idempotencyKey } = context;
  return {
    runId,
    threadId,
    signal,
    interrupt,
    stream,
    toolCallId,
    idempotencyKey: `${idempotencyKey}/${toolCallId}`,
  };
}

/** Text is what the model said where that was no JSON object: parsed once more for what was wrong with it. */
function readInput(input: unknown): unknown {
  if (typeof input !== "string") return input;
  try {
    return JSON.parse(input);
  } catch (thrown) {
    throw new AgentmaticError("InvalidArgument", `input: is not JSON: ${AgentmaticError.from(thrown).message}`);
  }
}

function shortened(message: string): string {
  return message.length > errorCharsMax ? `${message.slice(0, errorCharsMax)}…` : message;
}
