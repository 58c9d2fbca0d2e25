/** An agent for people: built in one chain, asked with plain text, on this machine or on a cluster. */
import { invalid } from "../errors.ts";
import type { Command } from "../graph/command.ts";
import type { ClusterBinding, CompiledGraph, Result } from "../local/compiled-graph.ts";
import type { InvokeConfig } from "../local/config.ts";
import type { StateGraphCompileOptions } from "../local/state-graph.ts";
import type { StreamConfig } from "../local/stream.ts";
import { type MessageInput, readMessages, textOf } from "./messages.ts";
import { checkModel, type LanguageModel } from "./model.ts";
import { type AgentChannels, createReactAgent, type ReactAgentOptions } from "./react.ts";
import { checkTools, type Tool } from "./tool.ts";

type Saver = Exclude<NonNullable<StateGraphCompileOptions["checkpointer"]>, boolean>;

/** What a user says, messages to add, an answer to an interrupt, or `null` to go on from where the thread stands. */
export type AgentInput = string | { readonly messages: readonly MessageInput[] } | Command | null;

/** The conversation and what its last message says: "" where the run stopped at an interrupt without a word. */
export type AgentResult = Result<AgentChannels> & { readonly text: string };

export class Agent {
  /** What a worker serves, under the agent's name; also its state and its history. */
  readonly graph: CompiledGraph<AgentChannels>;

  constructor(graph: CompiledGraph<AgentChannels>) {
    this.graph = graph;
  }

  /** `name` is what workers, run records and spans call the agent. Throws `InvalidArgument` for an empty one. */
  static builder(name: string): AgentBuilder {
    return new AgentBuilder(name);
  }

  get name(): string {
    return this.graph.name;
  }

  /**
   * Runs until the model has no more calls to make, or to an interrupt (`__interrupt__` in the result). Throws the run's
   * error; `StepLimit`, `ThreadBusy`, `AlreadyExists`, and `InvalidArgument` that names the place in the input.
   */
  async invoke(input: AgentInput, config: InvokeConfig = {}): Promise<AgentResult> {
    const result = await this.graph.invoke(readInput(input), config);
    return { ...result, text: textOf(result.messages?.at(-1)) };
  }

  /** The run's events as they come, as of `CompiledGraph.stream`. */
  stream(input: AgentInput, config: StreamConfig = {}): AsyncGenerator<unknown, void> {
    return this.graph.stream(readInput(input), config);
  }
}

/** Each method but `build` sets one thing, the last call counts, and throws `InvalidArgument` that names the method. */
export class AgentBuilder {
  readonly #options: Partial<ReactAgentOptions> & { readonly name: string };

  constructor(name: string) {
    if (typeof name !== "string" || name === "") throw invalid("builder", "an agent needs a name");
    this.#options = { name };
  }

  /** A model of any AI SDK provider. */
  llm(model: LanguageModel): this {
    this.#options.llm = checkModel(model, "llm");
    return this;
  }

  tools(tools: readonly Tool[]): this {
    this.#options.tools = checkTools(tools, "tools");
    return this;
  }

  /** The system prompt. */
  system(text: string): this {
    if (typeof text !== "string") throw invalid("system", "must be text");
    this.#options.system = text;
    return this;
  }

  /** Where threads are kept. With one every call needs a `threadId`. */
  checkpoint(saver: Saver): this {
    if (typeof saver?.commit !== "function") throw invalid("checkpoint", "must be a saver, such as new MemorySaver()");
    this.#options.checkpointer = saver;
    return this;
  }

  /** Runs on a cluster's workers. Needs `checkpoint` with the store that they share. */
  cluster(config: ClusterBinding): this {
    if (typeof config?.runner !== "function") throw invalid("cluster", "must be a ClusterConfig");
    this.#options.cluster = config;
    return this;
  }

  /** Supersteps a run may take: a model call is one, and so are all the tool calls of one answer together. */
  maxSteps(count: number): this {
    if (!Number.isInteger(count) || count < 1) throw invalid("maxSteps", "must be a whole number above 0");
    this.#options.maxSteps = count;
    return this;
  }

  /** Application and workers must have the same; a hash of the graph's structure unless given, whatever the tools. */
  version(version: string): this {
    if (typeof version !== "string" || version === "") throw invalid("version", "must be text");
    this.#options.version = version;
    return this;
  }

  build(): Agent {
    const { llm, cluster, checkpointer } = this.#options;
    if (!llm) throw invalid("llm", "is needed: an agent asks a model");
    if (cluster && !checkpointer)
      throw invalid("checkpoint", "is needed with cluster: the store that its workers share");
    return new Agent(createReactAgent({ ...this.#options, llm }));
  }
}

function readInput(input: AgentInput): { messages: readonly MessageInput[] } | Command | null {
  if (typeof input === "string") {
    if (input === "") throw invalid("input", "is empty");
    return { messages: readMessages({ role: "user", content: input }) };
  }
  if (typeof input !== "object") throw invalid("input", "must be text, { messages } or a Command");
  // Seen here already, so that a mistake is refused before the run is stored.
  return input && "messages" in input ? { ...input, messages: readMessages(input.messages) } : input;
}
