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

/**
 * Rejects with `Timeout` when the time is over, whatever becomes of `run`, and with the signal's reason when that aborts:
 * `run` may never settle, and what it gives too late is dropped. `details` of the error: `kind` (`run` or `idle`),
 * `limitMs`, `elapsedMs` since the start of this try.
 */
export function withTimeout<T>(
  policy: TimeoutPolicy,
  options: TimeoutOptions,
  run: (scope: TimeoutScope) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  if (policy.runTimeout === undefined && policy.idleTimeout === undefined) {
    return started(() => run({ signal, heartbeat: nothing, progress: nothing }));
  }
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise<T>((resolve, reject) => {
    const watch = new Watch(policy, options, reject);
    const work = started(() => run(watch.scope));
    work.then(
      (value) => watch.end(() => resolve(value)),
      (thrown: unknown) => watch.end(() => reject(thrown)),
    );
  });
}

async function started<T>(run: () => Promise<T>): Promise<T> {
  return await run();
}

function nothing(): void {}

/** The timers of one try. */
class Watch {
  readonly scope: TimeoutScope;
  readonly #policy: TimeoutPolicy;
  readonly #options: TimeoutOptions;
  readonly #reject: (reason: unknown) => void;
  readonly #controller = new AbortController();
  readonly #startMs: number;
  readonly #cancelRun: () => void;
  #cancelIdle: () => void = nothing;
  #aliveMs: number;

  constructor(policy: TimeoutPolicy, options: TimeoutOptions, reject: (reason: unknown) => void) {
    const { ports, signal } = options;
    const { runTimeout, idleTimeout, refreshOn = "auto" } = policy;
    this.#policy = policy;
    this.#options = options;
    this.#reject = reject;
    this.#startMs = ports.clock.monotonicMs();
    this.#aliveMs = this.#startMs;
    const expired = () => this.#expired("run", runTimeout!);
    this.#cancelRun = runTimeout === undefined ? nothing : ports.timers.after(runTimeout, expired);
    if (idleTimeout !== undefined) this.#cancelIdle = ports.timers.after(idleTimeout, this.#idle);
    signal.addEventListener("abort", this.#aborted);
    const heartbeat = idleTimeout === undefined ? nothing : this.#heartbeat;
    this.scope = { signal: this.#controller.signal, heartbeat, progress: refreshOn === "auto" ? heartbeat : nothing };
  }

  /** Clears up and does `last`, which settles a promise: only the first time counts. */
  end(last: () => void): void {
    this.#cancelRun();
    this.#cancelIdle();
    this.#options.signal.removeEventListener("abort", this.#aborted);
    last();
  }

  // A timer set anew at each token of a stream would cost more than the token: a sign of life is a time written down.
  readonly #heartbeat = (): void => {
    this.#aliveMs = this.#options.ports.clock.monotonicMs();
  };

  readonly #idle = (): void => {
    const { clock, timers } = this.#options.ports;
    const limitMs = this.#policy.idleTimeout!;
    const leftMs = this.#aliveMs + limitMs - clock.monotonicMs();
    if (leftMs <= 0) this.#expired("idle", limitMs);
    else this.#cancelIdle = timers.after(leftMs, this.#idle);
  };

  readonly #aborted = (): void => this.#fail(this.#options.signal.reason);

  #expired(kind: "run" | "idle", limitMs: number): void {
    const elapsedMs = Math.round(this.#options.ports.clock.monotonicMs() - this.#startMs);
    const what = kind === "run" ? "did not end" : "gave no sign of life";
    const text = `"${this.#options.name}" ${what} within ${limitMs} ms (${elapsedMs} ms after its start)`;
    this.#fail(new AgentmaticError("Timeout", text, { details: { kind, limitMs, elapsedMs } }));
  }

  #fail(reason: unknown): void {
    this.end(() => {
      this.#controller.abort(reason);
      this.#reject(reason);
    });
  }
}
