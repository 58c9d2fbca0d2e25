/** Who a store is: its id, zone, region and stored format, written once by the first `setup()`. */
import type { StoreIdentity } from "../../src/checkpoint/saver.ts";
import { AgentmaticError } from "../../src/errors.ts";
import type { Connection, Session } from "./connection.ts";
import { format, metaTable, migrations } from "./migrations.ts";

interface Wanted {
  readonly zone?: string;
  readonly region?: string;
}

type Retry = <T>(body: () => T) => Promise<Awaited<T>>;

/** Throws `FailedPrecondition` where nothing was set up, or by a newer version. */
export function readIdentity(session: Session, path: string): StoreIdentity {
  const meta = readMeta(session);
  if (!meta) throw new AgentmaticError("FailedPrecondition", `SQLite ${path}: is not set up; run setup()`);
  const stored = Number(meta.get("format"));
  if (stored < format) {
    throw new AgentmaticError("FailedPrecondition", `SQLite ${path}: has the old format ${stored}; run setup()`);
  }
  checkFormat(path, stored);
  return { id: meta.get("id") ?? "", zone: meta.get("zone") ?? "", region: meta.get("region") ?? "", format };
}

/** Throws `FailedPrecondition`, naming both, where the process was told another zone or region than the store has. */
export function checkIdentity(path: string, stored: StoreIdentity, wanted: Wanted): void {
  for (const field of ["zone", "region"] as const) {
    const mine = wanted[field];
    if (mine === undefined || mine === stored[field]) continue;
    throw new AgentmaticError(
      "FailedPrecondition",
      `${field}: this process was given "${mine}", the store ${path} is of "${stored[field]}"`,
      { details: { field, given: mine, stored: stored[field] } },
    );
  }
}

/** Safe for any number of processes at once: one makes the tables, the others find them. */
export async function makeOrMigrate(
  connection: Connection,
  retry: Retry,
  { path, id, zone, region }: Wanted & { readonly path: string; readonly id: string },
): Promise<void> {
  const mode = await retry(() => connection.sql<{ journal_mode: string }>("PRAGMA journal_mode = WAL").get());
  if (mode?.journal_mode !== "wal") {
    throw new AgentmaticError("FailedPrecondition", `SQLite ${path}: the file's folder does not allow WAL mode`);
  }
  await retry(() => {
    connection.begin("IMMEDIATE");
    try {
      migrate(connection, path, { format: String(format), id, zone: zone ?? "", region: region ?? "" });
      connection.commit();
    } finally {
      connection.rollback();
    }
  });
}

function migrate(connection: Connection, path: string, fresh: Readonly<Record<string, string>>): void {
  const meta = readMeta(connection);
  const from = meta ? Number(meta.get("format")) : 0;
  checkFormat(path, from);
  if (from === format) return;
  connection.exec(metaTable);
  for (const step of migrations.slice(from)) connection.exec(step);
  const write = "INSERT INTO agentmatic_meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = ?";
  if (from > 0) connection.sql(write).run("format", String(format), String(format));
  else for (const [name, value] of Object.entries(fresh)) connection.sql(write).run(name, value, value);
}

function checkFormat(path: string, stored: number): void {
  if (!Number.isInteger(stored) || stored < 0) {
    throw new AgentmaticError("DataLoss", `SQLite ${path}: its format number is damaged`);
  }
  if (stored > format) {
    throw new AgentmaticError(
      "FailedPrecondition",
      `SQLite ${path}: has format ${stored}, this version knows ${format}: a newer version made it`,
    );
  }
}

function readMeta(session: Session): Map<string, string> | undefined {
  const table = session.sql(`SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'agentmatic_meta'`).get();
  if (!table) return undefined;
  const rows = session.sql<{ name: string; value: string }>(`SELECT name, value FROM agentmatic_meta`).all();
  return new Map(rows.map(({ name, value }) => [name, value]));
}
