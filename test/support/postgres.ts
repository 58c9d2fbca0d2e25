import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import postgres from "postgres";

export interface PostgresServer {
  /** A superuser's URL; its path names the database `postgres`. */
  url: string;
  stop(): Promise<void>;
}

/**
 * Starts a Postgres of its own on a free loopback port, with an empty cluster and fsync on: one to two seconds. It ends
 * with this process, however that ends. Throws an Error that says what to install if there is no Postgres.
 */
export async function startPostgres(): Promise<PostgresServer> {
  const keeper = spawn(process.execPath, [join(import.meta.dirname, "postgres-keeper.ts")], {
    // Its own process group: Ctrl-C must reach the tests first, and the server only after them.
    detached: true,
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, NODE_NO_WARNINGS: "1" },
  });
  const closed = new Promise<void>((resolve) => keeper.once("close", () => resolve()));
  const stop = async (): Promise<void> => {
    keeper.ref();
    keeper.stdin.end();
    await closed;
  };
  for await (const line of createInterface({ input: keeper.stdout })) {
    const [, word, rest = ""] = /^(ready|failed) (.*)$/.exec(line) ?? [];
    if (word === "failed") {
      await stop();
      throw new Error(JSON.parse(rest) as string);
    }
    if (word === "ready") {
      // A process that forgets to stop its server can still end, and the server ends with it.
      keeper.unref();
      for (const pipe of [keeper.stdin, keeper.stdout]) (pipe as unknown as { unref(): void }).unref();
      return { url: rest, stop };
    }
  }
  throw new Error("the Postgres keeper ended without a word");
}

/**
 * Makes an empty database and returns its URL. The server is that of AGENTMATIC_TEST_POSTGRES if that is set; else one
 * that the whole vitest run shares (see global-setup.ts), or outside vitest one that this process shares.
 */
export function createDatabase(): Promise<string> {
  const broker = process.env.AGENTMATIC_TEST_BROKER;
  if (broker) return askBroker(broker);
  own ??= new SharedServer();
  return own.createDatabase();
}

let own: SharedServer | undefined;

/** A server that starts with its first database. Stopping it drops what was made on a server that was there before. */
export class SharedServer {
  readonly #given: string | undefined = process.env.AGENTMATIC_TEST_POSTGRES;
  readonly #made: string[] = [];
  #starting: Promise<PostgresServer> | undefined;

  async createDatabase(): Promise<string> {
    const { url } = await this.#server();
    const name = `agentmatic_test_${randomBytes(6).toString("hex")}`;
    await administer(url, (sql) => sql`CREATE DATABASE ${sql(name)}`);
    this.#made.push(name);
    const database = new URL(url);
    database.pathname = `/${name}`;
    return database.href;
  }

  async stop(): Promise<void> {
    const server = await this.#starting?.catch(() => undefined);
    if (!server) return;
    if (this.#given) {
      await administer(server.url, async (sql) => {
        for (const name of this.#made) await sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`;
      });
    }
    await server.stop();
  }

  #server(): Promise<PostgresServer> {
    const given = this.#given;
    this.#starting ??= given ? Promise.resolve({ url: given, stop: async () => {} }) : startPostgres();
    return this.#starting;
  }
}

async function administer(url: string, work: (sql: postgres.Sql) => Promise<unknown>): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await work(sql);
  } finally {
    await sql.end();
  }
}

function askBroker(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(path);
    socket.setEncoding("utf8").on("data", (text: string) => {
      answer += text;
    });
    socket.once("error", reject);
    socket.once("end", () => {
      const { url, error } = JSON.parse(answer || '{"error":"the test run is over"}') as {
        url?: string;
        error?: string;
      };
      if (url) resolve(url);
      else reject(new Error(error));
    });
  });
}
