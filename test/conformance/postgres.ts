/** The Postgres saver in the conformance suite: one database, a schema for each store of each case. */
import { randomBytes } from "node:crypto";
import postgres from "postgres";
import { PostgresSaver } from "../../adapters/postgres/mod.ts";
import type { OpenOptions } from "../../src/testing/case.ts";
import { createDatabase } from "../support/postgres.ts";
import type { Harness, HarnessContext } from "./harness.ts";

let database: Promise<string> | undefined;

export const harness: Harness = {
  name: "postgres",
  async available() {
    try {
      await url();
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  },
  create,
};

function url(): Promise<string> {
  database ??= createDatabase();
  return database;
}

async function create(): Promise<HarnessContext> {
  const address = await url();
  const prefix = `case_${randomBytes(6).toString("hex")}`;
  const clients: PostgresSaver[] = [];
  const schemas = new Set<string>();
  return {
    async open({ store = "main", zone = "", region = "", setup = true }: OpenOptions = {}) {
      const schema = `${prefix}_${store}`;
      schemas.add(schema);
      const client = new PostgresSaver({ url: address, schema, zone, region });
      clients.push(client);
      if (setup) await client.setup();
      return client;
    },
    async dispose() {
      for (const client of clients) await client.close();
      const sql = postgres(address, { max: 1, onnotice: () => {} });
      for (const schema of schemas) await sql`DROP SCHEMA IF EXISTS ${sql(schema)} CASCADE`;
      await sql.end();
    },
  };
}
