import { invalid } from "../../src/errors.ts";

/**
 * Throws `InvalidArgument`, naming the field, for a text that would not come back as it was: Node 22 and Deno read one
 * only up to its first NUL, and UTF-8 has no unpaired surrogates.
 */
export function checkText(field: string, text: string): void {
  if (text.includes("\0")) throw invalid(field, "has a NUL character");
  if (!text.isWellFormed()) throw invalid(field, "has an unpaired surrogate");
}
