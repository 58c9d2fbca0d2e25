// What `agentmatic-worker --graphs` is given.
import type { CompiledGraph } from "agentmatic";
import { GRAPH_NAME, mailTriage, type TriageChannels } from "./graph.ts";

export const triage: CompiledGraph<TriageChannels> = mailTriage.compile({ name: GRAPH_NAME });
