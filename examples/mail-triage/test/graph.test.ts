import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemorySaver } from "agentmatic";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saveModel, Trainer } from "../classifier.ts";
import { openCorpus } from "../corpus.ts";
import { GRAPH_NAME, MODEL_VARIABLE, mailTriage, TICKETS_VARIABLE } from "../graph.ts";
import { triage } from "../graphs.ts";
import { parseMail } from "../parse.ts";
import { parseWitness, report } from "../report.ts";
import { countTickets } from "../ticket.ts";
import { WITNESS_VARIABLE } from "../witness.ts";

const folder = mkdtempSync(join(tmpdir(), "mail-triage-"));
const variables = { [MODEL_VARIABLE]: "model", [TICKETS_VARIABLE]: "tickets", [WITNESS_VARIABLE]: "witness" };
const corpus = openCorpus();

beforeAll(async () => {
  const trainer = new Trainer();
  for (let i = 0; i < corpus.size; i += 30) trainer.add(await parseMail(corpus.read(i)), corpus.entry(i).label);
  saveModel(trainer.finish(), join(folder, "model"));
  for (const [name, file] of Object.entries(variables)) process.env[name] = join(folder, file);
});
afterAll(() => {
  for (const name of Object.keys(variables)) delete process.env[name];
  rmSync(folder, { recursive: true });
});

describe("the graph", () => {
  it("has a fan-out, a join, a conditional edge and a tool, in eight nodes", () => {
    expect(triage.name).toBe(GRAPH_NAME);
    expect([...triage.plan.nodes.keys()]).toEqual([
      "parse",
      "features",
      "entities",
      "classify",
      "route",
      "quarantine",
      "draft",
      "ticket",
    ]);
    expect(triage.plan.nodes.get("parse")!.edges).toEqual(["features", "entities", "classify"]);
    expect(triage.plan.joins).toMatchObject([{ sources: ["classify", "entities", "features"], target: "route" }]);
  });

  it("triages real mails, and the witness agrees with the store", async () => {
    const saver = new MemorySaver();
    const graph = mailTriage.compile({ name: GRAPH_NAME, checkpointer: saver });
    const outcomes = new Map();
    const accepted = [];
    const paths: string[] = [];
    for (const index of [5, 2501, 4201, 4801, 5901]) {
      const runId = `run-${index}`;
      await graph.invoke({ index, raw: corpus.read(index) }, { runId, threadId: `mail-${index}` });
      const { values } = (await graph.getState({ threadId: `mail-${index}` }))!;
      const { state } = (await saver.getRun(runId))!;
      paths.push(values.trail.map((entry) => entry.taskId.split("|").at(-1)).join(" "));
      if (values.quarantined) expect([values.verdict.label, values.draft]).toEqual(["spam", undefined]);
      else expect(values.ticket.subject).toBe(values.draft.subject);
      accepted.push({ runId, truth: corpus.entry(index).label });
      outcomes.set(runId, { status: state.status, trail: values.trail, label: values.verdict.label });
    }
    expect(new Set(paths)).toEqual(
      new Set([
        "parse classify entities features route draft ticket",
        "parse classify entities features route quarantine",
      ]),
    );
    const witness = readdirSync(join(folder, "witness")).map((name) =>
      parseWitness(readFileSync(join(folder, "witness", name), "utf8")),
    );
    expect(report({ accepted, outcomes, witness, faults: [], seconds: 1 })).toMatchObject({
      accepted: 5,
      finished: 5,
      lost: 0,
      committedTwice: 0,
      finishedTasksRerun: 0,
      repeatedInFlight: 0,
      vanished: 0,
      measured: 5,
    });
    const tickets = paths.filter((path) => path.endsWith("ticket")).length;
    expect(countTickets(join(folder, "tickets"))).toEqual({ calls: tickets, effects: tickets, keys: tickets });
  });
});
