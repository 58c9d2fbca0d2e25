/** A piece of work under a node's policies: cache around retries, each try through its breaker and with its own time. */
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import type { PlanNode } from "../graph/plan.ts";
import { type BreakerPolicy, defaultBreakers } from "../policy/breaker.ts";
import { type Cache, type CachePolicy, defaultCache, throughCache } from "../policy/cache.ts";
import { type RetryPolicy, withRetry } from "../policy/retry.ts";
import { type TimeoutPolicy, type TimeoutScope, withTimeout } from "../policy/timeout.ts";
import type { RunScope } from "./scope.ts";
import { passes } from "./task.ts";

export interface Policies {
  readonly retry?: readonly RetryPolicy[];
  readonly timeout?: TimeoutPolicy;
  readonly cache?: CachePolicy;
  readonly breaker?: BreakerPolicy;
}

export interface Subject {
  readonly scope: RunScope;
  readonly graph: string;
  readonly version: string;
  readonly node: string;
  readonly input: () => unknown;
  readonly cache?: Cache | undefined;
  /** True where the result has come of somebody's answer: it is nobody else's then, whatever the cache policy says. */
  readonly own: () => boolean;
}

/** A result that is not shared. */
class Own {
  readonly result: unknown;

  constructor(result: unknown) {
    this.result = result;
  }
}

export function policiesOf({ retry, timeout, cache, breaker }: PlanNode): Policies {
  return {
    ...(retry ? { retry } : {}),
    ...(timeout ? { timeout } : {}),
    ...(cache ? { cache } : {}),
    ...(breaker ? { breaker } : {}),
  };
}

type Work<T> = (attempt: number, timed: TimeoutScope | undefined) => Promise<T>;

export async function underPolicies<T>(subject: Subject, policies: Policies, work: Work<T>): Promise<T> {
  const { scope } = subject;
  const { ports, stop, deadlineMs } = scope;
  const { retry, timeout, breaker, cache } = policies;
  const timed = (attempt: number): Promise<T> => {
    if (!timeout) return work(attempt, undefined);
    return withTimeout(timeout, { ports, signal: stop.signal, name: subject.node }, (time) => work(attempt, time));
  };
  const guarded = (attempt: number): Promise<T> =>
    breaker ? defaultBreakers.run(breaker, () => timed(attempt), { ports, neutral: passes }) : timed(attempt);
  const tried = (): Promise<T> => {
    if (!retry || retry.length === 0) return guarded(1);
    const deadline = deadlineMs === undefined ? {} : { deadlineMs };
    return withRetry(retry, guarded, { ports, signal: stop.signal, final: passes, ...deadline });
  };
  if (!cache) return await tried();
  const { graph, version, node, input, own } = subject;
  const place = { graph, version, node, ports, cache: subject.cache ?? defaultCache, encode: encodeValue };
  try {
    const bytes = await throughCache(cache, input(), place, async () => {
      const result = await tried();
      if (own()) throw new Own(result);
      return encodeValue(result, node);
    });
    return decodeValue(bytes) as T;
  } catch (thrown) {
    if (thrown instanceof Own) return thrown.result as T;
    throw thrown;
  }
}
