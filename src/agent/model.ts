/** The models that an agent can speak with: any of the AI SDK's, by its provider interface. */
import type {
  LanguageModelV3,
  LanguageModelV3CallOptions,
  LanguageModelV3Content,
  LanguageModelV3File,
  LanguageModelV3StreamPart,
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4Content,
  LanguageModelV4File,
  LanguageModelV4GenerateResult,
  LanguageModelV4Message,
  LanguageModelV4StreamPart,
  LanguageModelV4ToolResultOutput,
  SharedV4FileData,
} from "@ai-sdk/provider";
import { AgentmaticError, invalid } from "../errors.ts";
import { checkAnswer } from "./answer.ts";

/** Versions 4 (AI SDK 7) and 3 (AI SDK 6) of the language model interface. */
export type LanguageModel = LanguageModelV4 | LanguageModelV3;

type Part = Exclude<LanguageModelV4Message, { role: "system" }>["content"][number];
type ResultPart = Extract<LanguageModelV4ToolResultOutput, { type: "content" }>["value"][number];

const versions: readonly unknown[] = ["v3", "v4"];

/** Throws `InvalidArgument` naming `field` for what is no model, or one of another version. */
export function checkModel(value: unknown, field: string): LanguageModel {
  if (typeof value === "string") {
    throw invalid(field, `"${value}" is only a name; give a model of an AI SDK provider, such as openai("${value}")`);
  }
  const model = value as Partial<LanguageModel> | null | undefined;
  if (typeof model?.doGenerate !== "function") throw invalid(field, "must be a language model of an AI SDK provider");
  if (!versions.includes(model.specificationVersion)) {
    throw invalid(field, `speaks version ${model.specificationVersion} of the interface; v3 and v4 are understood`);
  }
  return model as LanguageModel;
}

/** Rejects with the model's error, and `Unavailable` for an answer that is none. */
export async function generate(
  model: LanguageModel,
  options: LanguageModelV4CallOptions,
): Promise<LanguageModelV4GenerateResult> {
  if (model.specificationVersion === "v4") {
    const result = await model.doGenerate(options);
    checkAnswer(result);
    return result;
  }
  const result = await model.doGenerate(optionsToV3(options));
  checkAnswer(result);
  return { ...result, content: result.content.map(contentFromV3) };
}

/** Undefined for a model that cannot stream, whatever its type says. */
export async function openStream(
  model: LanguageModel,
  options: LanguageModelV4CallOptions,
): Promise<ReadableStream<LanguageModelV4StreamPart> | undefined> {
  if (typeof (model as Partial<LanguageModel>).doStream !== "function") return undefined;
  if (model.specificationVersion === "v4") return (await model.doStream(options)).stream;
  const { stream } = await model.doStream(optionsToV3(options));
  return stream.pipeThrough(
    new TransformStream<LanguageModelV3StreamPart, LanguageModelV4StreamPart>({
      transform: (part, controller) => controller.enqueue(part.type === "file" ? fileFromV3(part) : part),
    }),
  );
}

// The two versions differ in how they carry files, and in parts that only version 4 has.

function optionsToV3({ reasoning: _reasoning, ...options }: LanguageModelV4CallOptions): LanguageModelV3CallOptions {
  return { ...options, prompt: options.prompt.map(messageToV3) } as LanguageModelV3CallOptions;
}

function messageToV3(message: LanguageModelV4Message): object {
  if (message.role === "system") return message;
  return { ...message, content: message.content.map(partToV3) };
}

function partToV3(part: Part): object {
  if (part.type === "custom" || part.type === "reasoning-file") throw unsupported(`a part of type ${part.type}`);
  if (part.type === "file") return { ...part, data: dataToV3(part.data) };
  if (part.type === "tool-result" && part.output.type === "content") {
    return { ...part, output: { ...part.output, value: part.output.value.map(resultToV3) } };
  }
  return part;
}

function resultToV3(one: ResultPart): object {
  if (one.type !== "file") return one;
  const { type: _type, data, mediaType, ...rest } = one;
  const kind = mediaType.startsWith("image") ? "image" : "file";
  if (data.type === "url") return { ...rest, type: `${kind}-url`, url: data.url.href };
  if (data.type === "data" && typeof data.data === "string") {
    return { ...rest, type: `${kind}-data`, data: data.data, mediaType };
  }
  throw unsupported(`a file in a tool's result given as ${data.type === "data" ? "bytes" : data.type}`);
}

function dataToV3(data: SharedV4FileData): string | Uint8Array | URL {
  if (data.type === "data") return data.data;
  if (data.type === "url") return data.url;
  throw unsupported(`a file given as ${data.type}`);
}

function contentFromV3(content: LanguageModelV3Content): LanguageModelV4Content {
  return content.type === "file" ? fileFromV3(content) : content;
}

function fileFromV3(file: LanguageModelV3File): LanguageModelV4File {
  return { ...file, data: { type: "data", data: file.data } };
}

function unsupported(what: string): AgentmaticError {
  return new AgentmaticError("Unsupported", `a model of interface version 3 cannot be shown ${what}`);
}
