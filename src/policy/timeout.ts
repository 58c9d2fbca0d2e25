/** A node's own time: for the whole of a try, and without a sign of life. Names as in LangGraph.js. */
import { AgentmaticError, invalid } from "../errors.ts";
import type { Ports } from "../ports.ts";

export interface TimeoutPolicy {
  /** Milliseconds that one try may take. */
  readonly runTimeout?: number;
  /** Milliseconds that may pass without a heartbeat. */
  readonly idleTimeout?: number;
  /** `auto`: what the node streams and the graphs it calls count as heartbeats, too (the default). */
  readonly refreshOn?: "auto" | "heartbeat";
}

export interface TimeoutScope {
  /** Aborts when the time is over, or when the run's own signal does. */
  readonly signal: AbortSignal;
  heartbeat(): void;
  /** A sign of life that the node did not give on purpose. */
  progress(): void;
}

export interface TimeoutOptions {
  readonly ports: Pick<Ports, "timers" | "clock">;
  readonly signal: AbortSignal;
  /** What the error calls it. */
  readonly name: string;
}

const dayMs = 86_400_000;

/** A number is a `runTimeout`. Throws `InvalidArgument`, naming the field. */
export function readTimeout(field: string, given: number | TimeoutPolicy): TimeoutPolicy {
  const policy = typeof given === "number" ? { runTimeout: given } : given;
  if (typeof policy !== "object" || policy === null) throw invalid(field, "must be milliseconds or a timeout policy");
  for (const key of ["runTimeout", "idleTimeout"] as const) {
    const value: unknown = policy[key];
    if (value !== undefined && !(typeof value === "number" && value > 0 && value <= dayMs)) {
      throw invalid(
        typeof given === "number" ? field : `${field}.${key}`,
        `must be milliseconds above 0, at most ${dayMs}`,
      );
    }
  }
  if (policy.refreshOn !== undefined && policy.refreshOn !== "auto" && policy.refreshOn !== "heartbeat") {
    throw invalid(`${field}.refreshOn`, "must be auto or heartbeat");
  }
  return policy;
}

/** Rejects with `Timeout` when the time is over, whatever becomes of `run`; with the signal's reason when that aborts. */
export function withTimeout<T>(
  policy: TimeoutPolicy,
  { ports, signal, name }: TimeoutOptions,
  run: (scope: TimeoutScope) => Promise<T>,
): Promise<T> {
  const { runTimeout, idleTimeout, refreshOn = "auto" } = policy;
  if (runTimeout === undefined && idleTimeout === undefined) {
    return run({ signal, heartbeat() {}, progress() {} });
  }
  const startMs = ports.clock.monotonicMs();
  const controller = new AbortController();
  return new Promise<T>((resolve, reject) => {
    let over = false;
    let cancelIdle: (() => void) | undefined;
    const end = () => {
      over = true;
      cancelRun?.();
      cancelIdle?.();
      signal.removeEventListener("abort", onAbort);
    };
    const fail = (reason: unknown) => {
      if (over) return;
      end();
      controller.abort(reason);
      reject(reason);
    };
    const expired = (kind: "run" | "idle", limitMs: number) => {
      const elapsedMs = Math.round(ports.clock.monotonicMs() - startMs);
      const what = kind === "run" ? "did not end" : "gave no sign of life";
      const text = `"${name}" ${what} within ${limitMs} ms (${elapsedMs} ms after its start)`;
      fail(new AgentmaticError("Timeout", text, { details: { kind, limitMs, elapsedMs } }));
    };
    const onAbort = () => fail(signal.reason);
    const restart = () => {
      if (over || idleTimeout === undefined) return;
      cancelIdle?.();
      cancelIdle = ports.timers.after(idleTimeout, () => expired("idle", idleTimeout));
    };
    const cancelRun =
      runTimeout === undefined ? undefined : ports.timers.after(runTimeout, () => expired("run", runTimeout));
    restart();
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) return onAbort();
    const progress = refreshOn === "auto" ? restart : () => {};
    const work = started(() => run({ signal: controller.signal, heartbeat: restart, progress }));
    work.then(
      (value) => {
        if (over) return;
        end();
        resolve(value);
      },
      (thrown: unknown) => {
        if (over) return;
        end();
        reject(thrown);
      },
    );
  });
}

async function started<T>(run: () => Promise<T>): Promise<T> {
  return await run();
}
