/** What may be said of one durable call, checked. Names as in LangGraph.js's `task`. */
import { AgentmaticError, invalid } from "../errors.ts";
import { type CachePolicy, checkCache } from "../policy/cache.ts";
import { checkRetry, type RetryPolicy } from "../policy/retry.ts";
import { readTimeout, type TimeoutPolicy } from "../policy/timeout.ts";

export interface TaskOptions {
  readonly name: string;
  readonly retryPolicy?: RetryPolicy | readonly RetryPolicy[];
  /** The same, by LangGraph.js's name of it. */
  readonly retry?: RetryPolicy | readonly RetryPolicy[];
  /** Milliseconds for one try, or more finely. */
  readonly timeout?: number | TimeoutPolicy;
  /** Keeps results by the arguments; `true` for ever. `keyFunc` is given the arguments. */
  readonly cachePolicy?: CachePolicy | boolean;
}

export interface CallOptions {
  readonly name: string;
  readonly policies: {
    readonly retry?: readonly RetryPolicy[];
    readonly timeout?: TimeoutPolicy;
    readonly cache?: CachePolicy;
  };
}

const none: CallOptions["policies"] = Object.freeze({});

/** Throws `InvalidArgument`, naming task and field. */
export function readCall(given: string | TaskOptions): CallOptions {
  const name = typeof given === "string" ? given : given?.name;
  if (typeof name !== "string" || name === "") throw invalid("task", "needs a name");
  if (typeof given === "string") return { name, policies: none };
  const { retryPolicy = given.retry, timeout, cachePolicy } = given;
  try {
    const retry = retryPolicy === undefined ? undefined : Array.isArray(retryPolicy) ? retryPolicy : [retryPolicy];
    for (const policy of retry ?? []) checkRetry("retryPolicy", policy);
    if (cachePolicy !== undefined && typeof cachePolicy !== "boolean") checkCache("cachePolicy", cachePolicy);
    const cache = cachePolicy === true ? {} : cachePolicy;
    return {
      name,
      policies: {
        ...(retry ? { retry } : {}),
        ...(timeout === undefined ? {} : { timeout: readTimeout("timeout", timeout) }),
        ...(cache ? { cache: byArguments(cache) } : {}),
      },
    };
  } catch (thrown) {
    const error = AgentmaticError.from(thrown);
    throw new AgentmaticError("InvalidArgument", `task "${name}": ${error.message}`, { details: { task: name } });
  }
}

/** The input of a call is the list of its arguments: the key function gets that, and not a list with it. */
function byArguments(policy: CachePolicy): CachePolicy {
  const { keyFunc } = policy;
  return keyFunc ? { ...policy, keyFunc: ([args]) => keyFunc(args as readonly unknown[]) } : policy;
}
