/** Makes run specs: ids, hash and defaults in one place, for whoever admits a run. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { invalid } from "../errors.ts";
import type { Ports } from "../ports.ts";
import { checkContext, checkCount } from "./check.ts";
import { checkId, zoned, zoneOf } from "./ids.ts";
import type { GraphRef, RunContext } from "./link.ts";
import type { RunKind, RunSpec } from "./record.ts";

export const maxAttemptsDefault = 5;
const maxStepsMax = 1_000_000;

export interface SpecFields {
  /** Minted where it is absent. */
  readonly runId?: string;
  readonly threadId: string;
  readonly graph: GraphRef;
  readonly kind: RunKind;
  /** Encoded by the state codec. */
  readonly input: Uint8Array;
  readonly fromCheckpointId?: string;
  readonly context?: Partial<RunContext>;
  readonly maxSteps: number;
  readonly maxAttempts?: number;
  readonly deadlineMs?: number;
  readonly settings?: Uint8Array;
}

/** Bytes of a run's own settings: they are read with every claim. */
export const settingsBytesMax = 1_048_576;

/** Throws `InvalidArgument`, naming the field. */
export async function makeSpec(fields: SpecFields, ports: Ports): Promise<RunSpec> {
  const { threadId, graph, kind, input, fromCheckpointId, context = {} } = fields;
  checkId("threadId", threadId);
  const runId = fields.runId !== undefined ? fields.runId : zoned(zoneOf(threadId), ports.ids.next());
  checkId("runId", runId);
  if (zoneOf(runId) !== zoneOf(threadId)) throw invalid("runId", "is of another zone than threadId");
  checkCount("maxSteps", fields.maxSteps, 1, maxStepsMax);
  checkCount("maxAttempts", fields.maxAttempts ?? maxAttemptsDefault, 1, 1_000);
  checkContext(context);
  if (fromCheckpointId !== undefined) checkId("checkpointId", fromCheckpointId);
  if (fields.deadlineMs !== undefined) checkCount("timeout", fields.deadlineMs, 1, Number.MAX_SAFE_INTEGER);
  if (fields.settings !== undefined && fields.settings.length > settingsBytesMax) {
    throw invalid("context", `takes ${fields.settings.length} bytes; ${settingsBytesMax} is the most`);
  }
  // Under another rule it is another run: a repeated id must not make a rule void.
  const rule = context.residency ? JSON.stringify([...context.residency.regions].sort()) : "";
  return {
    runId,
    threadId,
    kind,
    graph: { name: graph.name, version: graph.version },
    input,
    inputHash: hashInput(input, graph.name, threadId, kind, fromCheckpointId ?? "", rule),
    ...(fromCheckpointId === undefined ? {} : { fromCheckpointId }),
    ...(fields.deadlineMs === undefined ? {} : { deadlineMs: fields.deadlineMs }),
    ...(fields.settings === undefined ? {} : { settings: fields.settings }),
    ...(context.residency ? { residency: { regions: [...context.residency.regions] } } : {}),
    ...(context.caller ? { caller: context.caller } : {}),
    correlationId: context.correlationId || ports.ids.next(),
    ...(context.trace ? { trace: context.trace } : {}),
    maxSteps: fields.maxSteps,
    maxAttempts: fields.maxAttempts ?? maxAttemptsDefault,
    createdAtMs: ports.clock.wallMs(),
  };
}

const encoder = new TextEncoder();

// Not by WebCrypto: its answer comes by way of another thread, which takes longer than a run of several supersteps.
function hashInput(input: Uint8Array, ...names: readonly string[]): string {
  const texts = names.map((name) => `${bytesOf(name)}:${name}`);
  const first = encoder.encode(`${texts.join("")}${input.length}:`);
  const all = new Uint8Array(first.length + input.length);
  all.set(first);
  all.set(input, first.length);
  return bytesToHex(sha256(all));
}

function bytesOf(name: string): number {
  for (let index = 0; index < name.length; index++) {
    if (name.charCodeAt(index) > 127) return encoder.encode(name).length;
  }
  return name.length;
}
