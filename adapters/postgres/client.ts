/** Sends statements, and settles what becomes of those whose answer is lost. */
import postgres, { type Options, type Sql } from "postgres";
import { AgentmaticError, invalid } from "../../src/errors.ts";
import { type Ports, sleep } from "../../src/ports.ts";
import { failure, isCollision, isLost } from "./failure.ts";
import { Gate } from "./gate.ts";
import type { Row } from "./rows.ts";

/** Tries after the first of a statement whose answer was lost: with the waits below, about four seconds in all. */
const lostTriesMax = 8;
const retryWaitMs = { first: 25, most: 1_000 } as const;
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
  /** Statements that may wait for a connection. */
  readonly queueMax: number;
  readonly prepare: boolean;
  /** 0 leaves the server's settings as they are. */
  readonly statementTimeoutMs: number;
  readonly ports: Ports;
}

export type Parameter = string | number | boolean | null;

export interface RunOptions {
  /** Goes before the others that wait: what keeps a claim alive, or ends a superstep. */
  readonly urgent?: boolean;
  /** A batch that collides with others is thrown back, for the caller to divide; all else is tried again as it is. */
  readonly batch?: boolean;
  /** Tries after the first where answers are lost; 8 if not given. */
  readonly lostTries?: number;
  /** Called where an answer was lost, so that the statement is about to be issued a second time. */
  readonly onLost?: () => void;
}

export class Client {
  readonly #options: ClientOptions;
  readonly #gate: Gate;
  readonly #closing: AbortController = new AbortController();
  #sql: Sql;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#gate = new Gate(options.connections, options.queueMax);
    this.#sql = options.sql ?? openPool(options);
  }

  /**
   * Runs one statement, in a transaction of its own. A lost answer is settled by issuing the very same statement again
   * (P7), so every statement must be harmless when it is carried out twice. Throws `AgentmaticError`s only.
   */
  async run(statement: string, parameters: readonly Parameter[], options: RunOptions = {}): Promise<readonly Row[]> {
    const collisionsMax = options.batch ? 0 : collisionTriesMax;
    const lostMax = options.lostTries ?? lostTriesMax;
    for (let lost = 0, collisions = 0; ; ) {
      try {
        return await this.#once(statement, parameters, options.urgent ?? false);
      } catch (thrown) {
        if (isLost(thrown) && lost < lostMax) {
          options.onLost?.();
          await this.#wait(lost++);
        } else if (isCollision(thrown) && collisions < collisionsMax) await this.#wait(collisions++);
        else throw failure(thrown);
      }
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(closed());
    if (!this.#options.sql) await this.#sql.end({ timeout: closeTimeoutS });
  }

  async #once(statement: string, parameters: readonly Parameter[], urgent: boolean): Promise<readonly Row[]> {
    await this.#gate.enter(urgent);
    try {
      if (this.#closing.signal.aborted) throw closed();
      return await this.#answer(this.#sql, statement, parameters);
    } finally {
      this.#gate.leave();
    }
  }

  /** The answer; `CONNECTION_CLOSED` too where the server is silent: frozen, or behind a network that drops packets. */
  #answer(sql: Sql, statement: string, parameters: readonly Parameter[]): Promise<readonly Row[]> {
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

  /** The pool offers no way to drop one connection. A new pool is cheap, and what the old one runs is issued again. */
  #abandon(sql: Sql): void {
    if (this.#options.sql || sql !== this.#sql || this.#closing.signal.aborted) return;
    this.#options.ports.logger.log("warn", "Postgres is silent: opening new connections");
    this.#sql = openPool(this.#options);
    sql.end({ timeout: 0 }).catch(() => {});
  }

  async #wait(tries: number): Promise<void> {
    const { timers, random } = this.#options.ports;
    const most = Math.min(retryWaitMs.first * 2 ** tries, retryWaitMs.most);
    await sleep(timers, most * (0.5 + random.next() / 2), this.#closing.signal);
  }
}

function openPool(options: ClientOptions): Sql {
  const settings: Options<Record<string, never>> = {
    max: options.connections,
    prepare: options.prepare,
    fetch_types: false,
    connect_timeout: connectTimeoutS,
    // Waiting is done here, by limits that fit a heartbeat: the driver's own would grow to 20 s.
    backoff: () => 0,
    onnotice: () => {},
    connection: {
      application_name: "agentmatic",
      ...(options.prepare ? plans : {}),
      ...serverLimits(options.statementTimeoutMs),
    },
  };
  try {
    return options.url === undefined ? postgres(settings) : postgres(options.url, settings);
  } catch {
    // The driver's own error repeats the URL, which may hold a password.
    throw invalid("url", "is not a Postgres URL that the driver can read");
  }
}

/**
 * A prepared statement's plan is kept, and is often made while the tables are empty, where reading them whole looks
 * cheapest: every statement here has an index to go by. Without sequential scans costs look high, which would wake the
 * JIT. Left to choose, the server plans small batches anew each time (0.57 instead of 0.25 ms of its time).
 */
const plans = { enable_seqscan: "off", jit: "off", plan_cache_mode: "force_generic_plan" } as const;

/** Below the heartbeat limit, so that a statement that waits for a lock is over before its worker counts as dead (P19). */
function serverLimits(timeoutMs: number): Record<string, number> {
  return timeoutMs === 0 ? {} : { statement_timeout: timeoutMs, idle_in_transaction_session_timeout: timeoutMs };
}

function closed(): AgentmaticError {
  return new AgentmaticError("FailedPrecondition", "the Postgres saver is closed");
}
