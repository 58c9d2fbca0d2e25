/**
 * Room for small byte strings side by side in one buffer: a buffer for each costs more than all that is done with it.
 * What is small shares a slab's memory until all of it is let go; what is not small has a buffer of its own.
 */

const slabBytes = 16_384;
const smallBytes = 2_048;
/** UTF-8 takes at most this many bytes for one character of a string. */
const bytesPerChar = 3;

/** Up to here a loop is quicker than the encoder. */
const shortChars = 32;

const encoder = new TextEncoder();

export class Slab {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #used = 0;

  /** One byte, then the text in UTF-8. */
  encode(first: number, text: string): Uint8Array {
    const most = 1 + text.length * bytesPerChar;
    if (most > smallBytes) return encoder.encode(String.fromCharCode(first) + text);
    const start = this.#room(most);
    const bytes = this.#bytes;
    bytes[start] = first;
    const end = text.length > shortChars ? undefined : asciiInto(text, bytes, start + 1);
    return this.#taken(start, end ?? start + 1 + encoder.encodeInto(text, this.#view(start + 1)).written);
  }

  copy(bytes: Uint8Array): Uint8Array {
    if (bytes.length > smallBytes) return bytes.slice();
    const start = this.#room(bytes.length);
    this.#bytes.set(bytes, start);
    return this.#taken(start, start + bytes.length);
  }

  #taken(start: number, end: number): Uint8Array {
    this.#used = end;
    return this.#view(start, end - start);
  }

  // Not `subarray`, which looks up whom to make the view by.
  #view(start: number, length?: number): Uint8Array {
    return new Uint8Array(this.#bytes.buffer, start, length);
  }

  #room(most: number): number {
    if (this.#bytes.length - this.#used < most) {
      this.#bytes = new Uint8Array(slabBytes);
      this.#used = 0;
    }
    return this.#used;
  }
}

/** Where the text ends; undefined where it is not all ASCII. */
function asciiInto(text: string, bytes: Uint8Array, start: number): number | undefined {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 127) return undefined;
    bytes[start + index] = code;
  }
  return start + text.length;
}
