/** What the tests of the Postgres saver share: a database of their own, a look at the server, a network that fails. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import postgres, { type Sql } from "postgres";
import { PostgresSaver, type PostgresSaverOptions } from "../../adapters/postgres/mod.ts";
import { createDatabase, type PostgresServer, startPostgres } from "../support/postgres.ts";
import { until } from "../support/wait.ts";

/** A database with its savers. */
export class Stage {
  readonly url: string;
  readonly schema: string = `stage_${randomBytes(6).toString("hex")}`;
  /** A superuser's pool beside the savers'. */
  readonly admin: Sql;
  readonly #savers: PostgresSaver[] = [];
  readonly #locks: Set<() => Promise<void>> = new Set();

  constructor(url: string) {
    this.url = url;
    this.admin = postgres(url, { max: 4, onnotice: () => {} });
  }

  static async open(url?: string): Promise<Stage> {
    return new Stage(url ?? (await createDatabase()));
  }

  async saver(options: PostgresSaverOptions = {}): Promise<PostgresSaver> {
    const place = options.sql || options.url ? {} : { url: this.url };
    const saver = new PostgresSaver({ ...place, schema: this.schema, ...options });
    this.#savers.push(saver);
    await saver.setup();
    return saver;
  }

  /** Rows of a statement in which `$` stands for the schema. */
  rows(statement: string): Promise<readonly Record<string, unknown>[]> {
    return this.admin.unsafe(statement.replaceAll("$.", `"${this.schema}".`));
  }

  /** Locks a thread's head, as a slow statement would, until the returned function is called. */
  async lockHead(threadId: string): Promise<() => Promise<void>> {
    const connection = await this.admin.reserve();
    await connection`BEGIN`;
    await connection`SELECT FROM ${connection(this.schema)}.threads WHERE thread_id = ${threadId} FOR UPDATE`;
    const release = async () => {
      if (!this.#locks.delete(release)) return;
      await connection`ROLLBACK`;
      connection.release();
    };
    this.#locks.add(release);
    return release;
  }

  /** Waits until so many statements wait for a lock; returns their servers' process ids. */
  async waiting(count: number): Promise<readonly number[]> {
    return until(
      async () => {
        const rows = await this.admin<{ pid: number }[]>`SELECT pid FROM pg_stat_activity
          WHERE wait_event_type = 'Lock' AND datname = current_database()`;
        return rows.length >= count ? rows.map(({ pid }) => pid) : false;
      },
      { what: `${count} statements that wait for a lock`, timeoutMs: 5_000 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const release of this.#locks) await release();
    for (const saver of this.#savers) await saver.close();
    await this.admin.unsafe(`DROP SCHEMA IF EXISTS "${this.schema}" CASCADE`);
    await this.admin.end();
  }
}

/** A relay between savers and their server that can lose answers, go silent, or be gone. */
export class Network {
  /** The server's URL, by way of this relay. */
  readonly url: string;
  /** Called with each answer to a statement; where it returns false the answer is lost, and the connection too. */
  onAnswer: () => boolean = () => true;
  readonly #target: URL;
  readonly #relay: Server;
  readonly #sockets: Set<Socket> = new Set();
  readonly #silent: Set<Socket> = new Set();

  private constructor(target: URL, relay: Server, port: number) {
    const url = new URL(target);
    url.port = String(port);
    this.url = url.href;
    this.#target = target;
    this.#relay = relay;
    relay.on("connection", (client) => this.#join(client));
  }

  static async to(target: string): Promise<Network> {
    const relay = createServer();
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    const address = relay.address();
    return new Network(new URL(target), relay, typeof address === "object" && address ? address.port : 0);
  }

  /** Connections that pass data. */
  get size(): number {
    return this.#sockets.size / 2;
  }

  /** Ends every connection; new ones are let through. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Passes nothing on, either way, on the connections of this moment, whose ends are never told. */
  silence(): void {
    for (const socket of this.#sockets) {
      socket.pause();
      this.#silent.add(socket);
    }
    this.#sockets.clear();
  }

  /** Refuses connections until the returned function is called. */
  async refuse(): Promise<() => Promise<void>> {
    const { port } = new URL(this.url);
    const closed = new Promise((resolve) => this.#relay.close(resolve));
    this.cut();
    await closed;
    return () => new Promise((resolve) => this.#relay.listen(Number(port), "127.0.0.1", resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of [...this.#sockets, ...this.#silent]) socket.destroy();
    if (this.#relay.listening) await new Promise((resolve) => this.#relay.close(resolve));
  }

  #join(client: Socket): void {
    const server = dial(Number(this.#target.port), this.#target.hostname);
    for (const [socket, other] of [[client, server] as const, [server, client] as const]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.once("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (data) => server.write(data));
    server.on("data", (data) => {
      if (!isAnswer(data) || this.onAnswer()) client.write(data);
      else client.destroy();
    });
  }
}

/** True where a piece has a CommandComplete in it: the statement was carried out, and not only parsed. */
function isAnswer(data: Buffer): boolean {
  for (let at = 0; at + 5 <= data.length; at += 1 + data.readUInt32BE(at + 1)) {
    if (data[at] === 0x43) return true;
  }
  return false;
}

/** A server of a test's own, which it may crash, stop and start again on the same data and port. */
export class OwnServer {
  readonly url: string;
  readonly #first: PostgresServer;
  readonly #command: readonly string[];
  readonly #folder: string;
  #pid: number;
  #again: ChildProcess | undefined;

  private constructor(first: PostgresServer, folder: string, pid: number, command: readonly string[]) {
    this.url = first.url;
    this.#first = first;
    this.#folder = folder;
    this.#pid = pid;
    this.#command = command;
    process.on("exit", () => this.#again?.kill("SIGKILL"));
  }

  static async start(): Promise<OwnServer> {
    const first = await startPostgres();
    const sql = postgres(first.url, { max: 1 });
    const [row] = await sql`SELECT current_setting('data_directory') AS folder, pg_read_file('postmaster.pid') AS pid,
      pg_read_file('postmaster.opts') AS command`;
    await sql.end();
    const words = [...String(row?.command).matchAll(/"([^"]*)"|(\S+)/g)].map(
      ([, quoted, plain]) => quoted ?? plain ?? "",
    );
    return new OwnServer(first, String(row?.folder), Number.parseInt(row?.pid, 10), words);
  }

  /** SIGQUIT ends it as a crash would, without a last write; SIGINT in order. */
  async stop(signal: "SIGQUIT" | "SIGINT"): Promise<void> {
    process.kill(this.#pid, signal);
    await until(() => !isRunning(this.#pid), { what: "the server's end" });
  }

  /** Returns at once: the server refuses connections until it has recovered. */
  startAgain(): void {
    const [program = "", ...args] = this.#command;
    const { uid, gid } = statSync(this.#folder);
    const env = { ...process.env, LC_ALL: "C" };
    this.#again = spawn(program, args, { uid, gid, cwd: this.#folder, env, stdio: "ignore" });
    this.#pid = this.#again.pid ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const again = this.#again;
    if (again && again.exitCode === null && again.signalCode === null) {
      const gone = new Promise((resolve) => again.once("exit", resolve));
      again.kill("SIGQUIT");
      await gone;
    }
    await this.#first.stop();
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
