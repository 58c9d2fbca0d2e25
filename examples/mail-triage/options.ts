import { parseArgs } from "node:util";
import { FREEZE_MS } from "./faults.ts";

export interface Options {
  /** How many mails, or all of them. */
  readonly mails: number | "all";
  readonly workers: number;
  /** The store's URL, or null for an SQLite file in the run's own folder. */
  readonly store: string | null;
  readonly kills: number;
  readonly freezes: number;
  /** Switches the store's fence off, to show that the report would tell. */
  readonly unfenced: boolean;
  readonly llm: string | null;
  readonly seed: number;
  /** Leaves the job's files where they are. */
  readonly keep: boolean;
}

const WORKERS_MAX = 32;
const FAULTS_MAX = 1_000;
const MAILS_MAX = 6_046;
const SEED_MAX = 2 ** 32 - 1;
const STORES = ["sqlite:", "postgres:", "postgresql:", "memory:"];

export const HELP: string = `Triage of real e-mails on a cluster whose workers are killed and frozen on the way.

Usage: npm start -- [options]

  --mails N|all    how many of the ${MAILS_MAX} mails of the SpamAssassin corpus (default all)
  --workers N      worker processes (default 3)
  --store URL      sqlite:PATH, postgres://USER@HOST:PORT/DB or memory: (default: an SQLite file in a new temporary
                   folder). With memory: each worker keeps its runs to itself, so those of a killed or frozen worker fail
                   with an error that says why, and the report counts them as lost
  --kills N        workers to end with SIGKILL on the way, each replaced (default 1); the job waits for replacements
  --freezes N      workers to stop with SIGSTOP for ${FREEZE_MS / 1000} seconds (default 1)
  --unfenced       switch the store's fence off, to see the report count what goes wrong then
  --llm MODEL      let a language model draft the answers; needs MAIL_TRIAGE_LLM_URL (a service that speaks OpenAI's
                   chat completions) and MAIL_TRIAGE_LLM_KEY, and prints the number of calls first
  --seed N         choose other mails and other victims (default 1)
  --keep           leave the job's files (the SQLite store, the witness's files, the workers' logs) and say where
  --help           this text

The last line of the output is RESULT and a JSON object. The exit code is 0 where no run was lost and nothing happened
twice, 1 where something did, and 2 for a wrong option.
`;

/** A wrong option; its message is one line that names the option. */
export class OptionError extends Error {}

/** @throws OptionError */
export function parseOptions(args: readonly string[]): Options | "help" {
  const values = read(args);
  if (values.help) return "help";
  const workers = whole("--workers", values.workers, 1, WORKERS_MAX);
  const faults = {
    kills: whole("--kills", values.kills, 0, FAULTS_MAX),
    freezes: whole("--freezes", values.freezes, 0, FAULTS_MAX),
  };
  if (workers === 1 && faults.kills + faults.freezes > 0) {
    throw new OptionError("--workers: with one worker nobody can take over: use at least 2, or --kills 0 --freezes 0");
  }
  return {
    mails: values.mails === "all" ? "all" : whole("--mails", values.mails, 1, MAILS_MAX, " or all"),
    workers,
    store: values.store === undefined ? null : storeUrl(values.store),
    ...faults,
    unfenced: values.unfenced,
    llm: values.llm === undefined ? null : modelName(values.llm),
    seed: whole("--seed", values.seed, 0, SEED_MAX),
    keep: values.keep,
  };
}

function read(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: false,
      options: {
        mails: { type: "string", default: "all" },
        workers: { type: "string", default: "3" },
        store: { type: "string" },
        kills: { type: "string", default: "1" },
        freezes: { type: "string", default: "1" },
        unfenced: { type: "boolean", default: false },
        llm: { type: "string" },
        seed: { type: "string", default: "1" },
        keep: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    // Node's messages go on with advice over several sentences and lines; the first sentence names the option.
    const [first] = (error instanceof Error ? error.message : String(error)).split(/\.\s|\n/);
    throw new OptionError(`${first} (see --help)`);
  }
}

function whole(name: string, value: string, least: number, most: number, more = ""): number {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw new OptionError(`${name}: "${value}" is not a whole number from ${least} to ${most}${more}`);
}

function storeUrl(value: string): string {
  if (STORES.some((scheme) => value.startsWith(scheme))) return value;
  // The value itself may hold a password, so that it is not repeated.
  throw new OptionError("--store: must begin with sqlite:, postgres:// or memory:");
}

function modelName(value: string): string {
  if (value.trim() !== "") return value.trim();
  throw new OptionError("--llm: names no model");
}
