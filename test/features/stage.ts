/** What the tests of features share: ways to run a graph in this process, and a store that is looked into. */
import type { Saver } from "../../src/checkpoint/saver.ts";
import { Annotation, type Channel, MemorySaver } from "../../src/mod.ts";

/** A list that all nodes append to. */
export function list(): Channel<string[]> {
  return Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
}

/** For `describe.each`: what holds with a checkpointer holds without one. */
export const ways: readonly { readonly way: string; readonly kept: () => { checkpointer?: Saver } }[] = [
  { way: "without a checkpointer", kept: () => ({}) },
  { way: "with the memory saver", kept: () => ({ checkpointer: new MemorySaver() }) },
];

export const thread = { threadId: "t" } as const;

/** A saver that keeps a copy of all bytes it was given, as text. */
export function overheard(inner: Saver = new MemorySaver()): { readonly saver: Saver; readonly said: () => string } {
  const parts: string[] = [];
  const listen = (value: unknown): void => {
    if (value instanceof Uint8Array) parts.push(new TextDecoder().decode(value));
    else if (typeof value === "string") parts.push(value);
    else if (typeof value === "object" && value !== null) for (const one of Object.values(value)) listen(one);
  };
  const saver = new Proxy(inner, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (key === "commit" || key === "putWrites" || key === "admit") args.forEach(listen);
        return value.apply(target, args) as unknown;
      };
    },
  });
  return { saver, said: () => parts.join("\n") };
}

/** All that an iteration gives. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
