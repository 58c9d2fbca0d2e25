import { spawn } from "node:child_process";
import { delimiter, dirname, join } from "node:path";

/** The repository's folder. */
export const root: string = dirname(import.meta.dirname);

export interface Outcome {
  ok: boolean;
  /** Both streams in the order of arrival. */
  output: string;
}

export interface CommandOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Shows the output as it comes instead of collecting it. */
  show?: boolean;
}

/** This process's environment, with this Node and the project's own tools first in PATH. */
export function environment(): NodeJS.ProcessEnv {
  const folders = [dirname(process.execPath), join(root, "node_modules", ".bin")];
  return { ...process.env, PATH: [...folders, process.env.PATH ?? ""].join(delimiter) };
}

/** Runs a program to its end. A program that cannot be started counts as failed, with the reason as its output. */
export function command(cmd: string, args: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
  const child = spawn(cmd, args, {
    cwd: options.cwd ?? root,
    env: { ...environment(), ...options.env },
    stdio: ["ignore", options.show ? "inherit" : "pipe", options.show ? "inherit" : "pipe"],
  });
  return new Promise((resolve) => {
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    }
    child.once("error", (error) => resolve({ ok: false, output: `${cmd}: ${error.message}` }));
    child.once("close", (code) => resolve({ ok: code === 0, output }));
  });
}
