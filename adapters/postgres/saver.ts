/** The Postgres saver: one statement for everything that must be one step (statements.ts), batches in front of it. */
import process from "node:process";
import type { Sql } from "postgres";
import { compareCodePoints } from "../../src/checkpoint/order.ts";
