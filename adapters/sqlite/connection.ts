/** One open file: its settings, its prepared statements, its transactions. */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { AgentmaticError } from "../../src/errors.ts";
import { type Database, openDatabase, type Row, type Statement } from "./driver.ts";

export type Synchronous = "full" | "normal";

/** What the statements of one transaction, or of one read, are made on. */
export interface Session {
  /** Prepared once and kept: hand in texts of a bounded number only, never with a value in them. */
  sql<R = Row>(text: string): Statement<R>;
}

export interface Connection extends Session {
  /** Throws where the file is locked (`isBusy`). */
  begin(kind: "IMMEDIATE" | "DEFERRED"): void;
  commit(): void;
  /** Ends a transaction that may be over already. */
  rollback(): void;
  exec(text: string): void;
  close(): void;
}

/**
 * Opens a file that is there. A write is on the disk when it is answered (`full`), or survives the process but perhaps
 * not the machine (`normal`). Throws `FailedPrecondition` where there is no file.
 */
export async function openExisting(path: string, synchronous: Synchronous): Promise<Connection> {
  if (!existsSync(path)) throw new AgentmaticError("FailedPrecondition", `SQLite ${path}: no such file; run setup()`);
  return connect(await openDatabase(path), synchronous);
}

/** Opens a file, making it if it is missing. Throws `FailedPrecondition` where the folder is not there. */
export async function openOrCreate(path: string, synchronous: Synchronous): Promise<Connection> {
  const folder = dirname(path);
  if (!existsSync(folder)) throw new AgentmaticError("FailedPrecondition", `SQLite ${path}: no folder ${folder}`);
  return connect(await openDatabase(path), synchronous);
}

/**
 * - busy_timeout 0: SQLite would sleep inside the call, with the whole event loop; queue.ts waits outside (P20).
 * - wal_autocheckpoint 1,000 pages (4 MB) keeps reads fast; journal_size_limit gives a grown log's disk space back.
 */
function connect(db: Database, synchronous: Synchronous): Connection {
  try {
    db.exec(`
      PRAGMA busy_timeout = 0;
      PRAGMA synchronous = ${synchronous === "full" ? "FULL" : "NORMAL"};
      PRAGMA wal_autocheckpoint = 1000;
      PRAGMA journal_size_limit = 67108864;
      PRAGMA cache_size = -16384;
      PRAGMA temp_store = MEMORY;
    `);
  } catch (error) {
    db.close();
    throw error;
  }
  const statements = new Map<string, Statement<unknown>>();
  const sql = <R>(text: string): Statement<R> => {
    const kept = statements.get(text);
    if (kept) return kept as Statement<R>;
    const statement = db.prepare<R>(text);
    statements.set(text, statement as Statement<unknown>);
    return statement;
  };
  const begin = { IMMEDIATE: sql("BEGIN IMMEDIATE"), DEFERRED: sql("BEGIN DEFERRED") };
  return {
    sql,
    begin: (kind) => void begin[kind].run(),
    commit: () => void sql("COMMIT").run(),
    rollback() {
      if (db.inTransaction) db.exec("ROLLBACK");
    },
    exec: (text) => db.exec(text),
    close: () => db.close(),
  };
}
