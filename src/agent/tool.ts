/** Tools: functions with a described input that a model may ask for. */
import { AgentmaticError, invalid } from "../errors.ts";
import type { NodeContext } from "../graph/context.ts";
import { isStandardSchema, type JsonSchema, jsonSchemaOf, type StandardSchema, validate } from "../graph/schema.ts";

/** What a tool is given besides its input. */
export interface ToolContext extends Pick<NodeContext, "runId" | "threadId" | "signal" | "interrupt" | "stream"> {
  readonly toolCallId: string;
  /**
   * The same for every execution of this one call, on whatever worker. A call that was in flight at a crash runs again:
   * a tool that hands this to its service makes its effect once.
   */
  readonly idempotencyKey: string;
}

export interface ToolOptions<Input> {
  /** Letters, digits, `_` and `-`, 64 at most. */
  readonly name: string;
  /** Tells the model what the tool does and when to ask for it. */
  readonly description: string;
  /** Checks what the model sends; `execute` gets its output. */
  readonly input: StandardSchema<unknown, Input>;
  /** Describes the input to the model, as JSON Schema draft-07. Needed where `input` cannot describe itself. */
  readonly jsonSchema?: JsonSchema;
  /**
   * Its result is told to the model: text as it is, all else as JSON. What it throws is told to the model too, which may
   * try again. `context.interrupt` asks a person first, and the tool runs again from its top with the answer.
   */
  readonly execute: (input: Input, context: ToolContext) => unknown;
}

export interface Tool {
  readonly name: string;
  readonly description: string;
  readonly jsonSchema: JsonSchema;
  /** Throws `InvalidArgument` with the path for an input that does not fit, and whatever the tool throws. */
  readonly run: (input: unknown, context: ToolContext) => Promise<unknown>;
}

const nameForm = /^[A-Za-z0-9_-]{1,64}$/;

/** Throws `InvalidArgument`, naming the field. */
export function tool<Input>(options: ToolOptions<Input>): Tool {
  const { name, description, input, execute } = options;
  if (typeof name !== "string" || !nameForm.test(name)) {
    throw invalid("name", "must be 1 to 64 letters, digits, _ or -, which is what models accept");
  }
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
    run: async (value, context) => await execute(await validate(input, value), context),
  };
}

/** Throws `InvalidArgument` naming the place in the list; two tools of one name are an error. */
export function checkTools(tools: unknown, field: string): readonly Tool[] {
  if (!Array.isArray(tools)) throw invalid(field, "must be a list of tools");
  const names = new Set<string>();
  tools.forEach((entry: Partial<Tool> | null | undefined, index) => {
    const place = `${field}[${index}]`;
    if (typeof entry?.run !== "function" || typeof entry.name !== "string" || typeof entry.jsonSchema !== "object") {
      throw invalid(place, "must be made by tool({ … })");
    }
    if (names.has(entry.name)) throw invalid(`${place}.name`, `another tool is named "${entry.name}" already`);
    names.add(entry.name);
  });
  return [...(tools as Tool[])];
}

export function unknownTool(name: string, tools: readonly Tool[]): AgentmaticError {
  const known = tools.length === 0 ? "there are none" : `there are ${tools.map((each) => each.name).join(", ")}`;
  return new AgentmaticError("NotFound", `there is no tool named "${name}"; ${known}`);
}
