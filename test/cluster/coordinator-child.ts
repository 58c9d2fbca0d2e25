/**
 * A coordinator in a process of its own, to be killed or frozen: starts the runs that its argument lists, says on stdout
 * what became of each, and stays.
 */
import process from "node:process";
import { ClusterConfig, Coordinator } from "../../adapters/cluster/mod.ts";
import { PostgresSaver } from "../../adapters/postgres/mod.ts";
import { SqliteSaver } from "../../adapters/sqlite/mod.ts";
import { AgentmaticError, type CompiledGraph } from "../../src/mod.ts";
import { bind } from "./bind.ts";
import { gated, relay } from "./graphs.ts";

export interface ChildRun {
  readonly runId: string;
  readonly graph: "relay" | "gated";
  readonly input: object;
}

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
const graphs: Record<string, CompiledGraph> = { relay: relay as CompiledGraph, gated: gated as CompiledGraph };

await coordinator.connect();
console.log(`coordinator ${coordinator.id}`);
await Promise.all(runs.map(follow));
console.log("all ended");
setInterval(() => {}, 60_000);

async function follow({ runId, graph, input }: ChildRun): Promise<void> {
  try {
    const bound = bind(graphs[graph]!, coordinator, saver);
    const handle = await bound.start(input, { threadId: `t-${runId}`, runId }, []);
    console.log(`accepted ${runId}`);
    const { status } = await handle.end;
    console.log(`ended ${runId} ${status}`);
  } catch (thrown) {
    const { code, message } = AgentmaticError.from(thrown);
    console.log(`failed ${runId} ${code} ${message}`);
  }
}
