import { type ChildProcess, spawn } from "node:child_process";

/** What a child is started with, beyond its command. */
export interface StartOptions {
  cwd?: string;
  /** Added to this process's environment; undefined takes a variable away. */
  env?: Record<string, string | undefined>;
}

/** How a child ended: exactly one of the two is not null. */
export interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
}

// A child's output is kept for error messages only up to this many characters of its end.
const outputCharsMax = 1_000_000;

/** A child process of a test. It never outlives the test's own process. */
export class Child {
  readonly pid: number;
  /** Settles when the child has ended and its output is read to the end. */
  readonly exited: Promise<Ending>;
  readonly #process: ChildProcess;
  readonly #command: string;
  readonly #lines: string[] = [];
  readonly #partial = { stdout: "", stderr: "" };
  #output = "";
  #ending: Ending | undefined;
  #wake: () => void = () => {};
  #changed: Promise<void> = Promise.resolve();

  constructor(child: ChildProcess, command: string) {
    if (child.pid === undefined) throw new Error(`could not start ${command}`);
    this.pid = child.pid;
    this.#process = child;
    this.#command = command;
    this.#arm();
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream]?.setEncoding("utf8");
      child[stream]?.on("data", (text: string) => this.#read(stream, text));
    }
    this.exited = new Promise((resolve) => {
      child.once("close", (code, signal) => {
        living.delete(this);
        this.#ending = { code, signal };
        resolve(this.#ending);
        this.#arm();
      });
    });
    living.add(this);
  }

  /** Everything the child has written so far, both streams in the order of arrival. */
  get output(): string {
    return this.#output;
  }

  /** How the child ended; undefined while it lives. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /**
   * Waits for a whole line, of stdout or stderr, that matches; lines written before the call count too.
   * Throws an Error with the child's output when the time is up, or when the child ends without such a line.
   */
  async line(pattern: RegExp, options: { timeoutMs?: number; from?: number } = {}): Promise<RegExpExecArray> {
    const timeoutMs = options.timeoutMs ?? 10_000;
    const deadline = performance.now() + timeoutMs;
    for (let next = options.from ?? 0; ; ) {
      const changed = this.#changed;
      const ending = this.#ending;
      for (; next < this.#lines.length; next++) {
        const match = new RegExp(pattern, pattern.flags.replace(/[gy]/g, "")).exec(this.#lines[next] ?? "");
        if (match) return match;
      }
      if (ending) throw this.#complain(`ended (${ending.signal ?? ending.code}) without a line like ${pattern}`);
      if (!(await settlesBefore(changed, deadline))) {
        throw this.#complain(`wrote no line like ${pattern} within ${timeoutMs} ms`);
      }
    }
  }

  /** Number of whole lines so far: hand it to `line` as `from` to look at later lines only. */
  get lineCount(): number {
    return this.#lines.length;
  }

  /** Sends a signal (SIGKILL if not given); a child that has ended is left alone. */
  signal(signal: NodeJS.Signals = "SIGKILL"): void {
    if (!this.#ending) this.#process.kill(signal);
  }

  /** Kills the child with SIGKILL, frozen or not, and waits until it is gone. */
  async kill(): Promise<Ending> {
    this.signal("SIGKILL");
    return this.exited;
  }

  /** Asks the child to end with SIGTERM, and kills it if it has not ended within `graceMs`. */
  async stop(graceMs = 5_000): Promise<Ending> {
    this.signal("SIGTERM");
    await settlesBefore(this.exited, performance.now() + graceMs);
    return this.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #read(stream: "stdout" | "stderr", text: string): void {
    this.#output = (this.#output + text).slice(-outputCharsMax);
    const lines = (this.#partial[stream] + text).split(/\r?\n/);
    this.#partial[stream] = lines.pop() ?? "";
    if (lines.length === 0) return;
    this.#lines.push(...lines);
    this.#arm();
  }

  #arm(): void {
    this.#wake();
    this.#changed = new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #complain(what: string): Error {
    return new Error(`${this.#command} (pid ${this.pid}) ${what}; it wrote:\n${this.#output.slice(-4_000)}`);
  }
}

/** Starts a child whose stdin is empty and whose output is collected. Throws an Error if it cannot be started. */
export async function start(cmd: string, args: readonly string[], options: StartOptions = {}): Promise<Child> {
  const child = spawn(cmd, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  child.on("error", () => {});
  return new Child(child, [cmd, ...args].join(" "));
}

/** Starts a child and waits for its end; kills it after `timeoutMs` (60,000 if not given). */
export async function run(
  cmd: string,
  args: readonly string[],
  options: StartOptions & { timeoutMs?: number } = {},
): Promise<Ending & { output: string }> {
  const child = await start(cmd, args, options);
  const timeoutMs = options.timeoutMs ?? 60_000;
  const inTime = await settlesBefore(child.exited, performance.now() + timeoutMs);
  const ending = await child.kill();
  if (!inTime) throw new Error(`${cmd} ${args.join(" ")} did not end within ${timeoutMs} ms:\n${child.output}`);
  return { ...ending, output: child.output };
}

async function settlesBefore(promise: Promise<unknown>, deadline: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, deadline - performance.now()), false);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

const living = new Set<Child>();

function killAll(): void {
  for (const child of living) child.signal("SIGKILL");
}

// A test file's process may be told to go (SIGTERM), or lose the one that runs it (disconnect), instead of ending.
process.on("exit", killAll);
process.once("disconnect", killAll);
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  process.once(signal, () => {
    killAll();
    process.kill(process.pid, signal);
  });
}
