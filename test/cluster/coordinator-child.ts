/**
 * A coordinator in a process of its own, to be killed or frozen: starts the runs that its argument lists, says on stdout
 * what became of each, and stays.
 */
import process from "node:process";
import { ClusterConfig, Coordinator } from "../../adapters/cluster/mod.ts";
import { PostgresSaver } from "../../adapters/postgres/mod.ts";
import { SqliteSaver } from "../../adapters/sqlite/mod.ts";
import { AgentmaticError } from "../../src/mod.ts";
import type { RunHandle } from "../../src/run/runner.ts";
import { bind } from "./bind.ts";
import { gated, type RelayInput, relay, relayStart } from "./graphs.ts";

export type ChildRun =
  | { readonly runId: string; readonly graph: "relay"; readonly input: RelayInput }
  | { readonly runId: string; readonly graph: "gated"; readonly input: { readonly gate: string } };

export interface ChildOptions {
  readonly url: string;
  readonly workers: readonly string[];
  readonly takeoverMs?: number;
  readonly runs: readonly ChildRun[];
}

const { url, workers, takeoverMs, runs } = JSON.parse(process.argv[2]!) as ChildOptions;
const saver = url.startsWith("sqlite:") ? SqliteSaver.fromUrl(url) : PostgresSaver.fromUrl(url);
const limits = takeoverMs === undefined ? {} : { takeoverMs };
const config = new ClusterConfig({ topology: "coordinator-worker", workers, ...limits });
const coordinator = new Coordinator({ config, saver });

await coordinator.connect();
console.log(`coordinator ${coordinator.id}`);
await Promise.all(runs.map(follow));
console.log("all ended");
setInterval(() => {}, 60_000);

async function follow(run: ChildRun): Promise<void> {
  const { runId } = run;
  try {
    const handle = await begin(run);
    console.log(`accepted ${runId}`);
    const { status } = await handle.end;
    console.log(`ended ${runId} ${status}`);
  } catch (thrown) {
    const { code, message } = AgentmaticError.from(thrown);
    console.log(`failed ${runId} ${code} ${message}`);
  }
}

function begin({ runId, graph, input }: ChildRun): Promise<RunHandle> {
  const config = { threadId: `t-${runId}`, runId };
  return graph === "relay"
    ? bind(relay, coordinator, saver).start(relayStart(input), config, [])
    : bind(gated, coordinator, saver).start(input, config, []);
}
