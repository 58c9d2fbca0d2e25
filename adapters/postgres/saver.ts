/** The Postgres saver: one statement for everything that must be one step (statements.ts), batches in front of it. */
import process from "node:process";
import type { Sql } from "postgres";
import { checkLimit } from "../../src/checkpoint/memory.ts";
import {
  type CheckpointQuery,
  type Claim,
  type ClaimRequest,
  type Commit,
  checkpointQueryMax,
  type NamespaceQuery,
  type RenewRequest,
  type RenewResult,
  type Saver,
  type StoredCheckpoint,
  type StoreIdentity,
  type TaskWritesRequest,
  type ThreadHead,
  type WriteResult,
} from "../../src/checkpoint/saver.ts";
import { AgentmaticError, invalid } from "../../src/errors.ts";
import { type Ports, systemPorts } from "../../src/ports.ts";
import type { RunRecord, RunState } from "../../src/run/record.ts";
import type { Admission, Admitted, Member, RunQuery } from "../../src/run/store.ts";
import { type Batches, batchEntriesMax, makeBatches, queueMax, refused } from "./batches.ts";
import { Client } from "./client.ts";
import { checkWrite, commitEntry, renewParameters } from "./entries.ts";
import { checkText } from "./literals.ts";
import { checkSchema, parseUrl, urlOf } from "./location.ts";
import { toCheckpoints, toHead } from "./rows.ts";
import { admit, againMax, beat, getRun, listRuns, members, removeMember, updateRun } from "./runs.ts";
import { Store } from "./store.ts";

export interface PostgresSaverOptions {
  /**
   * `postgres://user:password@host:5432/database`, with `agentmatic_schema`, `agentmatic_zone` and `agentmatic_region` in
   * its query where the options below do not say. Without it and without `sql`: the driver's PG* variables.
   */
  url?: string;
  /**
   * A pool of the `postgres` package to share instead. It stays the caller's to end, and to set up: give it a
   * `statement_timeout` and an `idle_in_transaction_session_timeout` below the heartbeat limit.
   */
  sql?: Sql;
  /** Schema of the tables; `agentmatic` if not given. */
  schema?: string;
  /** Most connections at the same time; 6 if not given. */
  connections?: number;
  /** Statements with commits in flight at the same time; 4, or one less than the connections, if not given. */
  lanes?: number;
  /** Residency zone and region of the store: written by `setup`, compared at every start. */
  zone?: string;
  region?: string;
  /**
   * False where a pooler such as PgBouncer (before 1.21, in transaction mode) knows no prepared statements: each is then
   * parsed anew, which costs a second round trip, before the transaction. Together with `statementTimeoutMs: 0` no
   * setting but the application's name is sent at connect.
   */
  prepare?: boolean;
  /**
   * Server's limit on one statement, in milliseconds; 2,000 if not given, which is below the heartbeat limit of 3,000.
   * 0 sends no limit (for a pooler that refuses such settings) and waits for answers as long as the connection lives.
   */
  statementTimeoutMs?: number;
  /** Test hook: writes are taken whatever their fence and head, to show what fences are for. Never for real data. */
  unsafeWithoutFence?: boolean;
  ports?: Ports;
}

const defaultSchema = "agentmatic";
const defaultConnections = 6;
const defaultLanes = 4;
const defaultStatementTimeoutMs = 2_000;

export class PostgresSaver implements Saver {
  readonly kind = "postgres";
  readonly shared = true;
  readonly #store: Store;
  readonly #batches: Batches;

  /** Connects at the first call. Throws `InvalidArgument`, naming the option. */
  constructor(options: PostgresSaverOptions = {}) {
    const { connections = defaultConnections, sql, ports = systemPorts } = options;
    const lanes = options.lanes ?? Math.max(1, Math.min(defaultLanes, connections - 1));
    const location = options.url === undefined ? undefined : parseUrl(options.url);
    const schema = options.schema ?? location?.schema ?? defaultSchema;
    const [zone, region] = [options.zone ?? location?.zone, options.region ?? location?.region];
    checkOptions({ ...options, schema, zone, region, connections, lanes });
    const client = new Client({
      url: location?.url,
      sql,
      connections,
      queueMax,
      prepare: options.prepare ?? true,
      statementTimeoutMs: options.statementTimeoutMs ?? defaultStatementTimeoutMs,
      ports,
    });
    const unfenced = options.unsafeWithoutFence ?? false;
    this.#store = new Store({ client, schema, zone, region, unfenced, ids: ports.ids });
    this.#batches = makeBatches(this.#store, lanes);
  }

  /** `postgres://…?agentmatic_region=eu-west-1&agentmatic_zone=eu&agentmatic_schema=x`; the options win over the URL. */
  static fromUrl(url: string, options: Omit<PostgresSaverOptions, "url" | "sql"> = {}): PostgresSaver {
    return new PostgresSaver({ ...options, url });
  }

  /** From `DATABASE_URL`, else `PGHOST`, `PGDATABASE` or `PGUSER`. Throws `InvalidArgument` where none of them is set. */
  static fromEnv(options: Omit<PostgresSaverOptions, "url" | "sql"> = {}): PostgresSaver {
    const url = urlOf(process.env);
    return new PostgresSaver(url === undefined ? options : { ...options, url });
  }

  setup(): Promise<void> {
    return this.#store.setup();
  }

  identity(): Promise<StoreIdentity> {
    return this.#store.identity();
  }

  close(): Promise<void> {
    return this.#store.client.close();
  }

  admit(admission: Admission): Promise<Admitted> {
    return admit(this.#store, this.#batches.admits[admission.whenBusy], admission);
  }

  getRun(runId: string): Promise<RunRecord | undefined> {
    return getRun(this.#store, runId);
  }

  listRuns(query: RunQuery): Promise<readonly RunRecord[]> {
    return listRuns(this.#store, query);
  }

  updateRun(runId: string, next: RunState): Promise<RunRecord> {
    return updateRun(this.#store, runId, next);
  }

  beat(memberId: string): Promise<number> {
    return beat(this.#store, memberId);
  }

  members(): Promise<readonly Member[]> {
    return members(this.#store);
  }

  removeMember(memberId: string): Promise<void> {
    return removeMember(this.#store, memberId);
  }

  async claim(request: ClaimRequest): Promise<Claim> {
    const { threadId, runId, nonce, owner } = request;
    await this.#store.checkIds({ threadId, runId });
    if (nonce === "") throw invalid("nonce", "must not be empty");
    checkTexts({ nonce, owner });
    return this.#batches.claims.add(request);
  }

  async renew(batch: readonly RenewRequest[]): Promise<readonly RenewResult[]> {
    await this.#store.ready();
    const results: RenewResult[] = [];
    for (let from = 0; from < batch.length; from += batchEntriesMax) {
      const part = batch.slice(from, from + batchEntriesMax);
      for (const { fence, runId } of part) checkTexts({ nonce: fence.nonce, threadId: fence.threadId, runId });
      const rows = await this.#store.client.run(this.#store.statements.renew, renewParameters(part), { urgent: true });
      const held = new Map(rows.map(([n, cancel]) => [Number(n), cancel === true]));
      part.forEach(({ fence }, index) => {
        const cancelRequested = held.get(index + 1);
        results.push(cancelRequested === undefined ? refused(fence) : { ok: true, cancelRequested });
      });
    }
    return results;
  }

  async putWrites(batch: readonly TaskWritesRequest[]): Promise<readonly WriteResult[]> {
    await this.#store.ready();
    return Promise.all(
      batch.map((request) =>
        settle(async () => {
          checkTexts({ nonce: request.fence.nonce, threadId: request.fence.threadId });
          request.writes.forEach(checkWrite);
          return this.#batches.writes.add(request);
        }),
      ),
    );
  }

  async commit(batch: readonly Commit[]): Promise<readonly WriteResult[]> {
    await this.#store.ready();
    const results: Promise<WriteResult>[] = new Array(batch.length);
    const order = batch.map((_, index) => index).sort((a, b) => batch[a]!.seq - batch[b]!.seq);
    for (const index of order)
      results[index] = settle(async () => this.#batches.commits.add(commitEntry(batch[index]!)));
    return Promise.all(results);
  }

  async head(threadId: string): Promise<ThreadHead | undefined> {
    await this.#store.checkIds({ threadId });
    const [row] = await this.#store.client.run(this.#store.statements.head, [threadId]);
    return row && toHead(row[0], row[1], row[2], row[3]);
  }

  async get(threadId: string, ns: string, checkpointId?: string): Promise<StoredCheckpoint | undefined> {
    await this.#store.checkIds({ threadId });
    checkTexts({ ns, checkpointId: checkpointId ?? "" });
    const { client, statements } = this.#store;
    const named = checkpointId !== undefined;
    const statement = named ? statements.getNamed : ns === "" ? statements.getCurrent : statements.getLatest;
    const rows = await client.run(statement, named ? [threadId, ns, checkpointId] : [threadId, ns]);
    return toCheckpoints(threadId, ns, rows)[0];
  }

  async list({ threadId, ns = "", before, limit }: CheckpointQuery): Promise<readonly StoredCheckpoint[]> {
    await this.#store.checkIds({ threadId });
    checkLimit(limit, checkpointQueryMax);
    checkTexts({ ns, before: before ?? "" });
    const rows = await this.#store.client.run(this.#store.statements.list, [threadId, ns, before ?? null, limit]);
    return toCheckpoints(threadId, ns, rows);
  }

  async namespaces({ threadId, afterSeq, limit }: NamespaceQuery): Promise<readonly string[]> {
    await this.#store.checkIds({ threadId });
    checkLimit(limit, checkpointQueryMax);
    const rows = await this.#store.client.run(this.#store.statements.namespaces, [threadId, afterSeq, limit]);
    return rows.map(([ns]) => String(ns));
  }

  async deleteThread(threadId: string): Promise<void> {
    await this.#store.checkIds({ threadId });
    for (let tries = 0; tries < againMax; tries++) {
      const [row] = await this.#store.client.run(this.#store.statements.deleteThread, [threadId]);
      if (row?.[0] === "busy") {
        throw new AgentmaticError("ThreadBusy", `thread ${threadId} has the active run ${String(row[1])}`);
      }
      if (row?.[0] !== "again") return;
    }
    throw new AgentmaticError("Unavailable", `thread ${threadId}: others changed it ${againMax} times meanwhile`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function checkOptions(options: Resolved): void {
  const { schema, connections, lanes, zone = "", region = "", statementTimeoutMs = 0 } = options;
  if (options.url !== undefined && options.sql) throw invalid("sql", "cannot be given together with url");
  checkSchema(schema);
  if (!Number.isInteger(connections) || connections < 1) throw invalid("connections", "must be 1 or more");
  if (!Number.isInteger(lanes) || lanes < 1) throw invalid("lanes", "must be 1 or more");
  if (!Number.isInteger(statementTimeoutMs) || statementTimeoutMs < 0) {
    throw invalid("statementTimeoutMs", "must be a whole number of milliseconds, or 0");
  }
  if (zone !== "" && !/^[a-z][a-z0-9-]{0,31}$/.test(zone)) throw invalid("zone", `"${zone}" is not a zone name`);
  if (!/^[A-Za-z0-9._-]{0,64}$/.test(region)) throw invalid("region", `"${region}" is not a region name`);
}

/** The options once URL and defaults are in. */
interface Resolved extends Pick<PostgresSaverOptions, "url" | "sql" | "statementTimeoutMs"> {
  readonly schema: string;
  readonly connections: number;
  readonly lanes: number;
  readonly zone: string | undefined;
  readonly region: string | undefined;
}

async function settle(work: () => Promise<WriteResult>): Promise<WriteResult> {
  try {
    return await work();
  } catch (thrown) {
    return { ok: false, error: AgentmaticError.from(thrown) };
  }
}

function checkTexts(texts: Readonly<Record<string, string>>): void {
  for (const [field, text] of Object.entries(texts)) checkText(field, text);
}
