/**
 * The runtime's built-in SQLite behind one small port: `node:sqlite` on Node and Deno, `bun:sqlite` on Bun.
 * Everything here is synchronous, as SQLite is; what must wait waits outside (queue.ts).
 */
import process from "node:process";
import type { DatabaseSync } from "node:sqlite";
import { AgentmaticError } from "../../src/errors.ts";

export type SqlValue = string | number | null | Uint8Array;
export type Row = Record<string, SqlValue>;

export interface Statement<R> {
  run(...values: SqlValue[]): void;
  get(...values: SqlValue[]): R | undefined;
  all(...values: SqlValue[]): R[];
}

export interface Database {
  exec(sql: string): void;
  prepare<R = Row>(sql: string): Statement<R>;
  /** True between BEGIN and its COMMIT or ROLLBACK. */
  readonly inTransaction: boolean;
  close(): void;
}

/** Opens the file, and makes it if it is missing. Throws what the runtime's SQLite throws (failure.ts reads it). */
export async function openDatabase(path: string): Promise<Database> {
  return "Bun" in globalThis ? openBun(path) : openNode(path);
}

function openNode(path: string): Database {
  const db = new (nodeSqlite().DatabaseSync)(path);
  return {
    exec: (sql) => db.exec(sql),
    prepare: <R>(sql: string) => nodeStatement<R>(db, sql),
    get inTransaction() {
      return db.isTransaction;
    },
    close: () => db.close(),
  };
}

function nodeStatement<R>(db: DatabaseSync, sql: string): Statement<R> {
  const statement = db.prepare(sql);
  return {
    run: (...values) => void statement.run(...values),
    get: (...values) => (statement.get(...values) as R | undefined) ?? undefined,
    all: (...values) => statement.all(...values) as R[],
  };
}

/**
 * Node 22 warns at the first load of `node:sqlite` that the module is experimental, which a user of this package can do
 * nothing about. Only that warning is kept back, and only for the length of this synchronous call.
 */
function nodeSqlite(): typeof import("node:sqlite") {
  const emitWarning = process.emitWarning;
  process.emitWarning = ((warning: string | Error, ...rest: unknown[]) => {
    const type = typeof rest[0] === "object" && rest[0] !== null ? (rest[0] as { type?: unknown }).type : rest[0];
    if (type === "ExperimentalWarning" && String(warning).includes("SQLite")) return;
    Reflect.apply(emitWarning, process, [warning, ...rest]);
  }) as typeof emitWarning;
  try {
    const module = process.getBuiltinModule("node:sqlite");
    if (!module) throw new AgentmaticError("Unsupported", `this runtime has no node:sqlite (${process.version})`);
    return module;
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** What is used of `bun:sqlite`, whose types would bring all of Bun's globals with them. */
interface BunSqlite {
  readonly Database: new (path: string, options: { readwrite: boolean; create: boolean }) => BunDatabase;
}

interface BunDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): BunStatement;
  readonly inTransaction: boolean;
  close(): void;
}

interface BunStatement {
  run(...values: SqlValue[]): unknown;
  get(...values: SqlValue[]): unknown;
  all(...values: SqlValue[]): unknown[];
  finalize(): void;
}

async function openBun(path: string): Promise<Database> {
  // Not a literal: only Bun knows this name, and tsc and bundlers would look for it.
  const name: string = "bun:sqlite";
  const { Database } = (await import(name)) as BunSqlite;
  const db = new Database(path, { readwrite: true, create: true });
  const statements: BunStatement[] = [];
  return {
    exec: (sql) => void db.exec(sql),
    prepare<R>(sql: string) {
      const statement = db.prepare(sql);
      statements.push(statement);
      return bunStatement<R>(statement);
    },
    get inTransaction() {
      return db.inTransaction;
    },
    close() {
      // A statement that is left keeps the file, and its locks, until it is collected.
      for (const statement of statements) statement.finalize();
      db.close();
    },
  };
}

function bunStatement<R>(statement: BunStatement): Statement<R> {
  return {
    run: (...values) => void statement.run(...values),
    get: (...values) => (statement.get(...values) as R | null) ?? undefined,
    all: (...values) => statement.all(...values) as R[],
  };
}
