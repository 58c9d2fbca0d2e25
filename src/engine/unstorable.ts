/** Says of a value that cannot be stored whose it is: the graph, the nodes that wrote it, and its path in the state. */
import { encodeValue } from "../checkpoint/codec.ts";
import { AgentmaticError } from "../errors.ts";
import type { Interrupt } from "../graph/context.ts";
import type { Plan } from "../graph/plan.ts";
import type { Values } from "./state.ts";
import type { TaskOutcome, TaskResult } from "./step.ts";

/** A value that may be the one, and who wrote it. */
type Suspect = readonly [nodes: readonly string[], path: string, value: unknown];

/** Of a checkpoint. Whatever was thrown for another reason stays as it is. */
export function unstorableState(
  plan: Plan,
  thrown: unknown,
  values: Values,
  changed: ReadonlySet<string>,
  outcomes: readonly TaskOutcome[],
): unknown {
  return placed(plan, thrown, function* () {
    for (const name of changed) {
      if (plan.channels.get(name)?.kind === "untracked" || !Object.hasOwn(values, name)) continue;
      const writers = outcomes.filter(({ result }) => result.updates.some(([channel]) => channel === name));
      yield [[...new Set(writers.map(({ task }) => task.node.name))], name, values[name]];
    }
    for (const { task, result } of outcomes) yield* sendsOf(task.node.name, result);
  });
}

/** Of a finished task's writes. */
export function unstorableResult(plan: Plan, thrown: unknown, node: string, result: TaskResult): unknown {
  return placed(plan, thrown, function* () {
    for (const [channel, update] of result.updates) {
      if (plan.channels.get(channel)?.kind !== "untracked") yield [[node], channel, update];
    }
    yield* sendsOf(node, result);
  });
}

/** Of the questions that a node asked. */
export function unstorableQuestion(plan: Plan, thrown: unknown, node: string, asked: readonly Interrupt[]): unknown {
  return placed(plan, thrown, function* () {
    for (const { value } of asked) yield [[node], "interrupt", value];
  });
}

function* sendsOf(node: string, { sends }: TaskResult): Generator<Suspect> {
  for (const packet of sends) yield [[node], `Send("${packet.node}").args`, packet.args];
}

function placed(plan: Plan, thrown: unknown, suspects: () => Iterable<Suspect>): unknown {
  if (!AgentmaticError.is(thrown, "StateNotSerializable")) return thrown;
  for (const [nodes, path, value] of suspects()) {
    const problem = problemOf(value, path);
    if (problem) return refusal(plan, nodes, problem);
  }
  return refusal(plan, [], thrown);
}

function problemOf(value: unknown, path: string): AgentmaticError | undefined {
  try {
    encodeValue(value, path);
    return undefined;
  } catch (thrown) {
    return AgentmaticError.from(thrown);
  }
}

function refusal(plan: Plan, nodes: readonly string[], problem: AgentmaticError): AgentmaticError {
  const names = nodes.map((name) => `"${name}"`).join(", ");
  const who = nodes.length === 0 ? "" : `, node${nodes.length === 1 ? "" : "s"} ${names}`;
  const details = { ...problem.details, graph: plan.name, ...(nodes[0] === undefined ? {} : { node: nodes[0] }) };
  const text = `graph "${plan.name}"${who}: ${problem.message}`;
  return new AgentmaticError("StateNotSerializable", text, { cause: problem, details });
}
