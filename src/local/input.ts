/** What a caller hands in, checked before a run is made of it. */
import { encodeValue } from "../checkpoint/codec.ts";
import type { Answers, Resumption } from "../engine/answers.ts";
import { invalid } from "../errors.ts";
import { type Command, isCommand, isSend, plainUpdate } from "../graph/command.ts";
import type { Plan } from "../graph/plan.ts";
import { isPlainObject } from "../run/check.ts";
import type { RunRequest } from "../run/runner.ts";

/** Throws `InvalidArgument`, naming the field. */
export function encodeInput(plan: Plan, input: unknown): Pick<RunRequest, "kind" | "input"> {
  if (input === null) return { kind: "resume", input: encodeValue({ kind: "none" } satisfies Answers) };
  if (isCommand(input)) return { kind: "resume", input: encodeValue(resumptionOf(plan, input), "resume") };
  checkInput(plan, input);
  return { kind: "input", input: encodeValue(plan.functional ? input : plainValues(input), "input") };
}

/** Throws `InvalidArgument`, naming the field. */
export function checkInput(plan: Plan, input: unknown): void {
  if (plan.functional) return;
  if (!isPlainObject(input)) throw invalid("input", `must be a plain object with channels of graph "${plan.name}"`);
  for (const name of Object.keys(input)) {
    if (!plan.channels.has(name)) throw invalid(`input.${name}`, `graph "${plan.name}" has no such channel`);
    if (plan.input && !plan.input.includes(name)) throw invalid(`input.${name}`, "is not part of the graph's input");
  }
}

function resumptionOf(plan: Plan, command: Command): Resumption | Answers {
  const { update, goto } = command;
  const answers: Answers = command.answers ? answersOf(command) : { kind: "none" };
  if (update === undefined && goto.length === 0) {
    if (!command.answers) throw invalid("input", "a Command from a caller must have resume, update or goto");
    return answers;
  }
  if (command.graph !== undefined) throw invalid("input.graph", "a caller has no parent graph");
  if (update !== undefined && update !== null) {
    if (!isPlainObject(update)) throw invalid("input.update", "must be an object of channels");
    for (const name of Object.keys(update)) {
      if (!plan.channels.has(name)) throw invalid(`input.update.${name}`, `graph "${plan.name}" has no such channel`);
    }
  }
  for (const target of goto) {
    const name = isSend(target) ? target.node : target;
    if (typeof name !== "string") throw invalid("input.goto", "must name nodes, or be Sends to them");
    if (!plan.nodes.has(name)) throw invalid("input.goto", `graph "${plan.name}" has no node "${name}"`);
  }
  const targets = goto.map((target) => (isSend(target) ? { node: target.node, args: target.args } : target));
  return { answers, ...(update === undefined ? {} : { update: plainValues(update) }), goto: targets };
}

/** Updates in the form in which they are stored. */
export function plainValues(update: unknown): unknown {
  if (!isPlainObject(update)) return update;
  return Object.fromEntries(Object.entries(update).map(([name, value]) => [name, plainUpdate(value)]));
}

/** Keys that all look like interrupt ids are answers by id, as in LangGraph.js. */
function answersOf({ resume }: Command): Answers {
  const keys = typeof resume === "object" && resume !== null && !Array.isArray(resume) ? Object.keys(resume) : [];
  if (keys.length > 0 && keys.every((key) => /\|.*!\d+$/s.test(key))) {
    return { kind: "byId", values: resume as Record<string, unknown> };
  }
  return { kind: "one", value: resume };
}
