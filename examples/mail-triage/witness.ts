import { randomBytes } from "node:crypto";
import { mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";

/**
 * The witness stands outside of the engine and the store: it sees only that a node function was entered and left. Unique
 * keys in a store would make "nothing happened twice" true by construction; these files cannot.
 */

/** One execution of a task, as the state carries it: what was committed is what a later node finds in its input. */
export interface TrailEntry {
  readonly taskId: string;
  readonly exec: string;
}

export interface ProcessLine {
  readonly kind: "process";
  readonly proc: string;
  readonly pid: number;
  readonly t: number;
}

export interface StartLine {
  readonly kind: "start";
  /** Milliseconds on the host's monotonic clock, which all its processes share. */
  readonly t: number;
  readonly exec: string;
  readonly runId: string;
  readonly threadId: string;
  readonly taskId: string;
  readonly checkpointId: string;
  readonly step: number;
  readonly node: string;
  readonly attempt: number;
  readonly epoch: number;
  /** The executions whose writes the node finds in its input. */
  readonly seen: readonly string[];
}

export interface EndLine {
  readonly kind: "end";
  readonly t: number;
  readonly exec: string;
  readonly ok: boolean;
}

export type WitnessLine = ProcessLine | StartLine | EndLine;

/** What the witness reads of a node's context. */
export interface TaskContext {
  readonly runId: string;
  readonly threadId: string;
  readonly taskId: string;
  readonly checkpointId: string;
  readonly step: number;
  readonly node: string;
  readonly attempt: number;
  readonly epoch: number;
}

export const WITNESS_VARIABLE = "AGENTMATIC_WITNESS_DIR";

export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Appends lines with one unbuffered write each, so that a SIGKILL loses nothing that was written. */
export class Witness {
  readonly #fd: number;
  readonly #proc: string = randomBytes(6).toString("hex");
  #count = 0;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#fd = openSync(join(folder, `${this.#proc}.jsonl`), "a");
    this.#append({ kind: "process", proc: this.#proc, pid: process.pid, t: monotonicMs() });
  }

  /** Notes the start and returns the execution's id. */
  start(context: TaskContext, seen: readonly TrailEntry[]): string {
    const exec = `${this.#proc}-${++this.#count}`;
    const { runId, threadId, taskId, checkpointId, step, node, attempt, epoch } = context;
    const place = { runId, threadId, taskId, checkpointId, step, node, attempt, epoch };
    this.#append({ kind: "start", t: monotonicMs(), exec, ...place, seen: seen.map((each) => each.exec) });
    return exec;
  }

  end(exec: string, ok: boolean): void {
    this.#append({ kind: "end", t: monotonicMs(), exec, ok });
  }

  #append(line: WitnessLine): void {
    writeSync(this.#fd, `${JSON.stringify(line)}\n`);
  }
}

let own: Witness | undefined;

/**
 * Wraps a node function: its start and end go to this process's witness file, and its update gets an entry in the
 * state's `trail`. Without the variable nothing is written, and only the trail is kept.
 */
export function witnessed<
  State extends { trail: readonly TrailEntry[] },
  Context extends TaskContext,
  Update extends object,
>(
  run: (state: State, context: Context) => Update | Promise<Update>,
): (state: State, context: Context) => Promise<Update & { trail: TrailEntry[] }> {
  return async (state, context) => {
    const folder = process.env[WITNESS_VARIABLE];
    if (folder && own === undefined) own = new Witness(folder);
    const exec = own?.start(context, state.trail) ?? `unwitnessed-${randomBytes(6).toString("hex")}`;
    try {
      const update = await run(state, context);
      own?.end(exec, true);
      return { ...update, trail: [{ taskId: context.taskId, exec }] };
    } catch (error) {
      own?.end(exec, false);
      throw error;
    }
  };
}
