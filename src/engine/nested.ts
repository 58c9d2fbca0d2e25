/** A graph inside a node of another: its own loop and namespace, on the same thread, under the same claim. */

import { decodeBody } from "../checkpoint/body.ts";
import { AgentmaticError } from "../errors.ts";
import { ExitJournal, type Journal, NoJournal } from "./journal.ts";
import { GraphLoop, interruptOf, type Rest } from "./loop.ts";
import { Outside } from "./outside.ts";
import type { NestedCall, RunScope } from "./scope.ts";
import { shownOf } from "./snapshot.ts";
import { fromGraph, ParentCommand } from "./task.ts";

/** Graphs inside graphs; deeper than this is a recursion without an end. */
const depthMax = 32;

interface LastCall {
  readonly loop: GraphLoop;
  readonly caller: string;
}

/**
 * Graphs with one state over all calls of the thread, by attempt and namespace, as their last calls there have left them:
 * a journal that stores at the end alone cannot be asked.
 */
const lastCalls: WeakMap<Journal, Map<string, LastCall>> = new WeakMap();

function remember(journal: Journal, ns: string, call: LastCall): void {
  const calls = lastCalls.get(journal) ?? new Map<string, LastCall>();
  lastCalls.set(journal, calls.set(ns, call));
}

/** Namespaces of graphs with one state over all calls, in which a call is at work. */
const atWork: WeakMap<Journal, Set<string>> = new WeakMap();

/** Two calls side by side would each begin with the same state, and one's writes be lost. Returns what ends the hold. */
function hold({ scope, plan, ns }: NestedCall): () => void {
  const held = atWork.get(scope.journal) ?? new Set<string>();
  atWork.set(scope.journal, held);
  if (held.has(ns)) {
    const text = `graph "${plan.name}": it keeps one state over all calls (checkpointer: true), and a call is at work; make them one after the other`;
    throw fromGraph(new AgentmaticError("FailedPrecondition", text, { details: { graph: plan.name } }));
  }
  held.add(ns);
  return () => void held.delete(ns);
}

/**
 * Runs the graph to its end, from where an earlier try of the calling task left it. Rejects with `GraphInterrupt` where
 * it waits.
 */
export async function runNested(call: NestedCall): Promise<unknown> {
  if (call.state !== "thread" || !call.scope.journal.keeps) return await runCall(call);
  const release = hold(call);
  try {
    return await runCall(call);
  } finally {
    release();
  }
}

async function runCall(call: NestedCall): Promise<unknown> {
  const scope: RunScope = call.state === "none" ? { ...call.scope, journal: new NoJournal() } : call.scope;
  const { plan, ns, caller, trace } = call;
  if (ns.split("|").length > depthMax) {
    throw new AgentmaticError("ResourceExhausted", `graph "${plan.name}": graphs inside graphs, over ${depthMax} deep`);
  }
  const loop = new GraphLoop({ scope, plan, ns, trace, caller });
  let rest: Rest;
  try {
    const begun = await begin(loop, scope, call);
    if (call.state === "thread" && scope.journal instanceof ExitJournal) remember(scope.journal, ns, { loop, caller });
    rest = begun ?? (await loop.run());
  } catch (thrown) {
    // The store's word, or the worker's: it ends the whole attempt, whatever the calling node makes of it.
    if (thrown instanceof Outside) scope.stop.root.stop(thrown);
    else if (loop.leftover.length > 0 && !scope.stop.stopped) await scope.journal.save(loop.leftover);
    // Having spoken to the graph around it, it is at its end.
    if (thrown instanceof ParentCommand && call.state !== "thread") scope.journal.close(ns);
    throw fromGraph(thrown);
  }
  if (rest.status === "interrupted") throw interruptOf(rest);
  if (call.state !== "thread") scope.journal.close(ns);
  return shownOf(plan, loop.snapshot.values);
}

/** Goes on where this call stood, or gives the graph its input. A rest where that brought it to its end. */
async function begin(
  loop: GraphLoop,
  scope: RunScope,
  { ns, caller, fresh, input }: NestedCall,
): Promise<Rest | undefined> {
  const last = lastCalls.get(scope.journal)?.get(ns);
  if (last) {
    loop.follow(last.loop);
    return last.caller === caller ? undefined : await loop.input(input);
  }
  const stored = fresh || !scope.journal.keeps ? undefined : await scope.journal.load(ns);
  if (stored) {
    const own = decodeBody(stored.checkpoint).caller === caller;
    loop.load(stored, own && stored.checkpoint.runId === scope.runId);
    if (own) return undefined;
  } else loop.open();
  return await loop.input(input);
}
