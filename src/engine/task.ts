/** One task: the node's function under its policies, its conditional edges, and what they returned in one shape. */

import type { Packet } from "../checkpoint/body.ts";
import { AgentmaticError } from "../errors.ts";
import { Command, type CommandFields, isCommand, isOverwrite, isSend, plainUpdate } from "../graph/command.ts";
import { asyncContext, isGraphInterrupt, type NodeContext } from "../graph/context.ts";
import { type Branch, END, type Plan, type PlanNode } from "../graph/plan.ts";
import type { StandardSchema } from "../graph/schema.ts";
import { checkUpdate } from "../graph/schema.ts";
import { isObject, isPlainObject } from "../run/check.ts";
import { gatherInterrupts, RefusedAnswer, type TaskContext } from "./context.ts";
import { Outside } from "./outside.ts";
import type { Snapshot } from "./snapshot.ts";
import { unknownChannel } from "./state.ts";
import { emptyResult, type Task, type TaskOutcome, type TaskResult, withUpdates } from "./step.ts";

type Call = (state: unknown, context: NodeContext) => unknown;
type Outcome = Pick<TaskOutcome, "result" | "preview">;

/** A Command for the parent graph, on its way out of a subgraph. */
export class ParentCommand {
  readonly fields: CommandFields;

  constructor({ update, goto }: Command) {
    this.fields = { goto, ...(update === undefined ? {} : { update }) };
  }
}

type MaybePromise<T> = T | Promise<T>;

function then<A, B>(value: MaybePromise<A>, next: (value: A) => MaybePromise<B>): MaybePromise<B> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** What leaves a node as it is, and is never wrapped, retried or handled as an error. */
export function passes(thrown: unknown): boolean {
  return (
    isGraphInterrupt(thrown) ||
    thrown instanceof Outside ||
    thrown instanceof ParentCommand ||
    thrown instanceof RefusedAnswer
  );
}

/**
 * Runs a task once. What the node throws comes out as `NodeFailed` with its name; interrupts as they are. Without a
 * promise where the node made none: an await for each step would cost as much as the step.
 */
export function runTask(plan: Plan, snapshot: Snapshot, task: Task, context: TaskContext): MaybePromise<Outcome> {
  const { node } = task;
  if (node.inputSchema || (node.subgraph && !node.subgraph.called)) return runWhole(plan, snapshot, task, context);
  context.input = inputOf(snapshot, task);
  const next = (value: unknown) => outcomeOf(plan, snapshot, node, value, context);
  return callThen(plan, node.name, node.run as Call, context.input, context, next);
}

async function runWhole(plan: Plan, snapshot: Snapshot, task: Task, context: TaskContext): Promise<Outcome> {
  const { node } = task;
  const given = inputOf(snapshot, task);
  const input = node.inputSchema ? await checkInput(plan, node, given) : given;
  const run = node.subgraph && !node.subgraph.called ? nestedCall(plan, node) : (node.run as Call);
  context.input = input;
  return await outcomeOf(plan, snapshot, node, await call(plan, node.name, run, input, context), context);
}

/** What a node's return value comes to: its writes, and what its conditional edges make of them. */
export function outcomeOf(
  plan: Plan,
  snapshot: Snapshot,
  node: PlanNode,
  returned: unknown,
  context: NodeContext,
): MaybePromise<Outcome> {
  const result = validated(plan, node.name, readReturn(plan, node.name, returned));
  if (node.branches.length === 0) return then(result, (checked) => ({ result: checked }));
  return then(result, (checked) => addBranches(plan, snapshot, node, checked, context));
}

/** What an error handler's return value comes to: the node's own edges are not followed. */
export async function handledOutcome(plan: Plan, node: PlanNode, returned: unknown): Promise<Outcome> {
  const result = await validated(plan, node.name, readReturn(plan, node.name, returned));
  return { result: { ...result, handled: true } };
}

/** What follows an input: the conditional edges of START, seen with the input in the state. */
export async function runEntry(
  plan: Plan,
  snapshot: Snapshot,
  entry: PlanNode,
  updates: TaskResult["updates"],
  context: NodeContext,
): Promise<TaskResult> {
  const result: TaskResult = { ...emptyResult, updates };
  return entry.branches.length === 0 ? result : (await addBranches(plan, snapshot, entry, result, context)).result;
}

/** Checks an input by the graph's schemas. Throws `InvalidArgument` with the path, as in `input.messages[3].content`. */
export async function checkedInput(plan: Plan, updates: TaskResult["updates"]): Promise<TaskResult["updates"]> {
  let given = updates;
  if (plan.inputSchema) {
    const whole = await checkUpdate(plan.inputSchema, Object.fromEntries(given), "input");
    if (isObject(whole)) given = Object.entries(whole).filter(([name]) => plan.channels.has(name));
  }
  const checked: [string, unknown][] = [];
  for (const [name, value] of given) {
    const update = plainUpdate(value);
    const schema = plan.channels.get(name)?.schema;
    checked.push([name, schema && !isOverwrite(update) ? await checkUpdate(schema, update, `input.${name}`) : update]);
  }
  return checked;
}

/** The state that a task is given: its own copy, so that what it changes in place is nobody else's. */
export function inputOf(snapshot: Snapshot, { packet, node }: Task): unknown {
  if (packet) return packet.args;
  if (!node.input) return { ...snapshot.values };
  const part: Record<string, unknown> = {};
  for (const name of node.input) if (Object.hasOwn(snapshot.values, name)) part[name] = snapshot.values[name];
  return part;
}

/** Calls a user's function: its error comes out as `NodeFailed`, whatever it threw. */
export function call(plan: Plan, node: string, run: Call, input: unknown, context: NodeContext): MaybePromise<unknown> {
  return callThen(plan, node, run, input, context, (returned) => returned);
}

/** The same, and `next` with what it returned: errors of `next` are its own. */
function callThen<T>(
  plan: Plan,
  node: string,
  run: Call,
  input: unknown,
  context: NodeContext,
  next: (returned: unknown) => MaybePromise<T>,
): MaybePromise<T> {
  const scope = asyncContext();
  let returned: unknown;
  let waits: boolean;
  try {
    returned = scope ? scope.run(context, () => run(input, context)) : run(input, context);
    waits = isPromise(returned);
  } catch (thrown) {
    return failed(plan, node, thrown, context).then(next);
  }
  if (!waits) return next(returned);
  // Of another kind of promise this one may be: its `then` is called where it harms nobody.
  const promise = Promise.resolve(returned);
  return promise.then(next, (thrown: unknown) => failed(plan, node, thrown, context).then(next));
}

async function failed(plan: Plan, node: string, given: unknown, context: NodeContext): Promise<unknown> {
  const thrown = readable(given);
  if (isGraphInterrupt(thrown)) throw await gatherInterrupts(thrown, context as TaskContext);
  // A subgraph's node speaks to this graph: as if this node had returned it.
  if (thrown instanceof ParentCommand) return new Command(thrown.fields);
  throw passes(thrown) ? thrown : nodeFailed(plan, node, thrown);
}

/** Anything can be thrown: what cannot be read without throwing again, such as a revoked proxy, becomes an error. */
function readable(thrown: unknown): unknown {
  try {
    if ((typeof thrown !== "object" && typeof thrown !== "function") || thrown === null) return thrown;
    if (!(thrown instanceof Error) && !("name" in thrown && "message" in thrown)) return thrown;
    const { name, message } = thrown as { name: unknown; message: unknown };
    if (typeof name === "string" && typeof message === "string") return thrown;
  } catch {
    // Its traps or getters throw.
  }
  return new Error("what was thrown cannot be read", { cause: thrown });
}

/** Errors of graphs inside nodes: their codes are the engine's own words. */
const ofGraphs: WeakSet<object> = new WeakSet();

export function fromGraph(thrown: unknown): unknown {
  if (AgentmaticError.is(thrown)) ofGraphs.add(thrown);
  return thrown;
}

/** Errors of durable calls, by the call's name. */
const ofCalls: WeakMap<object, string> = new WeakMap();

/** What a node may catch as it was thrown, and where it does not, is told with the call's name. */
export function fromCall(thrown: unknown, name: string): unknown {
  if (isObject(thrown) && !passes(thrown) && !ofCalls.has(thrown)) ofCalls.set(thrown, name);
  return thrown;
}

/** What a node's policies threw by themselves knows the node at most: this says which graph's it is. */
export function ofPolicy(plan: Plan, node: string, thrown: unknown): unknown {
  if (!AgentmaticError.is(thrown, "Timeout", "CircuitOpen") || thrown.details.node !== undefined) return thrown;
  const { code, details, message, retryAfterMs, cause } = thrown;
  const own = message.startsWith(`"${node}" `) ? message : `"${node}": ${message}`;
  return new AgentmaticError(code, `graph "${plan.name}", node ${own}`, {
    cause,
    details: { ...details, node },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** Always wrapped: an error code that a tool threw must not be taken for the store's. */
export function nodeFailed(plan: Plan, node: string, thrown: unknown): AgentmaticError {
  const own = AgentmaticError.is(thrown) && ofGraphs.has(thrown);
  const task = isObject(thrown) ? ofCalls.get(thrown) : undefined;
  const place = `graph "${plan.name}", node "${node}"${task === undefined ? "" : `, task "${task}"`}`;
  const where = { node, ...(task === undefined ? {} : { task }) };
  if (own || AgentmaticError.is(thrown, "BudgetExceeded", "CircuitOpen", "Timeout")) {
    const details = { ...thrown.details, ...where };
    return new AgentmaticError(thrown.code, `${place}: ${thrown.message}`, {
      cause: thrown,
      details,
      ...(thrown.retryAfterMs === undefined ? {} : { retryAfterMs: thrown.retryAfterMs }),
    });
  }
  const message = `${place}: ${AgentmaticError.from(thrown).message}`;
  return new AgentmaticError("NodeFailed", message, { cause: thrown, details: where });
}

function nestedCall(plan: Plan, node: PlanNode): Call {
  const { plan: nested, state } = node.subgraph!;
  // A functional graph is given the state, and returns what a node would.
  if (nested.functional) return (input, context) => (context as TaskContext).nested(nested, state, input);
  return async (input, context) => {
    const given = isObject(input) ? shared(nested, input) : input;
    const values = (await (context as TaskContext).nested(nested, state, given)) as Record<string, unknown>;
    // What only the subgraph knows stays inside.
    return Object.fromEntries(Object.entries(values).filter(([name]) => plan.channels.has(name)));
  };
}

function shared(plan: Plan, state: Record<string, unknown>): Record<string, unknown> {
  const known = plan.input ? new Set(plan.input) : plan.channels;
  return Object.fromEntries(Object.entries(state).filter(([name]) => known.has(name)));
}

async function checkInput(plan: Plan, node: PlanNode, input: unknown): Promise<unknown> {
  return await checkUpdate(node.inputSchema!, input, `graph "${plan.name}", node "${node.name}": its input`);
}

function addBranches(
  plan: Plan,
  from: Snapshot,
  node: PlanNode,
  result: TaskResult,
  context: NodeContext,
): MaybePromise<Outcome> {
  const goto = [...result.goto];
  const sends = [...result.sends];
  const preview = withUpdates(plan, from, node.name, result.updates);
  const follow = (index: number): MaybePromise<Outcome> => {
    const branch = node.branches[index];
    if (!branch) return { result: { updates: result.updates, goto, sends }, preview };
    const answer = call(plan, node.name, branch.path as Call, { ...preview.values }, context);
    return then(answer, (value) => {
      for (const target of Array.isArray(value) ? value : [value]) route(plan, node.name, branch, target, goto, sends);
      return follow(index + 1);
    });
  };
  return follow(0);
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

function addTarget(plan: Plan, from: string, name: unknown, goto: string[]): void {
  if (name === END) return;
  if (typeof name !== "string" || !plan.nodes.has(name)) {
    throw unknownTarget(plan, from, `it leads to "${String(name)}", which is no node of the graph`);
  }
  goto.push(name);
}

function packetOf(plan: Plan, from: string, { node, args }: Packet): Packet {
  if (!plan.nodes.has(node)) throw unknownTarget(plan, from, `it sends to "${node}", which is no node of the graph`);
  return { node, args };
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === "function";
}

/** Throws `ParentCommand` where the node speaks to the graph around this one. */
export function readReturn(plan: Plan, node: string, returned: unknown): TaskResult {
  if (returned === undefined || returned === null) return emptyResult;
  const updates: [string, unknown][] = [];
  const goto: string[] = [];
  const sends: Packet[] = [];
  for (const part of Array.isArray(returned) ? returned : [returned]) {
    if (isCommand(part)) {
      if (part.graph !== undefined) throw new ParentCommand(part);
      if (part.update !== undefined && part.update !== null) addUpdates(plan, node, part.update, updates);
      for (const target of part.goto) {
        if (isSend(target)) sends.push(packetOf(plan, node, target));
        else addTarget(plan, node, target, goto);
      }
    } else if (isSend(part)) {
      sends.push(packetOf(plan, node, part));
    } else if (part !== null && part !== undefined) {
      addUpdates(plan, node, part, updates);
    }
  }
  return { updates, goto, sends };
}

function addUpdates(plan: Plan, node: string, update: unknown, updates: [string, unknown][]): void {
  // Pairs of channel and value, as LangGraph.js takes them from a Command, too.
  const pairs = Array.isArray(update) && update.every(isPair) ? update : undefined;
  if (!pairs && !isPlainObject(update)) {
    const what = Array.isArray(update) ? "a list" : describe(update);
    const message = `graph "${plan.name}", node "${node}": returned ${what}; it must return an object of channels, a Command or nothing`;
    throw new AgentmaticError("NodeFailed", message, { details: { node } });
  }
  for (const [channel, value] of pairs ?? Object.entries(update as object)) {
    if (!plan.channels.has(channel)) throw unknownChannel(plan, node, channel);
    updates.push([channel, plainUpdate(value)]);
  }
}

function isPair(value: unknown): value is [string, unknown] {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === "string";
}

/** Never the value itself: it may be state. */
function describe(value: unknown): string {
  if (!isObject(value)) return value === null ? "null" : `a ${typeof value}`;
  const { constructor: made } = value as { constructor?: { name?: unknown } };
  return typeof made?.name === "string" && made.name !== "" ? `a ${made.name}` : "an object";
}

function validated(plan: Plan, node: string, result: TaskResult): MaybePromise<TaskResult> {
  return result.updates.some(([channel]) => plan.channels.get(channel)?.schema)
    ? checkUpdates(plan, node, result)
    : result;
}

async function checkUpdates(plan: Plan, node: string, result: TaskResult): Promise<TaskResult> {
  const updates: [string, unknown][] = [];
  for (const [channel, value] of result.updates) {
    const schema = plan.channels.get(channel)?.schema;
    updates.push([channel, schema && !isOverwrite(value) ? await checked(plan, node, channel, schema, value) : value]);
  }
  return { ...result, updates };
}

async function checked(
  plan: Plan,
  node: string,
  channel: string,
  schema: StandardSchema,
  value: unknown,
): Promise<unknown> {
  try {
    return await checkUpdate(schema, value, `graph "${plan.name}", node "${node}": ${channel}`);
  } catch (thrown) {
    const error = AgentmaticError.from(thrown);
    const details = { ...error.details, node, channel };
    throw new AgentmaticError("NodeFailed", error.message, { cause: thrown, details });
  }
}

function unknownTarget(plan: Plan, node: string, problem: string): AgentmaticError {
  return new AgentmaticError("InvalidGraph", `graph "${plan.name}", node "${node}": ${problem}`, { details: { node } });
}
