/** A Postgres of a test's own that can be taken away and brought back, with its data where it was. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { findAccount, findBinaries, reachableBinaries } from "../support/postgres-binaries.ts";

const startMsMax = 30_000;

export class RestartableServer {
  readonly url: string;
  readonly #home: string;
  readonly #command: readonly [string, ...string[]];
  readonly #account = findAccount();
  #server: ChildProcess | undefined;
  readonly #kill = () => this.#server?.kill("SIGQUIT");

  private constructor(home: string, bin: string, port: number) {
    this.#home = home;
    this.url = `postgres://postgres@127.0.0.1:${port}/postgres`;
    const flags = ["listen_addresses=127.0.0.1", `port=${port}`, "unix_socket_directories=", "fsync=on"];
    this.#command = [join(bin, "postgres"), "-D", join(home, "data"), ...flags.flatMap((flag) => ["-c", flag])];
    process.on("exit", this.#kill);
  }

  static async start(): Promise<RestartableServer> {
    const found = findBinaries();
    if (!found) throw new Error("no Postgres: run `npm run tools`, or install your system's package");
    const home = mkdtempSync(join(tmpdir(), "agentmatic-restart-"));
    const account = findAccount();
    if (account) chownSync(home, account.uid, account.gid);
    const bin = reachableBinaries(found, account, home);
    const flags = ["--no-sync", "--locale=C", "--encoding=UTF8", "--username=postgres", "--auth=trust"];
    const made = spawnSync(join(bin, "initdb"), [...flags, "-D", join(home, "data")], { ...account, cwd: home });
    if (made.status !== 0) throw new Error(`initdb failed: ${made.error?.message ?? made.stderr.toString()}`);
    const server = new RestartableServer(home, bin, await freePort());
    await server.up();
    return server;
  }

  /** Resolves when it takes connections; after a crash that is when it has recovered. */
  async up(): Promise<void> {
    const [program, ...args] = this.#command;
    const child = spawn(program, args, { ...this.#account, cwd: this.#home, stdio: ["ignore", "ignore", "pipe"] });
    this.#server = child;
    await new Promise<void>((resolve, reject) => {
      let log = "";
      const timer = setTimeout(() => reject(new Error(`Postgres is not ready: ${log}`)), startMsMax);
      child.once("exit", () => reject(new Error(`Postgres ended: ${log}`)));
      child.stderr!.setEncoding("utf8").on("data", (text: string) => {
        log = (log + text).slice(-4_000);
        if (!log.includes("ready to accept connections")) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** An immediate shutdown: no connection is ended in order, no buffer is written, as in a crash. */
  async crash(): Promise<void> {
    const child = this.#server;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGQUIT");
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.crash();
    process.off("exit", this.#kill);
    rmSync(this.#home, { recursive: true, force: true, maxRetries: 5 });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
