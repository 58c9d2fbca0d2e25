/** Kills a graph after every single write to its store, lets another process go on, and compares what comes of it. */
import { MemorySaver, MemoryStore } from "../checkpoint/memory.ts";
import type { Saver } from "../checkpoint/saver.ts";
import { AgentmaticError, invalid } from "../errors.ts";
import type { Plan } from "../graph/plan.ts";
import { settingsOf } from "../local/config.ts";
import { encodeInput } from "../local/input.ts";
import { type Ports, systemPorts } from "../ports.ts";
import { checkCount } from "../run/check.ts";
import type { Durability } from "../run/settings.ts";
import type { VirtualPorts } from "./clock.ts";
import type { Cut } from "./crash-mortal.ts";
import { difference, type Outcome } from "./crash-outcome.ts";
import { type Question, Scenario } from "./crash-scenario.ts";

/** A fresh store: each call of what it gives is a client of that store, as another process would have one. */
export type OpenStore = () => (() => Saver) | Promise<() => Saver>;

/** A compiled graph is one, and so is an entrypoint. */
interface Planned {
  readonly plan: Plan;
}

export interface CrashOptions {
  /** A compiled graph, an entrypoint, or a function that gives each process one of its own. */
  readonly graph: Planned | (() => Planned);
  readonly input: unknown;
  /**
   * What each run that waits is answered, in order, or a function of its questions. Several at once are answered by id:
   * `{ [id]: answer }`. A run that waits at a breakpoint goes on without. Once there are no more, the thread waits.
   */
  readonly answers?: readonly unknown[] | ((questions: readonly Question[], round: number) => unknown);
  readonly context?: Readonly<Record<string, unknown>>;
  readonly durability?: Durability;
  readonly maxSteps?: number;
  /** Default: a store in memory. */
  readonly store?: OpenStore;
  /** For each time that the graph is run: of `virtualPorts`, for time that passes at once. Default: the system's. */
  readonly ports?: () => Ports;
  /** Called before each time that the graph is run: for what it keeps outside of its state. */
  readonly reset?: () => void | Promise<void>;
  /** What the graph has done to the world by then: compared like its state. */
  readonly effects?: () => unknown;
  /** The part of the state that is compared. Default: all of it. */
  readonly select?: (values: unknown) => unknown;
  /** Writes of the run left alone, at most: it is run twice for each. Default 500. */
  readonly writesMax?: number;
}

export interface CrashReport {
  /** Writes of the run left alone. */
  readonly writes: number;
  /** How often it was killed: before and after each write. */
  readonly cuts: number;
  /** Of the thread, with the input's. */
  readonly checkpoints: number;
  /** Tasks and durable calls that the run left alone began. */
  readonly tasks: number;
  /** How many began again, over all cuts: each was under way when the process died. */
  readonly begunAgain: number;
  readonly status: string;
  readonly values: unknown;
}

const writesMaxDefault = 500;
const writesLimit = 100_000;

/**
 * Runs the graph to its end, alone, and then once for every write to the store: the process dies right before it, or
 * right after it without hearing of it, and another one goes on. State, status, the line of checkpoints and `effects`
 * must be those of the run left alone, and no task whose result was stored may begin again. Throws `FailedPrecondition`,
 * naming the write, where they are not; `InvalidArgument` for an option.
 *
 * A process that died here is one that the store has cut off: what it had under way comes to its end, unheard.
 */
export async function checkCrashes(options: CrashOptions): Promise<CrashReport> {
  const { writesMax = writesMaxDefault } = options;
  checkCount("writesMax", writesMax, 1, writesLimit);
  const plan = planOf(options);
  const alone = await run(options, plan, undefined);
  if (alone.writes > writesMax) {
    const text = `graph "${plan.name}": over ${writesMax} writes; give a smaller input, or writesMax`;
    throw new AgentmaticError("ResourceExhausted", text);
  }
  const again = await run(options, plan, undefined);
  const unsteady = difference(again.outcome, alone.outcome);
  if (unsteady) {
    const hint = "take time, randomness and ids from ctx.ports and hand in virtual ones, or compare a part with select";
    throw failed(plan, `left alone twice, ${unsteady} the first time; ${hint}`);
  }
  let cuts = 0;
  let begunAgain = 0;
  for (const when of ["before", "after"] as const) {
    for (let at = 1; at <= writesMax; at++) {
      const killed = await run(options, plan, { at, when });
      if (!killed.cut) break;
      cuts++;
      begunAgain += killed.begun - alone.begun;
      const place = `killed ${when} write ${at} (${killed.cut})`;
      // With `exit` a run begins anew, and what its graphs inside have left is not gone on from.
      if (killed.repeated && options.durability !== "exit")
        throw failed(plan, `${place}, ${killed.repeated} began again, though its result was stored`);
      const change = difference(killed.outcome, alone.outcome);
      if (change) throw failed(plan, `${place}, ${change} when left alone`);
    }
  }
  const { status, values, checkpoints } = alone.outcome;
  const { writes, begun: tasks } = alone;
  return { writes, cuts, checkpoints: checkpoints.length, tasks, begunAgain, status, values };
}

interface Ran {
  readonly outcome: Outcome;
  readonly writes: number;
  readonly begun: number;
  /** The write at which it was killed; undefined where it came to its end before. */
  readonly cut: string | undefined;
  /** A task that began again, though its result was stored. */
  readonly repeated: string | undefined;
}

async function run(options: CrashOptions, plan: Plan, cut: Cut | undefined): Promise<Ran> {
  const { context, durability, answers = [], store = inMemory, select = (values: unknown) => values } = options;
  await options.reset?.();
  const ports = options.ports?.() ?? systemPorts;
  const settings = await settingsOf(
    plan,
    { ...(context ? { context } : {}), ...(durability ? { durability } : {}) },
    true,
  );
  const open = await store();
  const scenario = new Scenario({
    plan: () => planOf(options),
    open,
    ports,
    cut,
    settings,
    input: encodeInput(plan, options.input),
    maxSteps: options.maxSteps ?? plan.maxSteps,
    answer: typeof answers === "function" ? answers : (_questions, round) => answers[round],
  });
  const work = scenario.run();
  const outcome = await (isVirtual(ports) ? ports.settle(work) : work);
  return {
    outcome: {
      ...outcome,
      values: select(outcome.values),
      checkpoints: outcome.checkpoints.map((one) => ({ ...one, values: select(one.values) })),
      effects: options.effects?.(),
    },
    writes: scenario.writes,
    begun: scenario.begun,
    cut: scenario.died,
    repeated: scenario.repeated,
  };
}

function planOf({ graph }: CrashOptions): Plan {
  const plan = (typeof graph === "function" ? graph() : graph)?.plan;
  if (!(plan?.nodes instanceof Map)) throw invalid("graph", "must be a compiled graph");
  return plan;
}

function isVirtual(ports: Ports): ports is VirtualPorts {
  return "settle" in ports;
}

function inMemory(): () => Saver {
  const store = new MemoryStore();
  return () => new MemorySaver({ store });
}

function failed(plan: Plan, problem: string): AgentmaticError {
  return new AgentmaticError("FailedPrecondition", `graph "${plan.name}": ${problem}`, {
    details: { graph: plan.name },
  });
}
