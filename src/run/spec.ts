/** Makes run specs: ids, hash and defaults in one place, for whoever admits a run. */
import { invalid } from "../errors.ts";
import type { Ports } from "../ports.ts";
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
}

/** Throws `InvalidArgument`, naming the field. */
export async function makeSpec(fields: SpecFields, ports: Ports): Promise<RunSpec> {
  const { threadId, graph, kind, input, fromCheckpointId, context = {} } = fields;
  checkId("threadId", threadId);
  const runId = fields.runId ?? zoned(zoneOf(threadId), ports.ids.next());
  checkId("runId", runId);
  if (zoneOf(runId) !== zoneOf(threadId)) throw invalid("runId", "is of another zone than threadId");
  checkCount("maxSteps", fields.maxSteps, maxStepsMax);
  checkCount("maxAttempts", fields.maxAttempts ?? maxAttemptsDefault, 1_000);
  checkRegions(context);
  return {
    runId,
    threadId,
    kind,
    graph: { name: graph.name, version: graph.version },
    input,
    inputHash: await hashInput(graph.name, threadId, kind, fromCheckpointId ?? "", input),
    ...(fromCheckpointId === undefined ? {} : { fromCheckpointId }),
    ...(context.residency ? { residency: { regions: [...context.residency.regions] } } : {}),
    ...(context.caller ? { caller: context.caller } : {}),
    correlationId: context.correlationId || ports.ids.next(),
    ...(context.trace ? { trace: context.trace } : {}),
    maxSteps: fields.maxSteps,
    maxAttempts: fields.maxAttempts ?? maxAttemptsDefault,
    createdAtMs: ports.clock.wallMs(),
  };
}

function checkRegions({ residency }: Partial<RunContext>): void {
  if (!residency) return;
  const { regions } = residency;
  if (!Array.isArray(regions) || regions.some((region) => typeof region !== "string" || region === "")) {
    throw invalid("residency.regions", "must be a list of region names");
  }
  if (regions.length === 0) throw invalid("residency.regions", "is empty, which allows no region at all");
}

function checkCount(field: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 1 || value > max)
    throw invalid(field, `must be a whole number from 1 to ${max}`);
}

async function hashInput(...parts: readonly (string | Uint8Array)[]): Promise<string> {
  const encoder = new TextEncoder();
  const chunks = parts.flatMap((part) => {
    const bytes = typeof part === "string" ? encoder.encode(part) : part;
    return [encoder.encode(`${bytes.length}:`), bytes];
  });
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
