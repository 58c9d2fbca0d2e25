/** What is asked of a schema library: the Standard Schema interface, and its JSON Schema extension where it is there. */
import { AgentmaticError, invalid } from "../errors.ts";

/** Version 1 of https://standardschema.dev, as zod, valibot, arktype and others offer it. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
    /** Standard JSON Schema, which newer versions of the libraries have. */
    readonly jsonSchema?: { readonly input: (options: { readonly target: string }) => JsonSchema } | undefined;
  };
}

export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] };

export interface StandardIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

export type JsonSchema = Readonly<Record<string, unknown>>;

/** Issues that an error lists; a model that got more wrong learns of the rest at its next try. */
const issuesMax = 10;
/** The draft that models' tool definitions are written in (`LanguageModelV4FunctionTool.inputSchema`). */
const target = "draft-07";

/** Throws `InvalidArgument` with the paths, as in `input.city: expected string`, for a value that does not fit. */
export async function validate<Output>(schema: StandardSchema<unknown, Output>, value: unknown): Promise<Output> {
  return outputOf(await answerOf(schema, value, "input"), "input", "input") as Output;
}

/**
 * Checks a value that is at `place` (`input.messages`, `graph "g", node "n": messages`). Returns the schema's output at
 * once where the schema answers at once. Throws `InvalidArgument` with the path, and the path in `details`.
 */
export function checkUpdate(schema: StandardSchema, value: unknown, place: string): unknown {
  const result = answerOf(schema, value, place);
  return isThenable(result) ? asOutput(result, place) : outputOf(result, place);
}

async function asOutput(result: PromiseLike<StandardResult<unknown>>, place: string): Promise<unknown> {
  let done: StandardResult<unknown>;
  try {
    done = await result;
  } catch (thrown) {
    throw schemaThrew(place, thrown);
  }
  return outputOf(done, place);
}

function answerOf<Output>(
  schema: StandardSchema<unknown, Output>,
  value: unknown,
  place: string,
): StandardResult<Output> | PromiseLike<StandardResult<Output>> {
  try {
    return schema["~standard"].validate(value);
  } catch (thrown) {
    throw schemaThrew(place, thrown);
  }
}

function outputOf<Output>(result: StandardResult<Output>, place: string, field?: string): Output {
  if (typeof result !== "object" || result === null) throw schemaThrew(place, new TypeError("it gave no result"));
  if (result.issues === undefined) return result.value;
  if (result.issues.length === 0) throw invalid(place, "does not fit its schema");
  const shown = result.issues.slice(0, issuesMax).map((issue) => `${place}${below(issue)}: ${issue.message}`);
  const more = result.issues.length - shown.length;
  const message = [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
  const path = `${place.slice(place.lastIndexOf(": ") + 1).trimStart()}${below(result.issues[0]!)}`;
  throw new AgentmaticError("InvalidArgument", message, { details: { field: field ?? path, path } });
}

function schemaThrew(place: string, thrown: unknown): AgentmaticError {
  const { message } = AgentmaticError.from(thrown);
  return new AgentmaticError("InvalidArgument", `${place}: its schema threw: ${message}`, { cause: thrown });
}

export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === "object" && value !== null && typeof (value as PromiseLike<T>).then === "function";
}

function below({ path = [] }: StandardIssue): string {
  let text = "";
  for (const segment of path) {
    const key = typeof segment === "object" ? segment.key : segment;
    text += typeof key === "number" ? `[${key}]` : `.${String(key)}`;
  }
  return text;
}

/** The schema's input as JSON Schema. Throws `InvalidArgument` that asks for `jsonSchema` where it cannot be had. */
export function jsonSchemaOf(schema: StandardSchema, field: string): JsonSchema {
  const { jsonSchema, vendor } = schema["~standard"];
  if (typeof jsonSchema?.input !== "function") {
    throw invalid(field, `is needed: this ${vendor} schema does not describe itself as JSON Schema`);
  }
  try {
    return jsonSchema.input({ target });
  } catch (thrown) {
    const { message } = AgentmaticError.from(thrown);
    throw invalid(field, `is needed: ${vendor} cannot describe this schema as JSON Schema (${message})`);
  }
}

export function isStandardSchema(value: unknown): value is StandardSchema {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  const standard = (value as Partial<StandardSchema>)["~standard"];
  return standard?.version === 1 && typeof standard.validate === "function";
}
