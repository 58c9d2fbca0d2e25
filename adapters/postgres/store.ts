/** The store as a whole: its statements, its identity, how it is made. */

import type { StoreIdentity } from "../../src/checkpoint/saver.ts";
import { AgentmaticError } from "../../src/errors.ts";
import type { Ids } from "../../src/ports.ts";
import { checkId, checkZone } from "../../src/run/ids.ts";
import type { Client } from "./client.ts";
import { format, setupStatement } from "./migrations.ts";
import { type Statements, statements } from "./statements.ts";

/** Tries after the first, where the server does not answer: for a probe, and where a start may be waiting for it. */
const probeTries = 1;
const startTries = 8;
const setupTriesMax = 10;

export interface StoreOptions {
  readonly client: Client;
  readonly schema: string;
  /** What the caller says the store is; undefined: whatever it says itself. */
  readonly zone: string | undefined;
  readonly region: string | undefined;
  readonly unfenced: boolean;
  readonly ids: Ids;
}

export class Store {
  readonly client: Client;
  readonly statements: Statements;
  readonly #options: StoreOptions;
  #known: Promise<StoreIdentity> | undefined;

  constructor(options: StoreOptions) {
    this.#options = options;
    this.client = options.client;
    this.statements = statements(options.schema, options.unfenced);
  }

  async setup(): Promise<void> {
    const found = await this.#read(startTries);
    if (!found || found.format < format) {
      const { schema, zone = "", region = "", ids } = this.#options;
      await this.#make(setupStatement(schema, ids.next(), zone, region));
    }
    await this.identity(startTries);
  }

  /** Where many start at once on a slow disk, the last may wait longer for the others than one statement may take. */
  async #make(statement: string): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await this.client.run(statement, []);
        return;
      } catch (error) {
        if (!AgentmaticError.is(error, "DeadlineExceeded") || tries === setupTriesMax) throw error;
      }
    }
  }

  /** Read anew at every call, and told soon where the server is away: this is what probes ask. Throws `FailedPrecondition` where the store is not the one that the caller says it is. */
  async identity(lostTries: number = probeTries): Promise<StoreIdentity> {
    const found = await this.#read(lostTries);
    const { schema, zone, region } = this.#options;
    if (!found) throw mismatch(schema, "is not set up: call setup() once");
    if (found.format > format) throw mismatch(schema, `has format ${found.format}, this version knows ${format}`);
    if (found.format < format) throw mismatch(schema, `has the older format ${found.format}: call setup() once`);
    if (zone !== undefined && zone !== found.zone) {
      throw mismatch(schema, `keeps zone "${found.zone}", not zone "${zone}"`);
    }
    if (region !== undefined && region !== found.region) {
      throw mismatch(schema, `lies in region "${found.region}", not in region "${region}"`);
    }
    return found;
  }

  /** The identity, read once in the life of this object: nothing is read or written before it was seen to fit. */
  ready(): Promise<StoreIdentity> {
    this.#known ??= this.identity(startTries).catch((error: unknown) => {
      this.#known = undefined;
      throw error;
    });
    return this.#known;
  }

  /** Throws `InvalidArgument` or `ResidencyViolation` for ids that this store cannot hold. */
  async checkIds(ids: Readonly<Record<string, string>>): Promise<void> {
    for (const [field, id] of Object.entries(ids)) checkId(field, id);
    const { zone } = await this.ready();
    for (const [field, id] of Object.entries(ids)) checkZone(zone, `${field} ${id}`, id);
  }

  async #read(lostTries: number): Promise<StoreIdentity | undefined> {
    const options = { urgent: true, lostTries };
    const rows = await this.client.run(this.statements.identity, [], options).catch((error: unknown) => {
      if (isMissing(error)) return [];
      throw error;
    });
    const [row] = rows;
    if (!row) return undefined;
    const [stored, id, zone, region, durability] = row;
    // Under "off" the server answers before the disk has it: acknowledged commits would be lost with the server.
    if (durability === "off") throw mismatch(this.#options.schema, "is on a server with synchronous_commit = off");
    return { id: String(id), zone: String(zone), region: String(region), format: Number(stored) };
  }
}

function isMissing(error: unknown): boolean {
  return AgentmaticError.is(error) && ["42P01", "3F000"].includes(String(error.details.sqlstate));
}

function mismatch(schema: string, problem: string): AgentmaticError {
  return new AgentmaticError("FailedPrecondition", `the Postgres schema "${schema}" ${problem}`);
}
