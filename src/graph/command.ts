/** What a node may return besides an update, and what a caller may send instead of an input. */
import { invalid } from "../errors.ts";

/** Runs `node` once in the next superstep with an input of its own instead of the state. */
export class Send {
  readonly node: string;
  readonly args: unknown;

  constructor(node: string, args: unknown) {
    if (typeof node !== "string" || node === "") throw invalid("Send.node", "must be a node's name");
    this.node = node;
    this.args = args;
  }
}

export type Goto = string | Send | readonly (string | Send)[];

export interface CommandFields<Update = Readonly<Record<string, unknown>>, Resume = unknown> {
  /** Written to the state like a node's return value. */
  readonly update?: Update;
  /** Nodes to run next, besides those that the graph's edges name. */
  readonly goto?: Goto;
  /** From a caller: the answer to the open interrupt, or a map of interrupt ids to answers. */
  readonly resume?: Resume;
  /** `Command.PARENT`: for the graph that this one is a subgraph of. */
  readonly graph?: typeof PARENT;
}

const PARENT = "__parent__";

export class Command<Update = Readonly<Record<string, unknown>>, Resume = unknown> {
  static readonly PARENT: typeof PARENT = PARENT;

  readonly graph: typeof PARENT | undefined;
  readonly update: Update | undefined;
  readonly goto: readonly (string | Send)[];
  readonly resume: Resume | undefined;
  /** True where `resume` was given, `undefined` included. */
  readonly answers: boolean;

  constructor(fields: CommandFields<Update, Resume>) {
    if (typeof fields !== "object" || fields === null)
      throw invalid("Command", "needs an object with update, goto or resume");
    if (fields.graph !== undefined && fields.graph !== PARENT)
      throw invalid("Command.graph", "may only be Command.PARENT");
    this.graph = fields.graph;
    this.update = fields.update;
    this.goto = fields.goto === undefined ? [] : Array.isArray(fields.goto) ? fields.goto : [fields.goto as string];
    this.resume = fields.resume;
    this.answers = Object.hasOwn(fields, "resume");
  }
}

/** As an update of a channel with a reducer: takes the value's place instead of being folded into it. */
export class Overwrite<Value = unknown> {
  readonly value: Value;

  constructor(value: Value) {
    this.value = value;
  }
}

/** How an overwrite is stored; LangGraph.js takes this form from a node as well. */
export interface OverwriteValue<Value = unknown> {
  readonly __overwrite__: Value;
}

export function isOverwrite(value: unknown): value is OverwriteValue {
  if (typeof value !== "object" || value === null || !("__overwrite__" in value)) return false;
  return Object.keys(value).length === 1;
}

/** The stored form of an overwrite, any other update as it is. */
export function plainUpdate(update: unknown): unknown {
  if (update instanceof Overwrite || isInstanceNamed(update, "Overwrite")) {
    return { __overwrite__: (update as Overwrite).value };
  }
  return update;
}

/** Another copy of this package may have made it: the shape counts, not the class. */
export function isSend(value: unknown): value is Send {
  return value instanceof Send || (isInstanceNamed(value, "Send") && "node" in value && "args" in value);
}

export function isCommand(value: unknown): value is Command {
  return value instanceof Command || (isInstanceNamed(value, "Command") && "goto" in value && "answers" in value);
}

function isInstanceNamed(value: unknown, name: string): value is object {
  if (typeof value !== "object" || value === null) return false;
  // Of its class, and not of its own: an input that came as JSON must not pass for a Command.
  return (Object.getPrototypeOf(value) as object | null)?.constructor?.name === name;
}
