import type { Outcome } from "./command.ts";

/** One thing that is verified. */
export interface Stage {
  name: string;
  work(): Promise<Outcome>;
}

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Runs the stages one after the other; prints a line for each, and the output of those that fail. */
export async function runStages(stages: readonly Stage[]): Promise<Counts> {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { name, work } of stages) {
    const start = performance.now();
    const { ok, output } = await work();
    printStage(ok, name, performance.now() - start);
    if (!ok) process.stdout.write(`${output.trimEnd()}\n`);
    counts[ok ? "passed" : "failed"]++;
  }
  return counts;
}

export function printStage(ok: boolean, name: string, ms: number): void {
  console.log(`${ok ? "ok  " : "FAIL"} ${name.padEnd(44)} ${(ms / 1_000).toFixed(1)} s`);
}
