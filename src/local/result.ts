/** What a caller gets of a run that is over, or waits. */
import { decodeValue } from "../checkpoint/codec.ts";
import type { OpenInterrupt } from "../checkpoint/interrupts.ts";
import type { runDirect } from "../engine/direct.ts";
import { outputOf, shownOf } from "../engine/snapshot.ts";
import type { Values } from "../engine/state.ts";
import { AgentmaticError, fromErrorValue } from "../errors.ts";
import type { ChannelSpec, StateOf } from "../graph/channels.ts";
import type { Interrupt } from "../graph/context.ts";
import { INTERRUPT, type Plan } from "../graph/plan.ts";
import { isObject } from "../run/check.ts";
import type { RunEnd } from "../run/link.ts";
import type { InvokeConfig } from "./config.ts";

/** The state after a run, with the open interrupts where it waits for an answer. */
export type Result<S extends ChannelSpec, Output = StateOf<S>> = Output & {
  readonly __interrupt__?: readonly OpenInterrupt[];
};

export type DirectEnd = Awaited<ReturnType<typeof runDirect>>;

/** True for the result of a run that waits for answers. */
export function isInterrupted(result: unknown): result is { readonly __interrupt__: readonly OpenInterrupt[] } {
  return isObject(result) && Array.isArray(result[INTERRUPT]);
}

/** The same end, where it is none by an error; throws that otherwise. */
export function ended(end: RunEnd): RunEnd {
  const { status, error } = end;
  if (status === "succeeded" || status === "interrupted") return end;
  throw error ? fromErrorValue(error) : new AgentmaticError("Internal", `the run ended as ${status}`);
}

export function readEnd<S extends ChannelSpec, Output = StateOf<S>>(plan: Plan, end: RunEnd): Result<S, Output> {
  const { status, values: bytes, interrupts } = ended(end);
  // An end that was read back from the store has every channel.
  const values = (bytes ? decodeValue(bytes) : {}) as Values;
  if (status !== "interrupted") return shownOf(plan, values) as Result<S, Output>;
  return waitingOf(plan, values, (interrupts ? decodeValue(interrupts) : []) as OpenInterrupt[]);
}

export function resultOf<S extends ChannelSpec, Output = StateOf<S>>(
  plan: Plan,
  { status, values, interrupts }: DirectEnd,
): Result<S, Output> {
  if (status === "succeeded") return shownOf(plan, values) as Result<S, Output>;
  return waitingOf(plan, values, interrupts.map(questionOf));
}

/** A run that stopped because it was asked to is at no end; one that waits for an answer says so itself. */
export function checkDrained(plan: Plan, { control }: InvokeConfig, done: unknown): void {
  if (!control?.drained || (isInterrupted(done) && done[INTERRUPT].length > 0)) return;
  const text = `graph "${plan.name}": the run was drained (${control.drainReason}); invoke(null) goes on with its thread`;
  throw new AgentmaticError("Unavailable", text, { details: { graph: plan.name } });
}

/** A functional graph that waits has no value yet. */
function waitingOf<S extends ChannelSpec, Output>(
  plan: Plan,
  values: Values,
  interrupts: readonly OpenInterrupt[],
): Result<S, Output> {
  const shown = plan.functional ? {} : outputOf(plan, values);
  return { ...shown, [INTERRUPT]: interrupts } as unknown as Result<S, Output>;
}

function questionOf({ id, value }: Interrupt): OpenInterrupt {
  return { id, value };
}
