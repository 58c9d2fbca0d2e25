/** A run that nobody keeps: no store, no claim, no record. For graphs without a checkpointer. */

import { AgentmaticError } from "../errors.ts";
import type { Interrupt } from "../graph/context.ts";
import type { Plan } from "../graph/plan.ts";
import type { Ports } from "../ports.ts";
import type { RunControl } from "../run/control.ts";
import type { EventKind, RunEvent } from "../run/events.ts";
import type { TraceContext } from "../run/record.ts";
import type { RunSettings } from "../run/settings.ts";
import { noSpan, noSpans, type Spans } from "../telemetry/spans.ts";
import { NoJournal } from "./journal.ts";
import { GraphLoop } from "./loop.ts";
import { runNested } from "./nested.ts";
import { spanAttributes } from "./report.ts";
import type { RunScope } from "./scope.ts";
import { outputOf } from "./snapshot.ts";
import type { Values } from "./state.ts";
import { Stop } from "./stop.ts";
import { ParentCommand } from "./task.ts";

export interface DirectOptions {
  readonly plan: Plan;
  readonly input: unknown;
  readonly ports: Ports;
  readonly runId: string;
  readonly threadId: string;
  readonly correlationId: string;
  readonly maxSteps: number;
  readonly settings: RunSettings;
  readonly deadlineMs?: number;
  readonly wants?: (kind: EventKind) => boolean;
  readonly emit?: (event: RunEvent) => void;
  readonly flow?: () => Promise<void> | undefined;
  readonly cancel?: AbortSignal;
  readonly control?: RunControl | undefined;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly spans?: Spans;
  readonly trace?: TraceContext;
}

export interface DirectEnd {
  readonly status: "succeeded" | "interrupted";
  readonly values: Values;
  readonly interrupts: readonly Interrupt[];
}

/** Rejects with the run's error, `Cancelled` where its signal aborted. */
export async function runDirect(options: DirectOptions): Promise<DirectEnd> {
  const { plan, ports, cancel, spans = noSpans } = options;
  const { runId, threadId, correlationId } = options;
  const stop = new Stop();
  const onCancel = () => {
    const reason: unknown = cancel?.reason;
    stop.stop(AgentmaticError.is(reason) ? reason : new AgentmaticError("Cancelled", "the run was cancelled"));
  };
  const about = { runId, threadId, correlationId, attempt: 1, epoch: 0 };
  const span =
    spans === noSpans ? noSpan : spans.start("agentmatic.graph.run", spanAttributes(about, plan.name), options.trace);
  const deadline = options.deadlineMs;
  const scope: RunScope = {
    ...about,
    maxSteps: options.maxSteps,
    ports,
    stop,
    journal: new NoJournal(),
    answers: noAnswers,
    check: none,
    draining: never,
    control: options.control,
    flow: options.flow ?? none,
    wants: options.wants ?? never,
    emit: options.emit ?? none,
    config: options.config ?? {},
    settings: options.settings,
    deadlineMs: deadline === undefined ? undefined : ports.clock.monotonicMs() + deadline,
    spans,
    trace: span.trace ?? options.trace,
    nest: runNested,
  };
  cancel?.addEventListener("abort", onCancel, { once: true });
  if (cancel?.aborted) onCancel();
  const cancelDeadline =
    deadline === undefined
      ? undefined
      : ports.timers.after(deadline, () =>
          stop.stop(new AgentmaticError("DeadlineExceeded", `the run did not end within ${deadline} ms`)),
        );
  const loop = new GraphLoop({ scope, plan, ns: "", trace: scope.trace });
  try {
    stop.check();
    loop.open();
    const { status, interrupts } = (await loop.input(options.input)) ?? (await loop.run());
    return { status, interrupts, values: outputOf(plan, loop.snapshot.values) };
  } catch (thrown) {
    const error = failure(plan, stop.stopped ? stop.reason : thrown);
    span.fail(error);
    throw error;
  } finally {
    cancel?.removeEventListener("abort", onCancel);
    cancelDeadline?.();
    stop.stop(ended);
    span.end();
  }
}

function failure(plan: Plan, thrown: unknown): AgentmaticError {
  if (!(thrown instanceof ParentCommand)) return AgentmaticError.from(thrown);
  const text = `graph "${plan.name}": a Command for Command.PARENT, and there is no graph around this one`;
  return new AgentmaticError("InvalidGraph", text);
}

const noAnswers: ReadonlyMap<string, unknown> = new Map();
const none = () => undefined;
const never = () => false;
/** Made once: an error's stack costs as much as several supersteps. */
const ended: AgentmaticError = new AgentmaticError("Cancelled", "the run has ended");
