/**
 * Where an attempt writes: the store, under the claim's fence, or nowhere. All graphs of a run write into one line of
 * commits, so that commits are issued one after the other, each building on the one before.
 */
import type { Claim, Commit, Saver, StoredCheckpoint, TaskWrites } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";
import type { Ports } from "../ports.ts";
import type { TraceContext } from "../run/record.ts";
import type { Durability } from "../run/settings.ts";
import { noSpan, noSpans, type Span, type Spans } from "../telemetry/spans.ts";
import { commitDurably, putWritesDurably } from "./durable.ts";
import { Outside, outside } from "./outside.ts";

export type CommitParts = Pick<Commit, "checkpoint" | "writes" | "finish">;

/** A superstep to be committed: made once its number is known. */
export interface Entry {
  readonly ns: string;
  readonly make: (seq: number) => CommitParts;
}

export interface Journal {
  /** False where nothing is kept: nothing needs to be encoded then. */
  readonly keeps: boolean;
  /** True where what was committed is durable when the call resolves. */
  readonly durable: boolean;
  /** The named checkpoint, or the current one of the namespace. */
  load(ns: string, checkpointId?: string): Promise<StoredCheckpoint | undefined>;
  /** Stores finished tasks' writes. */
  save(writes: readonly TaskWrites[]): Promise<void>;
  /** Commits a superstep; resolves with the commit's number. Rejects with `Outside`. */
  commit(entry: Entry): Promise<number>;
  /** The last commit of the run: everything before it is durable when it resolves. */
  finish(entry: Entry): Promise<number>;
  /** Makes durable what was committed: the attempt ends here, and the run does not. Rejects with `Outside`. */
  flush(): Promise<void>;
  /** A subgraph is at its end: what it left need not be kept for going on. */
  close(ns: string): void;
}

/** For graphs without a checkpointer. Commits are counted, so that events are numbered. */
export class NoJournal implements Journal {
  readonly keeps = false;
  readonly durable = false;
  #seq = 0;

  async load(): Promise<undefined> {}
  async save(): Promise<void> {}
  async flush(): Promise<void> {}
  close(): void {}

  commit(): Promise<number> {
    return Promise.resolve(++this.#seq);
  }

  finish(): Promise<number> {
    return Promise.resolve(++this.#seq);
  }

  /** The same without a promise: for the loop that has nothing else to wait for. */
  count(): number {
    return ++this.#seq;
  }
}

export interface StoreJournalOptions {
  readonly saver: Saver;
  readonly claim: Claim;
  readonly ports: Ports;
  /** Aborts when the claim is over. */
  readonly lost: AbortSignal;
  readonly spans: Spans;
  readonly trace: () => TraceContext | undefined;
}

/** `sync`: each call resolves when its write is durable. */
export class StoreJournal implements Journal {
  readonly keeps = true;
  readonly durable: boolean = true;
  protected readonly options: StoreJournalOptions;
  #commitId: string | null;
  #seq: number;
  /** The last commit that was issued and has not ended. */
  #tail: Promise<unknown> | undefined;
  #under = 0;

  constructor(options: StoreJournalOptions) {
    this.options = options;
    this.#commitId = options.claim.head.commitId;
    this.#seq = options.claim.head.seq;
  }

  load(ns: string, checkpointId?: string): Promise<StoredCheckpoint | undefined> {
    const { saver, claim } = this.options;
    return outside(saver.get(claim.record.spec.threadId, ns, checkpointId));
  }

  save(writes: readonly TaskWrites[]): Promise<void> {
    const { saver, claim, ports, lost } = this.options;
    return outside(putWritesDurably(saver, { fence: claim.fence, writes }, ports, lost));
  }

  commit(entry: Entry): Promise<number> {
    return this.issue(entry.make);
  }

  finish(entry: Entry): Promise<number> {
    return this.issue(entry.make);
  }

  async flush(): Promise<void> {}

  close(_ns: string): void {}

  /** One after the other: each commit names the one before it. */
  protected issue(make: (seq: number) => CommitParts): Promise<number> {
    const turn = this.#turn(this.#tail, make);
    this.#tail = turn;
    return turn;
  }

  async #turn(before: Promise<unknown> | undefined, make: (seq: number) => CommitParts): Promise<number> {
    this.#under++;
    try {
      if (before) await before;
      const commit = this.#next(make);
      await this.#write(commit);
      this.#commitId = commit.commitId;
      this.#seq = commit.seq;
      return commit.seq;
    } finally {
      if (--this.#under === 0) this.#tail = undefined;
    }
  }

  #next(make: (seq: number) => CommitParts): Commit {
    const { claim, ports } = this.options;
    const seq = this.#seq + 1;
    const { checkpoint, writes, finish } = make(seq);
    return {
      fence: claim.fence,
      expectedHead: this.#commitId,
      commitId: ports.ids.next(),
      seq,
      ...(checkpoint ? { checkpoint } : {}),
      ...(writes ? { writes } : {}),
      ...(finish ? { finish } : {}),
    };
  }

  async #write(commit: Commit): Promise<void> {
    const { saver, ports, lost } = this.options;
    const span = this.#span(commit.seq);
    try {
      await commitDurably(saver, commit, ports, lost);
    } catch (thrown) {
      span.fail(AgentmaticError.from(thrown));
      throw new Outside(thrown);
    } finally {
      span.end();
    }
  }

  #span(seq: number): Span {
    const { saver, spans, trace } = this.options;
    if (spans === noSpans) return noSpan;
    const attributes = { "agentmatic.store": saver.kind, "agentmatic.seq": seq };
    return spans.start("agentmatic.checkpoint.write", attributes, trace());
  }
}

/** Writes under way before a superstep waits for the store. */
const aheadMax = 16;

/**
 * `async`: writes go out in order while the graph goes on, a bounded number ahead. A write that fails ends the run at
 * its next call.
 */
export class AsyncJournal extends StoreJournal {
  override readonly durable: boolean = false;
  readonly #onFailure: (thrown: unknown) => void;
  #under = 0;
  #ahead: Promise<unknown> = Promise.resolve();
  #failure: { readonly thrown: unknown } | undefined;
  #next: number;

  constructor(options: StoreJournalOptions, onFailure: (thrown: unknown) => void) {
    super(options);
    this.#onFailure = onFailure;
    this.#next = options.claim.head.seq + 1;
  }

  /** What is on its way to the store is there before it is asked. */
  override async load(ns: string, checkpointId?: string): Promise<StoredCheckpoint | undefined> {
    await this.flush();
    return await super.load(ns, checkpointId);
  }

  override async save(writes: readonly TaskWrites[]): Promise<void> {
    await this.#queue(() => super.save(writes));
  }

  override async commit(entry: Entry): Promise<number> {
    const seq = this.#next++;
    // Made now: what the channels' ledger says of the store holds for this superstep and not for a later one.
    const parts = entry.make(seq);
    await this.#queue(() => this.issue(() => parts));
    return seq;
  }

  override async flush(): Promise<void> {
    await this.#ahead;
    if (this.#failure) throw this.#failure.thrown;
  }

  override async finish(entry: Entry): Promise<number> {
    await this.flush();
    this.#next++;
    return await this.issue(entry.make);
  }

  async #queue(write: () => Promise<unknown>): Promise<void> {
    if (this.#failure) throw this.#failure.thrown;
    this.#under++;
    const turn = this.#ahead.then(() => (this.#failure ? undefined : write()));
    this.#ahead = turn.then(
      () => {
        this.#under--;
      },
      (thrown: unknown) => {
        this.#under--;
        this.#failure ??= { thrown };
        this.#onFailure(thrown);
      },
    );
    if (this.#under >= aheadMax) await this.#ahead;
  }
}

interface Newest {
  readonly entry: Entry;
  /** What tasks of the superstep after it have done. */
  readonly writes: Map<string, TaskWrites>;
}

/**
 * `exit`: nothing is written before the run ends or waits; then the newest checkpoint of the graph, and of each subgraph
 * that is not at its end. A worker that drains hands the run over as it stands.
 */
export class ExitJournal extends StoreJournal {
  override readonly durable: boolean = false;
  readonly #newest: Map<string, Newest> = new Map();
  readonly #before: Map<string, TaskWrites> = new Map();
  #count = 0;

  override async save(writes: readonly TaskWrites[]): Promise<void> {
    for (const write of writes) {
      const kept = this.#newest.get(write.ns)?.writes ?? this.#before;
      kept.set(JSON.stringify([write.ns, write.taskId, write.kind]), write);
    }
  }

  override async commit(entry: Entry): Promise<number> {
    // What tasks stored beside the checkpoint before is in this one.
    this.#newest.set(entry.ns, { entry, writes: new Map() });
    if (entry.ns === "") this.#before.clear();
    return this.options.claim.head.seq + ++this.#count;
  }

  override async finish(entry: Entry): Promise<number> {
    const root = await this.#flushNested();
    await this.issue((seq) => {
      const last = entry.make(seq);
      if (!root || last.checkpoint) return last;
      const { checkpoint, writes = [] } = withWrites(root.entry.make(seq), root.writes);
      return { ...last, ...(checkpoint ? { checkpoint } : {}), writes: [...writes, ...(last.writes ?? [])] };
    });
    // Followers were told of commits that were never made: the last one's number must come after theirs.
    return this.options.claim.head.seq + ++this.#count;
  }

  override async flush(): Promise<void> {
    const root = await this.#flushNested();
    if (root) await this.issue((seq) => withWrites(root.entry.make(seq), root.writes));
  }

  /** All but the newest checkpoint of the root graph, which is returned: without that nobody goes on from the others. */
  async #flushNested(): Promise<Newest | undefined> {
    if (this.#before.size > 0) await super.save([...this.#before.values()]);
    const root = this.#newest.get("");
    this.#newest.delete("");
    const nested = [...this.#newest.values()];
    // Each is made once: what the store refuses is not there, whatever the channels' ledger took for written.
    this.#newest.clear();
    for (const { entry, writes } of nested) {
      await this.issue((seq) => withWrites(entry.make(seq), writes));
    }
    return root;
  }

  override close(ns: string): void {
    for (const known of this.#newest.keys()) if (known === ns || known.startsWith(`${ns}|`)) this.#newest.delete(known);
  }
}

function withWrites(parts: CommitParts, writes: ReadonlyMap<string, TaskWrites>): CommitParts {
  return writes.size === 0 ? parts : { ...parts, writes: [...(parts.writes ?? []), ...writes.values()] };
}

export function openJournal(
  durability: Durability,
  options: StoreJournalOptions,
  onFailure: (thrown: unknown) => void,
): Journal {
  if (durability === "async") return new AsyncJournal(options, onFailure);
  return durability === "exit" ? new ExitJournal(options) : new StoreJournal(options);
}
