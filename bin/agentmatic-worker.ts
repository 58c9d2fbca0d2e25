#!/usr/bin/env node
/** The worker's command: `agentmatic-worker --listen 0.0.0.0:9090 --metrics 0.0.0.0:9091`, on Node, Deno or Bun. */
import process from "node:process";
import { formatAddress, isLoopback, parseAddress } from "../adapters/_shared/address.ts";
import { watchFaults } from "../adapters/_shared/faults.ts";
import type { Runtime, Signal } from "../adapters/_shared/runtime.ts";
import { drainMsDefault, serveWorker, type WorkerServer } from "../adapters/_shared/serve-worker.ts";
import { packageVersion } from "../adapters/_shared/version.ts";
import { AgentmaticError } from "../src/errors.ts";
import { parseFlags } from "./flags.ts";
import { settingsFrom } from "./settings.ts";

const signalNumbers: Readonly<Record<Signal, number>> = { SIGINT: 2, SIGTERM: 15 };
/** Past the drain's own time, for a store that hangs while runs are handed over. */
const stopGraceMs = 5000;

// The store's URL may hold a password, and a process's arguments are there for every user of the machine to see.
process.title = "agentmatic-worker";

const runtime = await currentRuntime();
try {
  await main();
} catch (thrown) {
  process.stderr.write(`agentmatic-worker: ${lineOf(thrown)}\n`);
  runtime.exit(AgentmaticError.is(thrown, "InvalidArgument") ? 2 : 1);
}

/** Options are known here by their flags. Only what nobody meant to throw comes with its stack. */
function lineOf(thrown: unknown): string {
  if (!AgentmaticError.is(thrown)) return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  const { field } = thrown.details;
  return thrown.message.startsWith(`${field}: `) ? `--${thrown.message}` : thrown.message;
}

async function main(): Promise<void> {
  const flags = parseFlags(runtime.args, packageVersion, (text) => process.stdout.write(text));
  if (!flags) return;
  const { graphs, store } = await settingsFrom(flags, runtime.env, runtime.folder());
  const { label, drainMs, ...rest } = flags;
  const server = await serveWorker(runtime, { ...rest, labels: label, graphs, store });
  watchFaults({
    logger: runtime.ports.logger,
    fail: (runId, error) => server.fail(runId, error),
    exit: (code) => runtime.exit(code),
  });
  const metrics = server.metricsAddress ? formatAddress(server.metricsAddress) : "none";
  stopOnSignals(server, drainMs ?? drainMsDefault);
  warnIfOpen(flags.listen);
  console.log(`agentmatic-worker listening on ${formatAddress(server.address)} (metrics ${metrics}) id=${server.id}`);
}

function warnIfOpen(listen: string): void {
  if (isLoopback(parseAddress("--listen", listen).host)) return;
  const text = `${listen} is reached from other machines, without TLS: keep it within a network that you trust`;
  process.stderr.write(`agentmatic-worker: ${text}\n`);
}

function stopOnSignals(server: WorkerServer, drainMs: number): void {
  let stopping = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    runtime.onSignal(signal, () => {
      if (stopping) runtime.exit(128 + signalNumbers[signal]);
      stopping = true;
      void stop(server, signal, drainMs);
    });
  }
}

async function stop(server: WorkerServer, signal: Signal, drainMs: number): Promise<void> {
  runtime.ports.logger.log("info", "stopping: runs go on elsewhere from their next checkpoint", { signal, drainMs });
  setTimeout(() => runtime.exit(1), drainMs + stopGraceMs).unref();
  try {
    await server.close({ drainMs });
    runtime.exit(0);
  } catch (thrown) {
    runtime.ports.logger.log("error", "the stop failed", { error: AgentmaticError.from(thrown).message });
    runtime.exit(1);
  }
}

async function currentRuntime(): Promise<Runtime> {
  if ("Deno" in globalThis) return (await import("../adapters/deno/mod.ts")).deno;
  if ("Bun" in globalThis) return (await import("../adapters/bun/mod.ts")).bun;
  return (await import("../adapters/node/mod.ts")).node;
}
