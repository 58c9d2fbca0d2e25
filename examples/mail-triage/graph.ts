import { Annotation, END, type NodeContext, START, StateGraph, type StateOf, type UpdateFor } from "agentmatic";
import { classify, loadModel, type Model, type Verdict } from "./classifier.ts";
import { type Draft, draftAnswer } from "./draft.ts";
import { type Entities, type LanguageFeatures, languageFeatures, namedEntities } from "./features.ts";
import { draftWithModel, workerLlm } from "./llm.ts";
import { type ParsedMail, parseMail } from "./parse.ts";
import { type Routing, route } from "./route.ts";
import { openTicket, type Ticket } from "./ticket.ts";
import { type TrailEntry, witnessed } from "./witness.ts";

export const GRAPH_NAME = "mail-triage";
export const MODEL_VARIABLE = "MAIL_TRIAGE_MODEL";
export const TICKETS_VARIABLE = "MAIL_TRIAGE_TICKETS";

const channels = {
  /** The mail's place in the corpus. */
  index: Annotation<number>(),
  /** The mail as it arrived, one char a byte; emptied once it is parsed, so that it does not travel on with the state. */
  raw: Annotation<string>(),
  mail: Annotation<ParsedMail>(),
  features: Annotation<LanguageFeatures>(),
  entities: Annotation<Entities>(),
  verdict: Annotation<Verdict>(),
  route: Annotation<Routing>(),
  draft: Annotation<Draft>(),
  ticket: Annotation<Ticket>(),
  quarantined: Annotation<boolean>(),
  /** Which executions were committed: each node adds its own. */
  trail: Annotation<TrailEntry[]>({ reducer: (trail, more) => [...trail, ...more], default: () => [] }),
};

export type TriageChannels = typeof channels;
export type TriageState = StateOf<TriageChannels>;
type Update = UpdateFor<TriageChannels>;

const node = (run: (state: TriageState, context: NodeContext) => Update | Promise<Update>) => witnessed(run);

/**
 * parse → (features, entities, classify) → route → quarantine, or draft → ticket. The three in the middle run side by
 * side, `route` waits for all of them, and the ticket is the one effect on the world outside.
 */
export const mailTriage: StateGraph<TriageChannels> = new StateGraph(channels)
  .addNode(
    "parse",
    node(async ({ raw }) => ({ mail: await parseMail(raw), raw: "" })),
  )
  .addNode(
    "features",
    node(({ mail }) => ({ features: languageFeatures(mail) })),
  )
  .addNode(
    "entities",
    node(({ mail }) => ({ entities: namedEntities(mail) })),
  )
  .addNode(
    "classify",
    node(({ mail }) => ({ verdict: classify(model(), mail) })),
  )
  .addNode(
    "route",
    node((state) => ({ route: route(state) })),
  )
  .addNode(
    "quarantine",
    node(() => ({ quarantined: true })),
  )
  .addNode(
    "draft",
    node(async (state, { signal }) => ({ draft: await draft(state, signal) })),
  )
  .addNode(
    "ticket",
    node((state, { idempotencyKey }) => ({ ticket: ticket(state, idempotencyKey) })),
  )
  .addEdge(START, "parse")
  .addEdge("parse", "features")
  .addEdge("parse", "entities")
  .addEdge("parse", "classify")
  .addEdge(["features", "entities", "classify"], "route")
  .addConditionalEdges("route", (state) => (state.route.unit === "quarantine" ? "quarantine" : "draft"), [
    "quarantine",
    "draft",
  ])
  .addEdge("draft", "ticket")
  .addEdge("ticket", END)
  .addEdge("quarantine", END);

let loaded: Model | undefined;

/** The model that the launcher trained: read once a process, and only by a process that classifies. */
function model(): Model {
  loaded ??= loadModel(setting(MODEL_VARIABLE));
  return loaded;
}

function draft(state: TriageState, signal: AbortSignal): Draft | Promise<Draft> {
  const llm = workerLlm(process.env);
  return llm === undefined ? draftAnswer(state) : draftWithModel(state, llm, signal);
}

function ticket({ route: { unit, urgent }, draft: { subject } }: TriageState, key: string): Ticket {
  return openTicket(setting(TICKETS_VARIABLE), key, { unit, urgent, subject });
}

function setting(name: string): string {
  const value = process.env[name];
  if (value) return value;
  throw new Error(`${name} is not set: main.ts sets it for its workers`);
}
