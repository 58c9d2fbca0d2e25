/** Sends statements, and settles what becomes of those whose answer is lost. */
import postgres, { type Options, type Sql } from "postgres";
import { AgentmaticError, invalid } from "../../src/errors.ts";
import { type Ports, sleep } from "../../src/ports.ts";
import { failure, isCollision, isLost } from "./failure.ts";
import type { Row } from "./rows.ts";

/** Tries after the first of a statement whose answer was lost: with the waits below, about four seconds in all. */
const lostTriesMax = 8;
const lostWaitMs = { first: 25, most: 1_000 } as const;
/** Tries after the first of a lone statement that the server undid because of others. */
const collisionTriesMax = 5;
/** Milliseconds that an answer may come after the server's own limit, before its connection counts as lost. */
const answerMarginMs = 1_000;
const connectTimeoutS = 3;
const closeTimeoutS = 5;

export interface ClientOptions {
  readonly url: string | undefined;
  /** A pool of the caller's, which this client neither sets up nor ends. */
  readonly sql: Sql | undefined;
  readonly connections: number;
  readonly prepare: boolean;
  /** 0 leaves the server's settings as they are. */
  readonly statementTimeoutMs: number;
  readonly ports: Ports;
}

export interface RunOptions {
  /** False where the caller divides a batch that collided; else the whole statement is tried again. */
  readonly alone?: boolean;
}

export class Client {
  readonly #options: ClientOptions;
  readonly #closing = new AbortController();
  #sql: Sql;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#sql = options.sql ?? openPool(options);
  }

  /**
   * Runs one statement, in a transaction of its own. A lost answer is settled by issuing the very same statement again
   * (P7), so every statement must be harmless when it is carried out twice. Throws `AgentmaticError`s only.
   */
  async run(statement: string, parameters: readonly (string | number | boolean | null)[], options: RunOptions = {}): Promise<readonly Row[]> {
    const collisionsMax = options.alone === false ? 0 : collisionTriesMax;
    for (let lost = 0, collisions = 0; ; ) {
      if (this.#closing.signal.aborted) throw closed();
      const sql = this.#sql;
      try {
        return await this.#answer(sql, statement, parameters);
      } catch (thrown) {
        if (isLost(thrown) && lost < lostTriesMax) await this.#wait(lost++);
        else if (isCollision(thrown) && collisions < collisionsMax) await this.#wait(collisions++);
        else throw failure(thrown);
      }
    }
  }

  /** Runs several statements that take no parameters, as one transaction. */
  async script(text: string): Promise<void> {
    await this.run(text, []);
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(closed());
    if (!this.#options.sql) await this.#sql.end({ timeout: closeTimeoutS });
  }

  /** The answer, or `CONNECT_TIMEOUT` where the server is silent: frozen, or behind a network that drops packets. */
  #answer(sql: Sql, statement: string, parameters: readonly (string | number | boolean | null)[]): Promise<readonly Row[]> {
    const { prepare, statementTimeoutMs, ports } = this.#options;
    const query = sql.unsafe(statement, [...parameters], { prepare: prepare && parameters.length > 0 }).values();
    if (statementTimeoutMs === 0) return query;
    return new Promise((resolve, reject) => {
      const cancel = ports.timers.after(statementTimeoutMs + answerMarginMs, () => {
        this.#abandon(sql);
        reject(Object.assign(new Error("no answer in time"), { code: "CONNECTION_CLOSED" }));
      });
      query.then(
        (rows) => {
          cancel();
          resolve(rows);
        },
        (thrown) => {
          cancel();
          reject(thrown);
        },
      );
    });
  }

  /** A silent connection cannot be told from a slow one from inside the pool: a new pool is cheap, and sure. */
  #abandon(sql: Sql): void {
    if (this.#options.sql || sql !== this.#sql || this.#closing.signal.aborted) return;
    this.#options.ports.logger.log("warn", "Postgres is silent: opening new connections");
    this.#sql = openPool(this.#options);
    sql.end({ timeout: 0 }).catch(() => {});
  }

  async #wait(tries: number): Promise<void> {
    const { timers, random } = this.#options.ports;
    const most = Math.min(lostWaitMs.first * 2 ** tries, lostWaitMs.most);
    await sleep(timers, most * (0.5 + random.next() / 2), this.#closing.signal);
  }
}

function openPool(options: ClientOptions): Sql {
  const limits = options.statementTimeoutMs === 0 ? {} : serverLimits(options.statementTimeoutMs);
  const settings: Options<Record<string, never>> = {
    max: options.connections,
    prepare: options.prepare,
    fetch_types: false,
    connect_timeout: connectTimeoutS,
    // Waiting is done here, by the caller's own limits: the driver's would grow to 20 s.
    backoff: () => 0,
    onnotice: () => {},
    connection: { application_name: "agentmatic", ...limits },
  };
  try {
    return options.url === undefined ? postgres(settings) : postgres(options.url, settings);
  } catch {
    // The driver's own error repeats the URL, which may hold a password.
    throw invalid("url", "is not a Postgres URL that the driver can read");
  }
}

/** Below the heartbeat limit, so that a statement that waits for a lock is over before its worker counts as dead (P19). */
function serverLimits(timeoutMs: number): Record<string, number> {
  return { statement_timeout: timeoutMs, idle_in_transaction_session_timeout: timeoutMs };
}

function closed(): AgentmaticError {
  return new AgentmaticError("FailedPrecondition", "the Postgres saver is closed");
}
