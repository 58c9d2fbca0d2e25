/** One tool call, from what the model asked for to what it is told. */
import type { LanguageModelV4ToolCallPart, LanguageModelV4ToolResultOutput } from "@ai-sdk/provider";
import { AgentmaticError } from "../errors.ts";
import { isGraphInterrupt, type NodeContext } from "../graph/context.ts";
import { withRetry } from "../policy/retry.ts";
import { withTimeout } from "../policy/timeout.ts";
import { Account, type Heritage } from "./account.ts";
import { askApproval } from "./approval.ts";
import { CallContext } from "./call-context.ts";
import { toJson } from "./json.ts";
import type { AgentMessage } from "./messages.ts";
import { ToolOutput } from "./output.ts";
import { retriesOf, type Tool, unknownTool } from "./tool.ts";
import type { Usage } from "./usage.ts";

/** What the task of a tool call is sent. */
export interface ToolCall extends Pick<LanguageModelV4ToolCallPart, "toolCallId" | "toolName" | "input">, Heritage {}

export interface Called {
  readonly messages: AgentMessage;
  /** What agents inside the tool have used. */
  readonly usage?: Usage;
}

/** Characters of an error that a model is told. */
const errorCharsMax = 2_000;

/**
 * Runs the call and resolves with the message that carries its result, the tool's error included. Rejects where the tool
 * interrupted or an answer was refused, where the attempt is over or the budget used up, and with `StateNotSerializable`
 * for a result that cannot be told as JSON.
 */
export async function runCall(tools: ReadonlyMap<string, Tool>, call: ToolCall, context: NodeContext): Promise<Called> {
  const { toolCallId, toolName } = call;
  const account = new Account(context, call);
  const output = await outputOf(tools, call, context, account);
  const part = { type: "tool-result", toolCallId, toolName, output } as const;
  const messages: AgentMessage = { role: "tool", content: [part], id: `${context.taskId}/${toolCallId}` };
  return account.spent ? { messages, usage: account.spent } : { messages };
}

async function outputOf(
  tools: ReadonlyMap<string, Tool>,
  call: ToolCall,
  context: NodeContext,
  account: Account,
): Promise<LanguageModelV4ToolResultOutput> {
  try {
    const tool = tools.get(call.toolName);
    if (!tool) throw unknownTool(call.toolName, tools.keys());
    const given = readInput(call.input);
    const input = tool.read(given);
    const own = new CallContext(call, context, account);
    return await approved(tool, given, input instanceof Promise ? await input : input, own, context);
  } catch (thrown) {
    if (thrown instanceof Untold) throw thrown.error;
    if (context.signal.aborted || concernsRun(thrown)) throw thrown;
    return { type: "error-text", value: shortened(AgentmaticError.from(thrown).message) };
  }
}

async function approved(
  tool: Tool,
  given: unknown,
  input: unknown,
  own: CallContext,
  context: NodeContext,
): Promise<LanguageModelV4ToolResultOutput> {
  if (tool.approval === undefined || !(await isAsked(tool.approval, input, own, context))) {
    return told(tool, await perform(tool, input, own, context));
  }
  const verdict = askApproval(own, { tool: tool.name, input: given, toolCallId: own.toolCallId }, tool.read);
  if (!verdict.approved) return { type: "execution-denied", reason: shortened(verdict.reason) };
  if (!verdict.edited) return told(tool, await perform(tool, input, own, context));
  const result = await perform(tool, await verdict.read, own, context);
  // The conversation keeps what the model had asked for: without a word it would take the result for that one's.
  if (result instanceof ToolOutput) return told(tool, result.after(JSON.stringify({ editedInput: verdict.input })));
  return told(tool, { editedInput: verdict.input, result });
}

/** A durable answer: were it another one when the call runs again, the tool would get the answer meant for this question. */
async function isAsked(
  approval: NonNullable<Tool["approval"]>,
  input: unknown,
  own: CallContext,
  context: NodeContext,
): Promise<boolean> {
  if (typeof approval === "boolean") return approval;
  return (await context.task("approval", () => approval(input as never, own))) !== false;
}

async function perform(tool: Tool, input: unknown, own: CallContext, context: NodeContext): Promise<unknown> {
  const span = context.toolSpan(tool.name, own.toolCallId);
  try {
    const { timeoutMs, retryPolicy } = tool;
    if (timeoutMs === undefined && retryPolicy === undefined) return await tool.execute(input as never, own);
    return await underPolicies(tool, input, own, context);
  } catch (thrown) {
    if (!isGraphInterrupt(thrown)) span.fail(AgentmaticError.from(thrown));
    throw thrown;
  } finally {
    span.end();
  }
}

function underPolicies(tool: Tool, input: unknown, own: CallContext, context: NodeContext): Promise<unknown> {
  const { name, timeoutMs, retryPolicy } = tool;
  const { ports, signal, deadlineMs } = context;
  const once = async (): Promise<unknown> => {
    if (timeoutMs === undefined) return await tool.execute(input as never, own);
    return await withTimeout({ runTimeout: timeoutMs }, { ports, signal, name }, async (scope) =>
      tool.execute(input as never, own.during(scope.signal)),
    );
  };
  const deadline = deadlineMs === undefined ? {} : { deadlineMs };
  return withRetry(retriesOf(retryPolicy), once, { ports, signal, name, final: concernsRun, ...deadline });
}

/** The tool has had its effect: a result that cannot be told is its author's mistake, not for the model to try again. */
class Untold {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

function told({ name }: Tool, result: unknown): LanguageModelV4ToolResultOutput {
  if (typeof result === "string") return { type: "text", value: result };
  if (result instanceof ToolOutput) return { type: "content", value: result.parts };
  try {
    return { type: "json", value: toJson(result, `tool "${name}": result`) };
  } catch (thrown) {
    throw new Untold(thrown);
  }
}

/** What is between the run and who started it, or a person who answers: nothing for a model to hear of. */
function concernsRun(thrown: unknown): boolean {
  if (isGraphInterrupt(thrown) || AgentmaticError.is(thrown, "BudgetExceeded")) return true;
  // An answer that the question's schema does not take: the engine asks for another one.
  return thrown instanceof Error && thrown.name === "RefusedAnswer";
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
