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
  const result = await schema["~standard"].validate(value);
  if (result.issues === undefined) return result.value;
  const shown = result.issues.slice(0, issuesMax).map((issue) => `${pathOf(issue)}: ${issue.message}`);
  const more = result.issues.length - shown.length;
  const message = [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
  throw new AgentmaticError("InvalidArgument", message, { details: { field: "input" } });
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

function pathOf(issue: StandardIssue): string {
  return `input${below(issue)}`;
}

/**
 * Checks a value that is at `place` (`input.messages`, `graph "g", node "n": messages`). Returns the schema's output at
 * once where the schema answers at once. Throws `InvalidArgument` with the path, and the path in `details`.
 */
export function checkUpdate(schema: StandardSchema, value: unknown, place: string): unknown {
  const result = schema["~standard"].validate(value);
  return result instanceof Promise ? result.then((done) => outputOf(done, place)) : outputOf(result, place);
}

function outputOf(result: StandardResult<unknown>, place: string): unknown {
  if (result.issues === undefined) return result.value;
  const shown = result.issues.slice(0, issuesMax).map((issue) => `${place}${below(issue)}: ${issue.message}`);
  const more = result.issues.length - shown.length;
  const path = `${place.slice(place.lastIndexOf(" ") + 1)}${result.issues[0] ? below(result.issues[0]) : ""}`;
  const message = [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
  throw new AgentmaticError("InvalidArgument", message, { details: { field: path, path } });
}

function below({ path = [] }: StandardIssue): string {
  let text = "";
  for (const segment of path) {
    const key = typeof segment === "object" ? segment.key : segment;
    text += typeof key === "number" ? `[${key}]` : `.${String(key)}`;
  }
  return text;
}
