/** Tells HTTP/2 from HTTP/1.1 on a fresh plaintext connection by its first bytes (RFC 9113, section 3.4). */
import type { Socket } from "node:net";

const preface = new TextEncoder().encode("PRI");

/**
 * Calls `onKnown` once, with the bytes read so far, and the socket paused. A client that says too little within
 * `timeoutMs` is cut off: an open port must not be filled with silent connections.
 */
export function peek(socket: Socket, timeoutMs: number, onKnown: (first: Uint8Array, isHttp2: boolean) => void): void {
  let first: Uint8Array = new Uint8Array();
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  const onGone = () => clearTimeout(timer);
  const onData = (chunk: Uint8Array) => {
    first = first.length === 0 ? chunk : concat(first, chunk);
    const seen = Math.min(first.length, preface.length);
    const matches = preface.subarray(0, seen).every((byte, index) => byte === first[index]);
    if (matches && seen < preface.length) return;
    clearTimeout(timer);
    socket.off("data", onData);
    socket.off("close", onGone);
    socket.pause();
    onKnown(first, matches);
  };
  socket.on("data", onData);
  socket.on("close", onGone);
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
