/** An agent for people: built in one chain, asked with plain text, on this machine or on a cluster. */
import { invalid } from "../errors.ts";
import type { Command } from "../graph/command.ts";
import type { Budget } from "../graph/context.ts";
import type { JsonSchema, StandardSchema } from "../graph/schema.ts";
import type { ClusterBinding, CompiledGraph } from "../local/compiled-graph.ts";
import type { InvokeConfig } from "../local/config.ts";
import type { Result } from "../local/result.ts";
import type { StateGraphCompileOptions } from "../local/state-graph.ts";
import type { StreamConfig } from "../local/stream.ts";
import { type BreakerPolicy, checkBreaker } from "../policy/breaker.ts";
import { finalForm } from "./final.ts";
import { checkRateLimit, type RateLimitPolicy } from "./limit.ts";
import { type MessageInput, readMessages, textOf } from "./messages.ts";
import { checkModel, type LanguageModel } from "./model.ts";
import { type AgentChannels, type AgentState, agentNodes, createReactAgent, type ReactAgentOptions } from "./react.ts";
import { checkSystem } from "./settings.ts";
import { checkTools, type Tool } from "./tool.ts";
import type { SystemPrompt } from "./turn.ts";
import { checkLimits, checkPrice, type Price } from "./usage.ts";

type Saver = Exclude<NonNullable<StateGraphCompileOptions["checkpointer"]>, boolean>;

/** What a user says, messages to add, an answer to an interrupt, or `null` to go on from where the thread stands. */
export type AgentInput = string | { readonly messages: readonly MessageInput[] } | Command | null;

/**
 * The conversation, what the run has used up, and what the last message says: "" where the run stopped at an interrupt
 * without a word. `output` is the final answer's value, where a form was asked for.
 */
export type AgentResult<Output = undefined> = Result<AgentChannels<Output>> & { readonly text: string };

export class Agent<Output = undefined> {
  /** What a worker serves, under the agent's name; also its state and its history. */
  readonly graph: CompiledGraph<AgentChannels<Output>>;

  constructor(graph: CompiledGraph<AgentChannels<Output>>) {
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
   * error; `BudgetExceeded`, `CircuitOpen`, `StepLimit`, `ThreadBusy`, `AlreadyExists`, and `InvalidArgument` that names
   * the place in the input.
   */
  async invoke(input: AgentInput, config: InvokeConfig = {}): Promise<AgentResult<Output>> {
    const result = await this.graph.invoke(readInput(input), config);
    return { ...result, text: textOf(result.messages?.at(-1)) };
  }

  /** The run's events as they come, as of `CompiledGraph.stream`. */
  stream(input: AgentInput, config: StreamConfig = {}): AsyncGenerator<unknown, void> {
    return this.graph.stream(readInput(input), config);
  }
}

/** Each method but `build` sets one thing, the last call counts, and throws `InvalidArgument` that names the method. */
export class AgentBuilder<Output = undefined> {
  readonly #options: Partial<ReactAgentOptions<Output>> & { readonly name: string };

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

  /** The system prompt: text, or a function of the state and the run's context that gives it. */
  system(system: SystemPrompt): this {
    if (system === undefined) throw invalid("system", "must be text, or a function that gives it");
    checkSystem(system);
    this.#options.system = system;
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

  /** Stops runs before a node, "agent" (the model) or "tools", or before each: "*". `invoke(null, …)` goes on. */
  interruptBefore(nodes: "*" | readonly string[]): this {
    this.#options.interruptBefore = checkNodes(nodes, "interruptBefore");
    return this;
  }

  interruptAfter(nodes: "*" | readonly string[]): this {
    this.#options.interruptAfter = checkNodes(nodes, "interruptAfter");
    return this;
  }

  /** Stops runs before a superstep for which it answers true, given the state and the nodes that are due. */
  interruptBeforeWhen(stops: (state: AgentState<Output>, next: readonly string[]) => boolean): this {
    if (typeof stops !== "function") throw invalid("interruptBeforeWhen", "must be a function");
    this.#options.interruptBeforeWhen = stops;
    return this;
  }

  /** The model's service is not called for a while after it failed so often. */
  circuitBreaker(policy: BreakerPolicy): this {
    checkBreaker("circuitBreaker", policy);
    this.#options.circuitBreaker = policy;
    return this;
  }

  /** Stops a run with `BudgetExceeded` before a model call beyond it. What a run is given as `budget` counts first. */
  budget(budget: Budget): this {
    checkLimits(required(budget, "budget"), "budget");
    this.#options.budget = budget;
    return this;
  }

  /** Of the model's tokens; needed for a budget of cost. */
  price(price: Price): this {
    checkPrice(required(price, "price"), "price");
    this.#options.price = price;
    return this;
  }

  /** How answers such as 429 are waited out; false: not at all. */
  rateLimit(policy: RateLimitPolicy | false): this {
    if (policy === undefined) throw invalid("rateLimit", "must be a policy or false");
    checkRateLimit(policy, "rateLimit");
    this.#options.rateLimit = policy;
    return this;
  }

  /** The final answer is JSON that fits the schema, in the result's `output`. `jsonSchema` describes it to the model. */
  output<Value>(schema: StandardSchema<unknown, Value>, jsonSchema?: JsonSchema): AgentBuilder<Value> {
    finalForm(schema, jsonSchema);
    const next = this as unknown as AgentBuilder<Value>;
    next.#options.output = schema;
    if (jsonSchema) next.#options.outputJsonSchema = jsonSchema;
    return next;
  }

  /** Application and workers must have the same; a hash of the graph's structure unless given, whatever the tools. */
  version(version: string): this {
    if (typeof version !== "string" || version === "") throw invalid("version", "must be text");
    this.#options.version = version;
    return this;
  }

  build(): Agent<Output> {
    const { llm, cluster, checkpointer } = this.#options;
    if (!llm) throw invalid("llm", "is needed: an agent asks a model");
    if (cluster && !checkpointer)
      throw invalid("checkpoint", "is needed with cluster: the store that its workers share");
    return new Agent(createReactAgent<Output>({ ...this.#options, llm }));
  }
}

function checkNodes(nodes: "*" | readonly string[], field: string): "*" | readonly string[] {
  if (nodes === "*") return nodes;
  if (!Array.isArray(nodes) || nodes.length === 0) throw invalid(field, 'must be a list of node names, or "*"');
  const unknown: unknown = nodes.find((name) => !agentNodes.includes(name));
  if (unknown === undefined) return [...nodes];
  throw invalid(field, `there is no node ${JSON.stringify(unknown)}; there are ${agentNodes.join(" and ")}`);
}

function required<T extends object>(value: T, field: string): T {
  if (typeof value === "object" && value !== null) return value;
  throw invalid(field, "must be an object");
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
