import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

export interface WorkerProcess {
  /** `w1`, `w2`, …: the launcher's own name for it. */
  readonly name: string;
  readonly pid: number;
  /** Where it serves runs, and where health and metrics: `127.0.0.1:PORT`. */
  readonly address: string;
  readonly metrics: string;
  /** The random id it goes by in the cluster. */
  readonly id: string;
}

export interface FleetOptions {
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Each worker's error output goes to a file of its own here. */
  readonly logFolder: string;
  readonly startMs?: number;
}

export type WorkerState = "up" | "frozen" | "dead";

const START_MS = 30_000;
const STOP_MS = 8_000;
const LOG_TAIL = 2_000;
const READY = /^agentmatic-worker listening on (\S+) \(metrics (\S+?)\) id=(\S+)/;

interface Member {
  readonly worker: WorkerProcess;
  readonly child: ChildProcess;
  readonly exited: Promise<void>;
  state: WorkerState;
}

/** The worker processes of one job: started, killed, frozen, let go on, and all ended when it is closed. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #members: Map<string, Member> = new Map();
  readonly #starting: Set<ChildProcess> = new Set();
  readonly #unasked: PromiseWithResolvers<never> = Promise.withResolvers();
  #count = 0;
  #closing = false;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#unasked.promise.catch(() => undefined);
  }

  /** Rejects, with the end of its log, when a worker has ended that nobody told to. */
  get unasked(): Promise<never> {
    return this.#unasked.promise;
  }

  /** Starts one worker and resolves once it says where it listens. @throws Error with the end of its log. */
  async start(): Promise<WorkerProcess> {
    const name = `w${++this.#count}`;
    const logFile = join(this.#options.logFolder, `${name}.log`);
    const log = openSync(logFile, "a");
    const [program, ...args] = this.#options.command;
    const child = spawn(program, args, { env: { ...this.#options.env }, stdio: ["ignore", "pipe", log] });
    closeSync(log);
    this.#starting.add(child);
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    try {
      const ready = await this.#ready(child, exited);
      const worker = { name, pid: child.pid!, address: ready[1]!, metrics: ready[2]!, id: ready[3]! };
      const member: Member = { worker, child, exited, state: "up" };
      this.#members.set(name, member);
      void exited.then(() => {
        if (member.state !== "dead" && !this.#closing) this.#unasked.reject(ended(member, logFile));
        member.state = "dead";
      });
      return worker;
    } catch (error) {
      child.kill("SIGKILL");
      throw new Error(`worker ${name} ${(error as Error).message}${tailOf(logFile)}`);
    } finally {
      this.#starting.delete(child);
    }
  }

  state(name: string): WorkerState {
    return this.#members.get(name)?.state ?? "dead";
  }

  /** Those that run and are not frozen. */
  up(): WorkerProcess[] {
    return this.all().filter((worker) => this.state(worker.name) === "up");
  }

  all(): WorkerProcess[] {
    return [...this.#members.values()].map((member) => member.worker);
  }

  /** SIGKILL: no handler runs, nothing is flushed. Resolves once the process is gone. */
  async kill(name: string): Promise<void> {
    const member = this.#member(name);
    member.state = "dead";
    member.child.kill("SIGKILL");
    await member.exited;
  }

  /** SIGSTOP: the process keeps its sockets, its locks and its beliefs, and does nothing. */
  freeze(name: string): void {
    const member = this.#member(name);
    member.state = "frozen";
    member.child.kill("SIGSTOP");
  }

  /** SIGCONT after a freeze; nothing where the process has ended meanwhile. */
  thaw(name: string): void {
    const member = this.#member(name);
    if (member.state !== "frozen") return;
    member.state = "up";
    member.child.kill("SIGCONT");
  }

  /** Asks all to stop, and kills those that do not within a bound. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const child of this.#starting) child.kill("SIGKILL");
    await Promise.all([...this.#members.values()].map((member) => stop(member)));
  }

  /** Ends every process at once; for a launcher that is itself told to end. */
  killAll(): void {
    this.#closing = true;
    for (const child of this.#starting) child.kill("SIGKILL");
    for (const { child } of this.#members.values()) if (child.exitCode === null) child.kill("SIGKILL");
  }

  #member(name: string): Member {
    const member = this.#members.get(name);
    if (member === undefined || member.state === "dead") throw new Error(`there is no live worker ${name}`);
    return member;
  }

  async #ready(child: ChildProcess, exited: Promise<void>): Promise<RegExpExecArray> {
    const ms = this.#options.startMs ?? START_MS;
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    const timer = setTimeout(() => reject(new Error(`did not start within ${ms} ms`)), ms);
    child.once("error", (error) => reject(new Error(`could not be started: ${error.message}`)));
    void exited.then(() =>
      reject(new Error(`ended before it listened (exit code ${child.exitCode ?? child.signalCode})`)),
    );
    // Read to the end: a full pipe would block the worker.
    createInterface({ input: child.stdout! }).on("line", (line) => {
      const match = READY.exec(line);
      if (match !== null) resolve(match);
    });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }
}

function ended({ worker, child }: Member, logFile: string): Error {
  return new Error(`worker ${worker.name} ended by itself (${child.signalCode ?? child.exitCode})${tailOf(logFile)}`);
}

function tailOf(logFile: string): string {
  const tail = readFileSync(logFile, "utf8").slice(-LOG_TAIL).trim();
  return tail === "" ? "" : `:\n${tail}`;
}

async function stop(member: Member): Promise<void> {
  if (member.state === "dead") return;
  if (member.state === "frozen") member.child.kill("SIGCONT");
  member.child.kill("SIGTERM");
  const timer = setTimeout(() => member.child.kill("SIGKILL"), STOP_MS);
  await member.exited;
  clearTimeout(timer);
}
