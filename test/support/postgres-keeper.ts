// Keeps one temporary Postgres for the process that started it: prints "ready URL" or "failed REASON" on stdout, and
// ends, leaving nothing behind, as soon as its stdin closes. The system closes that too when the parent is killed.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Account, findAccount, findBinaries, reachableBinaries } from "./postgres-binaries.ts";

const portTriesMax = 5;
const startMsMax = 30_000;
const stopMsMax = 3_000;

let server: ChildProcess | undefined;
let stopping = false;
const home = mkdtempSync(join(tmpdir(), "agentmatic-postgres-"));
process.stdin.resume().once("close", stop).once("error", stop);
process.once("SIGTERM", stop);
process.once("SIGINT", stop);

try {
  const url = await startServer();
  if (!stopping) process.stdout.write(`ready ${url}\n`);
} catch (error) {
  process.stdout.write(`failed ${JSON.stringify((error as Error).message)}\n`);
  await stop();
}

async function startServer(): Promise<string> {
  const found = findBinaries();
  if (!found) {
    throw new Error(
      "no Postgres: run `npm run tools`, install your system's package, or set AGENTMATIC_TEST_POSTGRES to a server's URL",
    );
  }
  const account = findAccount();
  if (account) chownSync(home, account.uid, account.gid);
  const bin = reachableBinaries(found, account, home);
  const password = randomBytes(16).toString("hex");
  initialise(bin, account, password);
  for (let tries = 1; ; tries++) {
    const port = await freePort();
    try {
      await listen(bin, account, port);
      return `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
    } catch (error) {
      if (tries === portTriesMax || !/address already in use/i.test((error as Error).message)) throw error;
    }
  }
}

function initialise(bin: string, account: Account | undefined, password: string): void {
  const passwordFile = join(home, "password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  mkdirSync(join(home, "data"), { mode: 0o700 });
  if (account) for (const name of ["password", "data"]) chownSync(join(home, name), account.uid, account.gid);
  const flags = ["--username=postgres", `--pwfile=${passwordFile}`, "--auth=scram-sha-256", "--encoding=UTF8"];
  // Only making the empty cluster goes without fsync; the server itself syncs as in production.
  const result = spawnSync(join(bin, "initdb"), ["--no-sync", "--locale=C", ...flags, "-D", join(home, "data")], {
    ...account,
    cwd: home,
    env: { ...process.env, LC_ALL: "C" },
    encoding: "utf8",
  });
  if (result.status !== 0) throw new Error(`initdb failed: ${result.error?.message ?? result.stderr}`);
}

function listen(bin: string, account: Account | undefined, port: number): Promise<void> {
  const settings = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: "",
    max_connections: 300,
    fsync: "on",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const child = spawn(join(bin, "postgres"), ["-D", join(home, "data"), ...flags], {
    ...account,
    cwd: home,
    env: { ...process.env, LC_ALL: "C" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  server = child;
  return new Promise((resolve, reject) => {
    let log = "";
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`Postgres was not ready within ${startMsMax} ms: ${log}`));
    }, startMsMax);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      log = (log + text).slice(-4_000);
      if (log.includes("ready to accept connections")) {
        clearTimeout(timer);
        resolve();
      }
    });
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      reject(new Error(`Postgres ended with code ${code}: ${log}`));
    });
  });
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

async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  for (const signal of ["SIGINT", "SIGQUIT", "SIGKILL"] as const) {
    if (!server || server.exitCode !== null || server.signalCode !== null) break;
    server.kill(signal);
    await ended(server);
  }
  rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  process.exit(0);
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, stopMsMax);
    child.once("exit", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
