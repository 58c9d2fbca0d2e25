/**
 * Order of strings by code point, which is the order of their UTF-8 bytes: what SQLite and Postgres ("C") sort by.
 * JavaScript's own `<` compares UTF-16 units and puts U+1F600 (a surrogate pair) before U+FFFD.
 */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** Moves the surrogates (code points from U+10000) behind the rest of the UTF-16 units. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
