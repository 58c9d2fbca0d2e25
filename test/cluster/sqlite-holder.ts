/** Holds a SQLite file's write lock for as long as its arguments say: FILE MILLISECONDS. */
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";

const [, , file = "", ms = ""] = process.argv;
const db = new DatabaseSync(file, { timeout: 10_000 });
db.exec("BEGIN IMMEDIATE");
console.log("held");
await sleep(Number(ms));
db.exec("COMMIT");
db.close();
