/** A process that dies at a write to its store: neither that one nor any later call goes through, or is heard of. */
import type { Commit, Saver, TaskWrites, TaskWritesRequest } from "../checkpoint/saver.ts";
import { AgentmaticError } from "../errors.ts";

export interface Cut {
  readonly at: number;
  readonly when: "before" | "after";
}

export interface Witness {
  /** Called before a write; true where the process dies at this one. */
  dies(what: string): Cut["when"] | undefined;
  /** Called after a write that the store has taken. */
  stored(writes: readonly TaskWrites[], checkpoint: Commit["checkpoint"]): void;
}

type Write = readonly (Commit | TaskWritesRequest)[];

/** A client of the store whose process is gone once the witness says so. */
export function mortal(inner: Saver, witness: Witness): Saver {
  let dead = false;
  const perform = async (batch: Write, write: () => Promise<unknown>): Promise<unknown> => {
    const dies = witness.dies(batch.map(nameOf).join("; "));
    if (dies) dead = true;
    if (dies === "before") throw gone();
    const results = (await write()) as readonly { readonly ok: boolean }[];
    batch.forEach((entry, index) => {
      if (!results[index]?.ok) return;
      witness.stored(entry.writes ?? [], "checkpoint" in entry ? entry.checkpoint : undefined);
    });
    if (dies) throw gone();
    return results;
  };
  return new Proxy(inner, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        if (dead) throw gone();
        const call = () => value.apply(target, args) as Promise<unknown>;
        return key === "commit" || key === "putWrites" ? await perform(args[0] as Write, call) : await call();
      };
    },
  });
}

function gone(): AgentmaticError {
  return new AgentmaticError("FencedOut", "this process was killed by the crash check");
}

/** For people: which write it is. */
function nameOf(entry: Commit | TaskWritesRequest): string {
  const tasks = (entry.writes ?? []).map(({ kind, taskId }) => `${kind} of ${taskId}`).join(", ");
  if (!("seq" in entry)) return tasks;
  const { checkpoint, finish } = entry;
  const parts = [
    ...(checkpoint
      ? [`checkpoint ${checkpoint.checkpointId}${checkpoint.ns === "" ? "" : ` in ${checkpoint.ns}`}`]
      : []),
    ...(tasks === "" ? [] : [tasks]),
    ...(finish ? [`the end as ${finish.status}`] : []),
  ];
  return parts.join(", ");
}
