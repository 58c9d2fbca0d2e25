/** The SQLite saver in the conformance suite: a folder of its own for each case, a file for each store. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteSaver } from "../../adapters/sqlite/mod.ts";
import type { OpenOptions } from "../../src/testing/case.ts";
import type { Harness, HarnessContext } from "./harness.ts";

export const harness: Harness = {
  name: "sqlite",
  available: async () => undefined,
  create,
};

async function create(): Promise<HarnessContext> {
  const folder = await mkdtemp(join(tmpdir(), "agentmatic-sqlite-"));
  const clients: SqliteSaver[] = [];
  return {
    async open({ store = "main", zone = "", region = "", setup = true }: OpenOptions = {}) {
      const client = new SqliteSaver({ path: join(folder, `${store}.db`), zone, region });
      clients.push(client);
      if (setup) await client.setup();
      return client;
    },
    async dispose() {
      for (const client of clients) await client.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
