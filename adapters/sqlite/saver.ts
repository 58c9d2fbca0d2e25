/**
 * The SQLite saver: one file, any number of processes of one machine, the runtime's built-in SQLite.
 *
 * Every write is one `BEGIN IMMEDIATE` transaction, in which fences and heads are compared; SQLite lets one process
 * write at a time, so nothing can come between the comparison and the write.
 */
import { resolve } from "node:path";
import process from "node:process";
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
import { checkId, checkZone } from "../../src/run/ids.ts";
import type { RunRecord, RunState } from "../../src/run/record.ts";
import { type Admission, type Admitted, type Member, type RunQuery, runQueryMax } from "../../src/run/store.ts";
import { whenFree } from "./backoff.ts";
import * as checkpoints from "./checkpoints.ts";
import { type Connection, openExisting, openOrCreate, type Session, type Synchronous } from "./connection.ts";
import { failure } from "./failure.ts";
import { checkIdentity, makeOrMigrate, readIdentity } from "./identity.ts";
import { fromEnvironment, parseUrl } from "./location.ts";
import * as members from "./members.ts";
import { type Job, WriteQueue } from "./queue.ts";
import * as runs from "./runs.ts";
import { checkText } from "./text.ts";
import { findThread, headOf } from "./threads.ts";

export interface SqliteSaverOptions {
  /** The file; relative to the working folder at construction. The same for every process. */
  path: string;
  /** The residency zone whose ids the store keeps: written by the first `setup()`, compared ever after. */
  zone?: string;
  /** The region the file lies in: written by the first `setup()`, compared ever after. */
  region?: string;
  /** How long a call waits for other processes' writes before it is `Unavailable`. 10,000 if not given. */
  busyTimeoutMs?: number;
  /** `full` (default): an answered write survives a power cut. `normal`: it survives the process, not the machine. */
  synchronous?: Synchronous;
  /** Test hook: writes are taken whatever their fence and head, to show what fences are for. */
  unsafeWithoutFence?: boolean;
  /** Test hook: called inside every write transaction, after its statements and before its COMMIT. */
  inTransaction?: () => void;
  ports?: Ports;
}

interface Open {
  readonly connection: Connection;
  readonly queue: WriteQueue;
  readonly identity: StoreIdentity;
}

type Refusal = { readonly ok: false; readonly error: AgentmaticError };

export class SqliteSaver implements Saver {
  readonly kind = "sqlite";
  readonly shared = true;
  readonly path: string;
  readonly #options: SqliteSaverOptions;
  readonly #ports: Ports;
  readonly #busyTimeoutMs: number;
  #opening: Promise<Open> | undefined;
  #closed = false;

  /** Touches no file. Throws `InvalidArgument`, naming the option. */
  constructor(options: SqliteSaverOptions) {
    if (typeof options.path !== "string" || options.path === "") throw invalid("path", "must be a file's path");
    if (options.path === ":memory:") throw invalid("path", "must be a file; MemorySaver keeps nothing on disk");
    const { synchronous = "full", busyTimeoutMs = 10_000 } = options;
    if (synchronous !== "full" && synchronous !== "normal") throw invalid("synchronous", `must be "full" or "normal"`);
    if (!(Number.isFinite(busyTimeoutMs) && busyTimeoutMs >= 0)) throw invalid("busyTimeoutMs", "must be 0 or more");
    this.path = resolve(options.path);
    this.#options = options;
    this.#ports = options.ports ?? systemPorts;
    this.#busyTimeoutMs = busyTimeoutMs;
  }

  /** `sqlite:./file.db` or `sqlite:///folder/file.db?region=eu-west-1&zone=eu`. Throws `InvalidArgument`. */
  static fromUrl(url: string, options: Omit<SqliteSaverOptions, "path"> = {}): SqliteSaver {
    return new SqliteSaver({ ...options, ...parseUrl(url) });
  }

  /** From AGENTMATIC_SQLITE_PATH (a path) or AGENTMATIC_STORE (a URL). Throws `InvalidArgument` where both are missing. */
  static fromEnv(options: Omit<SqliteSaverOptions, "path"> = {}): SqliteSaver {
    return new SqliteSaver({ ...options, ...fromEnvironment(process.env) });
  }

  async setup(): Promise<void> {
    await this.#guard(async () => {
      const connection = await this.#retry(() => openOrCreate(this.path, this.#synchronous));
      try {
        await makeOrMigrate(connection, this.#retry, { ...this.#options, id: this.#ports.ids.next() });
      } finally {
        connection.close();
      }
      await this.#ready();
    });
  }

  identity(): Promise<StoreIdentity> {
    return this.#guard(async () => (await this.#ready()).identity);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const open = await this.#opening?.catch(() => undefined);
    if (!open) return;
    await open.queue.idle();
    open.connection.close();
  }

  // The run store.

  async admit(admission: Admission): Promise<Admitted> {
    const { zone } = await this.identity();
    checkIds(zone, admission.spec.threadId, admission.spec.runId);
    return this.#write((session) => runs.admit(session, admission));
  }

  async getRun(runId: string): Promise<RunRecord | undefined> {
    const { zone } = await this.identity();
    checkIds(zone, runId);
    return this.#read((session) => runs.findRun(session, runId)?.record);
  }

  async listRuns(query: RunQuery): Promise<readonly RunRecord[]> {
    checkLimit(query.limit, runQueryMax);
    return this.#read((session) => runs.listRuns(session, query));
  }

  async updateRun(runId: string, next: RunState): Promise<RunRecord> {
    const { zone } = await this.identity();
    checkIds(zone, runId);
    return this.#write((session) => runs.updateRun(session, runId, next));
  }

  beat(memberId: string): Promise<number> {
    return this.#write((session) => members.beat(session, memberId));
  }

  members(): Promise<readonly Member[]> {
    return this.#read(members.list);
  }

  removeMember(memberId: string): Promise<void> {
    return this.#write((session) => members.remove(session, memberId));
  }

  // Claims and fenced writes.

  async claim(request: ClaimRequest): Promise<Claim> {
    const { zone } = await this.identity();
    checkIds(zone, request.threadId, request.runId);
    if (request.nonce === "") throw invalid("nonce", "must not be empty");
    checkText("nonce", request.nonce);
    return this.#write((session) => runs.claim(session, request));
  }

  async renew(batch: readonly RenewRequest[]): Promise<readonly RenewResult[]> {
    return this.#writeAll<RenewRequest, RenewResult>(batch, (request) => (session) => runs.renew(session, request));
  }

  async putWrites(batch: readonly TaskWritesRequest[]): Promise<readonly WriteResult[]> {
    return this.#writeAll<TaskWritesRequest, WriteResult>(batch, (request) => {
      checkpoints.checkWrites(request.writes);
      return (session) => checkpoints.putWrites(session, request, this.#unfenced);
    });
  }

  async commit(batch: readonly Commit[]): Promise<readonly WriteResult[]> {
    return this.#writeAll<Commit, WriteResult>(batch, (commit) => {
      const prepared = checkpoints.prepareCommit(commit);
      return (session) => checkpoints.writeCommit(session, prepared, this.#unfenced);
    });
  }

  // Reads.

  async head(threadId: string): Promise<ThreadHead | undefined> {
    const { zone } = await this.identity();
    checkIds(zone, threadId);
    const thread = await this.#read((session) => findThread(session, threadId));
    return thread && thread.seq > 0 ? headOf(thread) : undefined;
  }

  async get(threadId: string, ns: string, checkpointId?: string): Promise<StoredCheckpoint | undefined> {
    const { zone } = await this.identity();
    checkIds(zone, threadId);
    return this.#read((session) => checkpoints.getCheckpoint(session, threadId, ns, checkpointId));
  }

  async list(query: CheckpointQuery): Promise<readonly StoredCheckpoint[]> {
    const { zone } = await this.identity();
    checkIds(zone, query.threadId);
    checkLimit(query.limit, checkpointQueryMax);
    return this.#read((session) => checkpoints.listCheckpoints(session, query));
  }

  async namespaces(query: NamespaceQuery): Promise<readonly string[]> {
    const { zone } = await this.identity();
    checkIds(zone, query.threadId);
    checkLimit(query.limit, checkpointQueryMax);
    return this.#read((session) => checkpoints.listNamespaces(session, query));
  }

  async deleteThread(threadId: string): Promise<void> {
    const { zone } = await this.identity();
    checkIds(zone, threadId);
    return this.#write((session) => checkpoints.deleteThread(session, threadId));
  }

  get #synchronous(): Synchronous {
    return this.#options.synchronous ?? "full";
  }

  get #unfenced(): boolean {
    return this.#options.unsafeWithoutFence ?? false;
  }

  readonly #retry = <T>(body: () => T): Promise<Awaited<T>> =>
    whenFree(this.#ports, this.path, this.#busyTimeoutMs, body);

  async #guard<T>(body: () => Promise<T>): Promise<T> {
    try {
      return await body();
    } catch (error) {
      throw failure(this.path, error);
    }
  }

  /** Opens the file at the first use; a failure to open is tried again by the next call. */
  #ready(): Promise<Open> {
    if (this.#closed) return Promise.reject(closed(this.path));
    this.#opening ??= this.#openFile().catch((error) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  async #openFile(): Promise<Open> {
    const connection = await this.#retry(() => openExisting(this.path, this.#synchronous));
    try {
      const identity = await this.#retry(() => readIdentity(connection, this.path));
      checkIdentity(this.path, identity, this.#options);
      const queue = new WriteQueue(connection, {
        path: this.path,
        waits: this.#ports,
        busyTimeoutMs: this.#busyTimeoutMs,
        inTransaction: this.#options.inTransaction,
      });
      return { connection, queue, identity };
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async #write<T>(job: Job<T>): Promise<T> {
    const { queue } = await this.#guard(() => this.#ready());
    return queue.add(job);
  }

  /** One job an entry: they share a transaction, in their order, and each is answered by itself. */
  async #writeAll<T, R>(batch: readonly T[], prepare: (entry: T) => Job<R>): Promise<(R | Refusal)[]> {
    const { queue } = await this.#guard(() => this.#ready());
    return Promise.all(
      batch.map(async (entry) => {
        try {
          return await queue.add(prepare(entry));
        } catch (error) {
          return { ok: false as const, error: AgentmaticError.from(error) };
        }
      }),
    );
  }

  /** All of a read sees one state of the store. */
  #read<T>(read: (session: Session) => T): Promise<T> {
    return this.#guard(async () => {
      const { connection } = await this.#ready();
      return this.#retry(() => {
        if (this.#closed) throw closed(this.path);
        connection.begin("DEFERRED");
        try {
          return read(connection);
        } finally {
          connection.rollback();
        }
      }) as Promise<T>;
    });
  }
}

function closed(path: string): AgentmaticError {
  return new AgentmaticError("FailedPrecondition", `SQLite ${path}: this saver is closed`);
}

function checkIds(zone: string, ...ids: string[]): void {
  for (const id of ids) {
    checkId("id", id);
    checkZone(zone, id, id);
  }
}

function checkLimit(limit: number, max: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > max) throw invalid("limit", `must be from 1 to ${max}`);
}
