/**
 * Circuit breakers: a service that fails again and again is not called for a while, by anybody in this process.
 * closed → open after so many failures → half-open after a pause, for one probe → closed, or open for longer.
 */
import { AgentmaticError, invalid } from "../errors.ts";
import type { Logger, Ports } from "../ports.ts";
import { codeOf, isPromised, mayPass, original } from "./thrown.ts";

export interface BreakerPolicy {
  /** Nodes that name the same service share its breaker, and must give it the same figures. */
  readonly service: string;
  /** Failures that open it: in a row, or within `windowMs`. Default 5. */
  readonly failures?: number;
  /** Counts the failures of the last so many milliseconds, whatever succeeded between them. */
  readonly windowMs?: number;
  /** Milliseconds before a probe is let through. Default 30,000; doubled each time that a probe fails. */
  readonly resetMs?: number;
  /** What the pause grows to at most. Default ten times `resetMs`. */
  readonly maxResetMs?: number;
  /** Which errors count as failures of the service. Default: those that a retry policy would try again. */
  readonly failOn?: (error: unknown) => boolean;
}

export type BreakerState = "closed" | "open" | "half-open";

export interface BreakerStatus {
  readonly service: string;
  readonly state: BreakerState;
  /** That count against it, as of its last call. */
  readonly failures: number;
}

export interface BreakerOptions {
  readonly ports: Pick<Ports, "clock"> & { readonly logger?: Logger };
  /** True for what says nothing of the service: an interrupt, for instance, or the end of a run that was cancelled. */
  readonly neutral?: (thrown: unknown) => boolean;
}

type Figures = Required<Omit<BreakerPolicy, "failOn" | "windowMs">> & { readonly windowMs: number | undefined };

interface Circuit {
  readonly figures: Figures;
  state: BreakerState;
  /** Grows with each change of the state: a call's end speaks only of the phase that the call began in. */
  phase: number;
  /** Monotonic times of the failures that count. */
  failures: number[];
  /** The present pause. */
  resetMs: number;
  /** Open: until then nobody is let through. Half-open: until then the probe is waited for. */
  untilMs: number;
  probe: number;
}

/** What a call that was let through gives back at its end. */
interface Pass {
  readonly phase: number;
  readonly probe: number;
}

type Verdict = "succeeded" | "failed" | "neutral";

export const servicesMax = 10_000;
const failuresMax = 1_000;
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
  const { resetMs, maxResetMs } = figuresOf(policy as BreakerPolicy);
  if (maxResetMs < resetMs) throw invalid(`${field}.maxResetMs`, `must not be below resetMs, which is ${resetMs}`);
  if (failOn !== undefined && typeof failOn !== "function") throw invalid(`${field}.failOn`, "must be a function");
}

export class Breakers {
  readonly #circuits: Map<string, Circuit> = new Map();
  readonly #listeners: Set<(status: BreakerStatus) => void> = new Set();

  /**
   * Calls `work` where the circuit allows it. Throws `CircuitOpen` with `retryAfterMs` where it does not,
   * `FailedPrecondition` where the service was named with other figures before, and `ResourceExhausted` where there are
   * more services than `servicesMax`.
   */
  async run<T>(policy: BreakerPolicy, work: () => Promise<T>, options: BreakerOptions): Promise<T> {
    const circuit = this.#circuit(policy);
    const pass = this.#enter(circuit, options);
    try {
      const result = await work();
      this.#settle(circuit, pass, "succeeded", options);
      return result;
    } catch (thrown) {
      this.#settle(circuit, pass, verdictOn(thrown, policy, options), options);
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

  #circuit(policy: BreakerPolicy): Circuit {
    const figures = figuresOf(policy);
    const known = this.#circuits.get(policy.service);
    if (known) {
      checkSame(known.figures, figures);
      return known;
    }
    if (this.#circuits.size >= servicesMax) {
      throw new AgentmaticError("ResourceExhausted", `circuitBreaker: over ${servicesMax} services have breakers`);
    }
    const { resetMs } = figures;
    const circuit: Circuit = { figures, state: "closed", phase: 0, failures: [], resetMs, untilMs: 0, probe: 0 };
    this.#circuits.set(policy.service, circuit);
    return circuit;
  }

  #enter(circuit: Circuit, options: BreakerOptions): Pass {
    if (circuit.state === "closed") return { phase: circuit.phase, probe: 0 };
    const nowMs = options.ports.clock.monotonicMs();
    if (nowMs < circuit.untilMs) throw refusal(circuit, nowMs);
    circuit.probe++;
    // A probe that never ends must not keep everybody out: after its lease there is another.
    circuit.untilMs = nowMs + circuit.figures.resetMs;
    if (circuit.state === "open") this.#change(circuit, "half-open", options);
    return { phase: circuit.phase, probe: circuit.probe };
  }

  #settle(circuit: Circuit, pass: Pass, verdict: Verdict, options: BreakerOptions): void {
    if (pass.phase !== circuit.phase) return;
    const nowMs = options.ports.clock.monotonicMs();
    if (circuit.state === "closed") this.#count(circuit, verdict, nowMs, options);
    else if (verdict === "succeeded") this.#close(circuit, options);
    else if (verdict === "failed") this.#reopen(circuit, nowMs, options);
    else if (pass.probe === circuit.probe) circuit.untilMs = nowMs;
  }

  #count(circuit: Circuit, verdict: Verdict, nowMs: number, options: BreakerOptions): void {
    const { failures, windowMs } = circuit.figures;
    if (verdict === "succeeded" && windowMs === undefined) circuit.failures.length = 0;
    if (verdict !== "failed") return;
    circuit.failures.push(nowMs);
    if (windowMs !== undefined) circuit.failures = circuit.failures.filter((atMs) => nowMs - atMs < windowMs);
    if (circuit.failures.length < failures) return;
    circuit.untilMs = nowMs + circuit.resetMs;
    this.#change(circuit, "open", options);
  }

  #close(circuit: Circuit, options: BreakerOptions): void {
    circuit.failures = [];
    circuit.resetMs = circuit.figures.resetMs;
    this.#change(circuit, "closed", options);
  }

  #reopen(circuit: Circuit, nowMs: number, options: BreakerOptions): void {
    circuit.resetMs = Math.min(circuit.resetMs * 2, circuit.figures.maxResetMs);
    circuit.untilMs = nowMs + circuit.resetMs;
    this.#change(circuit, "open", options);
  }

  #change(circuit: Circuit, state: BreakerState, { ports }: BreakerOptions): void {
    circuit.state = state;
    circuit.phase++;
    for (const listener of this.#listeners) {
      try {
        isPromised(listener(statusOf(circuit)));
      } catch {
        ports.logger?.log("error", "a listener of circuit breakers threw", { service: circuit.figures.service });
      }
    }
  }
}

/** Of all graphs of this process that are not handed others. */
export const defaultBreakers: Breakers = new Breakers();

function figuresOf(policy: BreakerPolicy): Figures {
  const { service, failures = 5, windowMs, resetMs = 30_000 } = policy;
  const { maxResetMs = Math.min(resetMs * 10, dayMs) } = policy;
  return { service, failures, windowMs, resetMs, maxResetMs };
}

function checkSame(known: Figures, given: Figures): void {
  const keys = ["failures", "windowMs", "resetMs", "maxResetMs"] as const;
  if (keys.every((key) => known[key] === given[key])) return;
  const texts = [known, given].map((figures) => keys.map((key) => `${key} ${figures[key] ?? "none"}`).join(", "));
  const { service } = known;
  const text = `circuitBreaker: service "${service}" has two definitions: (${texts[0]}) and (${texts[1]})`;
  throw new AgentmaticError("FailedPrecondition", text, { details: { service } });
}

function refusal({ figures, state, failures, untilMs }: Circuit, nowMs: number): AgentmaticError {
  const { service, windowMs } = figures;
  const how = windowMs === undefined ? "in a row" : `within ${windowMs} ms`;
  const why =
    state === "open"
      ? `failed ${failures.length === 1 ? "once" : `${failures.length} times ${how}`}`
      : "is being tried by another call";
  const retryAfterMs = Math.ceil(untilMs - nowMs);
  return new AgentmaticError("CircuitOpen", `service "${service}" ${why} and is not called for now`, {
    retryAfterMs,
    details: { service, state },
  });
}

function statusOf({ figures, state, failures }: Circuit): BreakerStatus {
  return { service: figures.service, state, failures: failures.length };
}

function verdictOn(thrown: unknown, { failOn }: BreakerPolicy, { neutral, ports }: BreakerOptions): Verdict {
  if (neutral?.(thrown)) return "neutral";
  const own = original(thrown);
  try {
    if (!failOn) return mayPass(own) && !aboutOthers.has(codeOf(own)) ? "failed" : "neutral";
    const answer: unknown = failOn(own);
    if (isPromised(answer)) throw new TypeError("failOn gave a promise, and must answer at once");
    return answer === true ? "failed" : "neutral";
  } catch {
    // It must neither hide the error that it was asked about, nor keep a broken service in use.
    ports.logger?.log("error", "failOn of a circuit breaker threw or gave a promise: counted as a failure");
    return "failed";
  }
}

/** Codes that may pass, and say nothing of this service: another one is down, the run's time is over, a bound is full. */
const aboutOthers: ReadonlySet<unknown> = new Set(["CircuitOpen", "DeadlineExceeded", "ThreadBusy", "Conflict"]);
