/** Gives readers what they missed, before anything newer: events are lost with a link or a worker, commits are not. */
import type { Saver } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import type { Ports } from "../ports.ts";
import { missedEvents } from "./replay.ts";
import type { Tracked } from "./tracked.ts";

export interface CatchUpOptions {
  readonly saver: Saver;
  readonly ports: Ports;
  readonly pause: (ms: number) => Promise<void>;
  readonly closed: () => boolean;
}

/** Tries to read what a follower missed, before it is told that something is missing. */
const triesMax = 6;
const firstMs = 50;

/** `over`: the run has ended, and this is all that will come. */
export async function catchUp(tracked: Tracked, over: boolean, options: CatchUpOptions): Promise<void> {
  tracked.behind = false;
  const { replayable: kinds, runId, record } = tracked;
  if (kinds.length === 0) return;
  tracked.hold();
  const { saver, ports, pause, closed } = options;
  const { subgraphs = false, durability } = tracked.settings;
  // What an `exit` run stores it stores at its end: whoever follows it is told of that already.
  const stored = durability !== "exit" || over;
  const run = { runId, threadId: record.spec.threadId, attempt: record.state.attempt, kinds, subgraphs };
  let delayMs = firstMs;
  for (let tries = 1; ; tries++) {
    try {
      await settle(tracked, over, saver);
      tracked.replay(stored ? await missedEvents(saver, { ...run, afterSeq: tracked.passedSeq }) : []);
      return;
    } catch (thrown) {
      ports.logger.log("warn", "missed events were not read", { runId, code: AgentmaticError.from(thrown).code });
      if (tries < triesMax && !closed()) {
        await pause(delayMs);
        delayMs *= 2;
        continue;
      }
      const text = `run ${runId} goes on; events of it were missed and could not be read again`;
      tracked.breakOff(new AgentmaticError("Unavailable", text, { cause: thrown }));
      tracked.replay([]);
      return;
    }
  }
}

/**
 * With `async` and `exit` commits are told of before they are durable: those that were lost with their attempt are void,
 * and those that are still on their way to the store are waited for. Throws `Unavailable` where they are not there yet.
 */
async function settle(tracked: Tracked, over: boolean, saver: Saver): Promise<void> {
  const { durability = "sync" } = tracked.settings;
  if (durability === "sync") return;
  const { unsure, runId, record } = tracked;
  if (unsure) {
    const state = (await saver.getRun(runId))?.state ?? record.state;
    // At the end of an `exit` run its last checkpoint is all that there is.
    const attempt = over && durability === "exit" ? state.attempt + 1 : state.attempt;
    if (state.claimSeq !== null) tracked.settle(attempt, state.claimSeq);
  }
  if (durability === "exit") return;
  const head = await saver.head(record.spec.threadId);
  // Asked for now: the event that has made this necessary came right after it.
  const { heldSeq } = tracked;
  if (heldSeq === undefined || (head?.seq ?? 0) >= heldSeq - 1) return;
  throw new AgentmaticError("Unavailable", "commits that come before the run's newest events are not stored yet");
}
