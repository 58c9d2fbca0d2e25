/** What a caller answers, and the writes that give it to the tasks that wait. */
import { encodeValue } from "../checkpoint/codec.ts";
import {
  type OpenInterrupt,
  openInterrupts,
  pendingInterrupts,
  readAnswers,
  readInterrupts,
  type StoredAnswer,
  type StoredInterrupt,
} from "../checkpoint/interrupts.ts";
import type { StoredCheckpoint, TaskWrites } from "../checkpoint/saver.ts";
import { AgentmaticError, invalid } from "../errors.ts";

/** One answer for the only open interrupt, answers by id, or nothing: just go on. */
export type Answers =
  | { readonly kind: "one"; readonly value: unknown }
  | { readonly kind: "byId"; readonly values: Readonly<Record<string, unknown>> }
  | { readonly kind: "none" };

/** What a resuming run brings: answers, and what the caller's Command says besides. */
export interface Resumption {
  readonly answers: Answers;
  readonly update?: unknown;
  readonly goto?: readonly unknown[];
}

/** The first format had the answers alone. */
export function readResumption(input: unknown): Resumption {
  const given = input as (Partial<Resumption> & Partial<Answers>) | null;
  if (given?.answers !== undefined) return { ...given, answers: answersFrom(given.answers) };
  return { answers: answersFrom(given) };
}

function answersFrom(input: unknown): Answers {
  const answers = input as Partial<Answers> | null;
  if (answers?.kind === "one" || answers?.kind === "byId" || answers?.kind === "none") return answers as Answers;
  throw invalid("resume", "is not an answer");
}

export function interruptId(taskId: string, index: number): string {
  return `${taskId}!${index}`;
}

export function interruptWrite(base: Omit<TaskWrites, "kind" | "data">, asked: readonly StoredInterrupt[]): TaskWrites {
  return { ...base, kind: "interrupt", data: encodeValue(asked, "interrupt") };
}

/** Every answer that was given beside a checkpoint, by interrupt id: of its own tasks and of the graphs inside them. */
export function answersIn(writes: readonly TaskWrites[]): Map<string, unknown> {
  const answers = new Map<string, unknown>();
  for (const write of writes) {
    if (write.kind === "resume") for (const { id, value } of readAnswers(write)) answers.set(id, value);
  }
  return answers;
}

/**
 * The writes that give the answers of run `runId` to the tasks that wait. Repeated by a second attempt of the same run
 * it gives nothing twice. Throws `InvalidArgument` for an id that is not open and for one answer to several questions.
 */
export function resumeWrites(stored: StoredCheckpoint | undefined, answers: Answers, runId: string): TaskWrites[] {
  if (answers.kind === "none") return [];
  if (!stored) throw new AgentmaticError("FailedPrecondition", "resume: the thread has no checkpoint to go on from");
  const given = new Set<string>();
  for (const write of stored.writes) {
    if (write.kind !== "resume") continue;
    for (const answer of readAnswers(write)) if (answer.runId === runId) given.add(answer.id);
  }
  const byId = answersById(pendingInterrupts(stored), answers, given);
  const writes: TaskWrites[] = [];
  for (const write of stored.writes) {
    if (write.kind !== "interrupt") continue;
    const asked = readInterrupts(write).filter(({ id }) => Object.hasOwn(byId, id) && !given.has(id));
    if (asked.length === 0) continue;
    const all: StoredAnswer[] = [...earlierAnswers(stored, write.taskId)];
    for (const { id } of asked) all.push({ id, value: byId[id], runId });
    writes.push({ ...write, kind: "resume", data: encodeValue(all, "resume") });
  }
  return writes;
}

/**
 * The same for a run that forks from `stored` with checkpoint `forkId`: it may answer what another run has answered
 * otherwise, and what was answered before in the same task comes along.
 */
export function forkWrites(stored: StoredCheckpoint, answers: Answers, runId: string, forkId: string): TaskWrites[] {
  if (answers.kind === "none") return [];
  const from = stored.checkpoint.checkpointId;
  const moved = (id: string) => forkId + id.slice(from.length);
  const byId = answersById(openInterrupts(stored.writes), answers, new Set());
  const writes: TaskWrites[] = [];
  for (const write of stored.writes) {
    if (write.kind !== "interrupt") continue;
    const asked = readInterrupts(write).filter(({ id }) => id in byId);
    const [first] = asked;
    if (!first) continue;
    if (!first.id.startsWith(`${write.taskId}!`)) throw insideAnother(first.id);
    const earlier = earlierAnswers(stored, write.taskId).filter((answer) => indexOf(answer.id) < indexOf(first.id));
    const given = asked.map(({ id }) => ({ id, value: byId[id], runId }));
    const all = [...earlier, ...given].map((answer) => ({ ...answer, id: moved(answer.id) }));
    const place = { ns: write.ns, checkpointId: forkId, taskId: moved(write.taskId), path: write.path };
    writes.push({ ...place, kind: "resume", data: encodeValue(all, "resume") });
  }
  return writes;
}

/** A fork runs its subgraphs anew, so that their questions come up anew as well. */
function insideAnother(id: string): AgentmaticError {
  const text = `resume.${id}: a fork runs its subgraphs and calls from their start; go on from it without an answer first`;
  return new AgentmaticError("FailedPrecondition", text);
}

function earlierAnswers(stored: StoredCheckpoint, taskId: string): readonly StoredAnswer[] {
  const before = stored.writes.find((write) => write.kind === "resume" && write.taskId === taskId);
  return before ? readAnswers(before) : [];
}

function indexOf(id: string): number {
  return Number(id.slice(id.lastIndexOf("!") + 1));
}

function answersById(
  open: readonly OpenInterrupt[],
  answers: Exclude<Answers, { kind: "none" }>,
  given: ReadonlySet<string>,
): Readonly<Record<string, unknown>> {
  if (answers.kind === "one") return onlyOne(open, answers.value, given);
  const ids = new Set(open.map(({ id }) => id));
  for (const id of Object.keys(answers.values)) {
    if (!ids.has(id) && !given.has(id)) throw invalid(`resume.${id}`, "no interrupt of this id is open on the thread");
  }
  return answers.values;
}

function onlyOne(open: readonly OpenInterrupt[], value: unknown, given: ReadonlySet<string>): Record<string, unknown> {
  if (given.size > 0) return {};
  if (open.length === 1) return { [open[0]!.id]: value };
  if (open.length === 0) throw new AgentmaticError("FailedPrecondition", "resume: no interrupt is open on the thread");
  const ids = open.map(({ id }) => id).join(", ");
  throw invalid("resume", `${open.length} interrupts are open; answer them by id: ${ids}`);
}
