/** The ReAct agent as a graph: ask the model, run the tools it asks for, tell it the results, until it asks for none. */
import { AgentmaticError, invalid } from "../errors.ts";
import { Annotation, type Channel, type StateOf } from "../graph/channels.ts";
import { Send } from "../graph/command.ts";
import { ephemeral } from "../graph/kinds.ts";
import { END, START } from "../graph/plan.ts";
import type { JsonSchema, StandardSchema } from "../graph/schema.ts";
import type { CompiledGraph } from "../local/compiled-graph.ts";
import { StateGraph, type StateGraphCompileOptions } from "../local/state-graph.ts";
import { runCall, type ToolCall } from "./call.ts";
import { finalForm } from "./final.ts";
import { type AgentMessage, addMessages, type MessagesUpdate } from "./messages.ts";
import { callsOf } from "./prompt.ts";
import { type ModelSettings, readSettings } from "./settings.ts";
import { checkTools, type Tool } from "./tool.ts";
import { takeTurn } from "./turn.ts";
import { type Usage, usageChannel } from "./usage.ts";

export interface ReactAgentOptions<Output = undefined> extends StateGraphCompileOptions, ModelSettings {
  name: string;
  tools?: readonly Tool[];
  /** Supersteps a run may take: a model call is one, and so are all the tool calls of one answer together. */
  maxSteps?: number;
  /** The final answer is JSON that fits, in `output`. The model is told what does not fit, and asked at most 3 times. */
  output?: StandardSchema<unknown, Output>;
  /** Describes `output` to the model, as JSON Schema draft-07. Needed where the schema cannot describe itself. */
  outputJsonSchema?: JsonSchema;
}

/** The state of an agent: its conversation, what its last run used up, and the value of its last final answer. */
export type AgentChannels<Output = undefined> = {
  readonly messages: Channel<readonly AgentMessage[], MessagesUpdate>;
  readonly usage: Channel<Usage, Usage>;
  /** There only where an `output` schema was given, and the last run has come to its end. */
  readonly output: Channel<Output | undefined, Output | undefined>;
};

export type AgentState<Output = undefined> = StateOf<AgentChannels<Output>>;

/** Names for `interruptBefore` and its like. */
export const agentNodes: readonly string[] = ["agent", "tools"];

/** Tool calls of one answer; a model that asks for more has lost its way. */
const toolCallsMax = 128;

/**
 * A graph of the nodes `agent` (one model call) and `tools` (one task for each tool call, side by side; the results come
 * in the order of the calls). A finished call's result is stored at once: it is not made again after a crash or while
 * another call of the same answer waits for a person. Throws `InvalidArgument`, naming the option.
 */
export function createReactAgent<Output = undefined>(
  options: ReactAgentOptions<Output>,
): CompiledGraph<AgentChannels<Output>> {
  const { llm, tools: given = [], system, output, outputJsonSchema, budget, price, rateLimit, ...others } = options;
  const { circuitBreaker, retryPolicy, timeout, ...compile } = others;
  if (typeof compile.name !== "string" || compile.name === "") throw invalid("name", "must be text");
  const { turn: asking, policies } = readSettings(options);
  const tools = checkTools(given, "tools");
  const byName = new Map(tools.map((one) => [one.name, one]));
  const final = output === undefined ? undefined : finalForm(output, outputJsonSchema);
  const turn = { ...asking, tools, final };
  return new StateGraph<AgentChannels<Output>>(channelsOf<Output>(final !== undefined))
    .addNode(
      "agent",
      async (state, context) => {
        const { message, usage, output } = await takeTurn(turn, state, context);
        return { messages: message, usage, ...(output ? { output: output.value as Output } : {}) };
      },
      policies,
    )
    .addNode<ToolCall>("tools", async (call, context) => ({ ...(await runCall(byName, call, context)) }))
    .addEdge(START, "agent")
    .addConditionalEdges("agent", ({ messages, usage }) => nextOf(messages.at(-1), usage), ["tools", END])
    .addEdge("tools", "agent")
    .compile(compile);
}

function channelsOf<Output>(final: boolean): AgentChannels<Output> {
  const channels: Omit<AgentChannels<Output>, "output"> = {
    messages: Annotation<readonly AgentMessage[], MessagesUpdate>({ reducer: addMessages, default: () => [] }),
    usage: usageChannel,
  };
  // A run that stops on its way must not show the value of the one before.
  return (final ? { ...channels, output: ephemeral() } : channels) as AgentChannels<Output>;
}

function nextOf(answer: AgentMessage | undefined, used: Usage): typeof END | readonly Send[] {
  const calls = callsOf(answer);
  if (calls.length > toolCallsMax) {
    const message = `the model asked for ${calls.length} tool calls at once; ${toolCallsMax} is the most`;
    throw new AgentmaticError("ResourceExhausted", message);
  }
  if (calls.length === 0) return END;
  return calls.map(({ toolCallId, toolName, input }) => new Send("tools", { toolCallId, toolName, input, used }));
}
