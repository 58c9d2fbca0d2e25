/** Every case for savers, in the order in which a run meets them. */
import type { ConformanceCase } from "./case.ts";
import { claimCases } from "./claims.ts";
import { commitCases } from "./commits.ts";

export const saverCases: readonly ConformanceCase[] = [...claimCases, ...commitCases];
