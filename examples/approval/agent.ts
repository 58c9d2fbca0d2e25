/** The agent: one tool that looks, and one that spends money and asks a person first. */

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Agent, tool } from "agentmatic";
import type { SqliteSaver } from "agentmatic/sqlite";
import { z } from "zod";
import type { Journal } from "./journal.ts";

export interface AgentOptions {
  /** Base URL of a service that speaks the chat completions protocol. */
  readonly modelUrl: string;
  readonly saver: SqliteSaver;
  readonly journal: Journal;
  /** Of the process. */
  readonly process: number;
  /** The city whose airport does not answer in this process. */
  readonly silent?: string | undefined;
}

const fares: Readonly<Record<string, number>> = { Oslo: 120, Bergen: 95 };

export function makeAgent({ modelUrl, saver, journal, process, silent }: AgentOptions): Agent {
  const provider = createOpenAICompatible({ name: "model", baseURL: modelUrl });

  const search = tool({
    name: "search_flights",
    description: "The cheapest fare to a city",
    input: z.object({ city: z.string() }),
    execute: async ({ city }, { idempotencyKey, signal }) => {
      const entry = { process, tool: "search_flights", about: city, key: idempotencyKey };
      journal.add({ ...entry, event: "started" });
      if (city === silent) await aborted(signal);
      journal.add({ ...entry, event: "finished" });
      return { city, fare: fares[city] ?? null };
    },
  });

  const book = tool({
    name: "book_flight",
    description: "Books a flight",
    input: z.object({ city: z.string(), fare: z.number().max(500) }),
    approval: true,
    execute: ({ city, fare }, { idempotencyKey }) => {
      const entry = { process, tool: "book_flight", about: city, key: idempotencyKey };
      journal.add({ ...entry, event: "started" });
      // A real service is handed the key, and books once for each.
      journal.add({ ...entry, event: "finished" });
      return `booked ${city} for ${fare}`;
    },
  });

  return Agent.builder("travel")
    .llm(provider("travel-model"))
    .tools([search, book])
    .system("You book the cheapest flight.")
    .checkpoint(saver)
    .maxSteps(10)
    .build();
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}
