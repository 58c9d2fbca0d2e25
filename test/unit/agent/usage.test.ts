import { expect, test } from "vitest";
import {
  addUsage,
  budgetOf,
  checkBudget,
  checkLimits,
  checkPrice,
  checkTold,
  noUsage,
  usageOfCall,
  usageSince,
} from "../../../src/agent/usage.ts";

const told = (input: number | undefined, output: number | undefined, cached?: number) => ({
  inputTokens: { total: input, noCache: undefined, cacheRead: cached, cacheWrite: undefined },
  outputTokens: { total: output, text: undefined, reasoning: undefined },
});
const price = { inputPerMillion: 2, outputPerMillion: 8, cachedInputPerMillion: 0.5 };

test("a call's cost by its price, what came from the cache apart", () => {
  expect(usageOfCall("r", told(1_000_000, 500_000, 400_000), price)).toEqual({
    runId: "r",
    calls: 1,
    inputTokens: 1_000_000,
    outputTokens: 500_000,
    cost: 0.6 * 2 + 0.4 * 0.5 + 0.5 * 8,
    lastInputTokens: 1_000_000,
  });
  expect(usageOfCall("r", told(10, 5), undefined).cost).toBe(0);
  // A provider that says more came from the cache than went in.
  expect(usageOfCall("r", told(10, 0, 99), price).cost).toBeCloseTo((10 * 0.5) / 1e6, 15);
});

test("sums up within a run, and begins anew with another", () => {
  const one = usageOfCall("r", told(10, 5), price);
  const two = addUsage(addUsage(noUsage(""), one), usageOfCall("r", told(20, 1), price));
  expect(two).toMatchObject({ calls: 2, inputTokens: 30, outputTokens: 6, lastInputTokens: 20 });
  expect(addUsage(two, usageOfCall("s", told(1, 1), price))).toMatchObject({ runId: "s", calls: 1, inputTokens: 1 });
  expect(usageSince(two, one)).toMatchObject({ calls: 1, inputTokens: 20, outputTokens: 1, lastInputTokens: 0 });
  expect(() => addUsage(two, { runId: "r" } as never)).toThrow(/^usage: must be the usage of a run/);
});

test("a budget allows what stays within it, the next prompt included", () => {
  const used = { ...noUsage("r"), inputTokens: 60, outputTokens: 20, cost: 0.5, lastInputTokens: 20 };
  const refused = (budget: object) => {
    try {
      checkBudget(budget, used, price);
      return "";
    } catch (thrown) {
      return (thrown as Error).message;
    }
  };
  expect(refused({})).toBe("");
  expect(refused({ tokens: 100 })).toBe("");
  expect(refused({ tokens: 99 })).toBe(
    "the run has used 80 of the 99 tokens of its budget, and the next call takes at least 20",
  );
  expect(refused({ tokens: 80 })).toBe("the run has used 80 of the 80 tokens of its budget");
  expect(refused({ cost: 0.5 })).toBe("the run has used 0.5 of the 0.5 cost of its budget");
  expect(refused({ cost: 0.6 })).toBe("");
  expect(refused({ tokens: 0 })).toMatch(/80 of the 0 tokens/);
  expect(() => checkBudget({ cost: 1 }, used, undefined)).toThrow(/^budget\.cost: needs the price/);
});

test("a run's limits count before its agent's, each by itself", () => {
  expect(budgetOf({ tokens: 5 }, { tokens: 9, cost: 1 })).toEqual({ tokens: 5, cost: 1 });
  const unset = { tokens: undefined, cost: undefined } as object;
  expect(budgetOf(unset, { tokens: 9, cost: 1 })).toEqual({ tokens: 9, cost: 1 });
  expect(budgetOf(undefined, { tokens: 9 })).toEqual({ tokens: 9 });
  expect(budgetOf(undefined, undefined)).toBeUndefined();
});

test("a model that does not say what it used cannot be kept to a budget", () => {
  expect(() => checkTold(told(1, 1))).not.toThrow();
  for (const silent of [told(undefined, 1), told(1, undefined)]) {
    expect(() => checkTold(silent)).toThrow(/^budget: the model does not tell what it uses/);
  }
});

test("a limit or a price that is none is refused, not passed over", () => {
  for (const given of [null, 5, "5", [5], true]) {
    expect(() => checkLimits(given as never, "budget")).toThrow(/^budget: must be an object with tokens or cost/);
    expect(() => checkPrice(given as never, "price")).toThrow(/^price: must be an object with inputPerMillion/);
  }
  const endless = { inputPerMillion: Number.POSITIVE_INFINITY, outputPerMillion: 1 };
  expect(() => checkPrice(endless, "price")).toThrow(/^price\.inputPerMillion: must be a number from 0/);
});
