/** Bytes as base64 text, with what every runtime has: `Uint8Array.prototype.toBase64` is missing in Node 22 and 24. */

/** A multiple of three, so that the pieces join; below every engine's limit on arguments. */
const chunkBytes = 0x6000;

export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    text += btoa(String.fromCharCode.apply(null, bytes.subarray(at, at + chunkBytes) as unknown as number[]));
  }
  return text;
}

/** Throws on anything but base64. */
export function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
