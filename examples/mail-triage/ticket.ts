import { createHash, randomUUID } from "node:crypto";
import { appendFileSync, linkSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Ticket {
  /** `T-` and ten hex digits, from the key. */
  readonly number: string;
  readonly unit: string;
  readonly subject: string;
  /** Hours in which the unit promises an answer. */
  readonly dueHours: number;
}

export interface TicketRequest {
  readonly unit: string;
  readonly urgent: boolean;
  readonly subject: string;
}

/** How often the tool was called and what came of it; `effects` equals `keys` when every effect happened once. */
export interface TicketCount {
  readonly calls: number;
  readonly effects: number;
  readonly keys: number;
}

const DUE_HOURS: Record<string, number> = { support: 8, sales: 16, engineering: 40, finance: 24, hr: 40, legal: 80 };
const DUE_OTHERS = 40;
const URGENT_SHARE = 4;
const CALLS = "calls-";

/**
 * The graph's tool: opens a ticket, exactly once for each key, whatever the number of processes that call it at once.
 * A crashed worker's task runs again with the same key and gets the ticket that is there. The file system decides: a hard
 * link is made whole or not at all, and only if its name is free.
 */
export function openTicket(folder: string, key: string, request: TicketRequest): Ticket {
  mkdirSync(folder, { recursive: true });
  const digest = createHash("sha256").update(key).digest("hex");
  const hours = DUE_HOURS[request.unit] ?? DUE_OTHERS;
  const ticket: Ticket = {
    number: `T-${digest.slice(0, 10)}`,
    unit: request.unit,
    subject: request.subject,
    dueHours: request.urgent ? hours / URGENT_SHARE : hours,
  };
  const path = join(folder, `${digest}.json`);
  const created = createOnce(path, JSON.stringify({ key, ...ticket }));
  appendFileSync(join(folder, `${CALLS}${process.pid}.jsonl`), `${JSON.stringify({ key, created })}\n`);
  if (created) return ticket;
  const { key: _, ...stored } = JSON.parse(readFileSync(path, "utf8")) as Ticket & { key: string };
  return stored;
}

function createOnce(path: string, content: string): boolean {
  const draft = `${path}.${randomUUID()}`;
  writeFileSync(draft, content);
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    unlinkSync(draft);
  }
}

/** Counts over what all processes left in the folder. A call killed between effect and log line shows as effect only. */
export function countTickets(folder: string): TicketCount {
  mkdirSync(folder, { recursive: true });
  const names = readdirSync(folder);
  const lines = names
    .filter((name) => name.startsWith(CALLS))
    .flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n"))
    .filter((line) => line.endsWith("}"))
    .map((line) => JSON.parse(line) as { key: string; created: boolean });
  const created = lines.filter((line) => line.created);
  const stored = names.filter((name) => name.endsWith(".json")).length;
  const twice = created.length - new Set(created.map((line) => line.key)).size;
  return { calls: lines.length, effects: stored + twice, keys: stored };
}
