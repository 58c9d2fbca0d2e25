/** `agentmatic/testing`: for the tests of users and of savers; it binds to no test runner. */
export { type ConformanceCase, type ConformanceContext, type OpenOptions, type Rule, title } from "./case.ts";
export {
  type LogLine,
  type SettleOptions,
  VirtualClock,
  type VirtualPorts,
  type VirtualPortsOptions,
  virtualPorts,
} from "./clock.ts";
export { type CrashOptions, type CrashReport, checkCrashes, type OpenStore } from "./crash.ts";
export type { Question } from "./crash-scenario.ts";
export {
  rateLimited,
  type Script,
  type ScriptedAnswer,
  type ScriptedCall,
  type ScriptedModel,
  type ScriptedModelOptions,
  type ScriptedReply,
  scriptedModel,
  type TokenCount,
  toolCall,
} from "./model.ts";
export { saverCases } from "./savers.ts";
