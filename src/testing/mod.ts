/** `agentmatic/testing`: what every saver must do, as cases for any test runner. */
export { type ConformanceCase, type ConformanceContext, type OpenOptions, type Rule, title } from "./case.ts";
export { saverCases } from "./savers.ts";
