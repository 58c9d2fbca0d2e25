/** One turn of the model in a conversation: asked within the budget, and again where its final answer does not fit. */
import type { JSONSchema7, LanguageModelV4FunctionTool } from "@ai-sdk/provider";
import { AgentmaticError } from "../errors.ts";
import type { Budget, NodeContext } from "../graph/context.ts";
import { type AskOptions, ask } from "./ask.ts";
import type { FinalForm } from "./final.ts";
import { type AgentMessage, textOf } from "./messages.ts";
import { callsOf, promptOf } from "./prompt.ts";
import type { Tool } from "./tool.ts";
import { addUsage, budgetOf, checkBudget, checkTold, type Usage, usageOf } from "./usage.ts";

/** What a turn begins with. */
export interface Conversation {
  readonly messages: readonly AgentMessage[];
  readonly usage: Usage;
}

/** The system prompt: text, or what a function makes of the state and the run's context for each turn. */
export type SystemPrompt = string | ((state: Conversation, context: NodeContext) => string | Promise<string>);

export interface TurnOptions extends AskOptions {
  readonly system?: SystemPrompt | undefined;
  readonly tools: readonly Tool[];
  readonly budget?: Budget | undefined;
  /** The form of the final answer, where it is not just text. */
  readonly final?: FinalForm | undefined;
}

export interface Turn {
  readonly message: AgentMessage;
  /** Of all tries. */
  readonly usage: Usage;
  /** The final answer's value, where a form was asked for. */
  readonly output?: { readonly value: unknown };
}

/** Answers to one question for a final answer that fits. */
const finalTriesMax = 3;

/**
 * Rejects with `BudgetExceeded` before a call that the run's budget, or else the agent's, does not allow; with
 * `InvalidArgument` where the final answer does not fit at the third try; and with the model's error.
 */
export async function takeTurn(options: TurnOptions, state: Conversation, context: NodeContext): Promise<Turn> {
  const { price, final } = options;
  const budget = budgetOf(context.budget, options.budget);
  const system = await systemOf(options.system, state, context);
  const offered = { ...offer(options.tools), ...final?.format };
  let prompt = promptOf(system, state.messages);
  let used = usageOf(state.usage, context.runId);
  let usage: Usage | undefined;
  for (let attempt = 1; ; attempt++) {
    if (budget) checkBudget(budget, used, price);
    const id = attempt === 1 ? context.taskId : `${context.taskId}/${attempt}`;
    const answer = await ask({ ...options, id }, { prompt, ...offered }, context);
    if (budget) checkTold(answer.result.usage);
    used = addUsage(used, answer.usage);
    usage = usage ? addUsage(usage, answer.usage) : answer.usage;
    const { message } = answer;
    if (!final || callsOf(message).length > 0) return { message, usage };
    const read = await final.read(textOf(message));
    if ("value" in read) return { message, usage, output: read };
    if (attempt >= finalTriesMax) {
      const text = `the model's final answer does not fit at any of ${attempt} tries: ${read.problem}`;
      throw new AgentmaticError("InvalidArgument", text, { details: { field: "output" } });
    }
    // What did not fit stays out of the conversation.
    prompt = promptOf(system, [...state.messages, message, correction(read.problem, final)]);
  }
}

async function systemOf(
  system: SystemPrompt | undefined,
  state: Conversation,
  context: NodeContext,
): Promise<string | undefined> {
  if (typeof system !== "function") return system;
  const text: unknown = await system(state, context);
  if (typeof text === "string") return text;
  throw new AgentmaticError("InvalidArgument", `system: the function must give text; it gave ${typeof text}`);
}

/** With the schema: not every service shows it to its models. */
function correction(problem: string, { format }: FinalForm): AgentMessage {
  const { responseFormat } = format;
  const schema = JSON.stringify(responseFormat?.type === "json" ? responseFormat.schema : {});
  const text = `Your answer does not have the form that was asked for: ${problem}. Answer again, with nothing but JSON of this schema: ${schema}`;
  return { role: "user", content: [{ type: "text", text }] };
}

function offer(tools: readonly Tool[]): {
  tools?: LanguageModelV4FunctionTool[];
  toolChoice?: { type: "auto" };
} {
  return tools.length > 0 ? { tools: tools.map(describe), toolChoice: { type: "auto" } } : {};
}

function describe({ name, description, jsonSchema }: Tool): LanguageModelV4FunctionTool {
  // A schema that a library made has the looser type of any JSON object.
  return { type: "function", name, description, inputSchema: jsonSchema as JSONSchema7 };
}
