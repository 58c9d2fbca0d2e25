// What `agentmatic-worker --graphs` is given.
import type { CompiledGraph } from "agentmatic";
import { languageFeatures, namedEntities } from "./features.ts";
import { GRAPH_NAME, mailTriage, type TriageChannels } from "./graph.ts";
import { parseMail } from "./parse.ts";

// The first mail costs a process half a second, as the language model is unpacked then. Better before the worker says
// that it is there than in the midst of a run, which a fresh worker often takes over from one that was lost.
const sample = await parseMail(
  "From: Ann <ann@example.org>\nSubject: Order 7\n\nPlease send 3 of them by Friday. Thanks!\n",
);
languageFeatures(sample);
namedEntities(sample);

export const triage: CompiledGraph<TriageChannels> = mailTriage.compile({ name: GRAPH_NAME });
