/** The async context of the core, by AsyncLocalStorage, which Node, Deno and Bun all have. */
import { AsyncLocalStorage } from "node:async_hooks";
import { asyncContext, installAsyncContext } from "../../src/graph/context.ts";
import type { AsyncContext } from "../../src/ports.ts";

/** Makes the free functions (`interrupt()` and the like) work in this process. May be called any number of times. */
export function install(): void {
  if (asyncContext()) return;
  const storage = new AsyncLocalStorage<unknown>();
  const context: AsyncContext = { run: (value, body) => storage.run(value, body), get: () => storage.getStore() };
  installAsyncContext(context);
}
