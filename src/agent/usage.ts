/** What a run's models have used up, and the budget that bounds it. */
import type { LanguageModelV4Usage } from "@ai-sdk/provider";
import { AgentmaticError, invalid } from "../errors.ts";
import { Annotation, type Channel } from "../graph/channels.ts";
import type { Budget } from "../graph/context.ts";
import { isObject } from "../run/check.ts";

/** What the models of one run have used: each run of a thread begins at nothing. */
export interface Usage {
  readonly runId: string;
  /** Calls of models that came to an answer. */
  readonly calls: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** In the currency of `Price`; 0 without one. */
  readonly cost: number;
  /** Of the last call: the next one's prompt has it all, and more. */
  readonly lastInputTokens: number;
}

/** Of a million tokens, in whatever currency. */
export interface Price {
  readonly inputPerMillion: number;
  readonly outputPerMillion: number;
  /** For tokens that the provider read from its cache. Default: as other input. */
  readonly cachedInputPerMillion?: number;
}

const million = 1_000_000;
const counts = ["calls", "inputTokens", "outputTokens", "cost", "lastInputTokens"] as const;

export function noUsage(runId: string): Usage {
  return { runId, calls: 0, inputTokens: 0, outputTokens: 0, cost: 0, lastInputTokens: 0 };
}

/** Adds to what the same run has used so far; another run's begins anew. */
export function addUsage(current: Usage, update: Usage): Usage {
  if (typeof update?.runId !== "string" || counts.some((key) => !Number.isFinite(update[key]))) {
    throw invalid("usage", "must be the usage of a run, as an agent's state has it");
  }
  if (current.runId !== update.runId) return update;
  return {
    runId: current.runId,
    calls: current.calls + update.calls,
    inputTokens: current.inputTokens + update.inputTokens,
    outputTokens: current.outputTokens + update.outputTokens,
    cost: current.cost + update.cost,
    lastInputTokens: update.lastInputTokens > 0 ? update.lastInputTokens : current.lastInputTokens,
  };
}

/** One for all graphs, so that one inside another is known to keep the same account. */
export const usageChannel: Channel<Usage, Usage> = Annotation<Usage, Usage>({
  reducer: addUsage,
  default: () => noUsage(""),
});

/** What of a usage counts for this run. */
export function usageOf(usage: Usage | undefined, runId: string): Usage {
  return usage?.runId === runId ? usage : noUsage(runId);
}

/** One call's usage. Tokens that the provider does not tell of are unknown: see `checkTold`. */
export function usageOfCall(runId: string, told: LanguageModelV4Usage, price: Price | undefined): Usage {
  const inputTokens = told.inputTokens?.total ?? 0;
  const outputTokens = told.outputTokens?.total ?? 0;
  const cached = Math.min(told.inputTokens?.cacheRead ?? 0, inputTokens);
  const cost = price
    ? ((inputTokens - cached) * price.inputPerMillion +
        cached * cachedPrice(price) +
        outputTokens * price.outputPerMillion) /
      million
    : 0;
  return { runId, calls: 1, inputTokens, outputTokens, cost, lastInputTokens: inputTokens };
}

/** What the nested graph has used beyond what it was told to begin with. */
export function usageSince(usage: Usage, told: Usage): Usage {
  if (usage.runId !== told.runId) return noUsage(told.runId);
  return {
    runId: usage.runId,
    calls: usage.calls - told.calls,
    inputTokens: usage.inputTokens - told.inputTokens,
    outputTokens: usage.outputTokens - told.outputTokens,
    cost: usage.cost - told.cost,
    lastInputTokens: 0,
  };
}

/** The run's own limits count before the agent's. Undefined where there are none. */
export function budgetOf(run: Budget | undefined, agent: Budget | undefined): Budget | undefined {
  if (!run || !agent) return run ?? agent;
  const { tokens = agent.tokens, cost = agent.cost } = run;
  return { ...(tokens === undefined ? {} : { tokens }), ...(cost === undefined ? {} : { cost }) };
}

/**
 * Asked before each model call. Throws `BudgetExceeded` where the budget is used up, or would be by a prompt as long as
 * the last one, and `FailedPrecondition` for a limit on the cost of a model without a price.
 */
export function checkBudget(budget: Budget, used: Usage, price: Price | undefined): void {
  const { tokens, cost } = budget;
  if (tokens !== undefined) {
    check("tokens", tokens, used.inputTokens + used.outputTokens, used.lastInputTokens);
  }
  if (cost === undefined) return;
  if (!price) throw new AgentmaticError("FailedPrecondition", "budget.cost: needs the price of the agent's model");
  const leastPrice = Math.min(price.inputPerMillion, cachedPrice(price));
  check("cost", cost, used.cost, (used.lastInputTokens * leastPrice) / million);
}

/** Throws `FailedPrecondition` where a budget is to be kept and the model does not say what it has used. */
export function checkTold(told: LanguageModelV4Usage): void {
  if (told.inputTokens?.total !== undefined && told.outputTokens?.total !== undefined) return;
  const text = "budget: the model does not tell what it uses; with some providers that is a setting (includeUsage)";
  throw new AgentmaticError("FailedPrecondition", text);
}

/** Throws `InvalidArgument`, naming the field. */
export function checkPrice(price: Price | undefined, field: string): void {
  if (price === undefined) return;
  if (!isObject(price)) throw invalid(field, "must be an object with inputPerMillion and outputPerMillion");
  const { inputPerMillion, outputPerMillion, cachedInputPerMillion = 0 } = price;
  for (const [name, value] of Object.entries({ inputPerMillion, outputPerMillion, cachedInputPerMillion })) {
    if (!(Number.isFinite(value) && value >= 0)) throw invalid(`${field}.${name}`, "must be a number from 0");
  }
}

/** Throws `InvalidArgument`, naming the field. */
export function checkLimits(budget: Budget | undefined, field: string): void {
  if (budget === undefined) return;
  if (!isObject(budget)) throw invalid(field, "must be an object with tokens or cost");
  for (const name of ["tokens", "cost"] as const) {
    const value: unknown = budget[name];
    if (value !== undefined && !(typeof value === "number" && value >= 0)) {
      throw invalid(`${field}.${name}`, "must be a number from 0");
    }
  }
}

function cachedPrice({ inputPerMillion, cachedInputPerMillion = inputPerMillion }: Price): number {
  return cachedInputPerMillion;
}

function check(kind: "tokens" | "cost", allowed: number, used: number, next: number): void {
  if (used < allowed && used + next <= allowed) return;
  const more = used < allowed ? `, and the next call takes at least ${rounded(next)}` : "";
  const text = `the run has used ${rounded(used)} of the ${rounded(allowed)} ${kind} of its budget${more}`;
  throw new AgentmaticError("BudgetExceeded", text, { details: { kind, used, allowed } });
}

/** Sums of prices have many digits that mean nothing. */
function rounded(value: number): number {
  return Number(value.toPrecision(6));
}
