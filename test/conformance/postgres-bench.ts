/** A Postgres store for the tests that look behind the port: savers on it, a connection of the test's own, a relay. */
import { connect, createServer, type Server, type Socket } from "node:net";
import postgres, { type Sql } from "postgres";
import { PostgresSaver, type PostgresSaverOptions } from "../../adapters/postgres/mod.ts";
import { createDatabase } from "../support/postgres.ts";
import { until } from "../support/wait.ts";

export class Bench implements AsyncDisposable {
  readonly url: string;
  /** Two connections and no limits: for locks that stay open over several statements. */
  readonly sql: Sql;
  readonly #open: (() => Promise<unknown>)[] = [];

  private constructor(url: string) {
    this.url = url;
    this.sql = postgres(url, { max: 4, onnotice: () => {} });
    this.#open.push(() => this.sql.end({ timeout: 1 }));
  }

  static async start(): Promise<Bench> {
    const bench = new Bench(await createDatabase());
    await bench.saver();
    return bench;
  }

  async saver(options: PostgresSaverOptions = {}): Promise<PostgresSaver> {
    const saver = new PostgresSaver({ url: this.url, ...options });
    this.#open.push(() => saver.close());
    await saver.setup();
    return saver;
  }

  async relay(): Promise<Relay> {
    const relay = await Relay.start(this.url);
    this.#open.push(() => relay.close());
    return relay;
  }

  /** Locks the heads until the returned function is called: whatever writes to these threads must wait so long. */
  async lock(...threadIds: string[]): Promise<() => Promise<void>> {
    const connection = await this.sql.reserve();
    await connection`BEGIN`;
    await connection`SELECT FROM agentmatic.threads WHERE thread_id IN ${this.sql(threadIds)} ORDER BY thread_id FOR UPDATE`;
    return async () => {
      await connection`COMMIT`;
      connection.release();
    };
  }

  /** Until so many statements wait for a lock. Each is counted by its connection. */
  async waiting(count: number): Promise<void> {
    const blocked = async () => {
      const rows = await this.sql`SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      return rows.length === count;
    };
    await until(blocked, { what: `${count} statements that wait for a lock`, everyMs: 2 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#open.reverse()) await close();
  }
}

/** Stands between a saver and its server, counts turns, and can lose an answer. */
export class Relay {
  /** How often a client began to speak after the server had: round trips. */
  turns = 0;
  /** What clients sent first: the settings of the session. */
  readonly startups: string[] = [];
  readonly url: string;
  readonly #server: Server;
  readonly #sockets: Set<Socket> = new Set();
  #lose = 0;
  #lost: () => void = () => {};

  private constructor(url: string, server: Server) {
    this.url = url;
    this.#server = server;
  }

  static async start(target: string): Promise<Relay> {
    const { hostname, port } = new URL(target);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = new URL(target);
    url.host = `127.0.0.1:${(server.address() as { port: number }).port}`;
    const relay = new Relay(url.href, server);
    server.on("connection", (client) => relay.#join(client, connect(Number(port || 5432), hostname)));
    return relay;
  }

  /** The next answer is swallowed and its connection cut. Resolves when that has happened. */
  loseNextAnswer(): Promise<void> {
    this.#lose += 1;
    return new Promise((resolve) => {
      this.#lost = resolve;
    });
  }

  /** Cuts every client off; what the server is doing for them goes on. */
  cutClients(): void {
    for (const socket of this.#sockets) if (socket.localPort === this.#port) socket.destroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get #port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  #join(client: Socket, server: Socket): void {
    let serverSpoke = true;
    let started = false;
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
    }
    client.on("data", (chunk) => {
      if (!started) this.startups.push(chunk.toString("latin1"));
      started = true;
      if (serverSpoke) this.turns += 1;
      serverSpoke = false;
      server.write(chunk);
    });
    server.on("data", (chunk) => {
      serverSpoke = true;
      if (this.#lose === 0) return client.write(chunk);
      this.#lose -= 1;
      client.destroy();
      server.destroy();
      return this.#lost();
    });
    server.on("close", () => client.destroy());
    // A client that is gone leaves its statement running: the server is not told before it has answered.
    client.on("close", () => server.unref());
  }
}
