import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Saver } from "agentmatic";
import { saveModel } from "./classifier.ts";
import { Cluster, openSaver, SLOTS } from "./cluster.ts";
import { type Corpus, isTraining, openCorpus, pick } from "./corpus.ts";
import { planFaults, Saboteur } from "./faults.ts";
import { MODEL_VARIABLE, TICKETS_VARIABLE } from "./graph.ts";
import { type JobResult, runJob, type StartedRun } from "./job.ts";
import { MODEL_VARIABLE as LLM_VARIABLE } from "./llm.ts";
import type { Options } from "./options.ts";
import { endOutcome, Ids, readOutcomes } from "./outcomes.ts";
import { Progress } from "./progress.ts";
import { seeded } from "./random.ts";
import { type Fault, type Outcome, parseWitness, report } from "./report.ts";
import type { SummaryFacts } from "./summary.ts";
import { countTickets } from "./ticket.ts";
import { countAnswered, trainModel } from "./training.ts";
import { WITNESS_VARIABLE, type WitnessLine } from "./witness.ts";

const FAILURES_SHOWN = 5;

/** One job: its mails, its files, and what came of its runs. */
interface Job {
  readonly options: Options;
  readonly folder: string;
  readonly store: string;
  readonly corpus: Corpus;
  readonly mails: readonly number[];
  readonly ids: Ids;
  readonly model: string;
  readonly witness: string;
  readonly tickets: string;
  /** As the workers reported the ends. */
  readonly ended: Map<string, Outcome>;
}

/** Runs the whole job in a folder of its own. @throws Error where the cluster does not start or cannot be kept whole. */
export async function triageMails(options: Options, folder: string): Promise<SummaryFacts> {
  const job = prepare(options, folder);
  const { corpus, mails, store } = job;
  console.log(
    `${corpus.size} mails in the corpus; ${mails.length} of them are triaged, one run each (seed ${options.seed})`,
  );
  const saver = await openSaver(store, options.unfenced);
  try {
    const training = train(job);
    training.catch(() => undefined);
    const cluster = await startCluster(job, saver);
    try {
      await training;
      const { result, faults } = await runThrough(job, cluster);
      // Whatever a thawed worker still writes must be in the store before it is read.
      await cluster.stop();
      return await judge(job, cluster, result, faults);
    } finally {
      await cluster.stop();
    }
  } finally {
    await saver.close();
  }
}

/** All runs, with the faults on the way and the progress on the screen. */
async function runThrough(
  job: Job,
  cluster: Cluster,
): Promise<{ readonly result: JobResult; readonly faults: readonly Fault[] }> {
  const { options, mails } = job;
  // One worker's slots stay free, as whoever plans for the loss of a worker would have it.
  const inFlight = Math.max(1, options.workers - 1) * SLOTS;
  const began = performance.now();
  let finished = 0;
  const progress = new Progress(process.stdout, () => ({
    finished,
    total: mails.length,
    seconds: (performance.now() - began) / 1000,
    workers: cluster.loads(),
  }));
  const canFreeze = process.platform !== "win32";
  if (!canFreeze && options.freezes > 0) progress.note("no worker is frozen: this system has no SIGSTOP");
  cluster.onDown((name, reason) => progress.note(`the coordinator finds ${name} ${reason}`));
  const saboteur = new Saboteur({
    plan: planFaults(mails.length, options.kills, canFreeze ? options.freezes : 0),
    target: cluster,
    random: seeded(options.seed),
    note: (text) => progress.note(text),
    leadRuns: 2 * inFlight,
  });
  const running = runJob({
    mails,
    inFlight,
    room: (started) => saboteur.room(started),
    start: (index) => startRun(job, cluster, index),
    onEnd: (ended) => {
      finished = ended;
      saboteur.advance(ended);
    },
  });
  try {
    const result = await Promise.race([running, cluster.fleet.unasked]);
    tellFailures(result, (text) => progress.note(text));
    return { result, faults: saboteur.done };
  } finally {
    progress.close();
    await saboteur.finish();
  }
}

function prepare(options: Options, folder: string): Job {
  const corpus = openCorpus();
  const file = pathToFileURL(join(folder, "store.db"));
  const count = options.mails === "all" ? corpus.size : options.mails;
  return {
    options,
    folder,
    store: options.store ?? `sqlite://${file.pathname}`,
    corpus,
    mails: pick(corpus.size, count, seeded(options.seed)),
    ids: new Ids(randomBytes(4).toString("hex")),
    model: join(folder, "model"),
    witness: join(folder, "witness"),
    tickets: join(folder, "tickets"),
    ended: new Map(),
  };
}

async function startCluster(job: Job, saver: Saver): Promise<Cluster> {
  const { options, store, folder, model, witness, tickets } = job;
  const { workers, unfenced, llm } = options;
  const env = {
    [MODEL_VARIABLE]: model,
    [WITNESS_VARIABLE]: witness,
    [TICKETS_VARIABLE]: tickets,
    ...(llm === null ? {} : { [LLM_VARIABLE]: llm }),
  };
  const cluster = await Cluster.start({ store, saver, workers, unfenced, folder, env });
  console.log(`${workers} workers are up, over ${saver.kind}${unfenced ? " with the fence switched OFF" : ""}`);
  return cluster;
}

async function train({ options, corpus, mails, model: path }: Job): Promise<void> {
  const model = await trainModel(corpus);
  saveModel(model, path);
  console.log("the classifier is trained on the mails with even places in the corpus");
  if (options.llm === null) return;
  const calls = await countAnswered(corpus, model, mails);
  console.log(`${options.llm} will be asked for ${calls} drafts, and again for those in flight at a fault`);
}

async function startRun({ corpus, ids, ended }: Job, cluster: Cluster, index: number): Promise<StartedRun> {
  const [runId, threadId] = [ids.run(index), ids.thread(index)];
  const { end } = await cluster.graph.start({ index, raw: corpus.read(index) }, { runId, threadId }, []);
  const settle = async () => {
    const { status, values, error } = await end;
    ended.set(runId, endOutcome(status, values));
    if (status !== "succeeded") throw new Error(error?.message ?? `the run ended as ${status}`);
  };
  return { end: settle() };
}

function tellFailures({ failures }: JobResult, note: (text: string) => void): void {
  for (const [index, error] of [...failures].slice(0, FAILURES_SHOWN)) note(`mail ${index}: ${error.message}`);
  if (failures.size > FAILURES_SHOWN) note(`and ${failures.size - FAILURES_SHOWN} more that did not succeed`);
}

/** Joins what the witness wrote with what the store holds. */
async function judge(job: Job, cluster: Cluster, result: JobResult, faults: readonly Fault[]): Promise<SummaryFacts> {
  const { options, corpus, ids, mails } = job;
  const { saver, graph } = cluster;
  const outcomes = saver.shared ? await readOutcomes(graph, saver, mails, ids) : job.ended;
  const truth = (index: number) => (isTraining(index) ? null : corpus.entry(index).label);
  return {
    report: report({
      accepted: result.accepted.map((index) => ({ runId: ids.run(index), truth: truth(index) })),
      outcomes,
      witness: readWitness(job),
      faults,
      seconds: result.seconds,
    }),
    tickets: countTickets(job.tickets),
    store: saver.kind,
    seconds: result.seconds,
    kills: faults.filter(({ kind }) => kind === "kill").length,
    freezes: faults.filter(({ kind }) => kind === "freeze").length,
    unfenced: options.unfenced,
  };
}

/** A store that was there before may hold unfinished runs of other jobs, which these workers then finish too. */
function readWitness({ witness, ids }: Job): WitnessLine[][] {
  return readdirSync(witness).map((name) =>
    parseWitness(readFileSync(join(witness, name), "utf8")).filter(
      (line) => line.kind !== "start" || ids.owns(line.runId),
    ),
  );
}
