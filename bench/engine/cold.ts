/**
 * A process that starts, imports the library, builds a graph of two nodes, runs it, prints the result and ends.
 *
 * Measured: milliseconds from the call that starts the process until it has ended, its files in the system's cache. Ours
 * is the built package, imported by its name. Not measured: the first start after installing, bundled programs.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { buildIfNeeded } from "../../scripts/build.ts";
import { type Contender, timed } from "./rounds.ts";
import type { Workload } from "./workload.ts";

const run = promisify(execFile);

export const cold: Workload = {
  name: "cold",
  title: "Cold start to the result of a graph of two nodes",
  unit: "ms",
  async contenders() {
    const { ok, output } = await buildIfNeeded();
    if (!ok) throw new Error(`the package does not build: ${output}`);
    return [
      start("plain calls", "plain"),
      start("agentmatic", "agentmatic"),
      start("agentmatic, memory saver", "agentmatic-memory"),
      start("LangGraph.js", "langgraph"),
    ];
  },
};

function start(name: string, file: string): Contender {
  const program = join(import.meta.dirname, "cold", `${file}.mjs`);
  const sample = () =>
    timed(async () => {
      const { stdout } = await run(process.execPath, [program]);
      if (stdout.trim() !== "2") throw new Error(`${file} printed ${stdout}`);
    });
  return { name, sample };
}
