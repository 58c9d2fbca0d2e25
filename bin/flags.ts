/** The worker's command line. */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { parseAddress } from "../adapters/_shared/address.ts";
import { AgentmaticError } from "../src/errors.ts";

export interface Flags {
  readonly listen: string;
  readonly metrics?: string;
  readonly graphs?: string;
  readonly store?: string;
  readonly region?: string;
  readonly label: Readonly<Record<string, string>>;
  readonly slots?: number;
  readonly name?: string;
  readonly drainMs?: number;
  readonly heartbeatMs?: number;
  readonly leaseMs?: number;
}

const slotsMax = 100_000;
const msMax = 24 * 60 * 60 * 1000;
const examples = `
Graphs come from --graphs, else from AGENTMATIC_GRAPHS, else from agentmatic.config.ts, .js or .mjs in this folder.
The store comes from --store, else from AGENTMATIC_STORE, the configuration file, DATABASE_URL or the PG* variables
(Postgres), or AGENTMATIC_SQLITE_PATH. AGENTMATIC_LOG is debug, info, warn or error. Traces go where
OTEL_EXPORTER_OTLP_ENDPOINT says.

  agentmatic-worker --listen 0.0.0.0:9090 --metrics 0.0.0.0:9091
  agentmatic-worker --listen 127.0.0.1:9090 --graphs ./graphs.ts --store sqlite:./runs.db`;

/**
 * Throws `InvalidArgument` with one line that names the flag. `print` gets the text of --help or --version; the answer
 * is undefined then.
 */
export function parseFlags(args: readonly string[], version: string, print: (text: string) => void): Flags | undefined {
  const command = new Command("agentmatic-worker")
    .description("Executes runs of agent graphs that coordinators dispatch to it.")
    .version(version, "--version", "print the version")
    .helpOption("--help", "print this help")
    .addOption(address("--listen <host:port>", "gRPC, gRPC-web and Connect").default("127.0.0.1:9090"))
    .addOption(address("--metrics <host:port>", "/healthz, /readyz and /metrics"))
    .option("--graphs <module>", "the module that exports the graphs")
    .option("--store <url>", "sqlite:FILE, postgres://… or memory:")
    .option("--region <region>", "where this worker computes; unknown lies outside of every residency rule")
    .addOption(new Option("--label <key=value>", "for placement; may be repeated").default({}).argParser(addLabel))
    .addOption(count("--slots <n>", "runs at once (16)", slotsMax))
    .option("--name <name>", "for people; the id is random")
    .addOption(count("--drain-ms <ms>", "how long a stop waits for runs to reach a checkpoint (25000)", msMax, 0))
    .addOption(count("--heartbeat-ms <ms>", "how often the worker says that it lives (1000)", msMax))
    .addOption(count("--lease-ms <ms>", "after this long without renewal its runs may be taken over (4500)", msMax))
    .addHelpText("after", examples)
    .allowExcessArguments(false)
    .showSuggestionAfterError(false)
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {} });
  try {
    command.parse([...args], { from: "user" });
    return command.opts<Flags>();
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    if (thrown.exitCode === 0) return undefined;
    if (thrown.code === "commander.excessArguments") throw wrong(`"${command.args[0]}" is no flag`);
    throw wrong(thrown.message.replace(/^error: /, "").replaceAll("\n", " "));
  }
}

function address(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string) => {
    try {
      parseAddress("it", text);
      return text;
    } catch {
      throw new InvalidArgumentError("It must be HOST:PORT, with a port from 0 to 65535.");
    }
  });
}

function count(flags: string, description: string, max: number, min = 1): Option {
  return new Option(flags, description).argParser((text: string) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return value;
  });
}

function addLabel(text: string, labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const match = /^([A-Za-z0-9][\w./-]*)=(.*)$/.exec(text);
  if (!match) throw new InvalidArgumentError("It must be KEY=VALUE.");
  return { ...labels, [match[1]!]: match[2]! };
}

function wrong(message: string): AgentmaticError {
  return new AgentmaticError("InvalidArgument", message);
}
