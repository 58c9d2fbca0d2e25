/** What the statements answer, turned into the port's values; columns by position, in the order of statements.ts. */

import { type Changed, unpackChanged } from "../../src/checkpoint/pack.ts";
import { gathered, readVersions } from "../../src/checkpoint/pieces.ts";
import type { StoredCheckpoint, TaskWriteKind, TaskWrites, ThreadHead } from "../../src/checkpoint/saver.ts";
import { readSpec } from "../../src/checkpoint/spec-json.ts";
import type { RunRecord, RunStatus } from "../../src/run/record.ts";

/** Numbers come as strings where they are bigint, bytes as the driver's buffers. */
export type Row = readonly unknown[];

/** Where the columns after the record's own begin: first `active` and `headSeq`, then what a statement adds. */
export const afterRecord = 18;

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

/** JSON in bytes, not in `jsonb`: texts may hold NUL characters and lone surrogates, which JSON escapes. */
export function encodeJson(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

export function toRecord(row: Row): RunRecord {
  return {
    spec: readSpec(json(row[0]), bytes(row[1])),
    state: {
      status: row[2] as RunStatus,
      revision: Number(row[3]),
      attempt: Number(row[4]),
      poison: Number(row[5]),
      owner: text(row[6]),
      coordinator: text(row[7]),
      lease: Number(row[8]),
      claimSeq: row[9] === null ? null : Number(row[9]),
      base: row[10] === true ? text(row[11]) : undefined,
      cancelRequested: row[12] === true,
      outcome: row[13] === null ? null : (json(row[13]) as RunRecord["state"]["outcome"]),
      history: json(row[14]) as RunRecord["state"]["history"],
    },
    ticket: Number(row[15]),
    active: row[16] === true,
    headSeq: Number(row[17]),
  };
}

export function toHead(commitId: unknown, seq: unknown, checkpointId: unknown, runId: unknown): ThreadHead {
  return { commitId: text(commitId), seq: Number(seq), checkpointId: text(checkpointId), runId: text(runId) };
}

/** Rows in three parts (see `checkpointStatements`). Throws `DataLoss` where a value that a version names is missing. */
export function toCheckpoints(threadId: string, ns: string, rows: readonly Row[]): StoredCheckpoint[] {
  const changed = new Map<number, Changed>();
  const writes = new Map<string, TaskWrites[]>();
  for (const [part, seq, , a, b, c, d, , , blob] of rows) {
    if (part !== 2) changed.set(Number(seq), unpackChanged(bytes(blob)));
    else {
      const checkpointId = String(a);
      const list = writes.get(checkpointId) ?? [];
      list.push({ ns, checkpointId, taskId: String(b), path: String(c), kind: d as TaskWriteKind, data: bytes(blob) });
      writes.set(checkpointId, list);
    }
  }
  return rows
    .filter(([part]) => part === 0)
    .map(([, seq, epoch, id, parentId, runId, , step, versionsBlob, , body]) => {
      const checkpointId = String(id);
      const versions = readVersions(json(versionsBlob));
      return {
        checkpoint: {
          threadId,
          ns,
          checkpointId,
          parentId: text(parentId),
          runId: String(runId),
          step: Number(step),
          seq: Number(seq),
          epoch: Number(epoch),
          ...versions,
          ...gathered(threadId, versions, (at) => changed.get(at)),
          body: bytes(body),
        },
        writes: writes.get(checkpointId) ?? [],
      };
    });
}

/** A plain array of its own, so that neither a `Buffer` nor the pool that Node cuts small buffers from gets out. */
function bytes(value: unknown): Uint8Array {
  const buffer = value as Uint8Array;
  return buffer.byteLength === buffer.buffer.byteLength ? new Uint8Array(buffer.buffer) : new Uint8Array(buffer);
}

function json(value: unknown): unknown {
  return JSON.parse(decoder.decode(value as Uint8Array));
}

function text(value: unknown): string | null {
  return value === null ? null : String(value);
}
