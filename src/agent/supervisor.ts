/** A supervisor as a graph: a model that hands work to agents, several at a time, and answers with what they found. */
import { AgentmaticError, invalid } from "../errors.ts";
import { Annotation, type Channel } from "../graph/channels.ts";
import { Send } from "../graph/command.ts";
import type { NodeContext } from "../graph/context.ts";
import { END, maxStepsDefault, START } from "../graph/plan.ts";
import type { CompiledGraph } from "../local/compiled-graph.ts";
import { StateGraph, type StateGraphCompileOptions } from "../local/state-graph.ts";
import { checkCount, checkOneOf } from "../run/check.ts";
import { type Called, runCall, type ToolCall } from "./call.ts";
import { type AgentMessage, addMessages, type MessagesUpdate } from "./messages.ts";
import { callsOf } from "./prompt.ts";
import { type ModelSettings, readSettings } from "./settings.ts";
import type { OutputMode } from "./supervisor-report.ts";
import { checkDepth, type Member, readTeam, type SupervisedAgent, supervisorRole } from "./supervisor-team.ts";
import { checkTools, type Tool } from "./tool.ts";
import { takeTurn } from "./turn.ts";
import { type Usage, usageChannel } from "./usage.ts";

export interface SupervisorOptions extends StateGraphCompileOptions, ModelSettings {
  name: string;
  /** Whom it may hand work to, each under a name of its own. */
  agents: readonly SupervisedAgent[];
  /** What it may do by itself. */
  tools?: readonly Tool[];
  /** What it is told of an agent's work: its last message (the default), or all that was said and done. */
  outputMode?: OutputMode;
  /**
   * Supervisors inside supervisors, this one counted; and how often it may stand in one line of callers (at least twice),
   * should an agent call it again. Default 3.
   */
  maxDepth?: number;
  /** Answers of its model that ask for work, since the user last spoke. Default 10. */
  maxRounds?: number;
  /** Supersteps a run may take: a round is two. Enough for `maxRounds` unless given. */
  maxSteps?: number;
}

/** The supervisor's own conversation, where agents' reports are results of tools, and what all of them have used up. */
export type SupervisorChannels = {
  readonly messages: Channel<readonly AgentMessage[], MessagesUpdate>;
  readonly usage: Channel<Usage, Usage>;
};

/** What the task of an agent is sent. */
interface Assignment extends ToolCall {
  /** Why the work is not to be done. */
  readonly refusal?: string;
}

const maxDepthDefault = 3;
const maxRoundsDefault = 10;
const roundsMost = 10_000;
/** Calls of one answer; a model that asks for more has lost its way. */
const callsMax = 128;

/**
 * A graph of the nodes `supervisor` (one model call), one for each agent under its name, and `tools` (of its own). The
 * model hands out work by calling `transfer_to_<agent>` with a task; what one answer hands out is done side by side. Each
 * agent runs as a subgraph: a crash goes on inside of it, its questions come up to the caller, its usage counts to the
 * run's budget. Where an agent fails, or the model names one that is not there, the model is told and may go on. Throws
 * `InvalidArgument`, naming the option.
 */
export function createSupervisor(options: SupervisorOptions): CompiledGraph<SupervisorChannels> {
  const { agents, tools: given = [], outputMode = "last_message", maxDepth = maxDepthDefault, ...others } = options;
  const { maxRounds = maxRoundsDefault, llm, system, budget, price, rateLimit, ...rest } = others;
  const { circuitBreaker, retryPolicy, timeout, ...compile } = rest;
  const { name } = compile;
  if (typeof name !== "string" || name === "") throw invalid("name", "must be text");
  checkOneOf("outputMode", outputMode, ["last_message", "full_history"]);
  checkCount("maxRounds", maxRounds, 1, roundsMost);
  const { turn: asking, policies } = readSettings(options);
  const team = readTeam(agents, outputMode);
  checkDepth(name, team, maxDepth);
  const tools = [...team.map(({ tool }) => tool), ...ownTools(given, team)];
  const byName = new Map(tools.map((one) => [one.name, one]));
  const graph = new StateGraph<SupervisorChannels>({
    messages: Annotation<readonly AgentMessage[], MessagesUpdate>({ reducer: addMessages, default: () => [] }),
    usage: usageChannel,
  });
  graph
    .addNode(
      supervisorRole,
      async (state, context) => {
        const { message, usage } = await takeTurn({ ...asking, tools }, state, context);
        return { messages: message, usage };
      },
      { ...policies, metadata: { role: supervisorRole } },
    )
    .addNode<Assignment>("tools", async (call, context) => ({ ...(await perform(byName, call, context)) }))
    .addEdge(START, supervisorRole)
    .addEdge("tools", supervisorRole);
  const names = team.map((member) => member.name);
  for (const { name: node, graph: agent } of team) {
    const work = async (call: Assignment, context: NodeContext) => {
      const refusal = call.refusal ?? circleOf(context.ns, names, maxDepth);
      return { ...(await perform(byName, refusal === undefined ? call : { ...call, refusal }, context)) };
    };
    graph.addNode<Assignment>(node, work, { subgraphs: [agent] }).addEdge(node, supervisorRole);
  }
  return graph
    .addConditionalEdges(supervisorRole, ({ messages, usage }) => nextOf(name, team, maxRounds, messages, usage), [
      "tools",
      END,
      ...names,
    ])
    .compile({ maxSteps: Math.max(maxStepsDefault, 2 * maxRounds + 5), ...compile });
}

function ownTools(given: unknown, team: readonly Member[]): readonly Tool[] {
  const tools = checkTools(given, "tools");
  tools.forEach(({ name }, index) => {
    const member = team.find(({ tool }) => tool.name === name);
    if (member) throw invalid(`tools[${index}].name`, `"${name}" is how work is handed to the agent "${member.name}"`);
  });
  return tools;
}

function nextOf(
  name: string,
  team: readonly Member[],
  maxRounds: number,
  messages: readonly AgentMessage[],
  used: Usage,
): typeof END | readonly Send[] {
  const calls = callsOf(messages.at(-1));
  if (calls.length === 0) return END;
  if (calls.length > callsMax) {
    const text = `the model asked for ${calls.length} calls at once; ${callsMax} is the most`;
    throw new AgentmaticError("ResourceExhausted", text);
  }
  const rounds = roundsOf(messages);
  // The model is told once, and may answer with what it has.
  if (rounds > maxRounds + 1) {
    const text = `supervisor "${name}" asked for work in ${rounds} rounds without an answer; maxRounds is ${maxRounds}`;
    throw new AgentmaticError("StepLimit", text, { details: { maxRounds } });
  }
  const over =
    rounds > maxRounds ? `no more work in this run, after ${maxRounds} rounds: answer with what you have` : "";
  const busy = new Set<Member>();
  return calls.map(({ toolCallId, toolName, input }) => {
    const member = team.find(({ tool }) => tool.name === toolName);
    const refusal = over || (member ? clashOf(member, busy) : "");
    const call: Assignment = { toolCallId, toolName, input, used, ...(refusal === "" ? {} : { refusal }) };
    return new Send(member?.name ?? "tools", call);
  });
}

/** Answers with calls since the user last spoke. */
function roundsOf(messages: readonly AgentMessage[]): number {
  const from = messages.findLastIndex(({ role }) => role === "user");
  return messages.slice(from + 1).filter((message) => callsOf(message).length > 0).length;
}

/** One that keeps its state over all calls has one line of checkpoints: two tasks at once would write over each other. */
function clashOf(member: Member, busy: Set<Member>): string {
  if (member.graph.subgraphState !== "thread") return "";
  if (busy.has(member))
    return `"${member.name}" remembers its tasks and takes one at a time: hand it this one afterwards`;
  busy.add(member);
  return "";
}

/** The line of callers is in the namespace: this supervisor stands in it where the work went through a node of its own. */
function circleOf(ns: string, names: readonly string[], maxDepth: number): string | undefined {
  const callers = ns.split("|").map((segment) => segment.slice(0, segment.indexOf(":")));
  // Once may be chance: a graph around it has a node of the same name.
  if (callers.filter((caller) => names.includes(caller)).length < Math.max(2, maxDepth)) return undefined;
  return `delegation goes in circles (${callers.join(" > ")}), and maxDepth is ${maxDepth}: do this yourself`;
}

async function perform(tools: ReadonlyMap<string, Tool>, call: Assignment, context: NodeContext): Promise<Called> {
  const { refusal, toolCallId, toolName } = call;
  if (refusal === undefined) return await runCall(tools, call, context);
  const output = { type: "error-text", value: refusal } as const;
  const part = { type: "tool-result", toolCallId, toolName, output } as const;
  return { messages: { role: "tool", content: [part], id: `${context.taskId}/${toolCallId}` } };
}
