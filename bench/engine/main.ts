/**
 * Measures the engine beside plain calls of the same functions and beside LangGraph.js, in one run.
 *
 *   node bench/engine/main.ts [--quick] [--only NAME,NAME]
 *
 * Each workload runs in a process of its own, in interleaved rounds, and prints a table: median, spread, and ratios.
 * Only the ratios mean anything on a machine that does other things too. The head of each workload's file says what is
 * measured and what is not.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpus, loadavg, totalmem } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { chain } from "./chain.ts";
import { cold } from "./cold.ts";
import { growths } from "./growth.ts";
import { largeCompile, largeHeap, largeRun } from "./large.ts";
import { map100, map10000 } from "./map.ts";
import { reactMany, reactOne } from "./react.ts";
import { measure } from "./rounds.ts";
import { supervisorMany, supervisorOne } from "./supervisor.ts";
import { table } from "./table.ts";
import type { Options, Workload } from "./workload.ts";

const workloads: readonly Workload[] = [
  chain,
  reactOne,
  reactMany,
  supervisorOne,
  supervisorMany,
  map100,
  map10000,
  largeCompile,
  largeRun,
  largeHeap,
  cold,
  ...growths,
];

const { values } = parseArgs({
  options: { quick: { type: "boolean" }, only: { type: "string" }, child: { type: "string" } },
});
const quick = values.quick === true;
const options: Options = { quick, sampleMs: quick ? 20 : 200 };
const rounds = quick ? 3 : 15;
const warmups = quick ? 1 : 10;

if (values.child !== undefined) await child(values.child);
else await parent(values.only?.split(","));

async function parent(only: readonly string[] | undefined): Promise<void> {
  const names = workloads.map(({ name }) => name);
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`--only ${unknown}: there are ${names.join(", ")}`);
  const gib = Math.round(totalmem() / 2 ** 30);
  console.log(`Node ${process.versions.node}, ${cpus().length} cores, ${gib} GiB; ${rounds} rounds.`);
  for (const name of only ?? names) {
    const args = ["--expose-gc", import.meta.filename, "--child", name, ...(quick ? ["--quick"] : [])];
    const [code] = await once(spawn(process.execPath, args, { stdio: "inherit" }), "exit");
    if (code !== 0) throw new Error(`${name} ended with ${code}`);
  }
}

async function child(name: string): Promise<void> {
  const { title, unit, share = 1, contenders } = workloads.find((one) => one.name === name)!;
  const part = (count: number) => Math.ceil(count * share);
  const budget = { rounds: Math.max(3, part(rounds)), warmups: part(warmups) };
  const figures = await measure(await contenders(options), budget);
  console.log(`\n### ${title}\n\nLoad average ${loadavg()[0]!.toFixed(1)}.\n\n${table(figures, unit)}`);
}
