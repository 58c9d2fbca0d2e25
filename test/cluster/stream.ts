/** Relays whose events are followed, and what must be true of the events whatever happened on the way (PROTOCOL.md P16). */
import { expect } from "vitest";
import type { Coordinator } from "../../adapters/cluster/mod.ts";
import { AgentmaticError, decodeValue } from "../../src/mod.ts";
import type { RunEvent } from "../../src/run/events.ts";
import { bind } from "./bind.ts";
import type { Cluster } from "./cluster.ts";
import { type RelayInput, relay, relayResult, relayStart } from "./graphs.ts";
import { expectResult } from "./load.ts";

export interface Stream {
  readonly runId: string;
  readonly events: RunEvent[];
  /** Resolves with the run. */
  readonly done: Promise<void>;
  /** Why the events ended before the run did. */
  broken?: AgentmaticError;
}

export async function follow(
  cluster: Cluster,
  coordinator: Coordinator,
  runId: string,
  input: RelayInput,
): Promise<Stream> {
  const graph = bind(relay, coordinator, cluster.saver);
  const config = { threadId: `t-${runId}`, runId };
  const handle = await graph.start(relayStart(input), config, ["values", "updates", "custom"]);
  cluster.accepted.push(runId);
  const events: RunEvent[] = [];
  const stream: Stream = { runId, events, done: read() };
  return stream;

  async function read(): Promise<void> {
    try {
      for await (const event of handle.events) events.push(event);
    } catch (thrown) {
      stream.broken = AgentmaticError.from(thrown);
    }
    expectResult(await handle.end, runId, input);
  }
}

/**
 * Every state in its order, none left out, none twice, to the last one; or an error that says so. Epochs only grow, and
 * what an attempt sent before its steps were committed is taken back before a later attempt sends anything.
 */
export function expectEvents({ runId, events, broken }: Stream, input: RelayInput): void {
  const values = events.filter(({ kind }) => kind === "values");
  const seqs = values.map(({ seq }) => seq);
  // One commit for the input, three for each round.
  const all = Array.from({ length: 1 + 3 * input.rounds }, (_, n) => n + 1);
  expect(seqs, `${runId}: commits told of`).toEqual(broken ? all.slice(0, seqs.length) : all);
  if (!broken) expect(decodeValue(values.at(-1)!.data), runId).toMatchObject({ sum: relayResult(input).sum });
  const epochs = events.map(({ epoch }) => epoch);
  expect(epochs, `${runId}: epochs`).toEqual(epochs.toSorted((a, b) => a - b));
  const updates = events.filter(({ kind }) => kind === "updates");
  const told = updates.map(({ seq, node, attempt }) => `${seq} ${node} of attempt ${attempt}`);
  if (!broken) expect(updates.length, `${runId}: ${told.join(", ")}`).toBe(input.rounds * (input.width + 2));
  let sent = 0;
  for (const { kind, attempt, data } of events) {
    if (kind === "retract" && (decodeValue(data) as { attempt: number }).attempt >= sent) sent = 0;
    if (kind !== "custom") continue;
    expect(sent === 0 || sent === attempt, `${runId}: attempt ${attempt} sends before ${sent} is taken back`).toBe(
      true,
    );
    sent = attempt;
  }
}
