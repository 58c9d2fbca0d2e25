import { MemorySaver, MemoryStore } from "../../src/checkpoint/memory.ts";
import type { Harness } from "./harness.ts";

export const harness: Harness = {
  name: "memory",
  available: async () => undefined,
  async create() {
    const stores = new Map<string, MemoryStore>();
    return {
      async open({ store = "main", zone = "", region = "", setup = true } = {}) {
        const shared = stores.get(store) ?? new MemoryStore();
        stores.set(store, shared);
        const saver = new MemorySaver({ store: shared, zone, region });
        if (setup) await saver.setup();
        return saver;
      },
      async dispose() {},
    };
  },
};
