/** The agents under a supervisor, as it was given them, and the tools by which its model hands them work. */
import { invalid } from "../errors.ts";
import type { Nestable } from "../graph/context.ts";
import type { Plan } from "../graph/plan.ts";
import { checkCount, isObject } from "../run/check.ts";
import { type OutputMode, reportOf } from "./supervisor-report.ts";
import { checkToolName, type Tool } from "./tool.ts";

/** A compiled graph with a channel `messages`: an agent, another supervisor, or a graph of your own. */
export interface SupervisedGraph extends Nestable {
  readonly name: string;
}

/**
 * A graph, an `Agent`, or either one with what the supervisor's model is told of it: `{ graph, description }`. `name` is
 * what the supervisor calls it; the graph's own unless given.
 */
export type SupervisedAgent =
  | SupervisedGraph
  | {
      readonly graph: SupervisedGraph;
      readonly name?: string;
      readonly description?: string;
    };

export interface Member {
  readonly name: string;
  readonly graph: SupervisedGraph;
  /** `transfer_to_<name>`. */
  readonly tool: Tool;
}

/** Marks the node in which a supervisor's model is asked. */
export const supervisorRole = "supervisor";
export const reservedNames: readonly string[] = [supervisorRole, "tools"];

/** What a graph is called that was given no name. */
const nameless = "graph";
const agentsMax = 128;
const taskCharsMax = 100_000;

const taskSchema = {
  type: "object",
  properties: {
    task: {
      type: "string",
      description: "What the agent is to do, with all that it has to know for that: it sees nothing else.",
    },
  },
  required: ["task"],
  additionalProperties: false,
} as const;

/** Throws `InvalidArgument`, naming the place in the list. */
export function readTeam(agents: unknown, mode: OutputMode): readonly Member[] {
  if (!Array.isArray(agents) || agents.length === 0) throw invalid("agents", "must be a list of at least one agent");
  checkCount("agents.length", agents.length, 1, agentsMax);
  const members = new Map<string, Member>();
  for (const [index, entry] of agents.entries()) {
    const member = readMember(entry, `agents[${index}]`, mode);
    const other = [...members.values()].find(
      ({ name, tool }) => name === member.name || tool.name === member.tool.name,
    );
    if (other)
      throw invalid(`agents[${index}].name`, `another agent is named "${other.name}" already; name one otherwise`);
    members.set(member.name, member);
  }
  return [...members.values()];
}

function readMember(entry: unknown, place: string, mode: OutputMode): Member {
  const given: Readonly<Record<string, unknown>> = isObject(entry) ? entry : {};
  const graph = (isGraph(entry) ? entry : given.graph) as SupervisedGraph;
  if (!isGraph(graph)) throw invalid(place, "must be a compiled graph, an Agent, or { graph, description }");
  const own: unknown = given.name ?? graph.name;
  const name = own === nameless ? undefined : own;
  if (typeof name !== "string" || name === "") {
    throw invalid(`${place}.name`, 'is needed: compile the graph with a name, or give { graph, name: "…" }');
  }
  if (reservedNames.includes(name)) throw invalid(`${place}.name`, `"${name}" is a node of the supervisor's own`);
  const { channels, input } = graph.plan as Plan;
  if (!channels.has("messages") || (input && !input.includes("messages"))) {
    throw invalid(place, `graph "${graph.name}" has no channel "messages" to be given its task in`);
  }
  const description: unknown = given.description ?? `Hands a task to the agent "${name}".`;
  if (typeof description !== "string" || description === "") throw invalid(`${place}.description`, "must be text");
  return { name, graph, tool: handOff(name, description, graph, `${place}.name`, mode) };
}

function isGraph(value: unknown): value is SupervisedGraph {
  if (typeof value !== "object" || value === null || !("plan" in value)) return false;
  const { plan } = value as { readonly plan: Partial<Plan> | null };
  return plan?.nodes instanceof Map && plan.channels instanceof Map;
}

/** A tool call whose work is a run of the agent's graph, with checkpoints of its own. */
function handOff(agent: string, description: string, graph: SupervisedGraph, place: string, mode: OutputMode): Tool {
  const name = `transfer_to_${agent.replaceAll(/[^A-Za-z0-9_-]/g, "_")}`;
  checkToolName(name, place);
  return {
    name,
    description,
    jsonSchema: taskSchema,
    read: readTask,
    execute: async (task: string, { invoke }) => {
      const output = await invoke(graph, { messages: [{ role: "user", content: task }] });
      return reportOf(output, task, mode);
    },
  };
}

function readTask(input: unknown): string {
  const task = isObject(input) ? input.task : undefined;
  if (typeof task !== "string" || task.trim() === "") throw invalid("input.task", "must say what the agent is to do");
  if (task.length > taskCharsMax) throw invalid("input.task", `is longer than ${taskCharsMax} characters`);
  return task;
}

/** Throws `InvalidArgument` with the path where supervisors stand inside each other deeper than `maxDepth`, this one counted. */
export function checkDepth(name: string, team: readonly Member[], maxDepth: number): void {
  checkCount("maxDepth", maxDepth, 1, depthMost);
  for (const [index, member] of team.entries()) {
    const path = [name, ...deepest(member.name, member.graph.plan as Plan)];
    if (path.length <= maxDepth) continue;
    const text = `supervisors inside supervisors, ${path.length} deep: ${path.join(" > ")}; maxDepth is ${maxDepth}`;
    throw invalid(`agents[${index}]`, text);
  }
}

/** The engine nests graphs no deeper. */
const depthMost = 32;

/** The names along the longest line of supervisors in a graph. Compiled graphs cannot contain themselves. */
function deepest(name: string, plan: Plan): readonly string[] {
  let longest: readonly string[] = [];
  for (const [inner, { subgraph }] of plan.nodes) {
    const path = subgraph ? deepest(inner, subgraph.plan) : [];
    if (path.length > longest.length) longest = path;
  }
  const supervises = plan.nodes.get(supervisorRole)?.metadata?.role === supervisorRole;
  return supervises ? [name, ...longest] : longest;
}
