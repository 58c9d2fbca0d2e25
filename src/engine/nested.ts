/** A graph inside a node of another: its own loop and namespace, on the same thread, under the same claim. */

import { decodeBody } from "../checkpoint/body.ts";
import { AgentmaticError } from "../errors.ts";
import { NoJournal } from "./journal.ts";
import { GraphLoop, interruptOf, type Rest } from "./loop.ts";
import { Outside } from "./outside.ts";
import type { NestedCall, RunScope } from "./scope.ts";
import { shownOf } from "./snapshot.ts";
import { fromGraph } from "./task.ts";

/** Graphs inside graphs; deeper than this is a recursion without an end. */
const depthMax = 32;

/**
 * Runs the graph to its end, from where an earlier try of the calling task left it. Rejects with `GraphInterrupt` where
 * it waits.
 */
export async function runNested(call: NestedCall): Promise<unknown> {
  const scope: RunScope = call.state === "none" ? { ...call.scope, journal: new NoJournal() } : call.scope;
  const { plan, ns, caller, trace } = call;
  if (ns.split("|").length > depthMax) {
    throw new AgentmaticError("ResourceExhausted", `graph "${plan.name}": graphs inside graphs, over ${depthMax} deep`);
  }
  const loop = new GraphLoop({ scope, plan, ns, trace, caller });
  let rest: Rest;
  try {
    rest = (await begin(loop, scope, call)) ?? (await loop.run());
  } catch (thrown) {
    // The store's word, or the worker's: it ends the whole attempt, whatever the calling node makes of it.
    if (thrown instanceof Outside) scope.stop.root.stop(thrown);
    else if (loop.leftover.length > 0 && !scope.stop.stopped) await scope.journal.save(loop.leftover);
    throw fromGraph(thrown);
  }
  if (rest.status === "interrupted") throw interruptOf(rest);
  return shownOf(plan, loop.snapshot.values);
}

/** Goes on where this call stood, or gives the graph its input. A rest where that brought it to its end. */
async function begin(
  loop: GraphLoop,
  scope: RunScope,
  { ns, caller, fresh, input }: NestedCall,
): Promise<Rest | undefined> {
  const stored = fresh || !scope.journal.keeps ? undefined : await scope.journal.load(ns);
  if (stored) {
    const own = decodeBody(stored.checkpoint).caller === caller;
    loop.load(stored, own && stored.checkpoint.runId === scope.runId);
    if (own) return undefined;
  } else loop.open();
  return await loop.input(input);
}
