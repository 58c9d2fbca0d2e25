/** What a runtime's page hands over: its ports and its process. Deno and Bun have Node's process, so one factory serves all. */
import process from "node:process";
import { type Ports, systemPorts } from "../../src/ports.ts";
import { levelFrom, stderrLogger } from "./logger.ts";

export type RuntimeName = "node" | "deno" | "bun";
export type Signal = "SIGTERM" | "SIGINT";

export interface Runtime {
  readonly name: RuntimeName;
  readonly version: string;
  readonly ports: Ports;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Without the program's own name. */
  readonly args: readonly string[];
  readonly folder: () => string;
  onSignal(signal: Signal, listener: () => void): void;
  /** Ends the process; `code` 0 is success. */
  exit(code: number): never;
}

export function runtime(name: RuntimeName, version: string): Runtime {
  return {
    name,
    version,
    ports: { ...systemPorts, logger: stderrLogger(levelFrom(process.env)) },
    env: process.env,
    args: process.argv.slice(2),
    folder: () => process.cwd(),
    onSignal(signal, listener) {
      process.on(signal, listener);
    },
    exit: (code) => process.exit(code),
  };
}
