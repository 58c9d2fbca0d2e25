/** Updates and turns that a caller gave with an answer: stored beside the checkpoint that the answer is for. */
import { decodeValue, encodeValue } from "../checkpoint/codec.ts";
import { compareCodePoints } from "../checkpoint/order.ts";
import type { TaskWrites } from "../checkpoint/saver.ts";
import type { TaskResult } from "./step.ts";

const mark = "||";

/** Comes after the tasks' own writes and after earlier commands. */
export function commandWrite(
  place: { readonly ns: string; readonly checkpointId: string },
  result: TaskResult,
  runId: string,
  before: number,
): TaskWrites {
  const taskId = `${place.checkpointId}${mark}${runId}`;
  const path = `~${String(before).padStart(6, "0")}`;
  const data = encodeValue([result.updates, result.goto, result.sends], "Command");
  return { ns: place.ns, checkpointId: place.checkpointId, taskId, path, kind: "done", data };
}

export function commandsOf(checkpointId: string, writes: readonly TaskWrites[]): readonly TaskResult[] {
  if (writes.length === 0) return [];
  const prefix = `${checkpointId}${mark}`;
  return writes
    .filter(({ kind, taskId }) => kind === "done" && taskId.startsWith(prefix))
    .sort((a, b) => compareCodePoints(a.path, b.path))
    .map((write) => {
      const [updates, goto, sends] = decodeValue(write.data) as [
        TaskResult["updates"],
        TaskResult["goto"],
        TaskResult["sends"],
      ];
      return { updates, goto, sends };
    });
}
