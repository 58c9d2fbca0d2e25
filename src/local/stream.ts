/** A run's events in the shapes that readers of `stream` get: LangGraph.js's. */
import { decodeValue } from "../checkpoint/codec.ts";
import type { OpenInterrupt } from "../checkpoint/interrupts.ts";
import { invalid } from "../errors.ts";
import { INTERRUPT, type Plan } from "../graph/plan.ts";
import { type EventKind, eventKinds, type RunEvent } from "../run/events.ts";
import type { InvokeConfig } from "./config.ts";
import { configAt } from "./snapshot.ts";

export type StreamMode = Exclude<EventKind, "retract"> | "debug";

export interface StreamConfig extends InvokeConfig {
  /** One mode yields its data; a list yields `[mode, data]`. Default `updates`, by node, as in LangGraph.js. */
  streamMode?: StreamMode | readonly StreamMode[];
  /** Events of subgraphs, too; each item then begins with the path of its graph, `[]` for the root. */
  subgraphs?: boolean;
}

export interface StreamForm {
  readonly modes: ReadonlySet<StreamMode>;
  readonly many: boolean;
  readonly subgraphs: boolean;
  readonly threadId: string;
  /** What a reader of updates or values is told at the end of a run that waits. */
  interrupted(interrupts: readonly OpenInterrupt[]): Iterable<unknown>;
}

const streamModes: readonly string[] = [...eventKinds.filter((kind) => kind !== "retract"), "debug"];
/** Modes whose events may be retracted by a hand-off; a reader of several modes is told with `["retract", { attempt }]`. */
const provisional: readonly StreamMode[] = ["messages", "custom", "tasks", "debug"];

/** Throws `InvalidArgument`, naming the field. */
export function streamOf({
  streamMode = "updates",
  subgraphs = false,
  threadId,
  configurable,
}: StreamConfig): StreamForm {
  const many = Array.isArray(streamMode);
  const modes = (many ? streamMode : [streamMode]) as readonly StreamMode[];
  if (modes.length === 0) throw invalid("streamMode", "names no mode");
  for (const mode of modes) {
    if (!streamModes.includes(mode)) throw invalid("streamMode", `must be one of ${streamModes.join(", ")}`);
  }
  const set = new Set(modes);
  return {
    modes: set,
    many,
    subgraphs,
    threadId: threadId ?? configurable?.thread_id ?? "",
    *interrupted(interrupts) {
      for (const mode of ["updates", "values"] as const) {
        if (set.has(mode)) yield shaped(this, "", mode, { [INTERRUPT]: interrupts });
      }
    },
  };
}

export function kindsOf({ modes }: StreamForm): readonly EventKind[] {
  const kinds = new Set<EventKind>();
  for (const mode of modes) {
    if (mode !== "debug") kinds.add(mode);
    else for (const kind of ["tasks", "checkpoints"] as const) kinds.add(kind);
  }
  return [...kinds];
}

export async function* readEvents(
  form: StreamForm,
  plan: Plan,
  { events }: { readonly events: AsyncIterable<RunEvent> },
): AsyncGenerator<unknown, void> {
  for await (const event of events) {
    const { kind, ns } = event;
    if (kind === "retract") {
      if (form.many && provisional.some((mode) => form.modes.has(mode)))
        yield shaped(form, ns, kind, decodeValue(event.data));
      continue;
    }
    const data = dataOf(form, plan, event);
    if (form.modes.has(kind)) yield shaped(form, ns, kind, data);
    if (form.modes.has("debug") && (kind === "tasks" || kind === "checkpoints")) {
      yield shaped(form, ns, "debug", debugOf(kind, data));
    }
  }
}

function shaped({ many, subgraphs }: StreamForm, ns: string, mode: string, data: unknown): unknown {
  const path = ns === "" ? [] : ns.split("|");
  if (!subgraphs) return many ? [mode, data] : data;
  return many ? [path, mode, data] : [path, data];
}

function dataOf({ threadId }: StreamForm, plan: Plan, { kind, node, ns, runId, data }: RunEvent): unknown {
  const value = decodeValue(data);
  if (kind === "updates") return { [node]: value };
  if (kind !== "checkpoints") return value;
  const given = value as { checkpointId: string; step: number; source: string; next?: string[]; values?: unknown };
  const { checkpointId, step, source, next = [], values } = given;
  return {
    ...given,
    graph: plan.name,
    values,
    next,
    config: configAt(threadId, ns, checkpointId),
    metadata: { source, step, run_id: runId },
  };
}

function debugOf(kind: "tasks" | "checkpoints", payload: unknown): unknown {
  if (kind === "checkpoints") return { type: "checkpoint", ...stepOf(payload), payload };
  const ended = typeof payload === "object" && payload !== null && !("input" in payload);
  return { type: ended ? "task_result" : "task", ...stepOf(payload), payload };
}

function stepOf(payload: unknown): { step?: number } {
  const { step } = (payload ?? {}) as { step?: unknown };
  return typeof step === "number" ? { step } : {};
}
