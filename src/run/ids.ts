/**
 * Ids of threads and runs as callers see them. Where residency zones are configured an id carries its zone in front
 * (`eu::customer-42`), so that a wrong zone is an error and never a look-up in the wrong place (PROTOCOL.md P26).
 */
import { AgentmaticError, invalid } from "../errors.ts";

export const zoneSeparator = "::";
export const idBytesMax = 256;

const encoder = new TextEncoder();

/** The zone in front of an id, or "" where there is none. */
export function zoneOf(id: string): string {
  const at = id.indexOf(zoneSeparator);
  return at < 0 ? "" : id.slice(0, at);
}

export function zoned(zone: string, local: string): string {
  return zone === "" ? local : `${zone}${zoneSeparator}${local}`;
}

/** Throws `InvalidArgument`, naming `field`, unless `id` is a usable thread or run id. */
export function checkId(field: string, id: unknown): asserts id is string {
  if (typeof id !== "string" || id === "") throw invalid(field, "must be a non-empty string");
  // A character is three bytes at most: short ids need not be encoded to be measured.
  if (id.length * 3 > idBytesMax && encoder.encode(id).length > idBytesMax) {
    throw invalid(field, `is longer than ${idBytesMax} bytes`);
  }
  for (let index = 0; index < id.length; index++) {
    const code = id.charCodeAt(index);
    if (code < 32 || code === 127) throw invalid(field, "has a control character");
  }
  if (!id.isWellFormed()) throw invalid(field, "has an unpaired surrogate");
  const zone = zoneOf(id);
  if (id.includes(zoneSeparator) && !/^[a-z][a-z0-9-]{0,31}$/.test(zone)) {
    throw invalid(field, `"${zone}" before "${zoneSeparator}" is not a zone name`);
  }
}

/** Throws `ResidencyViolation` unless both ids lie in the zone (a store's own, for instance). */
export function checkZone(expected: string, what: string, id: string): void {
  const zone = zoneOf(id);
  if (zone !== expected) {
    throw new AgentmaticError(
      "ResidencyViolation",
      `${what}: its id is of zone "${zone}", this store keeps zone "${expected}"`,
      { details: { zone, expected } },
    );
  }
}
