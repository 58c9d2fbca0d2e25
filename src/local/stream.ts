/** A run's events in the shapes that readers of `stream` get: LangGraph.js's. */

import type { ToldCheckpoint } from "../checkpoint/body.ts";
import { decodeValue } from "../checkpoint/codec.ts";
import type { OpenInterrupt } from "../checkpoint/interrupts.ts";
import { shownOf } from "../engine/snapshot.ts";
import { invalid } from "../errors.ts";
import { END, INTERRUPT, type Plan } from "../graph/plan.ts";
import type { Clock } from "../ports.ts";
import { isObject } from "../run/check.ts";
import { type EventKind, eventKinds, type RunEvent } from "../run/events.ts";
import type { InvokeConfig } from "./config.ts";
import { configAt, dueTasks, planAt } from "./snapshot.ts";

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

/** A reader of several modes is told with `["retract", { attempt }]` what a hand-off made void; one of one mode has no place for it. */
export async function* readEvents(
  form: StreamForm,
  plan: Plan,
  { events }: { readonly events: AsyncIterable<RunEvent> },
  clock: Clock,
): AsyncGenerator<unknown, void> {
  for await (const event of events) {
    const { kind, ns } = event;
    if (kind === "retract") {
      if (form.many) yield shaped(form, ns, kind, decodeValue(event.data));
      continue;
    }
    const data = dataOf(form, plan, event);
    if (form.modes.has(kind)) yield shaped(form, ns, kind, data);
    if (form.modes.has("debug") && (kind === "tasks" || kind === "checkpoints")) {
      yield shaped(form, ns, "debug", debugOf(kind, data, new Date(clock.wallMs()).toISOString()));
    }
  }
}

function shaped({ many, subgraphs }: StreamForm, ns: string, mode: string, data: unknown): unknown {
  const path = ns === "" ? [] : ns.split("|");
  if (!subgraphs) return many ? [mode, data] : data;
  return many ? [path, mode, data] : [path, data];
}

function dataOf({ threadId }: StreamForm, root: Plan, { kind, node, taskId, ns, runId, data }: RunEvent): unknown {
  const value = decodeValue(data);
  if (kind === "updates") return taskId === "" ? { [node]: updateShown(value) } : callShown(node, value);
  const plan = planAt(root, ns);
  // What was made again from the store has every channel.
  if (kind === "values") return plan ? shownOf(plan, value as ToldCheckpoint["values"]) : value;
  if (kind !== "checkpoints") return value;
  const { checkpointId, parentId, step, source, next, sends, values } = value as ToldCheckpoint;
  return {
    config: configAt(threadId, ns, checkpointId),
    ...(parentId === null ? {} : { parentConfig: configAt(threadId, ns, parentId) }),
    values: plan?.functional ? shownOf(plan, values) : values,
    metadata: { source, step, run_id: runId },
    next: [...next, ...sends],
    tasks: plan ? dueTasks(plan, { threadId, ns, checkpointId, step, next, sends }) : [],
  };
}

/** Channels of this name are those of functional graphs alone. */
function updateShown(update: unknown): unknown {
  return isObject(update) && Object.hasOwn(update, END) ? update[END] : update;
}

/** What a durable call gave back, marked where it was made before, as in LangGraph.js. */
function callShown(name: string, value: unknown): unknown {
  const { result, cached } = value as { readonly result: unknown; readonly cached?: boolean };
  return cached ? { [name]: result, __metadata__: { cached } } : { [name]: result };
}

function debugOf(kind: "tasks" | "checkpoints", payload: unknown, timestamp: string): unknown {
  if (kind === "checkpoints") {
    const { step } = (payload as { metadata: { step: number } }).metadata;
    return { step, type: "checkpoint", timestamp, payload };
  }
  const { step } = payload as { step: number };
  const ended = "result" in (payload as object);
  return { step, type: ended ? "task_result" : "task", timestamp, payload };
}
