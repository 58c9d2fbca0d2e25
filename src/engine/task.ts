/** One task: the node's function, its conditional edges, and what they returned brought into one shape. */

import type { Packet } from "../checkpoint/body.ts";
import { AgentmaticError } from "../errors.ts";
import { isCommand, isSend } from "../graph/command.ts";
import { asyncContext, isGraphInterrupt, type NodeContext } from "../graph/context.ts";
import { type Branch, END, type Plan, type PlanNode } from "../graph/plan.ts";
import { isObject, isPlainObject } from "../run/check.ts";
import type { Snapshot } from "./snapshot.ts";
import { type Task, type TaskResult, unknownChannel, withUpdates } from "./step.ts";

type Call = (state: unknown, context: NodeContext) => unknown;

/** Runs a task to its result. What the node throws comes out as `NodeFailed` with its name, interrupts as they are. */
export async function runTask(plan: Plan, snapshot: Snapshot, task: Task, context: NodeContext): Promise<TaskResult> {
  const input = task.packet ? task.packet.args : { ...snapshot.values };
  const returned = await call(plan, task.node.name, task.node.run as Call, input, context);
  const result = readReturn(plan, task.node.name, returned);
  return task.node.branches.length === 0 ? result : await addBranches(plan, snapshot, task.node, result, context);
}

/** What follows an input: the conditional edges of START, seen with the input in the state. */
export async function runEntry(
  plan: Plan,
  snapshot: Snapshot,
  updates: TaskResult["updates"],
  context: NodeContext,
): Promise<TaskResult> {
  const result: TaskResult = { updates, goto: [], sends: [] };
  if (plan.entry.branches.length === 0) return result;
  return await addBranches(plan, snapshot, { name: "__start__", run: () => undefined, ...plan.entry }, result, context);
}

async function call(plan: Plan, node: string, run: Call, input: unknown, context: NodeContext): Promise<unknown> {
  const scope = asyncContext();
  try {
    return await (scope ? scope.run(context, () => run(input, context)) : run(input, context));
  } catch (thrown) {
    if (isGraphInterrupt(thrown)) throw thrown;
    // Always wrapped: an error code that a tool threw must not be taken for the store's.
    const message = `graph "${plan.name}", node "${node}": ${AgentmaticError.from(thrown).message}`;
    throw new AgentmaticError("NodeFailed", message, { cause: thrown, details: { node } });
  }
}

async function addBranches(
  plan: Plan,
  from: Snapshot,
  node: PlanNode,
  result: TaskResult,
  context: NodeContext,
): Promise<TaskResult> {
  const goto = [...result.goto];
  const sends = [...result.sends];
  const state = withUpdates(plan, from, node.name, result.updates);
  for (const branch of node.branches) {
    const answer = await call(plan, node.name, branch.path as Call, state, context);
    for (const target of Array.isArray(answer) ? answer : [answer]) route(plan, node.name, branch, target, goto, sends);
  }
  return { updates: result.updates, goto, sends };
}

function route(plan: Plan, from: string, branch: Branch, answer: unknown, goto: string[], sends: Packet[]): void {
  if (isSend(answer)) {
    sends.push(packetOf(plan, from, answer));
    return;
  }
  const key = String(answer);
  if (branch.targets && !Object.hasOwn(branch.targets, key)) {
    const allowed = Object.keys(branch.targets).join(", ");
    throw unknownTarget(plan, from, `its conditional edge answered "${key}"; it may answer ${allowed}`);
  }
  addTarget(plan, from, branch.targets?.[key] ?? key, goto);
}

function addTarget(plan: Plan, from: string, name: string, goto: string[]): void {
  if (name === END) return;
  if (!plan.nodes.has(name)) throw unknownTarget(plan, from, `it leads to "${name}", which is no node of the graph`);
  goto.push(name);
}

function packetOf(plan: Plan, from: string, { node, args }: Packet): Packet {
  if (!plan.nodes.has(node)) throw unknownTarget(plan, from, `it sends to "${node}", which is no node of the graph`);
  return { node, args };
}

function readReturn(plan: Plan, node: string, returned: unknown): TaskResult {
  if (returned === undefined || returned === null) return { updates: [], goto: [], sends: [] };
  const updates: [string, unknown][] = [];
  const goto: string[] = [];
  const sends: Packet[] = [];
  for (const part of Array.isArray(returned) ? returned : [returned]) {
    if (isCommand(part)) {
      if (part.update !== undefined) addUpdates(plan, node, part.update, updates);
      for (const target of part.goto) {
        if (isSend(target)) sends.push(packetOf(plan, node, target));
        else addTarget(plan, node, target, goto);
      }
    } else {
      addUpdates(plan, node, part, updates);
    }
  }
  return { updates, goto, sends };
}

function addUpdates(plan: Plan, node: string, update: unknown, updates: [string, unknown][]): void {
  if (!isPlainObject(update)) {
    const what = Array.isArray(update) ? "a list" : isObject(update) ? update.constructor.name : String(update);
    const message = `graph "${plan.name}", node "${node}": returned ${what}; it must return an object of channels, a Command or nothing`;
    throw new AgentmaticError("NodeFailed", message, { details: { node } });
  }
  for (const [channel, value] of Object.entries(update)) {
    if (!plan.channels.has(channel)) throw unknownChannel(plan, node, channel);
    updates.push([channel, value]);
  }
}

function unknownTarget(plan: Plan, node: string, problem: string): AgentmaticError {
  return new AgentmaticError("InvalidGraph", `graph "${plan.name}", node "${node}": ${problem}`, { details: { node } });
}
