/** What a caller answers, and the writes that give it to the tasks that wait. */
import { encodeValue } from "../checkpoint/codec.ts";
import {
  type OpenInterrupt,
  openInterrupts,
  pendingInterrupts,
  readAnswers,
  readInterrupt,
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

export function answersFrom(input: unknown): Answers {
  const answers = input as Partial<Answers> | null;
  if (answers?.kind === "one" || answers?.kind === "byId" || answers?.kind === "none") return answers as Answers;
  throw invalid("resume", "is not an answer");
}

export function interruptId(taskId: string, index: number): string {
  return `${taskId}!${index}`;
}

export function interruptWrite(base: Omit<TaskWrites, "kind" | "data">, interrupt: StoredInterrupt): TaskWrites {
  return { ...base, kind: "interrupt", data: encodeValue(interrupt, "interrupt") };
}

export function answersOf(stored: StoredCheckpoint | undefined, taskId: string): ReadonlyMap<string, unknown> {
  const write = stored?.writes.find((candidate) => candidate.kind === "resume" && candidate.taskId === taskId);
  return new Map(write ? readAnswers(write).map(({ id, value }) => [id, value]) : []);
}

/**
 * The writes that give the answers of run `runId` to the tasks that wait. Repeated by a second attempt of the same run
 * it gives nothing twice. Throws `InvalidArgument` for an id that is not open and for one answer to several questions.
 */
export function resumeWrites(
  stored: StoredCheckpoint | undefined,
  answers: Answers,
  runId: string,
  fork = false,
): TaskWrites[] {
  if (answers.kind === "none") return [];
  if (!stored) throw new AgentmaticError("FailedPrecondition", "resume: the thread has no checkpoint to go on from");
  const given = new Set<string>();
  for (const write of stored.writes) {
    if (write.kind !== "resume") continue;
    for (const answer of readAnswers(write)) if (answer.runId === runId) given.add(answer.id);
  }
  const open = stored.writes.filter(({ kind }) => kind === "interrupt");
  // A fork may answer otherwise what another run has answered before.
  const pending = fork ? openInterrupts(stored.writes) : pendingInterrupts(stored);
  const byId = answers.kind === "one" ? onlyOne(pending, answers.value, given) : answers.values;
  const writes: TaskWrites[] = [];
  const ids = new Set(pending.map(({ id }) => id));
  for (const id of Object.keys(byId)) {
    if (!ids.has(id) && !given.has(id)) throw invalid(`resume.${id}`, "no interrupt of this id is open on the thread");
  }
  for (const write of open) {
    const { id } = readInterrupt(write);
    if (!Object.hasOwn(byId, id) || given.has(id)) continue;
    const before = stored.writes.find(({ kind, taskId }) => kind === "resume" && taskId === write.taskId);
    const others = (before ? readAnswers(before) : []).filter((answer) => answer.id !== id);
    const all: StoredAnswer[] = [...others, { id, value: byId[id], runId }];
    writes.push({ ...write, kind: "resume", data: encodeValue(all, "resume") });
  }
  return writes;
}

function onlyOne(open: readonly OpenInterrupt[], value: unknown, given: ReadonlySet<string>): Record<string, unknown> {
  if (given.size > 0) return {};
  if (open.length === 1) return { [open[0]!.id]: value };
  if (open.length === 0) throw new AgentmaticError("FailedPrecondition", "resume: no interrupt is open on the thread");
  const ids = open.map(({ id }) => id).join(", ");
  throw invalid("resume", `${open.length} interrupts are open; answer them by id: ${ids}`);
}
