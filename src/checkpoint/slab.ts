/**
 * Room for small byte strings side by side in one buffer: a buffer for each costs more than all that is done with it.
 * What is small shares a slab's memory until all of it is let go; what is not small has a buffer of its own.
 */

const slabBytes = 16_384;
const smallBytes = 2_048;
/** UTF-8 takes at most this many bytes for one character of a string. */
const bytesPerChar = 3;

const encoder = new TextEncoder();

export class Slab {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #used = 0;

  encode(text: string): Uint8Array {
    const most = text.length * bytesPerChar;
    if (most > smallBytes) return encoder.encode(text);
    const start = this.#room(most);
    this.#used = start + encoder.encodeInto(text, this.#bytes.subarray(start)).written;
    return this.#bytes.subarray(start, this.#used);
  }

  copy(bytes: Uint8Array): Uint8Array {
    if (bytes.length > smallBytes) return bytes.slice();
    const start = this.#room(bytes.length);
    this.#bytes.set(bytes, start);
    this.#used = start + bytes.length;
    return this.#bytes.subarray(start, this.#used);
  }

  #room(most: number): number {
    if (this.#bytes.length - this.#used < most) {
      this.#bytes = new Uint8Array(slabBytes);
      this.#used = 0;
    }
    return this.#used;
  }
}
