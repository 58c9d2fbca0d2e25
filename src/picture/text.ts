/** Names as text that fits, measured without a screen, and escaped. */

const segments = new Intl.Segmenter("en", { granularity: "grapheme" });
/** Two columns of a monospaced font: East Asian wide forms and pictographs. */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}|\p{Regional_Indicator}/u;
/** What XML 1.0 forbids (section 2.2), lone surrogates included, and marks that turn the direction of what follows. */
const unfit =
  /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]|[\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** As it may stand in a picture: no control characters, and white space as single blanks. */
export function clean(text: string): string {
  return text.replace(unfit, "\ufffd").replace(/\s+/gu, " ");
}

/** `clean`, and cut to so many columns; what is cut off shows as an ellipsis. */
export function shorten(text: string, columnsMax: number): string {
  // A column takes few UTF-16 units: a name of a megabyte need not be read to its end.
  const start = clean(text.slice(0, columnsMax * 16));
  let columns = 0;
  let kept = "";
  for (const { segment } of segments.segment(start)) {
    columns += wide.test(segment) ? 2 : 1;
    if (columns > columnsMax) return `${cut(kept, columnsMax)}…`;
    kept += segment;
  }
  return kept.length < start.length || text.length > columnsMax * 16 ? `${kept}…` : kept;
}

/** Columns of a monospaced font. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const { segment } of segments.segment(text)) columns += wide.test(segment) ? 2 : 1;
  return columns;
}

export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

function cut(text: string, columnsMax: number): string {
  return columnsOf(text) < columnsMax
    ? text
    : [...segments.segment(text)]
        .slice(0, -1)
        .map((s) => s.segment)
        .join("");
}
