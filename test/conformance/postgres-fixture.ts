/** What the tests of the Postgres saver share: a schema of their own, a look at the server, a network that fails. */
import { randomBytes } from "node:crypto";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import postgres, { type Sql } from "postgres";
import { PostgresSaver, type PostgresSaverOptions } from "../../adapters/postgres/mod.ts";
import { createDatabase } from "../support/postgres.ts";
import { until } from "../support/wait.ts";

export class Stage {
  readonly url: string;
  readonly schema: string = `stage_${randomBytes(6).toString("hex")}`;
  /** A superuser's pool beside the savers'. */
  readonly admin: Sql;
  readonly #savers: PostgresSaver[] = [];

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
    return async () => {
      await connection`ROLLBACK`;
      connection.release();
    };
  }

  /** Waits until so many of the schema's statements wait for a lock. */
  async waiting(count: number): Promise<readonly number[]> {
    return until(
      async () => {
        const rows = await this.admin<{ pid: number }[]>`SELECT pid FROM pg_stat_activity
          WHERE wait_event_type = 'Lock' AND query LIKE ${`%${this.schema}%`} AND pid <> pg_backend_pid()`;
        return rows.length >= count ? rows.map(({ pid }) => pid) : false;
      },
      { what: `${count} statements that wait for a lock`, timeoutMs: 5_000 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const saver of this.#savers) await saver.close();
    await this.admin.unsafe(`DROP SCHEMA IF EXISTS "${this.schema}" CASCADE`);
    await this.admin.end();
  }
}

/** A relay between savers and their server that can lose answers, go silent, or be gone. */
export class Network {
  readonly url: string;
  /** Called with each piece that the server sends; false keeps it back for good. */
  onAnswer: (() => boolean) | undefined;
  #silent = false;
  readonly #relay: Server;
  readonly #sockets: Set<Socket> = new Set();

  private constructor(relay: Server, url: string) {
    this.#relay = relay;
    this.url = url;
  }

  static async to(target: string): Promise<Network> {
    const { hostname, port } = new URL(target);
    const relay = createServer((client) => network.#join(client, dial(Number(port), hostname)));
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    const address = relay.address();
    const url = new URL(target);
    url.port = String(typeof address === "object" && address ? address.port : 0);
    const network = new Network(relay, url.href);
    return network;
  }

  /** Cuts every connection; new ones are let through. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  /** Passes nothing on, either way, on the connections of this moment: their ends are never told. */
  silence(): void {
    this.#silent = true;
    for (const socket of this.#sockets) socket.pause();
    this.#sockets.clear();
    this.#silent = false;
  }

  /** Refuses connections until the returned function is called. */
  async refuse(): Promise<() => Promise<void>> {
    const { port } = new URL(this.url);
    this.cut();
    await new Promise((resolve) => this.#relay.close(resolve));
    return () => new Promise((resolve) => this.#relay.listen(Number(port), "127.0.0.1", resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    if (this.#relay.listening) await new Promise((resolve) => this.#relay.close(resolve));
  }

  #join(client: Socket, server: Socket): void {
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      if (!this.#silent) this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.once("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (data) => server.write(data));
    server.on("data", (data) => {
      if (this.onAnswer?.() !== false) client.write(data);
    });
  }
}
