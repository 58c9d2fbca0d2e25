/** An agent's final answer as a value of a schema. */
import type { JSONSchema7, LanguageModelV4CallOptions } from "@ai-sdk/provider";
import { AgentmaticError, invalid } from "../errors.ts";
import { checkUpdate, isStandardSchema, type JsonSchema, jsonSchemaOf, type StandardSchema } from "../graph/schema.ts";

export interface FinalForm {
  /** What the model is told of it. */
  readonly format: Pick<LanguageModelV4CallOptions, "responseFormat">;
  /** The value that a text stands for, or what is wrong with it. */
  readonly read: (text: string) => Promise<{ readonly value: unknown } | { readonly problem: string }>;
}

/** Models that know no response format like to put it around their JSON. */
const fence = /^```(?:json)?\s*\n([\s\S]*)\n```$/;

/** Throws `InvalidArgument`, naming the field. */
export function finalForm(schema: StandardSchema, jsonSchema?: JsonSchema): FinalForm {
  if (!isStandardSchema(schema)) throw invalid("output", "must be a Standard Schema, such as z.object({ … })");
  const described = jsonSchema ?? jsonSchemaOf(schema, "outputJsonSchema");
  if (typeof described !== "object" || described === null) throw invalid("outputJsonSchema", "must be an object");
  return {
    format: { responseFormat: { type: "json", schema: closed(described) as JSONSchema7 } },
    read: async (text) => {
      try {
        return { value: await checkUpdate(schema, parsed(text), "output") };
      } catch (thrown) {
        return { problem: AgentmaticError.from(thrown).message };
      }
    },
  };
}

function parsed(text: string): unknown {
  const trimmed = text.trim();
  try {
    return JSON.parse(fence.exec(trimmed)?.[1] ?? trimmed);
  } catch (thrown) {
    throw invalid("output", `is not JSON: ${AgentmaticError.from(thrown).message}`);
  }
}

/** Services that hold a model to a schema refuse one that leaves its objects open. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== "object" || schema === null) return schema;
  const fields = Object.entries(schema).map(([key, value]) => {
    if (literal.has(key)) return [key, value];
    return [key, named.has(key) ? closedAll(value) : closed(value)];
  });
  const copy = Object.fromEntries(fields) as Record<string, unknown>;
  return copy.type === "object" && "properties" in copy && copy.additionalProperties === undefined
    ? { ...copy, additionalProperties: false }
    : copy;
}

function closedAll(schemas: unknown): unknown {
  if (typeof schemas !== "object" || schemas === null) return schemas;
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, closed(schema)]));
}

/** Hold schemas by names, which may be those of keywords. */
const named: ReadonlySet<string> = new Set(["properties", "patternProperties", "$defs", "definitions"]);
/** Hold values, and no schemas. */
const literal: ReadonlySet<string> = new Set(["enum", "const", "default", "examples"]);
