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
export function resumeWrites(stored: StoredCheckpoint | undefined, answers: Answers, runId: string): TaskWrites[] {
  if (answers.kind === "none") return [];
  if (!stored) throw new AgentmaticError("FailedPrecondition", "resume: the thread has no checkpoint to go on from");
  const given = new Set<string>();
  for (const write of stored.writes) {
    if (write.kind !== "resume") continue;
    for (const answer of readAnswers(write)) if (answer.runId === runId) given.add(answer.id);
  }
  const open = stored.writes.filter(({ kind }) => kind === "interrupt");
  const byId = answersById(pendingInterrupts(stored), answers, given);
  const writes: TaskWrites[] = [];
  for (const write of open) {
    const { id } = readInterrupt(write);
    if (!Object.hasOwn(byId, id) || given.has(id)) continue;
    const before = stored.writes.find(({ kind, taskId }) => kind === "resume" && taskId === write.taskId);
    const all: StoredAnswer[] = [...(before ? readAnswers(before) : []), { id, value: byId[id], runId }];
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
  const asked = stored.writes.filter((write) => write.kind === "interrupt" && readInterrupt(write).id in byId);
  return asked.map((write) => {
    const { id } = readInterrupt(write);
    const before = stored.writes.find(({ kind, taskId }) => kind === "resume" && taskId === write.taskId);
    const earlier = (before ? readAnswers(before) : []).filter((answer) => indexOf(answer.id) < indexOf(id));
    const all = [...earlier, { id, value: byId[id], runId }].map((answer) => ({ ...answer, id: moved(answer.id) }));
    const place = { ns: write.ns, checkpointId: forkId, taskId: moved(write.taskId), path: write.path };
    return { ...place, kind: "resume", data: encodeValue(all, "resume") };
  });
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
