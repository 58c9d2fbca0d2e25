/**
 * Circuit breakers: a service that fails again and again is not called for a while, by anybody in this process.
 * closed → open after so many failures → half-open after a pause, for one probe → closed, or open for longer.
 */
import { AgentmaticError, invalid } from "../errors.ts";
import type { Ports } from "../ports.ts";

export interface BreakerPolicy {
  /** Nodes that name the same service share its breaker. */
  readonly service: string;
  /** Failures in a row that open it. Default 5. */
  readonly failures?: number;
  /** Failures further back than this many milliseconds do not count. Default: all do. */
  readonly windowMs?: number;
  /** Milliseconds before a probe is let through. Default 30,000; doubled each time that a probe fails. */
  readonly resetMs?: number;
  /** What the pause grows to at most. Default ten times `resetMs`. */
  readonly maxResetMs?: number;
  /** Which errors count as failures of the service. Default: all but mistakes of the caller. */
  readonly failOn?: (error: unknown) => boolean;
}

export type BreakerState = "closed" | "open" | "half-open";

export interface BreakerStatus {
  readonly service: string;
  readonly state: BreakerState;
  /** In a row, up to now. */
  readonly failures: number;
}

export interface BreakerOptions {
  readonly ports: Pick<Ports, "clock">;
  /** True for what says nothing of the service: an interrupt, for instance. */
  readonly neutral?: (thrown: unknown) => boolean;
}

interface Circuit {
  readonly policy: Required<Omit<BreakerPolicy, "failOn" | "windowMs">> & Pick<BreakerPolicy, "failOn" | "windowMs">;
  state: BreakerState;
  /** Monotonic times of the failures in a row. */
  failures: number[];
  openUntilMs: number;
  resetMs: number;
  /** The probe's number; its lease runs out, so that one that never ends does not keep the circuit half-open. */
  probe: number;
  probeUntilMs: number;
}

export const servicesMax = 10_000;
const failuresMax = 10_000;
const dayMs = 86_400_000;

/** Throws `InvalidArgument`, naming the field. */
export function checkBreaker(field: string, policy: unknown): asserts policy is BreakerPolicy {
  if (typeof policy !== "object" || policy === null) throw invalid(field, "must be a breaker policy");
  const { service, failures, failOn, ...times } = policy as BreakerPolicy;
  if (typeof service !== "string" || service === "") throw invalid(`${field}.service`, "must name the service");
  if (failures !== undefined && !(Number.isInteger(failures) && failures >= 1 && failures <= failuresMax)) {
    throw invalid(`${field}.failures`, `must be a whole number from 1 to ${failuresMax}`);
  }
  for (const key of ["windowMs", "resetMs", "maxResetMs"] as const) {
    const value: unknown = times[key];
    if (value !== undefined && !(typeof value === "number" && value > 0 && value <= dayMs)) {
      throw invalid(`${field}.${key}`, `must be milliseconds above 0, at most ${dayMs}`);
    }
  }
  if (failOn !== undefined && typeof failOn !== "function") throw invalid(`${field}.failOn`, "must be a function");
}

export class Breakers {
  readonly #circuits: Map<string, Circuit> = new Map();
  readonly #listeners: Set<(status: BreakerStatus) => void> = new Set();

  /**
   * Calls `work` where the circuit allows it. Throws `CircuitOpen` with `retryAfterMs` where it does not, and
   * `FailedPrecondition` where the service was named with other figures before.
   */
  async run<T>(policy: BreakerPolicy, work: () => Promise<T>, { ports, neutral }: BreakerOptions): Promise<T> {
    const circuit = this.#circuit(policy);
    const probe = this.#enter(circuit, ports.clock.monotonicMs());
    try {
      const result = await work();
      this.#succeeded(circuit, probe);
      return result;
    } catch (thrown) {
      if (neutral?.(thrown) || !isFailure(circuit.policy, thrown)) this.#left(circuit, probe);
      else this.#failed(circuit, probe, ports.clock.monotonicMs());
      throw thrown;
    }
  }

  states(): readonly BreakerStatus[] {
    return [...this.#circuits.values()].map(statusOf);
  }

  /** Calls `listener` at each change of a state; the returned function ends that. */
  onChange(listener: (status: BreakerStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #circuit(given: BreakerPolicy): Circuit {
    const { service, failures = 5, resetMs = 30_000, maxResetMs = resetMs * 10, windowMs, failOn } = given;
    const known = this.#circuits.get(service);
    if (known) {
      const { policy } = known;
      if (policy.failures !== failures || policy.resetMs !== resetMs || policy.windowMs !== windowMs) {
        const text = `circuitBreaker: service "${service}" has two definitions: ${policy.failures} failures and ${policy.resetMs} ms, and ${failures} and ${resetMs} ms`;
        throw new AgentmaticError("FailedPrecondition", text);
      }
      return known;
    }
    if (this.#circuits.size >= servicesMax)
      throw new AgentmaticError("ResourceExhausted", `over ${servicesMax} services have breakers`);
    const own = windowMs === undefined ? {} : { windowMs };
    const policy = { service, failures, resetMs, maxResetMs, ...own, ...(failOn ? { failOn } : {}) };
    const circuit: Circuit = {
      policy,
      state: "closed",
      failures: [],
      openUntilMs: 0,
      resetMs,
      probe: 0,
      probeUntilMs: 0,
    };
    this.#circuits.set(service, circuit);
    return circuit;
  }

  /** The number of the probe that this call is, 0 for an ordinary one. */
  #enter(circuit: Circuit, nowMs: number): number {
    if (circuit.state === "closed") return 0;
    const openMs = circuit.state === "open" ? circuit.openUntilMs - nowMs : circuit.probeUntilMs - nowMs;
    if (openMs > 0) {
      const text = `service "${circuit.policy.service}" failed ${circuit.failures.length} times in a row and is not called for now`;
      throw new AgentmaticError("CircuitOpen", text, { retryAfterMs: Math.ceil(openMs) });
    }
    circuit.probe++;
    circuit.probeUntilMs = nowMs + circuit.resetMs;
    this.#change(circuit, "half-open");
    return circuit.probe;
  }

  #succeeded(circuit: Circuit, probe: number): void {
    // A call from before the circuit opened says nothing about the service now.
    if (probe === 0 ? circuit.state !== "closed" : probe !== circuit.probe || circuit.state !== "half-open") return;
    circuit.failures = [];
    circuit.resetMs = circuit.policy.resetMs;
    this.#change(circuit, "closed");
  }

  /** The call ended without a word on the service: a probe makes room for the next one. */
  #left(circuit: Circuit, probe: number): void {
    if (probe !== 0 && probe === circuit.probe && circuit.state === "half-open") circuit.probeUntilMs = 0;
  }

  #failed(circuit: Circuit, probe: number, nowMs: number): void {
    const { policy } = circuit;
    if (probe === 0) {
      if (circuit.state !== "closed") return;
      const { windowMs } = policy;
      const recent =
        windowMs === undefined ? circuit.failures : circuit.failures.filter((atMs) => nowMs - atMs < windowMs);
      circuit.failures = [...recent, nowMs].slice(-policy.failures);
      if (circuit.failures.length < policy.failures) return;
    } else {
      if (probe !== circuit.probe || circuit.state !== "half-open") return;
      circuit.resetMs = Math.min(circuit.resetMs * 2, policy.maxResetMs);
    }
    circuit.openUntilMs = nowMs + circuit.resetMs;
    this.#change(circuit, "open");
  }

  #change(circuit: Circuit, state: BreakerState): void {
    if (circuit.state === state) return;
    circuit.state = state;
    for (const listener of this.#listeners) listener(statusOf(circuit));
  }
}

/** Of all graphs of this process that are not handed others. */
export const defaultBreakers: Breakers = new Breakers();

function statusOf({ policy, state, failures }: Circuit): BreakerStatus {
  return { service: policy.service, state, failures: failures.length };
}

function isFailure({ failOn }: Pick<BreakerPolicy, "failOn">, thrown: unknown): boolean {
  const own = AgentmaticError.is(thrown, "NodeFailed") && thrown.cause !== undefined ? thrown.cause : thrown;
  if (failOn) return failOn(own) === true;
  if (own instanceof Error && own.name === "AbortError") return false;
  return !AgentmaticError.is(
    own,
    "Cancelled",
    "InvalidArgument",
    "InvalidGraph",
    "BudgetExceeded",
    "DeadlineExceeded",
    "FencedOut",
  );
}
