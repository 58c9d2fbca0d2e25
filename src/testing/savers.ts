/** Every case for savers, in the order in which a run meets them. */
import { admissionCases } from "./admission.ts";
import type { ConformanceCase } from "./case.ts";
import { claimCases } from "./claims.ts";
import { commitCases } from "./commits.ts";
import { finishCases } from "./finish.ts";
import { pieceCases } from "./pieces.ts";
import { raceCases } from "./races.ts";
import { runCases } from "./runs.ts";
import { storeCases } from "./stores.ts";
import { threadCases } from "./threads.ts";
import { valueCases } from "./values.ts";
import { writeCases } from "./writes.ts";

export const saverCases: readonly ConformanceCase[] = [
  ...storeCases,
  ...admissionCases,
  ...claimCases,
  ...writeCases,
  ...commitCases,
  ...valueCases,
  ...pieceCases,
  ...finishCases,
  ...runCases,
  ...threadCases,
  ...raceCases,
];
