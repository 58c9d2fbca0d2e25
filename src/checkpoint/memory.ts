/**
 * The memory saver: the shortest statement of what every saver does, and the one the others are compared with.
 * Each method runs to its end without awaiting, so that it is atomic by itself.
 */
import { AgentmaticError, invalid } from "../errors.ts";
import { type Ids, systemPorts } from "../ports.ts";
import { checkId, checkZone } from "../run/ids.ts";
import {
  isTerminal,
  type RunOutcome,
  type RunRecord,
  type RunSpec,
  type RunState,
  type RunStatus,
} from "../run/record.ts";
import { type Admission, type Admitted, type Member, membersMax, type RunQuery, runQueryMax } from "../run/store.ts";
import { initialState } from "../run/transitions.ts";
import { compareCodePoints } from "./order.ts";
import { checkPieces } from "./pieces.ts";
import {
  type Checkpoint,
  type CheckpointQuery,
  type Claim,
  type ClaimRequest,
  type Commit,
  checkpointQueryMax,
  type EncodedValues,
  type Fence,
  type NamespaceQuery,
  type NewCheckpoint,
  type RenewRequest,
  type RenewResult,
  type Saver,
  type StoredCheckpoint,
  type StoreIdentity,
  type TaskWrites,
  type TaskWritesRequest,
  type ThreadHead,
  type WriteResult,
} from "./saver.ts";
import { Slab } from "./slab.ts";

type Copy = (bytes: Uint8Array) => Uint8Array;

interface Row {
  readonly checkpoint: NewCheckpoint;
  readonly seq: number;
  readonly epoch: number;
}

interface Thread {
  epoch: number;
  /** "" while nobody holds the thread. */
  nonce: string;
  head: ThreadHead;
  activeRun: string | null;
  /** Runs that are not over, in the order of admission; the active one is among them. */
  readonly waiting: Set<string>;
  nextTicket: number;
  readonly rows: Map<number, Row>;
  /** Commit numbers by checkpoint key, and the newest one of each namespace. */
  readonly places: Map<string, number>;
  readonly newest: Map<string, number>;
  /** By checkpoint key, then by task and kind. */
  readonly writes: Map<string, Map<string, TaskWrites>>;
}

interface Run {
  readonly spec: RunSpec;
  state: RunState;
  readonly ticket: number;
}

/** What several `MemorySaver`s of one process share, as clients share a server. */
export class MemoryStore {
  readonly threads: Map<string, Thread> = new Map();
  readonly runs: Map<string, Run> = new Map();
  readonly members: Map<string, number> = new Map();
  readonly #slab: Slab = new Slab();
  readonly keep: Copy = (bytes) => this.#slab.copy(bytes);
  readonly id: string;

  constructor(ids: Ids = systemPorts.ids) {
    this.id = ids.next();
  }
}

export interface MemorySaverOptions {
  store?: MemoryStore;
  zone?: string;
  region?: string;
  /** Test hook: writes are taken whatever their fence and head, to show what fences are for. */
  unsafeWithoutFence?: boolean;
}

const emptyHead: ThreadHead = { commitId: null, seq: 0, checkpointId: null, runId: null };
const ok: WriteResult = { ok: true };

export class MemorySaver implements Saver {
  readonly kind = "memory";
  readonly shared = false;
  readonly #store: MemoryStore;
  readonly #zone: string;
  readonly #region: string;
  readonly #unfenced: boolean;

  constructor(options: MemorySaverOptions = {}) {
    this.#store = options.store ?? new MemoryStore();
    this.#zone = options.zone ?? "";
    this.#region = options.region ?? "";
    this.#unfenced = options.unsafeWithoutFence ?? false;
  }

  async setup(): Promise<void> {}

  async close(): Promise<void> {}

  async identity(): Promise<StoreIdentity> {
    return { id: this.#store.id, zone: this.#zone, region: this.#region, format: 1 };
  }

  async admit({ spec, coordinator, whenBusy }: Admission): Promise<Admitted> {
    this.#checkIds(spec.threadId, spec.runId);
    const existing = this.#store.runs.get(spec.runId);
    if (existing) {
      if (existing.spec.inputHash === spec.inputHash) return { record: this.#record(existing), created: false };
      throw new AgentmaticError("AlreadyExists", `runId: ${spec.runId} was admitted with another input`);
    }
    const thread = this.#thread(spec.threadId);
    if (thread.activeRun !== null && whenBusy === "reject") {
      throw new AgentmaticError("ThreadBusy", `thread ${spec.threadId} has the active run ${thread.activeRun}`);
    }
    const run: Run = {
      spec: { ...spec, input: spec.input.slice() },
      state: initialState(coordinator),
      ticket: thread.nextTicket++,
    };
    this.#store.runs.set(spec.runId, run);
    thread.waiting.add(spec.runId);
    thread.activeRun ??= spec.runId;
    return { record: this.#record(run), created: true };
  }

  async getRun(runId: string): Promise<RunRecord | undefined> {
    this.#checkIds(runId);
    const run = this.#store.runs.get(runId);
    return run && this.#record(run);
  }

  async listRuns(query: RunQuery): Promise<readonly RunRecord[]> {
    checkLimit(query.limit, runQueryMax);
    return [...this.#store.runs.values()]
      .filter((run) => matches(run, query))
      .sort((a, b) => compareCodePoints(a.spec.runId, b.spec.runId))
      .slice(0, query.limit)
      .map((run) => this.#record(run));
  }

  async updateRun(runId: string, next: RunState): Promise<RunRecord> {
    this.#checkIds(runId);
    const run = this.#store.runs.get(runId);
    if (!run) throw new AgentmaticError("NotFound", `run ${runId} is not in the store`);
    if (isTerminal(run.state.status) || run.state.revision !== next.revision - 1) {
      throw new AgentmaticError("Conflict", `run ${runId} changed: it is at revision ${run.state.revision}`);
    }
    // The lease belongs to the worker that renews it, whatever a coordinator read before.
    run.state = { ...next, lease: run.state.lease };
    if (isTerminal(next.status)) this.#release(run, true);
    return this.#record(run);
  }

  async beat(memberId: string): Promise<number> {
    const { members } = this.#store;
    const beat = (members.get(memberId) ?? 0) + 1;
    members.delete(memberId);
    members.set(memberId, beat);
    for (const oldest of members.keys()) {
      if (members.size <= membersMax) break;
      members.delete(oldest);
    }
    return beat;
  }

  async members(): Promise<readonly Member[]> {
    return [...this.#store.members].map(([id, beat]) => ({ id, beat }));
  }

  async removeMember(memberId: string): Promise<void> {
    this.#store.members.delete(memberId);
  }

  async claim(request: ClaimRequest): Promise<Claim> {
    this.#checkIds(request.threadId, request.runId);
    if (request.nonce === "") throw invalid("nonce", "is empty");
    const thread = this.#store.threads.get(request.threadId);
    const run = this.#store.runs.get(request.runId);
    if (!thread || !run || run.spec.threadId !== request.threadId || thread.activeRun !== request.runId) {
      throw stale(request, "it is not the thread's active run");
    }
    if (isTerminal(run.state.status)) throw stale(request, `it is ${run.state.status}`);
    if (run.state.attempt !== request.attempt) throw stale(request, `its attempt is ${run.state.attempt}`);
    if (thread.nonce !== request.nonce) {
      thread.epoch = Math.max(thread.epoch + 1, request.proposedEpoch ?? 0);
      thread.nonce = request.nonce;
      run.state = {
        ...run.state,
        status: "running",
        revision: run.state.revision + 1,
        owner: request.owner,
        lease: run.state.lease + 1,
        claimSeq: thread.head.seq,
        base: run.state.base === undefined ? (run.spec.fromCheckpointId ?? thread.head.checkpointId) : run.state.base,
      };
    }
    const fence: Fence = { threadId: request.threadId, epoch: thread.epoch, nonce: thread.nonce };
    return { fence, head: thread.head, record: this.#record(run) };
  }

  async renew(batch: readonly RenewRequest[]): Promise<readonly RenewResult[]> {
    return batch.map(({ fence, runId }): RenewResult => {
      const thread = this.#store.threads.get(fence.threadId);
      const run = this.#store.runs.get(runId);
      if (!thread || !run || thread.activeRun !== runId || !holds(thread, fence)) return refused(fence);
      run.state = { ...run.state, lease: run.state.lease + 1 };
      return { ok: true, cancelRequested: run.state.cancelRequested };
    });
  }

  async putWrites(batch: readonly TaskWritesRequest[]): Promise<readonly WriteResult[]> {
    return batch.map(({ fence, writes }): WriteResult => {
      const thread = this.#store.threads.get(fence.threadId);
      if (!thread || !(this.#unfenced || holds(thread, fence))) return refused(fence);
      for (const write of writes) put(thread, write);
      return ok;
    });
  }

  async commit(batch: readonly Commit[]): Promise<readonly WriteResult[]> {
    return batch.map((commit) => this.#commit(commit));
  }

  #commit(commit: Commit): WriteResult {
    const { fence, checkpoint, finish } = commit;
    const thread = this.#store.threads.get(fence.threadId);
    if (!thread) return refused(fence);
    // A finishing commit leaves no holder behind, so its repetition is known by the commit id alone: ids are random.
    if (thread.head.commitId === commit.commitId && thread.epoch === fence.epoch) return ok;
    const wrong = checkpoint && checkPieces(checkpoint, commit.seq);
    if (wrong) return { ok: false, error: wrong };
    if (!this.#unfenced) {
      if (!holds(thread, fence)) return refused(fence);
      if (thread.head.commitId !== commit.expectedHead || thread.head.seq !== commit.seq - 1) {
        return { ok: false, error: new AgentmaticError("Conflict", `thread ${fence.threadId}: the head is another`) };
      }
    }
    const run = finish && this.#store.runs.get(finish.runId);
    if (finish && !(run && thread.activeRun === finish.runId)) {
      const text = `finish.runId: ${finish.runId} is not the run that holds thread ${fence.threadId}`;
      return { ok: false, error: new AgentmaticError("InvalidArgument", text) };
    }
    const root = checkpoint?.ns === "";
    thread.head = {
      commitId: commit.commitId,
      seq: commit.seq,
      checkpointId: root ? checkpoint.checkpointId : thread.head.checkpointId,
      runId: root ? checkpoint.runId : thread.head.runId,
    };
    if (checkpoint) {
      thread.rows.set(commit.seq, {
        checkpoint: copied(checkpoint, this.#store.keep),
        seq: commit.seq,
        epoch: fence.epoch,
      });
      thread.places.set(writesKey(checkpoint), commit.seq);
      thread.newest.set(checkpoint.ns, commit.seq);
    }
    for (const write of commit.writes ?? []) put(thread, write);
    if (finish && run) this.#finish(run, finish.status, finish.outcome);
    return ok;
  }

  #finish(run: Run, status: RunStatus, outcome: RunOutcome): void {
    run.state = { ...run.state, status, outcome, revision: run.state.revision + 1 };
    this.#release(run, false);
  }

  /** Ends the run's hold on its thread; `fenceOut` raises the epoch where the holder did not end it itself. */
  #release(run: Run, fenceOut: boolean): void {
    const thread = this.#thread(run.spec.threadId);
    thread.waiting.delete(run.spec.runId);
    if (thread.activeRun !== run.spec.runId) return;
    thread.nonce = "";
    if (fenceOut) thread.epoch += 1;
    // In the order of their tickets: the first that is not over.
    const [next] = thread.waiting;
    thread.activeRun = next ?? null;
  }

  async head(threadId: string): Promise<ThreadHead | undefined> {
    this.#checkIds(threadId);
    const thread = this.#store.threads.get(threadId);
    return thread && thread.head.seq > 0 ? thread.head : undefined;
  }

  async get(threadId: string, ns: string, checkpointId?: string): Promise<StoredCheckpoint | undefined> {
    this.#checkIds(threadId);
    const thread = this.#store.threads.get(threadId);
    if (!thread) return undefined;
    const wanted = checkpointId ?? (ns === "" ? thread.head.checkpointId : undefined);
    if (wanted === null) return undefined;
    const seq =
      wanted === undefined ? thread.newest.get(ns) : thread.places.get(writesKey({ ns, checkpointId: wanted }));
    const found = seq === undefined ? undefined : thread.rows.get(seq);
    return found && this.#stored(threadId, thread, found);
  }

  async list({ threadId, ns = "", before, limit }: CheckpointQuery): Promise<readonly StoredCheckpoint[]> {
    this.#checkIds(threadId);
    checkLimit(limit, checkpointQueryMax);
    const thread = this.#store.threads.get(threadId);
    if (!thread) return [];
    const rows = [...thread.rows.values()].filter((row) => row.checkpoint.ns === ns).sort((a, b) => b.seq - a.seq);
    const from = before === undefined ? 0 : rows.findIndex((row) => row.checkpoint.checkpointId === before) + 1;
    if (before !== undefined && from === 0) return [];
    return rows.slice(from, from + limit).map((row) => this.#stored(threadId, thread, row));
  }

  async namespaces({ threadId, afterSeq, limit }: NamespaceQuery): Promise<readonly string[]> {
    this.#checkIds(threadId);
    checkLimit(limit, checkpointQueryMax);
    const rows = [...(this.#store.threads.get(threadId)?.rows.values() ?? [])];
    const found = new Set(rows.filter(({ seq }) => seq > afterSeq).map(({ checkpoint }) => checkpoint.ns));
    return [...found].sort(compareCodePoints).slice(0, limit);
  }

  async deleteThread(threadId: string): Promise<void> {
    this.#checkIds(threadId);
    const thread = this.#store.threads.get(threadId);
    if (!thread) return;
    if (thread.activeRun !== null) {
      throw new AgentmaticError("ThreadBusy", `thread ${threadId} has the active run ${thread.activeRun}`);
    }
    for (const [runId, run] of this.#store.runs) if (run.spec.threadId === threadId) this.#store.runs.delete(runId);
    thread.rows.clear();
    thread.places.clear();
    thread.newest.clear();
    thread.writes.clear();
    thread.head = emptyHead;
    thread.nonce = "";
    thread.epoch += 1;
  }

  #stored(threadId: string, thread: Thread, row: Row): StoredCheckpoint {
    const { checkpoint, seq, epoch } = row;
    const values = Object.entries(checkpoint.versions).map(([channel, version]): [string, Uint8Array] => {
      const from = thread.rows.get(version)?.checkpoint.values;
      if (!from || !Object.hasOwn(from, channel)) {
        throw new AgentmaticError("DataLoss", `thread ${threadId}: channel ${channel} of commit ${version} is missing`);
      }
      return [channel, from[channel]!.slice()];
    });
    const pieces = Object.entries(checkpoint.deltas ?? {}).map(([channel, seqs]): [string, Uint8Array[]] => [
      channel,
      seqs.map((at) => pieceAt(thread, threadId, channel, at)),
    ]);
    const writes = [...(thread.writes.get(writesKey(checkpoint))?.values() ?? [])].sort(compareWrites);
    const { changes: _changes, ...own } = copied(checkpoint, ownCopy);
    const parts = { values: Object.fromEntries(values), pieces: Object.fromEntries(pieces) };
    const full: Checkpoint = { ...own, ...parts, threadId, seq, epoch };
    return { checkpoint: full, writes: writes.map((write) => ({ ...write, data: write.data.slice() })) };
  }

  #thread(threadId: string): Thread {
    let thread = this.#store.threads.get(threadId);
    if (!thread) {
      thread = {
        epoch: 0,
        nonce: "",
        head: emptyHead,
        activeRun: null,
        waiting: new Set(),
        nextTicket: 1,
        rows: new Map(),
        places: new Map(),
        newest: new Map(),
        writes: new Map(),
      };
      this.#store.threads.set(threadId, thread);
    }
    return thread;
  }

  #record(run: Run): RunRecord {
    const thread = this.#thread(run.spec.threadId);
    const active = thread.activeRun === run.spec.runId;
    const spec = { ...run.spec, input: run.spec.input.slice() };
    return { spec, state: run.state, ticket: run.ticket, active, headSeq: thread.head.seq };
  }

  #checkIds(...ids: string[]): void {
    for (const id of ids) {
      checkId("id", id);
      checkZone(this.#zone, id, id);
    }
  }
}

/** The store's own copy: what a caller does to its bytes afterwards changes nothing here. */
function copied(checkpoint: NewCheckpoint, copy: Copy): NewCheckpoint {
  const { versions, values, deltas, changes, body } = checkpoint;
  const own = { ...checkpoint, versions: { ...versions }, values: copiedValues(values, copy), body: copy(body) };
  if (!deltas && !changes) return own;
  return {
    ...own,
    ...(deltas ? { deltas: copiedDeltas(deltas) } : {}),
    ...(changes ? { changes: copiedValues(changes, copy) } : {}),
  };
}

function copiedValues(values: EncodedValues, copy: Copy): EncodedValues {
  const own = { ...values } as Record<string, Uint8Array>;
  for (const name of Object.keys(own)) own[name] = copy(own[name]!);
  return own;
}

/** For readers. */
function ownCopy(bytes: Uint8Array): Uint8Array {
  return bytes.slice();
}

function copiedDeltas(deltas: NonNullable<NewCheckpoint["deltas"]>): NonNullable<NewCheckpoint["deltas"]> {
  const own = { ...deltas } as Record<string, readonly number[]>;
  for (const name of Object.keys(own)) own[name] = [...own[name]!];
  return own;
}

function pieceAt(thread: Thread, threadId: string, channel: string, seq: number): Uint8Array {
  const from = thread.rows.get(seq)?.checkpoint.changes;
  if (from && Object.hasOwn(from, channel)) return from[channel]!.slice();
  throw new AgentmaticError(
    "DataLoss",
    `thread ${threadId}: a piece of channel ${channel}, of commit ${seq}, is missing`,
  );
}

function put(thread: Thread, write: TaskWrites): void {
  const key = writesKey(write);
  const tasks = thread.writes.get(key) ?? new Map<string, TaskWrites>();
  thread.writes.set(key, tasks);
  tasks.set(JSON.stringify([write.taskId, write.kind]), { ...write, data: write.data.slice() });
}

function writesKey({ ns, checkpointId }: { ns: string; checkpointId: string }): string {
  return `${ns.length} ${ns}${checkpointId}`;
}

function compareWrites(a: TaskWrites, b: TaskWrites): number {
  return (
    compareCodePoints(a.path, b.path) || compareCodePoints(a.taskId, b.taskId) || compareCodePoints(a.kind, b.kind)
  );
}

function holds(thread: Thread, fence: Fence): boolean {
  return thread.epoch === fence.epoch && thread.nonce === fence.nonce && thread.nonce !== "";
}

function refused(fence: Fence): { ok: false; error: AgentmaticError } {
  const message = `thread ${fence.threadId}: the claim of epoch ${fence.epoch} is over`;
  return { ok: false, error: new AgentmaticError("FencedOut", message, { details: { epoch: fence.epoch } }) };
}

function stale({ runId, attempt }: ClaimRequest, why: string): AgentmaticError {
  return new AgentmaticError("StaleAttempt", `run ${runId} cannot be claimed for attempt ${attempt}: ${why}`);
}

function matches({ spec, state }: Run, query: RunQuery): boolean {
  if (query.statuses && !query.statuses.includes(state.status)) return false;
  if (query.threadId !== undefined && spec.threadId !== query.threadId) return false;
  if (query.coordinator !== undefined && state.coordinator !== query.coordinator) return false;
  if (query.notCoordinator !== undefined && state.coordinator === query.notCoordinator) return false;
  return query.after === undefined || compareCodePoints(spec.runId, query.after) > 0;
}

/** Throws `InvalidArgument` unless `limit` is a whole number from 1 to `max`. */
export function checkLimit(limit: number, max: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > max) throw invalid("limit", `must be from 1 to ${max}`);
}
