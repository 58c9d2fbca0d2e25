/** Writes that are issued again, unchanged, until the store has said yes or no (PROTOCOL.md P7). */
import type { Commit, Saver, TaskWritesRequest, WriteResult } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import { type Ports, sleep } from "../ports.ts";

/** For how long one write is issued again while the store cannot be reached. */
export const writeRetryMs = 30_000;
const firstDelayMs = 20;
const delayMaxMs = 1_000;

/** Throws `FencedOut`, `Conflict`, or `Unavailable` once the store was out of reach for `writeRetryMs`. */
export function commitDurably(saver: Saver, commit: Commit, ports: Ports, signal: AbortSignal): Promise<void> {
  return durably(() => saver.commit([commit]), ports, signal);
}

export function putWritesDurably(
  saver: Saver,
  request: TaskWritesRequest,
  ports: Ports,
  signal: AbortSignal,
): Promise<void> {
  return durably(() => saver.putWrites([request]), ports, signal);
}

async function durably(write: () => Promise<readonly WriteResult[]>, ports: Ports, signal: AbortSignal): Promise<void> {
  const startMs = ports.clock.monotonicMs();
  for (let delayMs = firstDelayMs; ; delayMs = Math.min(delayMs * 2, delayMaxMs)) {
    let failure: AgentmaticError;
    try {
      const [result] = await write();
      if (!result) throw new AgentmaticError("Internal", "the store gave no answer for a write");
      if (result.ok) return;
      failure = result.error;
    } catch (thrown) {
      failure = AgentmaticError.from(thrown);
    }
    if (!AgentmaticError.is(failure, "Unavailable", "ResourceExhausted")) throw failure;
    if (ports.clock.monotonicMs() - startMs > writeRetryMs) throw failure;
    await sleep(ports.timers, delayMs * (0.5 + ports.random.next() / 2), signal);
  }
}
