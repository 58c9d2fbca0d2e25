/**
 * What node functions saw, written by themselves into one file for each process: outside of the engine and of the
 * store, whose unique keys would make "nothing happened twice" true by construction.
 */
import { mkdirSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import type { NodeContext } from "../../src/mod.ts";

/** One execution of a task, as the state carries it: what a later node finds in its input was committed. */
export interface Mark {
  readonly taskId: string;
  readonly exec: string;
}

export interface Start {
  readonly at: "start";
  /** Milliseconds on the machine's monotonic clock, which all its processes share. */
  readonly t: number;
  readonly exec: string;
  readonly pid: number;
  readonly runId: string;
  readonly threadId: string;
  readonly taskId: string;
  readonly node: string;
  readonly step: number;
  readonly attempt: number;
  readonly epoch: number;
  /** The executions whose writes the node found in its input. */
  readonly seen: readonly string[];
}

export interface End {
  readonly at: "end";
  readonly t: number;
  readonly exec: string;
}

export type WitnessLine = Start | End;

export const witnessVariable = "AGENTMATIC_CLUSTER_WITNESS";

export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

let file: number | undefined;
let count = 0;

function append(line: WitnessLine): void {
  const folder = process.env[witnessVariable];
  if (!folder) return;
  if (file === undefined) {
    mkdirSync(folder, { recursive: true });
    file = openSync(join(folder, `${process.pid}.jsonl`), "a");
  }
  // One unbuffered write a line: a SIGKILL loses nothing that was written.
  writeSync(file, `${JSON.stringify(line)}\n`);
}

/** Notes the start of a node; `end` of the answer notes its end and gives the mark for the state. */
export function enter(context: NodeContext, trail: readonly Mark[]): { end(): Mark } {
  const exec = `${process.pid}-${++count}`;
  const { runId, threadId, taskId, node, step, attempt, epoch } = context;
  const seen = trail.map((mark) => mark.exec);
  append({
    at: "start",
    t: nowMs(),
    exec,
    pid: process.pid,
    runId,
    threadId,
    taskId,
    node,
    step,
    attempt,
    epoch,
    seen,
  });
  return {
    end() {
      append({ at: "end", t: nowMs(), exec });
      return { taskId, exec };
    },
  };
}

/** Reads on from where it was: for looking often. */
export class WitnessReader {
  readonly #folder: string;
  readonly #read: Map<string, number> = new Map();
  readonly #lines: WitnessLine[] = [];

  constructor(folder: string) {
    this.#folder = folder;
  }

  starts(): Start[] {
    return this.lines().filter((line) => line.at === "start");
  }

  /** Every line so far, in order only within a process. A line that is being written, or was torn by a kill, is none. */
  lines(): readonly WitnessLine[] {
    for (const name of readdirSync(this.#folder)) {
      const bytes = readFileSync(join(this.#folder, name));
      const from = this.#read.get(name) ?? 0;
      const to = bytes.lastIndexOf(10) + 1;
      this.#read.set(name, to);
      for (const line of bytes.subarray(from, to).toString("utf8").split("\n")) {
        if (line === "") continue;
        this.#lines.push(JSON.parse(line) as WitnessLine);
      }
    }
    return this.#lines;
  }
}
