/** Durable calls, for functions that do not hand the node's context around. */
import { AgentmaticError } from "../errors.ts";
import { readCall, type TaskOptions } from "../graph/call.ts";
import { currentContext, type NodeContext } from "../graph/context.ts";
import { checkFunction } from "./plan.ts";

/**
 * Makes of `run` a function that, within a run, is called once: its result is stored, and given back without a call when
 * the function around it runs again. Calls are told apart by their order. It rejects with `Unsupported` outside of an
 * entrypoint or node, and where there is no async context: there `ctx.task` does the same.
 */
export function task<Arguments extends unknown[], Result>(
  nameOrOptions: string | TaskOptions,
  run: (...args: Arguments) => Result | Promise<Result>,
): (...args: Arguments) => Promise<Result> {
  const { name } = readCall(nameOrOptions);
  checkFunction("task", name, run);
  return (...args) => {
    let context: NodeContext;
    try {
      context = currentContext("task");
    } catch (thrown) {
      const { code, message } = AgentmaticError.from(thrown);
      return Promise.reject(new AgentmaticError(code, `task "${name}": ${message}`, { details: { task: name } }));
    }
    // Its own promise, whose rejection the engine has in hand where nobody waits for it.
    return context.task(nameOrOptions, run, ...args);
  };
}

/** `ctx.previous`: what the last run on this thread saved. Throws `Unsupported` outside of an entrypoint. */
export function getPreviousState<State>(): State | undefined {
  return currentContext("getPreviousState", "ctx.previous").previous as State | undefined;
}

/** What an entrypoint or node is given as its second argument. Throws `Unsupported` outside of one. */
export function getConfig(): NodeContext {
  return currentContext("getConfig", "the second argument of the node");
}
