/** The ReAct agent as a graph: ask the model, run the tools it asks for, tell it the results, until it asks for none. */
import type { JSONSchema7, LanguageModelV4FunctionTool } from "@ai-sdk/provider";
import { AgentmaticError, invalid } from "../errors.ts";
import { Annotation, type Channel } from "../graph/channels.ts";
import { Send } from "../graph/command.ts";
import { END, START } from "../graph/plan.ts";
import type { CompiledGraph } from "../local/compiled-graph.ts";
import { StateGraph, type StateGraphCompileOptions } from "../local/state-graph.ts";
import { messageOf } from "./answer.ts";
import { runCall, type ToolCall } from "./call.ts";
import { type AgentMessage, addMessages, type MessagesUpdate } from "./messages.ts";
import { checkModel, generate, type LanguageModel } from "./model.ts";
import { callsOf, promptOf } from "./prompt.ts";
import { checkTools, type Tool } from "./tool.ts";

export interface ReactAgentOptions extends StateGraphCompileOptions {
  name: string;
  llm: LanguageModel;
  tools?: readonly Tool[];
  /** The system prompt. Not part of the thread: a changed one holds from the next model call on. */
  system?: string;
  /** Supersteps a run may take: a model call is one, and so are all the tool calls of one answer together. */
  maxSteps?: number;
}

/** The state of an agent: its conversation. */
export type AgentChannels = { readonly messages: Channel<readonly AgentMessage[], MessagesUpdate> };

/** Tool calls of one answer; a model that asks for more has lost its way. */
const toolCallsMax = 128;

/**
 * A graph of the nodes `agent` (one model call) and `tools` (one task for each tool call, side by side; the results come
 * in the order of the calls). A finished call's result is stored at once: it is not made again after a crash or while
 * another call of the same answer waits for a person. Throws `InvalidArgument`, naming the option.
 */
export function createReactAgent(options: ReactAgentOptions): CompiledGraph<AgentChannels> {
  const { llm, tools: given = [], system, ...compile } = options;
  if (typeof compile.name !== "string" || compile.name === "") throw invalid("name", "must be text");
  if (system !== undefined && typeof system !== "string") throw invalid("system", "must be text");
  const model = checkModel(llm, "llm");
  const tools = checkTools(given, "tools");
  const byName = new Map(tools.map((one) => [one.name, one]));
  const described = tools.length > 0 ? { tools: tools.map(describe), toolChoice: { type: "auto" } as const } : {};
  return new StateGraph<AgentChannels>({
    messages: Annotation<readonly AgentMessage[], MessagesUpdate>({ reducer: addMessages, default: () => [] }),
  })
    .addNode("agent", async ({ messages }, context) => {
      const prompt = promptOf(system, messages);
      const answer = await generate(model, { prompt, abortSignal: context.signal, ...described });
      return { messages: messageOf(answer, context.taskId) };
    })
    .addNode<ToolCall>("tools", async (call, context) => {
      const { messages } = await runCall(byName, call, context);
      return { messages };
    })
    .addEdge(START, "agent")
    .addConditionalEdges("agent", ({ messages }) => nextOf(messages.at(-1)), ["tools", END])
    .addEdge("tools", "agent")
    .compile(compile);
}

function nextOf(answer: AgentMessage | undefined): typeof END | readonly Send[] {
  const calls = callsOf(answer);
  if (calls.length > toolCallsMax) {
    const message = `the model asked for ${calls.length} tool calls at once; ${toolCallsMax} is the most`;
    throw new AgentmaticError("ResourceExhausted", message);
  }
  if (calls.length === 0) return END;
  return calls.map(({ toolCallId, toolName, input }) => new Send("tools", { toolCallId, toolName, input }));
}

function describe({ name, description, jsonSchema }: Tool): LanguageModelV4FunctionTool {
  // A schema that a library made has the looser type of any JSON object.
  return { type: "function", name, description, inputSchema: jsonSchema as JSONSchema7 };
}
