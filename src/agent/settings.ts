/** What all agents' options say of their model, checked and put together. */
import { invalid } from "../errors.ts";
import type { Budget } from "../graph/context.ts";
import type { NodeOptions } from "../graph/node.ts";
import { type BreakerPolicy, checkBreaker } from "../policy/breaker.ts";
import { checkRetry, type RetryPolicy } from "../policy/retry.ts";
import { readTimeout, type TimeoutPolicy } from "../policy/timeout.ts";
import { checkRateLimit, type RateLimitPolicy } from "./limit.ts";
import { checkModel, type LanguageModel } from "./model.ts";
import { retriesOf } from "./tool.ts";
import type { SystemPrompt, TurnOptions } from "./turn.ts";
import { checkLimits, checkPrice, type Price } from "./usage.ts";

export interface ModelSettings {
  llm: LanguageModel;
  /** Not part of the thread: a changed one holds from the next model call on. */
  system?: SystemPrompt;
  /** Stops a run with `BudgetExceeded` before a model call beyond it. What a run is given as `budget` counts first. */
  budget?: Budget;
  /** Of the model's tokens; needed for a budget of cost. */
  price?: Price;
  /** How answers such as 429 are waited out; false: not at all. Waited out within the run's deadline by default. */
  rateLimit?: RateLimitPolicy | false;
  /** The model's service is not called for a while after it failed so often. */
  circuitBreaker?: BreakerPolicy;
  /** Of a failed model call. Not tried again unless given. */
  retryPolicy?: RetryPolicy | readonly RetryPolicy[];
  /** Milliseconds for one model call, its waits for rate limits included, or more finely. */
  timeout?: number | TimeoutPolicy;
}

export type Policies = Pick<NodeOptions, "circuitBreaker" | "retryPolicy" | "timeout">;

export interface ModelNode {
  readonly turn: Omit<TurnOptions, "tools" | "final">;
  /** Of the node that asks the model. */
  readonly policies: Policies;
}

/** Throws `InvalidArgument`, naming the option. */
export function readSettings(settings: ModelSettings): ModelNode {
  const { llm, system, budget, price, rateLimit, timeout } = settings;
  checkSystem(system);
  checkLimits(budget, "budget");
  checkPrice(price, "price");
  checkRateLimit(rateLimit, "rateLimit");
  const turn = {
    model: checkModel(llm, "llm"),
    ...(price === undefined ? {} : { price }),
    ...(rateLimit === undefined ? {} : { rateLimit }),
    alwaysStream: typeof timeout === "object" && timeout?.idleTimeout !== undefined,
    ...{ system, budget },
  };
  return { turn, policies: nodePolicies(settings, "") };
}

/** Throws `InvalidArgument`, naming the option behind the prefix. */
export function nodePolicies(
  { circuitBreaker, retryPolicy, timeout }: { [K in keyof Policies]: Policies[K] | undefined },
  prefix: string,
): Policies {
  if (circuitBreaker !== undefined) checkBreaker(`${prefix}circuitBreaker`, circuitBreaker);
  for (const policy of retriesOf(retryPolicy)) checkRetry(`${prefix}retryPolicy`, policy);
  return {
    ...(circuitBreaker === undefined ? {} : { circuitBreaker }),
    ...(retryPolicy === undefined ? {} : { retryPolicy }),
    ...(timeout === undefined ? {} : { timeout: readTimeout(`${prefix}timeout`, timeout) }),
  };
}

/** Throws `InvalidArgument` for what is neither text nor a function. */
export function checkSystem(system: unknown): void {
  if (system === undefined || typeof system === "string" || typeof system === "function") return;
  throw invalid("system", "must be text, or a function that gives it");
}
