/** A run's spec as the JSON that stores keep beside its input. */
import type { RunSpec } from "../run/record.ts";
import { fromBase64, toBase64 } from "./codec/base64.ts";

type Stored = Omit<RunSpec, "input" | "settings"> & { readonly settings?: string };

export function specJson({ input: _input, settings, ...rest }: RunSpec): Stored {
  return settings ? { ...rest, settings: toBase64(settings) } : rest;
}

export function readSpec(json: unknown, input: Uint8Array): RunSpec {
  const { settings, ...rest } = json as Stored;
  return settings === undefined ? { ...rest, input } : { ...rest, input, settings: fromBase64(settings) };
}
