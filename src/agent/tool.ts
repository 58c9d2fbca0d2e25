/** Tools: functions with a described input that a model may ask for. */
import { AgentmaticError, invalid } from "../errors.ts";
import type { NodeContext } from "../graph/context.ts";
import { checkUpdate, isStandardSchema, type JsonSchema, jsonSchemaOf, type StandardSchema } from "../graph/schema.ts";
import { checkRetry, type RetryPolicy } from "../policy/retry.ts";
import { readTimeout } from "../policy/timeout.ts";

/** What a tool is given besides its input. */
export interface ToolContext
  extends Pick<
    NodeContext,
    | "runId"
    | "threadId"
    | "correlationId"
    | "interrupt"
    | "stream"
    | "heartbeat"
    | "task"
    | "config"
    | "context"
    | "deadlineMs"
    | "ports"
  > {
  readonly toolCallId: string;
  /** Aborts with the run's attempt, and when the tool's own time is over: pass it on. */
  readonly signal: AbortSignal;
  /**
   * The same for every execution of this one call, on whatever worker. A call that was in flight at a crash runs again:
   * a tool that hands this to its service makes its effect once.
   */
  readonly idempotencyKey: string;
  /** As of `NodeContext`; what an agent inside uses up counts to the budget of this run. */
  readonly invoke: NodeContext["invoke"];
}

/** True where a person is to be asked before this call. Asked once for each call, also where it runs again. */
export type Approval<Input = unknown> = boolean | ((input: Input, context: ToolContext) => boolean | Promise<boolean>);

export interface ToolPolicies {
  /** Milliseconds that one try may take; the model is told of the error. */
  readonly timeoutMs?: number;
  /** Tries again before the model is told of an error. Not tried again unless given. */
  readonly retryPolicy?: RetryPolicy | readonly RetryPolicy[];
}

export interface ToolOptions<Input> extends ToolPolicies {
  /** Letters, digits, `_` and `-`, 64 at most. */
  readonly name: string;
  /** Tells the model what the tool does and when to ask for it. */
  readonly description: string;
  /** Checks what the model sends; `execute` gets its output. */
  readonly input: StandardSchema<unknown, Input>;
  /** Describes the input to the model, as JSON Schema draft-07. Needed where `input` cannot describe itself. */
  readonly jsonSchema?: JsonSchema;
  /**
   * Before the call is made the run stops with an interrupt `{ type: "approval", tool, input, toolCallId }`, which is
   * answered with true, false, or `{ approved, reason?, input? }`. What else was asked for in the same answer goes on.
   */
  readonly approval?: Approval<Input>;
  /**
   * Its result is told to the model: text as it is, all else as JSON. What it throws is told to the model too, which may
   * try again. `context.interrupt` asks a person first, and the tool runs again from its top with the answer.
   */
  readonly execute: (input: Input, context: ToolContext) => unknown;
}

export interface Tool extends ToolPolicies {
  readonly name: string;
  readonly description: string;
  readonly jsonSchema: JsonSchema;
  readonly approval?: Approval<never>;
  /** Gives what `execute` takes, or a promise of it. Throws `InvalidArgument` with the path for what does not fit. */
  readonly read: (input: unknown) => unknown;
  readonly execute: (input: never, context: ToolContext) => unknown;
}

const nameForm = /^[A-Za-z0-9_-]{1,64}$/;

/** Throws `InvalidArgument`, naming the field. */
export function tool<Input>(options: ToolOptions<Input>): Tool {
  const { name, description, input, execute } = options;
  checkToolName(name, "name");
  const field = (of: string) => `tool "${name}": ${of}`;
  if (typeof description !== "string" || description === "") throw invalid(field("description"), "must be text");
  if (!isStandardSchema(input)) throw invalid(field("input"), "must be a Standard Schema, such as z.object({ … })");
  if (typeof execute !== "function") throw invalid(field("execute"), "must be a function");
  const jsonSchema = options.jsonSchema ?? jsonSchemaOf(input, field("jsonSchema"));
  if (typeof jsonSchema !== "object") throw invalid(field("jsonSchema"), "must be an object");
  return {
    name,
    description,
    jsonSchema,
    read: (value) => checkUpdate(input, value, "input"),
    execute,
    ...readPolicies(options, field),
  };
}

type Policies = Pick<Tool, "approval" | "timeoutMs" | "retryPolicy">;

/** The options that every kind of tool has. Throws `InvalidArgument`, naming the field. */
export function readPolicies(options: ToolPolicies & { approval?: unknown }, field: (of: string) => string): Policies {
  const { approval, timeoutMs, retryPolicy } = options;
  if (approval !== undefined && typeof approval !== "boolean" && typeof approval !== "function") {
    throw invalid(field("approval"), "must be true, false or a function");
  }
  if (timeoutMs !== undefined) readTimeout(field("timeoutMs"), timeoutMs);
  for (const policy of retriesOf(retryPolicy)) checkRetry(field("retryPolicy"), policy);
  return {
    ...(approval === undefined || approval === false ? {} : { approval: approval as Approval<never> }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(retryPolicy === undefined ? {} : { retryPolicy }),
  };
}

export function retriesOf(given: ToolPolicies["retryPolicy"]): readonly RetryPolicy[] {
  if (given === undefined) return [];
  return Array.isArray(given) ? given : [given as RetryPolicy];
}

/** Throws `InvalidArgument`, naming the field. */
export function checkToolName(name: unknown, field: string): asserts name is string {
  if (typeof name === "string" && nameForm.test(name)) return;
  throw invalid(field, "must be 1 to 64 letters, digits, _ or -, which is what models accept");
}

/** Throws `InvalidArgument` naming the place in the list; two tools of one name are an error. */
export function checkTools(tools: unknown, field: string): readonly Tool[] {
  if (!Array.isArray(tools)) throw invalid(field, "must be a list of tools");
  const names = new Set<string>();
  tools.forEach((entry: Partial<Tool> | null | undefined, index) => {
    const place = `${field}[${index}]`;
    const { name, read, execute, jsonSchema } = entry ?? {};
    const made = typeof read === "function" && typeof execute === "function";
    if (!made || typeof name !== "string" || typeof jsonSchema !== "object") {
      throw invalid(place, "must be made by tool({ … })");
    }
    if (names.has(name)) throw invalid(`${place}.name`, `another tool is named "${name}" already`);
    names.add(name);
  });
  return [...(tools as Tool[])];
}

export function unknownTool(name: string, known: Iterable<string>): AgentmaticError {
  const names = [...known];
  const there = names.length === 0 ? "there are none" : `there are ${names.join(", ")}`;
  return new AgentmaticError("NotFound", `there is no tool named "${name}"; ${there}`);
}
