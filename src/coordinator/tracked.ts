/** A run that this coordinator has accepted or taken over, and whoever waits for it in this process. */
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import type { AgentmaticError } from "../errors.ts";
import { eventBytes } from "../run/backlog.ts";
import { type EventKind, type RunEvent, unreadBytesMax } from "../run/events.ts";
import type { RunEnd } from "../run/link.ts";
import type { RunRecord } from "../run/record.ts";
import type { RunHandle } from "../run/runner.ts";
import { type RunSettings, readSettings } from "../run/settings.ts";
import type { Span } from "../telemetry/spans.ts";
import type { WorkerLink } from "./link.ts";
import { Reader, tooFarBehind, unreadEventsMax } from "./reader.ts";

/**
 * `waiting`: another run of the thread is before it. `queued`: to be placed. `placed`: on `link`.
 * `checking`: its record is being read to find out. `ended`.
 */
export type TrackedPhase = "waiting" | "queued" | "placed" | "checking" | "ended";

/** Kinds of events that a hand-off makes void. */
const provisional: readonly EventKind[] = ["messages", "custom", "tasks"];

export type PhaseCounts = Record<TrackedPhase, number>;

export class Tracked {
  record: RunRecord;
  link: WorkerLink | undefined;
  span: Span | undefined;
  /** Refusals in a row, for the pause before the next try. */
  refusals = 0;
  /** Not to be placed before this monotonic time. */
  notBeforeMs = 0;
  /** The attempt that was placed last; 0 before the first. */
  placedAttempt = 0;
  #retracted = 0;
  /** The last provisional event that no retract has followed. */
  #spoke: RunEvent | undefined;
  /** True where commits may have been made of which this process was not told: its feed was broken off or is a new one. */
  behind = false;
  readonly avoid: Set<string> = new Set();
  readonly end: Promise<RunEnd>;
  readonly #resolve: (end: RunEnd) => void;
  readonly #reject: (error: unknown) => void;
  readonly #readers: Set<Reader> = new Set();
  /** False while a reader has no room and the run is asked to wait. */
  #open = true;
  readonly #counts: PhaseCounts;
  #phase: TrackedPhase = "checking";
  #settings: RunSettings | undefined;
  /** The newest that was heard of, and the newest that readers were told of. */
  #epoch = 0;
  #passedEpoch = 0;
  #held: RunEvent[] = [];
  #heldBytes = 0;
  #holds = 0;
  /** Up to here all was given from the store: what a worker says of these commits comes a second time. */
  #replayedSeq = 0;
  /** By kind, the newest commit whose event was passed on: a repeated one is not. */
  readonly #passed: Map<EventKind, number> = new Map();
  /** Kinds of events that may turn out void, and the newest commit that was told of before it was durable. */
  readonly #said: Set<EventKind> = new Set(provisional);
  #soft: { readonly attempt: number; readonly seq: number } | undefined;

  /** `counts` is kept in step with the phase. */
  constructor(record: RunRecord, counts: PhaseCounts) {
    this.#counts = counts;
    counts.checking++;
    this.record = record;
    const { promise, resolve, reject } = Promise.withResolvers<RunEnd>();
    this.end = promise;
    // Nobody may be waiting: a run that was taken over has no caller here.
    promise.catch(() => undefined);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get phase(): TrackedPhase {
    return this.#phase;
  }

  set phase(phase: TrackedPhase) {
    this.#counts[this.#phase]--;
    this.#counts[phase]++;
    this.#phase = phase;
  }

  get runId(): string {
    return this.record.spec.runId;
  }

  /** What its caller set for it. */
  get settings(): RunSettings {
    const { settings } = this.record.spec;
    this.#settings ??= settings ? readSettings(decodeValue(settings)) : {};
    return this.#settings;
  }

  /** Every kind that a reader wants. */
  get kinds(): readonly EventKind[] {
    const kinds = new Set<EventKind>();
    for (const reader of this.#readers) for (const kind of reader.kinds) kinds.add(kind);
    return [...kinds];
  }

  handle(kinds: readonly EventKind[]): RunHandle {
    const reader = new Reader(kinds);
    if (kinds.length > 0 && this.phase !== "ended") this.#readers.add(reader);
    else reader.close();
    const events = reader.events((left) => {
      if (left) this.#readers.delete(reader);
      this.#adjust();
    });
    return { runId: this.runId, events, end: this.end };
  }

  /** The slowest reader sets the pace; one that leaves no longer does. */
  #adjust(): void {
    const readers = [...this.#readers];
    const open = this.#open ? !readers.some(({ isFull }) => isFull) : readers.every(({ hasRoom }) => hasRoom);
    if (open === this.#open) return;
    this.#open = open;
    this.link?.flow(this.runId, open);
  }

  /** A worker that has just got the run does not know yet that a reader has no room. */
  sayFlow(): void {
    if (!this.#open) this.link?.flow(this.runId, false);
  }

  /** Events of older owners than the newest one heard of are void (P16). */
  event(event: RunEvent): void {
    if (event.epoch < this.#epoch) return;
    // A newer owner speaks: whoever wrote its hand-off, and whatever the attempt, its forerunner's words are void.
    if (event.seq === 0 && event.kind !== "retract") {
      if (this.#spoke && this.#spoke.epoch < event.epoch) this.retract(this.#spoke.attempt, true);
      this.#spoke = event;
    }
    this.#epoch = event.epoch;
    if (this.#holds === 0) {
      this.#live(event);
      return;
    }
    this.#held.push(event);
    this.#heldBytes += eventBytes(event);
    if (this.#held.length > unreadEventsMax || this.#heldBytes > unreadBytesMax)
      this.breakOff(tooFarBehind(this.runId));
  }

  /** The oldest commit among the events that are kept back. */
  get heldSeq(): number | undefined {
    return this.#held.find(({ seq }) => seq > 0)?.seq;
  }

  /** True where commits were told of that may not have become durable. */
  get unsure(): boolean {
    return this.#soft !== undefined;
  }

  /** It is known that the thread stood at commit `seq` when `attempt` began: what was told of later ones is void. */
  settle(attempt: number, seq: number): void {
    const soft = this.#soft;
    if (!soft || soft.attempt >= attempt) return;
    this.#soft = undefined;
    if (soft.seq <= seq) return;
    for (const [kind, passed] of this.#passed) if (passed > seq) this.#passed.set(kind, seq);
    this.#pass(this.#retraction(soft.attempt, { attempt: soft.attempt, after: seq }));
  }

  /** True while events are kept back. */
  get holding(): boolean {
    return this.#holds > 0;
  }

  /** Keeps new events back until `replay` has given the ones before them; each call needs one of it. */
  hold(): void {
    this.#holds++;
  }

  /** Kinds that readers want and that can be made again from the store. */
  get replayable(): readonly EventKind[] {
    return this.kinds.filter((kind) => kind === "updates" || kind === "values" || kind === "checkpoints");
  }

  /** The newest commit of which every replayable kind was passed on. */
  get passedSeq(): number {
    return Math.min(...this.replayable.map((kind) => this.#passed.get(kind) ?? 0));
  }

  /** Committed events that were made again from the store, in order. */
  replay(events: readonly RunEvent[]): void {
    // Several `updates` belong to one commit: what counts is what was passed on before.
    const before = new Map(this.#passed);
    for (const event of events) if (event.seq > (before.get(event.kind) ?? 0)) this.#pass(event);
    this.#replayedSeq = Math.max(this.#replayedSeq, events.at(-1)?.seq ?? 0);
    this.#holds = Math.max(0, this.#holds - 1);
    if (this.#holds === 0) this.#release();
  }

  #release(): void {
    this.#holds = 0;
    this.#heldBytes = 0;
    for (const event of this.#held.splice(0)) this.#live(event);
  }

  #live(event: RunEvent): void {
    if (event.seq === 0 || event.seq > this.#replayedSeq) this.#pass(event);
  }

  #pass(given: RunEvent): void {
    // A commit stands whatever came after it: under an older epoch a follower would take it for void. Tokens do not.
    if (given.seq === 0 && given.kind !== "retract" && given.epoch < this.#passedEpoch) return;
    this.#passedEpoch = Math.max(this.#passedEpoch, given.epoch);
    const event = given.epoch === this.#passedEpoch ? given : { ...given, epoch: this.#passedEpoch };
    // Each node has an `updates` event of its own for one commit; of the other kinds there is one.
    if (event.seq > 0) {
      const passed = this.#passed.get(event.kind) ?? 0;
      if (event.seq < passed || (event.seq === passed && event.kind !== "updates")) return;
      this.#passed.set(event.kind, event.seq);
      if (event.durable === false) this.#soft = { attempt: event.attempt, seq: event.seq };
    }
    if (event.kind !== "retract" && (event.seq === 0 || event.durable === false)) this.#said.add(event.kind);
    for (const reader of this.#readers) {
      if (!this.#concerns(event, reader)) continue;
      if (reader.push(event)) continue;
      reader.close(tooFarBehind(this.runId));
      this.#readers.delete(reader);
    }
    this.#adjust();
  }

  #concerns({ kind }: RunEvent, { kinds }: Reader): boolean {
    if (kind !== "retract") return kinds.has(kind);
    for (const said of this.#said) if (kinds.has(said)) return true;
    return false;
  }

  /** Tells the readers that tokens and custom events of a lost attempt are void (P16). */
  retract(attempt: number, again = false): void {
    if (attempt <= this.#retracted && !again) return;
    this.#spoke = undefined;
    this.#retracted = attempt;
    this.event(this.#retraction(attempt, { attempt }));
  }

  #retraction(attempt: number, what: { readonly attempt: number; readonly after?: number }): RunEvent {
    const place = { seq: 0, ns: "", node: "", taskId: "" };
    return { runId: this.runId, kind: "retract", epoch: this.#epoch, attempt, ...place, data: encodeValue(what) };
  }

  /** Ends the readers' events: what is missing cannot be given to them. */
  breakOff(error: AgentmaticError): void {
    this.#held = [];
    this.#heldBytes = 0;
    this.#close(error);
  }

  finish(end: RunEnd): void {
    this.#release();
    this.phase = "ended";
    this.#resolve(end);
    this.#close();
  }

  fail(error: AgentmaticError): void {
    this.phase = "ended";
    this.#reject(error);
    this.#close(error);
  }

  #close(error?: AgentmaticError): void {
    this.span?.end();
    for (const reader of this.#readers) reader.close(error);
    this.#readers.clear();
    this.#adjust();
  }
}
