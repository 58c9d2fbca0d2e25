/**
 * Node counts what a cancelled HTTP/2 stream had not sent yet into its connection's memory for ever (seen on 24.21: ten
 * streams cancelled with 1 MiB each unsent, and the connection refuses every later one with ENHANCE_YOUR_CALM). So a
 * connection that has lost much this way is closed gently: its streams go on, and new ones open another connection.
 */
import type { Http2Session, Http2Stream } from "node:http2";

/** For `maxSessionMemory`, in megabytes: several of the largest messages at once, both ways. */
export const sessionMegabytesMax = 256;
const abandonedBytesMax = (sessionMegabytesMax / 2) * 1_000_000;

const abandoned = new WeakMap<Http2Session, number>();

export function recycle(session: Http2Session, stream: Http2Stream): void {
  stream.once("close", () => {
    if (stream.writableLength === 0) return;
    const bytes = (abandoned.get(session) ?? 0) + stream.writableLength;
    abandoned.set(session, bytes);
    if (bytes > abandonedBytesMax && !session.closed) session.close();
  });
}
