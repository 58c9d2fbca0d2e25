// Runs a program in this one's place: same terminal, same signals, same ending.
import { spawn } from "node:child_process";

/**
 * @param {string} command program to run
 * @param {string[]} args its arguments
 * @param {NodeJS.ProcessEnv} env its environment
 * @returns {void} this process ends when the program does, in the same way
 */
export function become(command, args, env) {
  const child = spawn(command, args, { stdio: "inherit", env });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      // A terminal has sent Ctrl-C to the child already; a second one would look like impatience.
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on("error", (error) => {
    console.error(error.message);
    process.exit(1);
  });
  child.on("exit", (code, signal) => {
    if (!signal) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
