/** Durable calls inside a task: `ctx.task`. Each one's result is stored, and not computed again when the task is. */
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import type { TaskWrites } from "../checkpoint/saver.ts";
import { AgentmaticError, invalid } from "../errors.ts";
import { asyncContext, type TaskOptions } from "../graph/context.ts";
import type { TraceContext } from "../run/record.ts";
import { type ContextFields, TaskContext } from "./context.ts";
import { underPolicies } from "./policies.ts";
import type { Place, RunScope } from "./scope.ts";
import type { Task } from "./step.ts";

export interface CallsOptions {
  readonly scope: RunScope;
  readonly place: Place;
  readonly task: Task;
  /** What earlier tries of this superstep have stored, by task id. */
  readonly done: ReadonlyMap<string, TaskWrites>;
  readonly trace: TraceContext | undefined;
}

/** Calls of one task; more than this is a loop. */
const callsMax = 10_000;

type StoredCall = readonly [name: string, result: unknown];

export function durableCall(options: CallsOptions): ContextFields["call"] {
  return (context, index, given, work) => call(options, context.taskId, index, given, work);
}

async function call(
  { scope, place, task, done, trace }: CallsOptions,
  parent: string,
  index: number,
  given: TaskOptions,
  work: () => unknown,
): Promise<unknown> {
  const { name } = given;
  if (typeof name !== "string" || name === "") throw invalid("task", "needs a name");
  if (index >= callsMax) throw new AgentmaticError("ResourceExhausted", `task "${name}": over ${callsMax} calls`);
  const id = `${parent}/${index}`;
  const stored = done.get(id);
  if (stored) return storedResult(stored, name, task.node.name);
  const check = scope.check();
  if (check) await check;
  scope.stop.check();
  const callTask = { id, node: { name }, ...(task.index === undefined ? {} : { index: task.index }) };
  const nested: CallsOptions = { scope, place, task, done, trace };
  const result = await underPolicies(
    { scope, graph: place.plan.name, version: place.plan.version, node: name, input: () => undefined },
    policiesOf(given),
    (retryAttempt, timed) => {
      const context = new TaskContext({ scope, place, task: callTask, retryAttempt, trace, call: durableCall(nested) });
      if (timed) context.during(timed);
      const async = asyncContext();
      return Promise.resolve(async ? async.run(context, work) : work());
    },
  );
  scope.stop.check();
  if (scope.journal.keeps) {
    const data: StoredCall = [name, result];
    const write: TaskWrites = {
      ns: place.ns,
      checkpointId: place.checkpointId,
      taskId: id,
      path: `${task.path}/${String(index).padStart(5, "0")}`,
      kind: "done",
      data: encodeValue(data, name),
    };
    await scope.journal.save([write]);
  }
  return result;
}

function policiesOf({ retryPolicy, timeout, cachePolicy }: TaskOptions): Parameters<typeof underPolicies>[1] {
  const retry = retryPolicy === undefined ? undefined : Array.isArray(retryPolicy) ? retryPolicy : [retryPolicy];
  return {
    ...(retry ? { retry } : {}),
    ...(timeout === undefined ? {} : { timeout: typeof timeout === "number" ? { runTimeout: timeout } : timeout }),
    ...(cachePolicy ? { cache: cachePolicy } : {}),
  };
}

/** Calls are told apart by their order: another name at this place means that the task did not go the way it went. */
function storedResult(write: TaskWrites, name: string, node: string): unknown {
  const [storedName, result] = decodeValue(write.data) as StoredCall;
  if (storedName === name) return result;
  const text = `node "${node}": its call "${name}" was "${storedName}" when it ran before; calls must come in the same order each time`;
  throw new AgentmaticError("FailedPrecondition", text, { details: { node } });
}
